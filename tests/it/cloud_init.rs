//! What nodes read at their first boot is accepted by cloud-init's own schema: the archive's cloud-init, not installed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use calicolab::lab::builtin::Library;
use calicolab::lab::name::PerNode;
use calicolab::lab::plan::Plan;
use calicolab::lab::render::{self, HostKey, Secrets, SeedTexts};
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
    };
    render::seeds(plan, "lab", &secrets, &Library::open(None).expect("templates")).expect("rendered")
}

#[test]
fn every_seed_is_accepted() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = plans::primer("demo", 4);
    let known = known();
    // The master, nodes with a DNS server and one without: each kind of seed there is.
    for (node, seed) in seeds(folder.path(), &plan).iter() {
        assert_eq!(refused(folder.path(), &seed.user_data), None, "{node}:\n{}", seed.user_data);
        let keys = seed.user_data.lines().filter(|line| !line.starts_with([' ', '#', '-']));
        for key in keys.filter_map(|line| line.split_once(':')).map(|(key, _)| key) {
            assert!(known.contains(key), "{node}: cloud-init knows no `{key}`");
        }
    }
}

#[test]
fn the_validator_refuses_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = refused(folder.path(), "#cloud-config\nusers:\n  - {name: x, lock_passwd: maybe}\n").expect("refused");
    assert!(said.contains("lock_passwd"), "{said}");
    assert!(!known().contains("write_flies") && known().contains("write_files"));
}
