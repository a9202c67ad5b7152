//! The story of `up`, and what every provider owes.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use calicolab::cluster::home::Home;
use serde_json::Value;

use crate::contract::Until;
use crate::lab::{Lab, Test};
use crate::stranger::contract_beside;

pub const ALL: &[Test] = &[
    ("three_machines_and_four_beside_them", three_machines_and_four_beside_them),
    ("reflectors_instead_of_a_mesh", reflectors_instead_of_a_mesh),
    ("a_machine_that_dies_while_it_boots_is_named", a_machine_that_dies_while_it_boots_is_named),
    ("contract_of_providers", contract_of_providers),
];

/// The checks of a proof whose id begins with `kind`, and how many of them pass.
pub fn count(proof: &Value, kind: &str) -> (usize, usize) {
    let all: Vec<&Value> = proof["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .filter(|check| check["id"].as_str().is_some_and(|id| id.starts_with(kind)))
        .collect();
    let passed = all.iter().filter(|check| check["verdict"] == "pass").count();
    (passed, all.len())
}

/// Process ids and command lines of the virtual machines whose files lie in `home`.
pub fn processes(home: &Path) -> Vec<(String, String)> {
    processes_with(&home.display().to_string())
}

/// The same of those that have these words in their command lines.
pub fn processes_with(words: &str) -> Vec<(String, String)> {
    std::fs::read_dir("/proc")
        .expect("procfs")
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            Some((entry.file_name().to_string_lossy().into_owned(), String::from_utf8_lossy(&line).replace('\0', " ")))
        })
        .filter(|(_, line)| line.starts_with("qemu-system") && line.contains(words))
        .collect()
}

pub fn established(text: &str) -> usize {
    text.lines().filter(|line| line.contains("BGP") && line.contains("Established")).count()
}

fn three_machines_and_four_beside_them() {
    let lab = Lab::new();

    // Proven, or not up.
    lab.ok(&["up"]);
    let proof = lab.json(&["verify", "-o", "json"], 0);
    assert_eq!(count(&proof, "session."), (6, 6), "half-sessions of three nodes");
    let shown = lab.ok(&["ssh", "calico-02", "--", "sudo", "birdc", "show", "protocols"]);
    assert_eq!(established(&shown), 2, "{shown}");

    // `up` on what is up is a proof.
    lab.ok(&["up"]);

    // A speaker that is gone is named, at both ends, and comes back.
    lab.ok(&["ssh", "calico-03", "--", "sudo", "systemctl", "stop", "bird", "calico-confd"]);
    let broken = lab.json(&["verify", "-o", "json", "--timeout", "1"], 21);
    assert_eq!(broken["earliest_failing"], "peers.calico-03", "{broken:#}");
    for (one, other) in [("01", "03"), ("03", "01"), ("02", "03"), ("03", "02")] {
        assert_eq!(count(&broken, &format!("session.calico-{one}.calico-{other}")), (0, 1), "{one} {other}");
    }
    assert_eq!(count(&broken, "session.calico-01.calico-02"), (1, 1));
    lab.ok(&["ssh", "calico-03", "--", "sudo", "systemctl", "start", "bird", "calico-confd"]);
    lab.ok(&["verify"]);

    // A second cluster beside the first.
    lab.ok(&["up", "primer", "-n", "four", "--nodes", "4"]);
    let four = lab.json(&["verify", "-n", "four", "-o", "json"], 0);
    assert_eq!(count(&four, "session."), (12, 12), "half-sessions of four nodes");
    let listed = lab.json(&["ls", "-o", "json"], 0);
    let names: Vec<&str> = listed.as_array().expect("a list").iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names, ["four", "primer"]);
    lab.ok(&["verify", "-n", "primer"]);
    lab.ok(&["down", "four"]);

    // Off and on again.
    lab.ok(&["stop"]);
    let state = lab.json(&["status", "-o", "json"], 0);
    let port = state["machines"][1]["ssh"]
        .as_str()
        .and_then(|ssh| ssh.rsplit(':').next()?.parse::<u64>().ok())
        .expect("a port");
    // Somebody took the port of a machine that was off: it gets another.
    let taken = TcpListener::bind(("127.0.0.1", u16::try_from(port).expect("a port"))).expect("the port is free now");
    lab.ok(&["start"]);
    drop(taken);
    lab.ok(&["verify"]);

    lab.down();
    lab.down();
}

fn reflectors_instead_of_a_mesh() {
    let lab = Lab::new();
    lab.ok(&["up", "primer", "-n", "rr", "--set", "bgp.mesh=off", "--set", "bgp.reflectors=calico-01"]);
    let proof = lab.json(&["verify", "-o", "json"], 0);
    assert_eq!(count(&proof, "session."), (4, 4), "two clients and their reflector");
    assert_eq!(count(&proof, "route.").0, count(&proof, "route.").1);
    lab.ok(&["down", "rr"]);
}

fn a_machine_that_dies_while_it_boots_is_named() {
    let lab = Lab::new();
    let mut up = lab.follow(&["up", "--nodes", "2", "--cold"]);
    // The second machine runs before `up` ends.
    up.machine("calico-02");
    let machines = processes(lab.home());
    let (pid, _) = machines.iter().find(|(_, line)| line.contains("calico-02")).expect("its process");
    assert!(Command::new("kill").args(["-KILL", pid]).status().expect("kill starts").success());
    let (code, failure) = up.ended();
    assert_eq!(code, Some(60), "{failure}");
    assert!(failure.contains("boot.node-died") && failure.contains("calico-02"), "{failure}");
    lab.down();
}

fn contract_of_providers() {
    contract_beside(Until::Reached, true, |lab| {
        // The same name in a home that is not this one.
        let home = Home::at(&lab.home().join("other"), lab.temp(), "test").expect("a path");
        let name = format!("guest={}/calico-01", home.label(&"primer".parse().expect("a name")));
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-name", &name, "-S", "-nodefaults", "-display", "none", "-m", "16"]).stdin(Stdio::null());
        qemu
    });
}
