//! Tests of the installer: what is put where, in which order things start, and that a second time changes nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::super::tests::packed;
use super::*;
use crate::install::pki::Pki;
use crate::lab::builtin::Library;
use crate::lab::example;
use crate::lab::render::{self, HostKey, Reader, Secrets};

/// What every node of the lab is given.
async fn given(sets: &[&str]) -> (Plan, Vec<Vec<Upload>>) {
    let (plan, folder) = (example::carried("coreos-0.15", sets), tempfile::tempdir().expect("a folder"));
    let library = Library::open(None).expect("the binary's own");
    let secrets = Secrets {
        authorized_key: "ssh-ed25519 AAAA user".into(),
        host_keys: plan.nodes.map(|_, _| HostKey { private: "KEY\n".into(), public: "ssh-ed25519 BBBB".into() }),
        instance_ids: plan.nodes.map(|node, _| format!("0123-{node}")),
        join: None,
    };
    let seeds =
        render::seeds(&plan, Reader { user: "ubuntu", cloud_init: true }, &secrets, &library).expect("rendered");
    let told = seeds.map(|_, seed| seed.user_data.clone());
    let add_ons = render::manifests(&plan, &library).expect("rendered");
    let (pki, payload) = (Pki::ensure(&folder.path().join("pki"), &plan).expect("keys"), packed(folder.path()).await);
    let kit = Kit { plan: &plan, pki: &pki, payload: &payload, manifests: &[], told: &told, add_ons: &add_ons };
    let files = plan.nodes.names().map(|node| files(&kit, node).expect("units")).collect();
    (plan, files)
}

fn text<'a>(files: &'a [Upload], path: &str) -> &'a str {
    let file = files.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("no {path}"));
    let Content::Bytes(bytes) = &file.content else { panic!("{path} is a file") };
    std::str::from_utf8(bytes).expect("text")
}

#[tokio::test]
async fn each_file_goes_where_the_units_look_for_it() {
    let (_, nodes) = given(&[]).await;
    let list = |files: &[Upload]| {
        let lines: Vec<String> = files.iter().map(|file| format!("{:o} {}\n", file.mode, file.path)).collect();
        lines.concat()
    };
    let settings = "/etc/systemd/system/etcd2.service.d/20-cloudinit.conf";
    insta::assert_snapshot!(format!(
        "master\n{}\nnode\n{}\n{settings}\n{}\n/etc/calicolab/units\n{}",
        list(&nodes[0]),
        list(&nodes[1]),
        text(&nodes[1], settings),
        text(&nodes[0], "/etc/calicolab/units"),
    ));
    // What the API server's unit wants before it starts is what is brought.
    let unit = text(&nodes[0], "/etc/systemd/system/kube-apiserver.service");
    for path in unit.split(['=', ' ', '\n']).filter(|word| word.starts_with(KEYS)) {
        assert!(nodes[0].iter().any(|file| file.path == path && file.mode == 0o600), "{path}");
    }
    assert!(!nodes[1].iter().any(|file| file.path.starts_with(KEYS)), "keys are the master's alone");
    // Tokens of that age are signed by RSA alone.
    assert!(text(&nodes[0], "/srv/kubernetes/kubecfg.key").starts_with("-----BEGIN RSA PRIVATE KEY-----"));
}

#[tokio::test]
async fn each_node_owns_its_planned_block() {
    let (plan, nodes) = given(&[]).await;
    let lines: Vec<(&str, &str)> =
        text(&nodes[0], "/etc/calicolab/blocks").lines().map(|line| line.split_once(' ').expect("two")).collect();
    assert_eq!(lines.len(), 2 * plan.nodes.len());
    assert_eq!(lines[1].0, "/calico/ipam/v2/host/calico-01/ipv4/block/192.168.0.0-26");
    let (key, block) = lines[2];
    assert_eq!(key, "/calico/ipam/v2/assignment/ipv4/block/192.168.0.64-26");
    let block: Value = serde_json::from_str(block).expect("JSON");
    assert_eq!((&block["cidr"], &block["affinity"]), (&json!("192.168.0.64/26"), &json!("host:calico-02")));
    assert_eq!(block["allocations"].as_array().map(Vec::len), Some(64));
}

#[tokio::test]
async fn manifests_are_one_object_a_file_the_namespace_first() {
    let (_, nodes) = given(&[]).await;
    let made: Vec<(String, String)> = nodes[0]
        .iter()
        .filter_map(|file| Some((file.path.strip_prefix(applied::FOLDER)?, text(&nodes[0], &file.path))))
        .map(|(name, text)| {
            let object: Value = serde_json::from_str(text).expect("JSON");
            (name.to_owned(), format!("{} {}", object["kind"], object["metadata"]["name"]).replace('"', ""))
        })
        .collect();
    assert!(made.is_sorted());
    let wanted = [
        ("/10-skydns.json", "Namespace kube-system"),
        ("/11-skydns.json", "Service kube-dns"),
        ("/12-skydns.json", "ReplicationController kube-dns-v9"),
        ("/20-kube-ui.json", "ReplicationController kube-ui-v5"),
        ("/21-kube-ui.json", "Service kube-ui"),
        ("/30-busybox.json", "Pod busybox"),
    ];
    assert_eq!(made, wanted.map(|(name, object)| (name.to_owned(), object.to_owned())));
}

