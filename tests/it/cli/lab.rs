//! Labs and plans on the command line: what is wrong in them is told with its place and the nearest right word.

use std::process::Command;

use calicolab::artifact::cache::Cache;
use calicolab::failure::Exit;
use calicolab::lab::pin::Digest;
use sha2::{Digest as _, Sha256};

use super::{Said, User};

#[test]
fn an_unknown_lab_is_told_with_the_nearest() {
    let user = User::new();
    for verb in ["up", "plan", "doctor"] {
        user.ends(&[verb, "primr"], Exit::NoSuch).tells(&["there is no lab `primr`", "did you mean `primer`?"]);
    }
    user.ends(&["labs", "show", "primr"], Exit::NoSuch).tells(&["did you mean `primer`?"]);
}

#[test]
fn a_wrong_key_is_told_with_its_place_and_the_nearest() {
    let user = User::new();
    let folder = user.path("labs");
    user.ends(&["labs", "export", &folder], Exit::Done);
    let file = format!("{folder}/labs/primer/lab.yaml");
    let text = std::fs::read_to_string(&file).expect("exported");
    let line = 1 + text.lines().position(|line| line.starts_with("nodes:")).expect("nodes");
    let column = 1 + "nodes: {count: 3, prefix: calico-, cpus: 1, ".len();
    std::fs::write(&file, text.replacen("memory:", "memroy:", 1)).expect("written");
    let place = format!("{file}:{line}:{column}");
    for words in [&["plan"][..], &["up"], &["labs", "check", "primer"]] {
        let mut words = words.to_vec();
        words.extend(["--labs", &folder]);
        user.ends(&words, Exit::LabInvalid).tells(&[&place, "`memroy`", "did you mean `memory`?"]);
    }
}

#[test]
fn what_is_set_wrong_is_told_with_the_flag() {
    let user = User::new();
    user.ends(&["plan", "--set", "bgp.mehs=off"], Exit::LabInvalid).tells(&["--set bgp.mehs", "did you mean `mesh`?"]);
    user.ends(&["up", "--set", "network.pods=10.96.0.0/12"], Exit::LabInvalid)
        .tells(&["`network.services` (10.96.0.0/16) shares addresses with `network.pods` (10.96.0.0/12)"]);
}

/// The program in a network of its own that has `address` on its loopback.
fn beside(user: &User, address: &str, words: &[&str]) -> Command {
    let mut command = user.give(Command::new("unshare"));
    let script = "ip link set lo up && ip addr add \"$1\" dev lo && shift && exec \"$@\"";
    command.args(["--user", "--map-root-user", "--net", "sh", "-c", script, "sh", address]);
    command.arg(env!("CARGO_BIN_EXE_calicolab")).args(words);
    command
}

#[test]
fn a_lab_network_that_the_host_routes_is_refused() {
    let user = User::new();
    for verb in ["plan", "up"] {
        let words = [verb, "--set", "network.lab=198.18.7.0/24"];
        let said = Said::by(&mut beside(&user, "198.18.7.200/28", &words), Exit::Conflict.code());
        said.tells(&["lease.routed", "198.18.7.0/24 overlaps 198.18.7.", "--set network.lab="]);
        Said::by(&mut beside(&user, "198.18.8.200/28", &["plan", "--set", "network.lab=198.18.7.0/24"]), 0);
    }
    assert!(!std::path::Path::new(&user.path("home/clusters/primer")).exists(), "nothing was begun");
}

#[test]
fn labs_are_listed_shown_begun_and_checked() {
    let user = User::new();
    assert!(user.ends(&["labs"], Exit::Done).out.contains("primer"));
    assert!(user.ends(&["labs", "show", "primer"], Exit::Done).out.contains("installer  primer"));
    assert!(user.json(&["labs", "schema"])["properties"]["network"].is_object());
    assert!(user.ends(&["labs", "check", "primer"], Exit::Done).out.contains("is right"));
    let folder = user.path("mine");
    user.ends(&["labs", "new", "Mine!", &folder], Exit::Usage).tells(&["usage.name"]);
    user.ends(&["labs", "new", "mine", &folder], Exit::Done);
    user.ends(&["--labs", &folder, "labs", "check", "mine"], Exit::Done);
    user.ends(&["labs", "check", &format!("{folder}/labs/mine/lab.yaml")], Exit::Done);
    let plan = user.json(&["--labs", &folder, "plan", "mine", "-o", "json"]);
    assert_eq!((&plan["lab"], &plan["cluster"]), (&"mine".into(), &"mine".into()));
}

