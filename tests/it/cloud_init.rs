//! What nodes read at their first boot is accepted by cloud-init's own schema: the archive's cloud-init, not installed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use calicolab::lab::builtin::Library;
use calicolab::lab::name::PerNode;
use calicolab::lab::plan::Plan;
use calicolab::lab::render::{self, HostKey, Join, Secrets, SeedTexts};
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

fn seeds(folder: &Path, plan: &Plan) -> PerNode<SeedTexts> {
    let keys = ClusterKeys::ensure(&folder.join("ssh"), &plan.nodes).expect("keys");
    let secrets = Secrets {
        authorized_key: keys.authorized_key().into(),
        host_keys: plan
            .nodes
            .map(|node, _| HostKey { private: keys.host_private(node).into(), public: keys.host_public(node).into() }),
        instance_ids: plan.nodes.map(|node, _| format!("0123-{node}")),
        join: Some(Join { token: "abcdef.0123456789abcdef".into(), authority: "0".repeat(64) }),
    };
    render::seeds(plan, "lab", &secrets, &Library::open(None).expect("templates")).expect("rendered")
}

#[test]
fn every_seed_is_accepted() {
    let folder = tempfile::tempdir().expect("a folder");
    let known = known();
    // The master, nodes with a DNS server and one without, and the same of Kubernetes: each kind of seed there is.
    let plans = [plans::primer("demo", 4), plans::kubernetes("kubernetes-debian"), plans::kubernetes("kubeadm-debian")];
    let all = plans.map(|plan| seeds(&folder.path().join(plan.lab.as_str()), &plan));
    for (node, seed) in all.iter().flat_map(PerNode::iter) {
        assert_eq!(refused(folder.path(), &seed.user_data), None, "{node}:\n{}", seed.user_data);
        let keys = seed.user_data.lines().filter(|line| !line.starts_with([' ', '#', '-']));
        for key in keys.filter_map(|line| line.split_once(':')).map(|(key, _)| key) {
            assert!(known.contains(key), "{node}: cloud-init knows no `{key}`");
        }
    }
}

/// Every unit that cloud-config brings, beside stand-ins for the programs it starts, is one that systemd takes.
#[test]
fn every_unit_is_accepted() {
    let folder = tempfile::tempdir().expect("a folder");
    let plans = [plans::primer("demo", 3), plans::kubernetes("kubernetes-debian"), plans::kubernetes("kubeadm-debian")];
    for plan in plans {
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
