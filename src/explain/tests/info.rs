//! Each text that BIRD shows of a session that is not up, with what was behind it.

use super::*;

const REFUSED: (&str, &str) = ("Active", "Socket: Connection refused");

/// Each text that BIRD shows of a session that is not up, with what was behind it.
#[test]
fn every_info_text_leads_to_its_cause() {
    let stopped = |stage: Case| {
        let stage = stage.silent().change(
            2,
            What::Units,
            "ActiveState=active\nSubState=running",
            "ActiveState=inactive\nSubState=dead",
        );
        stage.change(2, What::Listeners, ":179 ", ":180 ")
    };
    stopped(healthy().half(3, 2, REFUSED.0, REFUSED.1)).is("bird-stopped");
    stopped(healthy().half(3, 2, "Passive", "Socket: Connection closed")).is("bird-stopped");
    healthy().silent().frozen().half(3, 2, "Active", "BGP Error: Hold timer expired").is("bird-hung");
    for text in ["Active", "Connect"] {
        let stage = healthy().half(3, 2, text, "Socket: No route to host");
        stage.rules(2, "input", "tcp dport 179 reject").is("port-rejected");
    }
    let dropped = "tcp dport 179 drop\n\t\ttcp sport 179 drop";
    let timed_out = healthy().halves(("Passive", ""), ("Connect", "Socket: Connection timed out"));
    timed_out.rules(2, "input", dropped).rules(2, "output", dropped).is("port-dropped");
    healthy().halves(("Passive", ""), ("Connect", "")).rules(2, "input", dropped).is("port-one-way");
    healthy().half(3, 2, "Active", "Socket: Host is unreachable").down().is("link-down");
    for lost in ["Error: Neighbor lost", "Error: Link down", "Error: Invalid next hop"] {
        healthy().half(3, 2, "Idle", lost).down().is("link-down");
    }
    let lossy = healthy().half(3, 2, "Idle", "Received: Hold timer expired").rules(
        2,
        "input",
        "numgen random mod 100 < 60 drop",
    );
    lossy.is("loss");
    let template = "template bgp bgp_template {";
    let secret = |stage: Case| {
        stage.change(2, What::BirdConf, template, &format!("{template}\n  password \"removed\";")).add(
            2,
            What::BirdConf,
            "# password 1a2b3c4d\n",
        )
    };
    secret(healthy().halves(("Passive", ""), ("Connect", ""))).is("password");
    healthy()
        .halves(("Idle", "Received: Bad peer AS"), ("Idle", "BGP Error: Bad peer AS"))
        .change(2, What::BirdConf, " as 64512;", " as 64999;")
        .is("wrong-as");
    let (two, three) = (healthy().address(2), healthy().address(3));
    let ids = healthy().halves(("Idle", "BGP Error: Bad BGP identifier"), ("Idle", "Received: Bad BGP identifier"));
    ids.change(2, What::Bird, &format!("Router ID is {two}"), &format!("Router ID is {three}")).is("router-id");
    healthy().halves(("Down", ""), ("Active", "Received: Administrative shutdown")).is("session-disabled");
    for text in ["Socket: Connection reset by peer", "Socket: Connection closed", "Received: Peer de-configured"] {
        // One side is missing: the peer accepts and resets.
        let name = format!("Mesh_{}", three.replace('.', "_"));
        let mut stage = healthy().half(3, 2, "Active", text);
        let output = stage.output(2, What::Bird);
        let at = output.stdout.find(&name).expect("it is there");
        output.stdout.truncate(at);
        stage.change(2, What::BirdConf, &format!("neighbor {three} as"), "neighbor 192.0.2.1 as").is("peer-missing");
    }
    for (own, far) in
        [("Error: No listening socket", "Socket: Connection refused"), ("", "Received: Connection rejected"), ("", "")]
    {
        let stage = healthy().halves((if own.is_empty() { "Passive" } else { "Down" }, own), ("OpenSent", far));
        let cause = stage.change(2, What::Listeners, "((\"bird\"", "((\"gobgpd\"").is("port-taken");
        assert!(cause.says.contains("gobgpd"), "{}", cause.says);
    }
    let moved = healthy().half(3, 2, "Active", "Socket: Network is unreachable").fails("address.calico-02", "gone");
    moved.change(2, What::Links, &format!("\"local\":\"{two}\""), "\"local\":\"192.0.2.7\"").is("address-missing");
    let object = registered(&healthy(), 2);
    // Its address is another machine's, or nobody's, or what answers there does not know who calls.
    for text in ["Socket: Connection closed", "Socket: Connection refused", "Socket: Connection reset by peer"] {
        let mut stage = healthy().half(3, 2, "Active", text).fails("datastore.calico-02", "at 10.0.2.15");
        for index in 1..=3 {
            stage = stage.change(index, What::Datastore, &object.0, &object.1);
        }
        let cause = stage.is("wrong-address");
        assert!(cause.evidence.iter().any(|side| side.saw.contains("the NAT card")), "{cause:#?}");
    }
}

/// What no rule decides is said, with what would decide and what both ends said.
#[test]
fn what_cannot_be_decided_is_said() {
    for text in [
        "Received: Administrative reset",
        "Received: Other configuration change",
        "Received: Connection collision resolution",
        "BGP Error: Unacceptable hold time",
        "BGP Error: Required capability missing",
        "BGP Error: No supported AFI/SAFI",
        "BGP Error: Authentication failure",
        "Error: BFD session down",
        "Error: Kernel MD5 auth failed",
        "Automatic shutdown: Route limit exceeded",
    ] {
        let open = healthy().halves(("Idle", text), ("Passive", "")).undecided();
        let last = open.last().expect("at least one");
        assert_eq!(last.id, "unseen");
        assert!(last.decides.contains("tcpdump") && last.decides.contains(text), "{}", last.decides);
    }
    // A firewall that cannot be read leaves what it may do open.
    let mut stage = healthy().halves(("Passive", ""), ("Connect", ""));
    *stage.output(2, What::Firewall) =
        Output { ended: Ended::Exit(127), stdout: String::new(), stderr: "no nft".into() };
    let open = stage.undecided();
    let ids: Vec<&str> = open.iter().map(|one| one.id.as_str()).collect();
    assert!(ids.contains(&"port-dropped") && ids.contains(&"port-rejected") && !ids.contains(&"password"), "{ids:?}");
    assert!(open.iter().any(|one| one.decides.contains("nft") && one.decides.contains("calico-02")));
}
