//! What nodes read at their first boot is accepted by cloud-init's own schema: the archive's cloud-init, not installed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use calicolab::lab::builtin::Library;
use calicolab::lab::name::PerNode;
use calicolab::lab::plan::Plan;
use calicolab::lab::render::{self, HostKey, Join, Reader, Secrets, SeedTexts};
use calicolab::ssh::keys::ClusterKeys;
use serde_json::Value;

use crate::support::plans;

/// Where `make test` unpacks cloud-init with an interpreter and the modules it needs.
fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/programs/cloud-init");
    assert!(root.join("usr/bin/cloud-init").exists(), "{} is empty: run scripts/test-programs.sh", root.display());
    root
}

fn cloud_init() -> Command {
    let root = root();
    let mut command = Command::new(root.join("usr/bin/python3"));
    command
        .env_clear()
        .env("PYTHONHOME", root.join("usr"))
        .env("PYTHONPATH", root.join("usr/lib/python3/dist-packages"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(root.join("usr/bin/cloud-init"));
    command
}

/// What the schema validator says of this user-data: nothing, or why not.
fn refused(folder: &Path, user_data: &str) -> Option<String> {
    let file = folder.join("user-data");
    std::fs::write(&file, user_data).expect("written");
    let out = cloud_init().args(["schema", "--config-file"]).arg(&file).output().expect("cloud-init starts");
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    // What is deprecated today is refused by the next release.
    (!out.status.success() || said.contains("deprecat")).then_some(said)
}

/// Every key that the schema knows at the top: it lets others pass.
fn known() -> BTreeSet<String> {
    let path = "usr/lib/python3/dist-packages/cloudinit/config/schemas/schema-cloud-config-v1.json";
    let schema: Value = serde_json::from_slice(&std::fs::read(root().join(path)).expect("its schema")).expect("JSON");
    let definitions = schema["$defs"].as_object().expect("definitions");
    definitions.values().filter_map(|one| one["properties"].as_object()).flat_map(|all| all.keys().cloned()).collect()
}

/// What nodes are told whose image has all of cloud-init.
fn seeds(folder: &Path, plan: &Plan) -> PerNode<SeedTexts> {
    seeds_for(folder, plan, true)
}

fn seeds_for(folder: &Path, plan: &Plan, cloud_init: bool) -> PerNode<SeedTexts> {
    let keys = ClusterKeys::ensure(&folder.join("ssh"), &plan.nodes).expect("keys");
    let secrets = Secrets {
        authorized_key: keys.authorized_key().into(),
        host_keys: plan
            .nodes
            .map(|node, _| HostKey { private: keys.host_private(node).into(), public: keys.host_public(node).into() }),
        instance_ids: plan.nodes.map(|node, _| format!("0123-{node}")),
        join: Some(Join { token: "abcdef.0123456789abcdef".into(), authority: "0".repeat(64) }),
    };
    render::seeds(plan, Reader { user: "lab", cloud_init }, &secrets, &Library::open(None).expect("templates"))
        .expect("rendered")
}

/// A plan of every kind: the primer with four nodes, so that one has no DNS server; the tests' own labs; those of other
/// releases by the installer that has their flags or their configuration.
fn all(primer: &str) -> [Plan; 8] {
    [
        plans::primer(primer, 4),
        plans::kubernetes("kubernetes-debian"),
        plans::kubernetes("kubeadm-debian"),
        plans::carried("calico-2.4-etcd"),
        plans::carried("calico-3.0-etcd"),
        plans::carried("calico-3.14-kubeadm"),
        plans::carried("calico-3.21-kdd"),
        plans::carried("calico-3.32"),
    ]
}

/// A kubelet whose driver is another than its containers' does not start them.
#[test]
fn kubelet_and_containers_have_one_driver_of_cgroups() {
    let folder = tempfile::tempdir().expect("a folder");
    for plan in all("demo").into_iter().filter(|plan| plan.kubernetes.is_some()) {
        let own = seeds(&folder.path().join(plan.lab.as_str()), &plan);
        let master = &own[&plan.master].user_data;
        let driver = plan.cgroup_driver();
        let says = |key: &str| master.contains(&format!("{key}{driver}"));
        assert!(says("cgroupDriver: ") || says("--cgroup-driver="), "{}", plan.lab);
        // containerd's own is cgroupfs unless it is told otherwise.
        let told = says("native.cgroupdriver=") || master.contains("SystemdCgroup = true") == (driver == "systemd");
        assert!(told, "{}", plan.lab);
        let virtual_alone = ["calico-3.21-kdd", "calico-3.32"].contains(&plan.lab.as_str());
        assert_eq!(driver == "systemd", virtual_alone, "{}", plan.lab);
        // Swap that is on stops none of them.
        let kind = plan.kubernetes.as_ref().is_some_and(|own| own.version.since(1, 8));
        let told = master.contains("failSwapOn: false") || master.contains("--fail-swap-on=false");
        assert_eq!(told, kind, "{}", plan.lab);
    }
}

/// The text of a file that a node is told.
fn file(seed: &SeedTexts, path: &str) -> String {
    let told: Value = serde_saphyr::from_str(&seed.user_data).expect("YAML");
    let files = told["write_files"].as_array().expect("files");
    let file = files.iter().find(|file| file["path"] == path).expect("it is there");
    file["content"].as_str().expect("text").to_owned()
}

#[test]
fn each_kubeadm_is_told_in_the_words_of_its_age() {
    let folder = tempfile::tempdir().expect("a folder");
    for (lab, words) in [("calico-3.14-kubeadm", "of_1_17"), ("calico-3.21-kdd", "of_1_20"), ("calico-3.32", "of_1_36")]
    {
        let own = seeds(&folder.path().join(lab), &plans::carried(lab));
        let said: Vec<String> = own.values().take(2).map(|seed| file(seed, "/etc/kubernetes/kubeadm.yaml")).collect();
        insta::assert_snapshot!(words, said.join("--- # of another node\n"));
    }
}

#[test]
fn every_seed_is_accepted() {
    let folder = tempfile::tempdir().expect("a folder");
    let known = known();
    let all = all("demo").map(|plan| seeds(&folder.path().join(plan.lab.as_str()), &plan));
    let own = seeds_for(folder.path(), &plans::primer("demo", 2), false);
    for (node, seed) in all.iter().chain([&own]).flat_map(PerNode::iter) {
        assert_eq!(refused(folder.path(), &seed.user_data), None, "{node}:\n{}", seed.user_data);
        let keys = seed.user_data.lines().filter(|line| !line.starts_with([' ', '#', '-']));
        for key in keys.filter_map(|line| line.split_once(':')).map(|(key, _)| key) {
            assert!(known.contains(key), "{node}: cloud-init knows no `{key}`");
        }
    }
}

/// What cloud-init writes for a system's own network, told this: the files' texts, one after the other.
fn network(folder: &Path, network_config: &str, kind: &str) -> String {
    let (told, into) = (folder.join("network-config"), folder.join(kind));
    std::fs::write(&told, network_config).expect("written");
    let mut convert = cloud_init();
    convert.args(["devel", "net-convert", "--kind", "yaml", "--distro", "debian", "--output-kind", kind]);
    let out = convert.arg("--network-data").arg(&told).arg("-d").arg(&into).output().expect("cloud-init starts");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let script = "find \"$1\" -type f | sort | xargs cat";
    let out = Command::new("sh").args(["-c", script, "sh"]).arg(into).output().expect("sh starts");
    String::from_utf8(out.stdout).expect("text")
}

/// By netplan, as Ubuntu's images and Debian's since 12 have it, and by ifupdown, as those before.
#[test]
fn cards_are_named_and_addressed_in_the_words_of_each_image() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = plans::primer("demo", 2);
    for (node, seed) in seeds(folder.path(), &plan).iter().take(1) {
        let (own, told) = (&plan.nodes[node], seed.network_config.as_ref().expect("it is told of its cards"));
        let netplan: Value = serde_saphyr::from_str(&network(folder.path(), told, "netplan")).expect("YAML");
        let told: Value = serde_saphyr::from_str(told).expect("YAML");
        assert_eq!(netplan["network"], told);
        let lab = &told["ethernets"]["lab0"];
        assert_eq!((&lab["match"]["macaddress"], &lab["mtu"]), (&own.lab_mac.as_str().into(), &1500.into()));
        let eni = network(folder.path(), &told.to_string(), "eni");
        let named = |mac: &str, name: &str| eni.contains(&format!("ATTR{{address}}==\"{mac}\", NAME=\"{name}\""));
        assert!(named(&own.nat_mac, "nat0") && named(&own.lab_mac, "lab0"), "{eni}");
        let static_card = format!("iface lab0 inet static\n    address {}/24\n    mtu 1500\n", own.address);
        assert!(eni.contains("iface nat0 inet dhcp\n") && eni.contains(&static_card), "{eni}");
    }
    let own = seeds_for(folder.path(), &plan, false);
    assert!(own.values().all(|seed| seed.network_config.is_none()), "our own image sets its cards by itself");
}

/// Where cloud-init stands in for CoreOS, it takes what it knows; the units are CoreOS's own section.
#[test]
fn the_lab_of_2016_is_accepted_but_for_what_only_coreos_knew() {
    let folder = tempfile::tempdir().expect("a folder");
    let known = known();
    for (node, seed) in seeds(folder.path(), &plans::carried("coreos-0.15")).iter() {
        assert_eq!(refused(folder.path(), &seed.user_data), None, "{node}:\n{}", seed.user_data);
        let told: Value = serde_saphyr::from_str(&seed.user_data).expect("YAML");
        let strange: Vec<&String> =
            told.as_object().expect("keys").keys().filter(|key| !known.contains(*key)).collect();
        assert_eq!(strange, ["coreos"], "{node}");
    }
}

/// Every unit that cloud-config brings, beside stand-ins for the programs it starts, is one that systemd takes.
#[test]
fn every_unit_is_accepted() {
    let folder = tempfile::tempdir().expect("a folder");
    for plan in all("demo") {
        let name = plan.lab.as_str();
        let master = &seeds(&folder.path().join(name), &plan)[&plan.master];
        let seed: serde_json::Value = serde_saphyr::from_str(&master.user_data).expect("YAML");
        let root = folder.path().join(name).join("root");
        for file in seed["write_files"].as_array().expect("files") {
            let [path, content] = ["path", "content"].map(|key| file[key].as_str().expect("text"));
            let Some(unit) = path.strip_prefix("/etc/systemd/system/") else { continue };
            let at = root.join(unit);
            std::fs::create_dir_all(&root).expect("made");
            // The programs are the nodes', not this host's.
            let lines = content.lines().map(|line| match line.strip_prefix("ExecStart=") {
                Some(rest) => format!("ExecStart=/bin/true {}", rest.split_once(' ').map_or("", |(_, words)| words)),
                None => line.to_owned(),
            });
            std::fs::write(at, lines.collect::<Vec<_>>().join("\n")).expect("written");
        }
        let units: Vec<_> = std::fs::read_dir(&root).expect("there").map(|unit| unit.expect("a unit").path()).collect();
        let mut command = Command::new("systemd-analyze");
        command.args(["verify", "--man=no", "--recursive-errors=no"]).args(units);
        let out = command.output().expect("systemd is installed");
        let said = String::from_utf8_lossy(&out.stderr);
        let wrong: Vec<&str> = said.lines().filter(|line| line.contains(&root.display().to_string())).collect();
        assert_eq!(wrong, [""; 0], "{name}");
    }
}

#[test]
fn the_validator_refuses_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = refused(folder.path(), "#cloud-config\nusers:\n  - {name: x, lock_passwd: maybe}\n").expect("refused");
    assert!(said.contains("lock_passwd"), "{said}");
    assert!(!known().contains("write_flies") && known().contains("write_files"));
}