#[tokio::test]
async fn a_policy_is_a_key_of_the_plugins_file() {
    for (sets, wanted) in
        [(&[][..], None), (&["policy=k8s-annotations"], Some("k8s-annotations")), (&["policy=none"], None)]
    {
        let plan = example::carried("coreos-0.15", sets);
        let secrets = Secrets {
            authorized_key: String::new(),
            host_keys: plan.nodes.map(|_, _| HostKey { private: String::new(), public: String::new() }),
            instance_ids: plan.nodes.map(|_, _| String::new()),
            join: None,
        };
        let seeds = render::seeds(
            &plan,
            Reader { user: "core", cloud_init: true },
            &secrets,
            &Library::open(None).expect("own"),
        )
        .expect("rendered");
        for seed in seeds.values() {
            let told: Value = serde_saphyr::from_str(&seed.user_data).expect("YAML");
            let files = told["write_files"].as_array().expect("files");
            let conf = files.iter().find(|file| file["path"] == "/etc/cni/net.d/10-calico.conf").expect("the plugin's");
            let conf: Value = serde_json::from_str(conf["content"].as_str().expect("text")).expect("JSON");
            assert_eq!(conf["policy"]["type"].as_str(), wanted);
        }
    }
}

/// Every unit that another waits for starts itself, and before it.
#[tokio::test]
async fn what_is_waited_for_starts_first() {
    let (_, nodes) = given(&[]).await;
    for files in &nodes {
        let started: Vec<&str> = text(files, "/etc/calicolab/units").lines().collect();
        for (at, unit) in started.iter().enumerate() {
            let waits = text(files, &format!("/etc/systemd/system/{unit}"));
            for after in waits.lines().filter_map(|line| line.strip_prefix("After=")).flat_map(str::split_whitespace) {
                let place = started.iter().position(|other| *other == after);
                assert!(after.ends_with(".target") || place.is_some_and(|place| place < at), "{unit} after {after}");
            }
        }
    }
}

/// The node's own script over a folder in place of the root, with programs that write down how they are called.
struct Root {
    folder: tempfile::TempDir,
}

impl Root {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Self { folder };
        for (name, does) in [
            ("systemctl", ""),
            ("docker", ""),
            ("ip", ""),
            ("etcdctl", "[ $1 != get ] || grep -q \"mk $2 \" \"$ROOT/log\""),
        ] {
            root.put(&format!("programs/{name}"), &format!("#!/bin/sh\necho \"{name} $*\" >>\"$ROOT/log\"\n{does}\n"));
            let path = root.at(&format!("programs/{name}"));
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("executable");
        }
        root
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join(path)
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    /// Run it, and give what it called since the last time, but for questions.
    fn run(&self) -> Vec<String> {
        let root = self.folder.path().display().to_string();
        let own = ["/opt/", "/var/lib/", "/usr/local/", "/sys/class/", "/etc/"];
        let script = own.iter().fold(START.to_owned(), |text, path| text.replace(path, &format!("{root}{path}")));
        let before = self.log().len();
        let path = format!("{root}/programs:{}", std::env::var("PATH").expect("a path"));
        let argv = ["-euc", &script, "sh"];
        let done = Command::new("sh").args(argv).env("PATH", path).env("ROOT", &root).output().expect("a shell");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        self.log().split_off(before).into_iter().filter(|line| !line.starts_with("etcdctl get")).collect()
    }

    fn log(&self) -> Vec<String> {
        let root = format!("{}/", self.folder.path().display());
        let text = fs::read_to_string(self.at("log")).unwrap_or_default();
        text.lines().map(|line| line.replace(&root, "/")).collect()
    }
}

#[test]
fn things_start_in_their_order_and_a_second_time_adds_nothing() {
    let root = Root::new();
    root.put("etc/systemd/network/10-lab.link", "[Match]\nMACAddress=52:54:01:12:07:10\n[Link]\nName=lab0\n");
    root.put("sys/class/net/lo/address", "00:00:00:00:00:00\n");
    root.put("sys/class/net/ens4/address", "52:54:01:12:07:10\n");
    root.put("var/lib/calicolab/images/pause.tar", "");
    root.put("etc/calicolab/blocks", "/calico/a {\"cidr\": \"192.168.0.0/26\"}\n/calico/b claimed\n");
    root.put("etc/calicolab/units", "etcd2.service\ndocker.service\n");
    root.put("opt/bin/kubectl", "");
    root.put("usr/local/sbin/.keep", "");
    let first = root.run();
    insta::assert_snapshot!(first.join("\n"));
    assert_eq!(fs::read_link(root.at("usr/local/sbin/kubectl")).expect("a link"), root.at("opt/bin/kubectl"));
    // Renamed by now.
    fs::rename(root.at("sys/class/net/ens4"), root.at("sys/class/net/lab0")).expect("renamed");
    // The next one tells times to the nanosecond; a note is later than its archive.
    let second = root.run();
    let fewer: Vec<&String> = first
        .iter()
        .filter(|line| !["ip ", "docker load", "etcdctl mk"].iter().any(|begin| line.starts_with(begin)))
        .collect();
    assert_eq!(second.iter().collect::<Vec<_>>(), fewer);
}

#[tokio::test]
async fn a_cloud_config_without_units_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = example::carried("coreos-0.15", &[]);
    let (pki, payload) = (Pki::ensure(&folder.path().join("pki"), &plan).expect("keys"), packed(folder.path()).await);
    let told = plan.nodes.map(|_, _| "#cloud-config\nhostname: one\n".to_owned());
    let kit = Kit { plan: &plan, pki: &pki, payload: &payload, manifests: &[], told: &told, add_ons: &[] };
    let Err(error) = files(&kit, &plan.master) else { panic!("it has no units") };
    assert_eq!(error.to_string(), "the cloud-config of calico-01 names no units that can be started");
}
