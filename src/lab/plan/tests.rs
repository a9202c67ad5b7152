//! Plans of the default lab and of its variations, and what holds of all of them.

use proptest::prelude::*;

use super::super::file::tests::{primer, primer_text, read};
use super::super::pin::{Source, Trust};
use super::*;
use crate::lab::addressing;

fn made(sets: &[&str]) -> Plan {
    of(&primer(sets), &pinned())
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("JSON")
}

fn of(lab: &Lab, lock: &Lock) -> Plan {
    plan(lab, lock, &"demo".parse().expect("a name"), LabNet("198.18.7.0/24".parse().expect("a range")))
}

/// A lock that has everything but dnsmasq, whose digest nobody published.
fn pinned() -> Lock {
    let pins =
        primer(&[]).artifacts.into_iter().filter(|artifact| artifact.name != "dnsmasq-base").map(|artifact| Pin {
            name: artifact.name,
            version: "1.0".into(),
            arch: Arch::Amd64,
            source: artifact.source,
            digest: format!("sha256:{}", "ab".repeat(32)).parse().expect("a digest"),
            bytes: Some(1000),
            trust: Trust::Published,
            found: "a test".into(),
        });
    Lock { pins: pins.collect(), ..Lock::empty() }
}

#[test]
fn the_default() {
    insta::assert_snapshot!(json(&made(&[])));
}

