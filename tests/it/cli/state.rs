//! Clusters on the command line that are not there, held by another run, or remembered by another version.

use std::path::Path;

use calicolab::cluster::home::{Home, Locked};
use calicolab::cluster::state::{ClusterState, Wish};
use calicolab::failure::Exit;
use calicolab::machine::Kind;
use serde_json::json;

use super::User;
use crate::support::plans::primer;

/// A cluster that this process has begun and holds; it has no machine.
fn begun(user: &User, name: &str) -> Locked {
    let home = Home::at(Path::new(&user.path("home")), std::env::temp_dir(), "up").expect("a home");
    home.create(ClusterState::begun(&primer(name, 3), Kind::Qemu, Wish::default(), None)).expect("begun")
}

#[test]
fn what_is_not_there_is_told() {
    let user = User::new();
    assert_eq!(user.json(&["ls", "-o", "json"]), json!([]));
    for words in [&["down"][..], &["down", "nosuch"], &["down", "nosuch"], &["down", "--all"]] {
        user.ends(words, Exit::Done);
    }
    for verb in ["verify", "status", "stop", "start", "logs", "ssh-config"] {
        user.ends(&[verb], Exit::NoSuch).tells(&["there is no cluster", "calicolab up"]);
    }
}

#[test]
fn a_name_that_is_nearly_right_is_told_with_the_right_one() {
    let user = User::new();
    drop(begun(&user, "demo"));
    user.ends(&["verify", "-n", "deom"], Exit::NoSuch).tells(&["there is no cluster `deom`", "did you mean `demo`?"]);
    let ssh = user.command(&["ssh", "calico-1"]).output().expect("it runs");
    assert_eq!(ssh.status.code(), Some(255), "as with ssh(1), any other code is the far command's");
    let said = String::from_utf8_lossy(&ssh.stderr).into_owned();
    assert!(said.contains("there is no node `calico-1`, did you mean `calico-01`?"), "{said}");
    drop(begun(&user, "other"));
    user.ends(&["verify"], Exit::Usage).tells(&["there are several; there is demo, other", "--name demo"]);
}

#[test]
fn who_holds_a_cluster_is_told_and_the_second_run_ends() {
    let user = User::new();
    let held = begun(&user, "demo");
    let who = format!("(pid {} on ", std::process::id());
    for words in [&["up", "primer", "-n", "demo"][..], &["down", "demo"], &["stop", "-n", "demo"]] {
        user.ends(words, Exit::Conflict).tells(&["state.held", "`demo` is in use by `calicolab up`", &who, "since 2"]);
    }
    // Looking takes no lock.
    assert_eq!(user.json(&["ls", "-o", "json"])[0]["name"], "demo");
    user.ends(&["status", "-n", "demo"], Exit::Done);
    drop(held);
    user.ends(&["down", "demo"], Exit::Done);
    assert_eq!(user.json(&["ls", "-o", "json"]), json!([]));
}

#[test]
fn the_state_of_a_newer_version_is_seen_left_alone_and_can_be_removed() {
    let user = User::new();
    let folder = begun(&user, "demo").folder();
    let file = folder.join("state.json");
    let mut state: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).expect("written")).expect("JSON");
    state["schema"] = 99.into();
    state["phase"] = json!({"is": "dreaming"});
    let newer = serde_json::to_vec(&state).expect("JSON");
    std::fs::write(&file, &newer).expect("written");
    assert_eq!(user.json(&["ls", "-o", "json"])[0]["name"], "demo");
    let ls = user.ends(&["ls"], Exit::Done).out;
    assert!(ls.contains("demo"), "{ls}");
    let up = user.ends(&["up", "primer", "-n", "demo"], Exit::Unexpected);
    up.tells(&["has schema 99", "use the calicolab that wrote it", "calicolab down demo"]);
    assert_eq!(std::fs::read(&file).expect("there"), newer);
    user.ends(&["down", "demo"], Exit::Done);
    assert!(!folder.exists());
}
