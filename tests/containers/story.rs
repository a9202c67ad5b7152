//! The story as it should go: up, broken and named, another beside it, off and on, gone.

use calicolab::event::Step;
use serde_json::Value;

use crate::contract::Until;
use crate::lab::{Lab, Test};
use crate::stranger::contract_beside;

/// The tests.
pub const ALL: &[Test] = &[
    ("one_cluster_and_another", one_cluster_and_another),
    ("reflectors", reflectors),
    ("contract_of_providers", contract_of_providers),
];

/// The checks whose id begins with `kind`, and how many of them pass.
fn count(proof: &Value, kind: &str) -> (usize, usize) {
    let all: Vec<&Value> = proof["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .filter(|check| check["id"].as_str().is_some_and(|id| id == kind || id.starts_with(&format!("{kind}."))))
        .collect();
    (all.iter().filter(|check| check["verdict"] == "pass").count(), all.len())
}

fn one_cluster_and_another() {
    let lab = Lab::new();

    // While one `up` is at work, another is told who, and since when.
    let mut first = lab.follow(&["up"]);
    first.begins(Step::Boot);
    let held = lab.ends(&["up"], 11);
    assert!(held.contains("error[state.held]") && held.contains("`calicolab up` (pid "), "{held}");
    assert!(held.contains(" since 20"), "{held}");
    assert_eq!(first.ended().0, Some(0));

    // Every check with its evidence.
    let proof = lab.json(&["verify", "-o", "json"], 0);
    assert_eq!(count(&proof, "session"), (6, 6), "half-sessions of three nodes");
    for check in proof["checks"].as_array().expect("checks") {
        assert_eq!(check["verdict"], "pass", "{check:#}");
        assert!(check["id"].is_string() && check["nodes"].is_array(), "{check:#}");
        assert!(check["evidence"].as_array().is_some_and(|evidence| !evidence.is_empty()), "{check:#}");
    }
    let shown = lab.ok(&["ssh", "calico-02", "--", "sudo", "birdc", "show", "protocols"]);
    assert_eq!(shown.lines().filter(|line| line.contains("Established")).count(), 2, "{shown}");

    // `up` on what is up is a proof, and boots nothing.
    let mut again = lab.follow(&["up"]);
    assert!(!again.sees(|event| matches!(event, calicolab::event::Event::Machine { .. })));
    assert_eq!(again.ended().0, Some(0));

    // A speaker that is gone is named by both ends, and comes back.
    lab.on("calico-03", "systemctl stop calico-confd bird");
    let broken = lab.json(&["verify", "-o", "json", "--timeout", "3"], 21);
    assert_eq!(count(&broken, "session.calico-02.calico-03"), (0, 1), "{broken:#}");
    assert_eq!(count(&broken, "session.calico-03.calico-02"), (0, 1), "{broken:#}");
    assert_eq!(count(&broken, "session.calico-01.calico-02"), (1, 1), "{broken:#}");
    let told = lab.ends(&["verify", "--timeout", "1"], 21);
    assert!(told.contains("calico-03"), "{told}");
    lab.on("calico-03", "systemctl start bird calico-confd");
    lab.ok(&["verify"]);

    // Another plan is not carried on with.
    let differs = lab.ends(&["up", "--set", "bgp.as=64513"], 11);
    assert!(differs.contains("64512") && differs.contains("64513") && differs.contains("--recreate"), "{differs}");

    // A second cluster beside the first.
    lab.ok(&["up", "primer", "-n", "four", "--nodes", "4"]);
    assert_eq!(count(&lab.json(&["verify", "-n", "four", "-o", "json"], 0), "session"), (12, 12));
    let listed = lab.json(&["ls", "-o", "json"], 0);
    let names: Vec<&str> = listed.as_array().expect("a list").iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names, ["four", "primer"]);
    assert_eq!(listed[0]["nodes"]["running"], 4, "{listed:#}");
    lab.ok(&["verify", "-n", "primer"]);
    lab.ok(&["down", "four"]);
    lab.ok(&["verify", "-n", "primer"]);

    // Off and on again, proven again.
    lab.ok(&["stop"]);
    let off = lab.json(&["ls", "-o", "json"], 0);
    assert_eq!((&off[0]["phase"], &off[0]["nodes"]["running"]), (&"stopped".into(), &0.into()), "{off:#}");
    lab.ok(&["start"]);
    lab.ok(&["verify"]);

    lab.down();
    lab.down();
}

fn reflectors() {
    let lab = Lab::new();
    let sets = ["--set", "bgp.mesh=off", "--set", "bgp.reflectors=calico-01", "--set", "bgp.timers=calico"];
    lab.ok(&[&["up", "primer", "-n", "rr"][..], &sets].concat());
    let proof = lab.json(&["verify", "-o", "json"], 0);
    assert_eq!(count(&proof, "session"), (4, 4), "two clients and their reflector");
    let (passed, routes) = count(&proof, "route");
    assert_eq!((passed, routes), (9, 9), "three blocks from three nodes");
    lab.down();
}

/// A machine here is what carries the cluster's mark among its arguments; a stranger may be called as a node is.
fn contract_of_providers() {
    use std::os::unix::process::CommandExt as _;
    contract_beside(Until::Proven, false, |_| {
        let mut sleep = std::process::Command::new("sleep");
        sleep.arg0("calico-01").arg("600");
        sleep
    });
}
