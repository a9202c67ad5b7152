//! A lab on an image that has all of cloud-init, as downloaded ones have it: told by its seed what the recipe of our own
//! image would bring.

use crate::lab::{Lab, Test};
use crate::story::{count, processes};

pub const ALL: &[Test] =
    &[("an_image_that_knows_nothing_of_labs_is_told", an_image_that_knows_nothing_of_labs_is_told)];

/// Images alone; labs and templates are the binary's.
const LABS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/machines/cloud-init");

/// What lasts from one boot to the next, and what each boot sets again.
const TOLD: &str = r#"
cat /etc/hosts /etc/ssh/ssh_host_*.pub; echo; ls /etc/ssh | grep -c '^ssh_host.*[^b]$'
ip -o -4 address show dev lab0 | grep -o "inet [^ ]*"; ip -o -4 address show dev nat0 | grep -o "inet [^ ]*"
cat /sys/class/net/lab0/mtu /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/all/rp_filter
ip route show 10.96.0.0/16; ip route show default; ip route show type unreachable
cloud-init query instance-id; cloud-init status
"#;

fn an_image_that_knows_nothing_of_labs_is_told() {
    let lab = Lab::new();
    // What is set differs from what every network has by itself.
    let wanted = ["--set", "image=debian-12-stages", "--set", "network.mtu=1400", "--nodes", "2"];
    lab.ok(&[&["up", "--labs", LABS, "--boot-timeout", "900"], &wanted[..]].concat());
    let proof = lab.json(&["verify", "-o", "json"], 0);
    assert_eq!(count(&proof, "session."), (2, 2));
    let told = |node| lab.ok(&["ssh", node, "--", &format!("sudo sh -c '{}'", TOLD.replace('\'', r"'\''"))]);
    let first = told("calico-02");
    let lines: Vec<&str> = first.lines().collect();
    assert_eq!(lines[0], "127.0.0.1 localhost", "{first}");
    assert!(lines[2].ends_with(" calico-02") && lines[3].starts_with("ssh-ed25519 "), "{first}");
    assert_eq!(lines[4], "1", "one host key, which is the cluster's: {first}");
    let known = std::fs::read_to_string(lab.home().join("clusters/primer/ssh/known_hosts")).expect("its keys");
    assert!(known.contains(lines[3].split(' ').nth(1).expect("a key")), "{known}");
    assert!(lines[5].starts_with("inet 198.1") && lines[5].ends_with(".12/24"), "{first}");
    assert_eq!(lines[6], "inet 10.0.2.15/24", "{first}");
    assert_eq!(lines[7..10], ["1400", "1", "0"], "{first}");
    assert!(lines[10].starts_with("10.96.0.0/16 dev lab0") && lines[11].contains("proto dhcp"), "{first}");
    assert!(lines[12].starts_with("unreachable 10.244.0.0/16"), "{first}");
    assert!(lines[13].ends_with("-calico-02") && lines[14] == "status: done", "{first}");

    lab.ok(&["stop"]);
    lab.ok(&["start", "--labs", LABS, "--boot-timeout", "900"]);
    assert_eq!(told("calico-02"), first);
    lab.down();
    assert!(processes(lab.home()).is_empty());
}
