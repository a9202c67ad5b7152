//! A lab that was proven, kept, broken in three ways, and brought back; and what goes wrong with points.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use super::waiting::eventually;
use super::{Lab, count, processes};

/// Run a verb until it tells of `event`, and kill it there.
fn killed_at(lab: &Lab, words: &[&str], event: &str) {
    let mut words = words.to_vec();
    words.insert(0, "--json");
    let mut run = lab.command(&words).stdout(Stdio::piped()).spawn().expect("calicolab starts");
    let told = BufReader::new(run.stdout.take().expect("piped")).lines();
    let mut told =
        told.map(|line| serde_json::from_str::<Value>(&line.expect("text")).expect("one JSON object a line"));
    assert!(told.any(|told| told["event"] == event), "{words:?} tells of {event}");
    run.kill().expect("killed");
    run.wait().expect("ended");
}

/// The id of the failure that these words end with.
fn failure(lab: &Lab, words: &[&str], status: i32) -> String {
    let mut words = words.to_vec();
    words.insert(0, "--json");
    let out = lab.run(&words);
    assert_eq!(out.status.code(), Some(status), "{words:?}");
    let last = String::from_utf8(out.stdout).expect("text").lines().last().map(String::from).expect("a line");
    let last: Value = serde_json::from_str(&last).expect("JSON");
    last["failure"]["error"]["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_proven_lab_comes_back_and_is_proven_again() {
    let lab = Lab::new();
    let on = |node: &str, words: &[&str]| lab.ok(&[&["ssh", node, "--"], words].concat());
    lab.ok(&["up", "--nodes", "2"]);
    // As if the point were brought back a thousand seconds after it was saved.
    for node in ["calico-01", "calico-02"] {
        on(node, &["sudo date -u -s @$(($(date +%s) - 1000))"]);
    }
    // One that is killed leaves nothing that the next one would stumble over.
    killed_at(&lab, &["snapshot", "save", "killed"], "step-started");
    lab.ok(&["snapshot", "save", "good"]);
    let listed = lab.json(&["snapshot", "list", "-o", "json"], 0);
    let names: Vec<&str> = listed.as_array().expect("a list").iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, ["good"]);
    assert!(listed[0]["point"]["proven"]["checks"].as_u64() > Some(30), "{listed:#}");
    assert_eq!(failure(&lab, &["snapshot", "save", "good"], 11), "point.exists");

    // Broken in three ways. What was done since would be lost: that is to be said.
    on("calico-01", &["sudo", "systemctl", "stop", "bird", "calico-confd"]);
    on("calico-02", &["sudo", "ip", "link", "set", "lab0", "down"]);
    on("calico-02", &["sudo", "rm", "-rf", "/etc/bird", "/etc/hostname"]);
    on("calico-02", &["touch", "after"]);
    assert_eq!(failure(&lab, &["snapshot", "restore", "good"], 11), "point.lab-runs");
    assert_eq!(failure(&lab, &["snapshot", "restore", "bad"], 12), "point.none");

    // A damaged point is refused before a machine is touched.
    let memory = lab.home().join("clusters/primer/points/good/calico-02.memory.zst");
    let whole = std::fs::read(&memory).expect("memory");
    std::fs::write(&memory, &whole[1..]).expect("damaged");
    let before = processes(lab.home());
    assert_eq!(failure(&lab, &["snapshot", "restore", "--proven", "--replace"], 41), "point.damaged");
    assert_eq!(processes(lab.home()), before);
    std::fs::write(&memory, &whole).expect("whole again");

    // Broken off in the middle: nobody goes on with what is neither old nor new, but the same once more.
    killed_at(&lab, &["snapshot", "restore", "good", "--replace"], "machine");
    assert_eq!(failure(&lab, &["up", "--nodes", "2"], 11), "point.half-way");
    assert_eq!(failure(&lab, &["snapshot", "save"], 11), "point.half-way");
    let proof = lab.json(&["snapshot", "restore", "--proven", "-o", "json"], 0);
    assert_eq!(count(&proof, "session."), (2, 2));
    assert_eq!(on("calico-02", &["ls"]), "", "what was done since is gone");
    let clock: i64 = on("calico-02", &["date", "+%s"]).trim().parse().expect("seconds");
    assert!((jiff::Timestamp::now().as_second() - clock).abs() < 60, "its clock was set");

    // A machine that died is in no point; and the lab can go, and come back from what was kept of it.
    let machines = processes(lab.home());
    let (pid, _) = machines.iter().find(|(_, line)| line.contains("calico-02")).expect("its process");
    assert!(std::process::Command::new("kill").args(["-KILL", pid]).status().expect("kill starts").success());
    let gone = eventually("the killed machine is gone", || (processes(lab.home()).len() == 1).then_some(()));
    tokio::runtime::Runtime::new().expect("a runtime").block_on(gone);
    assert_eq!(failure(&lab, &["snapshot", "save"], 11), "point.node-off");
    lab.ok(&["down", "--keep-points"]);
    assert!(processes(lab.home()).is_empty());
    lab.ok(&["snapshot", "restore", "good", "-n", "primer"]);
    lab.ok(&["down"]);
    assert!(processes(lab.home()).is_empty());
    assert_eq!(std::fs::read_dir(lab.home().join("kept")).map_or(0, Iterator::count), 0);
}