#[test]
fn machines_on_other_servers_have_smaller_packets() {
    let away = Away { remote: "class".into(), targets: vec!["north".into()] };
    let (here, there) = (made(&["placement=pack"]), made(&["placement=pack"]).away(away.clone()));
    assert_eq!((here.network.mtu, there.network.mtu), (1500, 1450));
    insta::assert_snapshot!(json(&(there.placement, &there.away)), @r#"
    [
      "pack",
      {
        "remote": "class",
        "targets": [
          "north"
        ]
      }
    ]
    "#);
    assert_eq!(made(&["network.mtu=1400"]).away(away).network.mtu, 1400);
    // Nothing of it stands in a plan for this host, and a plan of before there was any of it is read as one.
    let mut old = serde_json::to_value(&here).expect("JSON");
    old.as_object_mut().expect("an object").remove("placement");
    assert_eq!(serde_json::from_value::<Plan>(old).expect("a plan"), Plan { placement: Placement::Spread, ..here });
}

#[test]
fn four_nodes() {
    insta::assert_snapshot!(json(&made(&["--nodes 4"]).nodes));
}

#[test]
fn reflectors() {
    let plan = made(&["--nodes 4", "bgp.mesh=off", "bgp.reflectors=calico-01,calico-03"]);
    let peers = plan.nodes.map(|_, node| {
        let told = |peer: &Peer| format!("{} {:?}{}", peer.node, peer.kind, if peer.passive { " passive" } else { "" });
        node.peers.iter().map(told).collect::<Vec<_>>()
    });
    insta::assert_snapshot!(json(&(plan.bgp, peers)));
}

#[test]
fn a_saved_plan_is_the_same_plan() {
    let plan = made(&[]);
    let saved = serde_json::to_string(&plan).expect("JSON");
    assert_eq!(serde_json::from_str::<Plan>(&saved).expect("a plan"), plan);
}

#[test]
fn a_pin_of_another_source_is_no_pin() {
    let mut lock = pinned();
    lock.pins[0].source = Source::Apt { package: "bird".into(), suite: "trixie".into() };
    lock.missing.push(Wanted {
        name: "dnsmasq-base".into(),
        version: None,
        arch: Arch::Amd64,
        source: Source::Apt { package: "dnsmasq-base".into(), suite: "bookworm".into() },
        why: "the archive dropped it".into(),
    });
    let plan = of(&primer(&[]), &lock);
    let missing: Vec<(&str, &str)> = plan.missing.iter().map(|wanted| (&*wanted.name, &*wanted.why)).collect();
    assert_eq!(
        missing,
        [("bird", "the lock pins another version or source"), ("dnsmasq-base", "the archive dropped it")]
    );
}

#[test]
fn dns_answers_from_two_nodes_whose_traffic_crosses_bgp() {
    for (count, servers) in [(2, [0, 1]), (3, [1, 2]), (9, [1, 2])] {
        let plan = made(&[&format!("--nodes {count}")]);
        let on: Vec<usize> = plan.dns_servers().map(|(name, _)| plan.nodes[name].index).collect();
        assert_eq!(on, servers);
    }
}

/// Every way to ask for reflectors: each node is one, or not; none means a mesh.
fn routing() -> impl Strategy<Value = (usize, Vec<bool>)> {
    (2usize..=9).prop_flat_map(|count| (Just(count), prop::collection::vec(any::<bool>(), count)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_session_has_two_ends_of_which_one_calls((count, reflects) in routing()) {
        let reflectors: Vec<String> =
            reflects.iter().zip(1..).filter(|(on, _)| **on).map(|(_, number)| format!("calico-{number:02}")).collect();
        let mesh = if reflectors.is_empty() { "on" } else { "off" };
        let sets = [format!("nodes.count={count}"), format!("bgp.mesh={mesh}"), format!("bgp.reflectors={}", reflectors.join(","))];
        let plan = made(&sets.each_ref().map(String::as_str));
        for (name, node) in plan.nodes.iter() {
            prop_assert!(!node.peers.is_empty(), "{name} is alone");
            for peer in &node.peers {
                let other = &plan.nodes[&peer.node];
                prop_assert_eq!(peer.address, other.address);
                let back: Vec<&Peer> = other.peers.iter().filter(|back| back.node == *name).collect();
                prop_assert_eq!(back.len(), 1, "{} lists {} once", peer.node, name);
                prop_assert!(back[0].passive != peer.passive, "one end calls");
                let kinds = [peer.kind, back[0].kind];
                prop_assert!(kinds == [PeerKind::Mesh; 2] || (kinds.contains(&PeerKind::Client) && kinds.contains(&PeerKind::Reflector)));
            }
        }
        if reflectors.is_empty() {
            prop_assert!(plan.nodes.values().all(|node| node.peers.len() == count - 1));
        }
    }

    #[test]
    fn blocks_are_apart_and_inside_the_pool(count in 2usize..=9, pods in 8u8..=22, block in 20u8..=27, net in 0u8..=255) {
        prop_assume!(block >= pods + 4);
        let text = primer_text()
            .replace("10.244.0.0/16", &format!("44.0.0.0/{pods}"))
            .replace("block: 26", &format!("block: {block}"));
        let lab = read(&text, &[&format!("--nodes {count}")]).expect("right");
        let lab_net = LabNet(format!("198.18.{net}.0/24").parse().expect("a range"));
        let plan = plan(&lab, &Lock::empty(), &"demo".parse().expect("a name"), lab_net);
        prop_assert_eq!(plan.nodes.len(), count);
        let nodes: Vec<&NodePlan> = plan.nodes.values().collect();
        for (i, node) in nodes.iter().enumerate() {
            prop_assert!(lab_net.0.contains(&node.address));
            prop_assert!(plan.network.pods.contains(&node.block) && node.block.trunc() == node.block);
            let usable = [addressing::dns_pod(node.block), addressing::first_free_pod(node.block), addressing::unused_pod(node.block)];
            for (n, address) in usable.iter().enumerate() {
                prop_assert!(node.block.contains(address) && *address != node.block.broadcast());
                prop_assert!(!usable[..n].contains(address), "three pods, three addresses");
            }
            prop_assert!(addressing::samples(node.block).iter().all(|address| node.block.contains(address)));
            for other in &nodes[..i] {
                prop_assert!(!addressing::overlap(node.block, other.block));
                prop_assert!(node.address != other.address && node.lab_mac != other.lab_mac && node.nat_mac != other.nat_mac);
            }
            prop_assert!(node.lab_mac != node.nat_mac);
        }
    }
}