#[test]
fn an_exported_lab_is_the_same_lab_and_is_not_overwritten() {
    let user = User::new();
    let folder = user.path("labs");
    let set = "network.lab=198.18.7.0/24";
    user.ends(&["labs", "export", &folder], Exit::Done);
    assert_eq!(user.ends(&["labs", "export", &folder], Exit::Done).out.trim(), "", "there already");
    let carried = user.json(&["plan", "-o", "json", "--set", set]);
    assert_eq!(carried, user.json(&["plan", "-o", "json", "--set", set, "--labs", &folder]));
    let file = format!("{folder}/labs/primer/README.md");
    std::fs::write(&file, "mine").expect("written");
    user.ends(&["labs", "export", &folder], Exit::Conflict).tells(&[&file, "nothing was written", "--force"]);
    assert_eq!(std::fs::read_to_string(&file).expect("there"), "mine");
    user.ends(&["labs", "export", "--force", &folder], Exit::Done);
    assert_ne!(std::fs::read_to_string(&file).expect("there"), "mine");
}

#[test]
fn a_plan_is_what_up_would_do() {
    let user = User::new();
    let words = ["-o", "json", "--nodes", "4", "--set", "network.lab=198.18.7.0/24"];
    let plan = user.json(&[&["plan", "primer"], &words[..]].concat());
    assert_eq!(
        plan["nodes"].as_object().map_or_else(|| plan["nodes"].as_array().map_or(0, Vec::len), serde_json::Map::len),
        4
    );
    assert_eq!(plan, user.json(&[&["up", "primer", "--dry-run"], &words[..]].concat()));
    assert!(!std::path::Path::new(&user.path("home")).exists(), "a plan touches nothing");
}

#[test]
fn the_matrix_says_what_goes_together_and_a_lab_of_others_is_refused() {
    let user = User::new();
    assert!(user.ends(&["labs", "matrix"], Exit::Done).out.contains("1.16 to 1.24 (tested 1.20 to 1.22)"));
    user.ends(&["plan", "calico-3.21-kdd", "--set", "kubernetes=1.25.3"], Exit::LabInvalid)
        .tells(&["--set kubernetes", "Calico 3.21.2 does not go with Kubernetes 1.25.3"]);
    let said = user.ends(&["plan", "calico-3.21-kdd", "--set", "kubernetes=1.21.14"], Exit::LabInvalid);
    assert!(said.out.contains("1.21.14") && said.out.contains("missing: kubelet"), "{}", said.out);
}

#[test]
fn what_a_lab_changes_in_manifests_is_shown_out_of_the_cache() {
    let user = User::new();
    user.ends(&["plan", "primer", "--manifests"], Exit::Usage).tells(&["installs no Calico by manifests"]);
    let words = ["plan", "calico-3.32", "--manifests"];
    user.ends(&words, Exit::Offline).tells(&["calico-manifest", "calicolab fetch calico-3.32"]);
    // Another manifest of the same shape, and a lock that means it.
    let manifest = include_str!("../../../src/install/manifest/samples/calico-3.32.yaml");
    let digest = Digest::Sha256(Sha256::digest(manifest).into());
    let file = Cache::at(user.path("cache/calicolab")).file(&digest);
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    std::fs::write(&file, manifest).expect("written");
    let labs = user.path("labs");
    user.ends(&["labs", "export", &labs], Exit::Done);
    let lock = format!("{labs}/labs/calico-3.32/lock.yaml");
    let text = std::fs::read_to_string(&lock).expect("exported");
    let (before, after) = text.split_once("- name: calico-manifest\n").expect("it is pinned");
    let (source, rest) = after.split_once("  digest: ").expect("with a digest");
    let rest: Vec<&str> = rest.split_inclusive('\n').skip(1).filter(|line| *line != "  bytes: 349572\n").collect();
    let own = format!("{before}- name: calico-manifest\n{source}  digest: {digest}\n{}", rest.concat());
    std::fs::write(&lock, own).expect("written");
    let words = ["--labs", &labs, "plan", "calico-3.32", "--manifests", "--set", "calico.encapsulation=none"];
    let said = user.ends(&words, Exit::Done);
    for part in ["calico-manifest DaemonSet/calico-node", "value: 'cidr=198.1", "+  veth_mtu: '1500'"] {
        assert!(said.out.contains(part), "{part} in {}", said.out);
    }
    let json = user.json(&[&words[..], &["-o", "json"]].concat());
    assert_eq!(json[0]["object"], "ConfigMap/calico-config");
    // Bytes that are not those of the lock are nothing.
    std::fs::write(&file, "kind: Changed").expect("written");
    user.ends(&words, Exit::Offline);
}
