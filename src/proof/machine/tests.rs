//! Good and bad machines, addresses, links and datastores.

use super::*;
use crate::proof::Check;
use crate::proof::samples::{MEMBER, Stage, node};

const MACS: [&str; 3] = ["52:54:01:12:07:0b", "52:54:01:12:07:0c", "52:54:01:12:07:0d"];

#[test]
fn a_machine_has_its_planned_name() {
    let mut stage = Stage::new(3);
    let check = Check::Machine { node: node(1) };
    assert_eq!(stage.judge(&check).text(), "calico-01 has not been asked yet");
    stage.identity(1, "calico-01", 'a');
    assert!(stage.judge(&check).passed());
    stage.identity(1, "debian", 'a');
    assert!(matches!(stage.judge(&check), Verdict::Never { why } if why.contains("calls itself debian")));
}

#[test]
fn a_node_that_cannot_be_asked_is_unknown() {
    let mut stage = Stage::new(3);
    stage.answer(identity(&node(1)), crate::proof::Answer::Unasked("connection refused".into()));
    for check in [Check::Machine { node: node(1) }, Check::MachineIds, Check::Clocks] {
        assert!(matches!(stage.judge(&check), Verdict::Unknown { why } if why.contains("connection refused")));
    }
}

#[test]
fn machine_ids_differ() {
    let mut stage = Stage::new(3);
    for (index, id) in [(1, 'a'), (2, 'b'), (3, 'c')] {
        stage.identity(index, node(index).as_str(), id);
    }
    assert!(stage.judge(&Check::MachineIds).passed());
    stage.identity(3, "calico-03", 'b');
    let verdict = stage.judge(&Check::MachineIds);
    assert!(matches!(verdict, Verdict::Never { why } if why.starts_with("calico-02 and calico-03")));
}

#[test]
fn clocks_agree_unless_they_certainly_do_not() {
    let mut stage = Stage::new(2);
    for index in [1, 2] {
        stage.identity(index, node(index).as_str(), 'a');
        stage.clock(index, 0, 1000);
    }
    assert!(stage.judge(&Check::Clocks).passed());
    stage.clock(2, 1500, 1000);
    assert!(stage.judge(&Check::Clocks).passed());
    stage.clock(2, -90_000, 1000);
    let verdict = stage.judge(&Check::Clocks);
    assert!(verdict.text().starts_with("the clock of calico-01 is 89.8 s ahead of that of calico-02"), "{verdict:?}");
}

#[test]
fn the_address_is_on_the_lab_device_and_nowhere_else() {
    let check = Check::Address { node: node(1) };
    let mut stage = Stage::new(3);
    assert_eq!(stage.plan.nodes[&node(1)].lab_mac, MACS[0]);
    for (index, mac) in (1..).zip(MACS) {
        stage.links(index, mac, &format!("198.18.7.{}", 10 + index));
    }
    assert_eq!(stage.judge(&check), Verdict::Pass { seen: "198.18.7.11/24 on lab0".into() });
    stage.links(2, MACS[1], "198.18.7.11");
    assert!(stage.judge(&check).text().contains("is on calico-02 too"));
    stage.links(1, MACS[0], "10.0.2.15");
    assert!(stage.judge(&check).text().contains("has 10.0.2.15/24, planned is 198.18.7.11/24"));
    stage.links(1, MACS[2], "198.18.7.11");
    assert!(matches!(stage.judge(&check), Verdict::Never { why } if why.contains("MAC")));
    stage.on_node(1, link::ask(), 0, r#"[{"ifname":"lo"}]"#);
    assert!(stage.judge(&check).text().contains("no device lab0, only lo"));
}

#[test]
fn a_link_carries_small_and_full_packets() {
    let check = Check::Link { from: node(1), to: node(2) };
    let mut stage = Stage::new(2);
    let probe = ping(&stage.plan, &node(1), &node(2));
    let head = |bytes| format!("PING 198.18.7.12 (198.18.7.12) from 198.18.7.11 lab0: 1({bytes}) bytes of data.\n");
    let count = |answered| format!("1 packets transmitted, {answered} received, time 0ms\n");
    stage.say(probe.clone(), 0, &[head(1500), count(10)].concat(), "");
    assert_eq!(stage.judge(&check), Verdict::Pass { seen: "198.18.7.12 answers 1500 bytes".into() });
    let narrow = [head(1500), count(0), head(84), count(1)].concat();
    stage.say(probe.clone(), 0, &narrow, "ping: local error: message too long, mtu=1400");
    assert!(stage.judge(&check).text().contains("and not at 1500: ping: local error"));
    stage.say(probe, 2, "", "ping: connect: Network is unreachable");
    assert!(stage.judge(&check).text().contains("Network is unreachable"));
}

#[test]
fn the_datastore_holds_address_and_block() {
    let check = Check::Datastore { node: node(2) };
    let mut stage = Stage::new(3);
    stage.datastore(2, "198.18.7.12", true);
    assert!(stage.judge(&check).passed());
    stage.datastore(2, "10.0.2.15", true);
    assert!(stage.judge(&check).text().contains("has calico-02 at 10.0.2.15, planned is 198.18.7.12"));
    stage.datastore(2, "198.18.7.12", false);
    assert!(stage.judge(&check).text().contains("no claim of 10.244.0.64/26"));
    let probe = datastore(&stage.plan, &node(2));
    stage.answers(2, [MEMBER, MEMBER]);
    assert!(stage.judge(&check).text().contains("no object of calico-02"));
    stage.say(probe.clone(), 58, "\ncurl: (58) unable to set private key file\n", "");
    assert!(stage.judge(&check).text().contains("private key"));
    stage.say(probe, 127, "", "curl: not found");
    assert!(stage.judge(&check).text().contains("curl: not found"));
    stage.answers(2, ["404 page not found", MEMBER]);
    assert!(matches!(stage.judge(&check), Verdict::NotYet { .. }));
}
