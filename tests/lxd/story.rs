//! The story as it should go, and the contract that all providers keep.

use calicolab::cluster::home::Home;
use sha2::{Digest as _, Sha256};

use crate::contract::{Beside, Until, contract};
use crate::daemon::{names, ok};
use crate::lab::{Lab, Test, eventually};

/// The tests.
pub const ALL: &[Test] =
    &[("contract_of_providers", contract_of_providers), ("nodes_and_their_limits", nodes_and_their_limits)];

/// The name that the daemon's things of this home's cluster `primer` begin with.
pub fn base(lab: &Lab) -> String {
    base_of(&label(lab, "primer"))
}

/// What all of a cluster of this home is labelled with.
pub fn label(lab: &Lab, cluster: &str) -> String {
    let home = Home::at(lab.home(), lab.temp(), "test").expect("the home is there");
    home.label(&cluster.parse().expect("a name"))
}

/// The name that things with this label begin with.
pub fn base_of(label: &str) -> String {
    let hash = Sha256::digest(label.as_bytes());
    hash[..4].iter().fold("cl".to_owned(), |name, byte| format!("{name}{byte:02x}"))
}

fn contract_of_providers() {
    let name = |lab: &Lab| format!("{}-calico-01", base(lab));
    contract(&Beside {
        until: Until::Proven,
        keeps: true,
        foreign: &|lab| drop(ok(&["init", &name(lab), "--empty", "--no-profiles", "--storage", "lab"])),
        untouched: &|lab| names("instances") == [name(lab)],
        gone: &|lab| drop(ok(&["delete", &name(lab)])),
    });
}

fn nodes_and_their_limits() {
    let lab = Lab::new();
    lab.ok(&["up", "--nodes", "2"]);
    // Root in a node is nobody on the host, and a node sees the memory and the processors of its plan.
    for name in names("instances") {
        let shown = ok(&["config", "show", &name, "--expanded"]);
        assert!(shown.contains("security.nesting: \"true\"") && !shown.contains("security.privileged"), "{shown}");
        assert!(!shown.contains("raw.lxc"), "{shown}");
    }
    let memory = lab.on("calico-01", "grep MemTotal /proc/meminfo");
    assert_eq!(memory.split_whitespace().nth(1), Some("524288"), "{memory}");
    // The way outside is the node's own address there; the host is on no lab network.
    let ways = lab.on("calico-02", "ip -4 route show default");
    assert!(ways.contains("dev nat0"), "{ways}");
    let lan = ok(&["network", "show", &format!("{}l", base(&lab))]);
    assert!(lan.contains("ipv4.address: none"), "{lan}");
    // What is asked less is said.
    let quick = lab.json(&["verify", "--no-stable", "-o", "json"], 0);
    assert!(quick["proven"] == true && quick["without_stability"] == true, "{quick:#}");
    assert!(lab.ok(&["verify", "--no-stable"]).contains("left out: how long the sessions have been up"));
    assert_eq!(lab.json(&["verify", "-o", "json"], 0)["without_stability"], false);
    // The daemon keeps what containers say on their consoles.
    lab.on("calico-01", "echo said on the console >/dev/console");
    let kept = || lab.run(&["logs", "calico-01", "--console"]).stdout;
    eventually("the console is kept", || {
        String::from_utf8_lossy(&kept()).contains("said on the console").then_some(())
    });
    // Nobody in the daemon is in the way of a network that is chosen by itself.
    lab.until("calico-02", "systemctl is-active ssh");
    lab.down();
}
