//! Every state a session can be seen in, on recorded answers of BIRD 1.6 and 2 and on states written in their form.

use jiff::Timestamp;

use super::*;
use crate::proof::samples::{Stage, node, reflected};
use crate::proof::{Check, Clock, Readings};

const ESTABLISHED: [&str; 2] = [
    include_str!("../../node/samples/bird-1.6-established.txt"),
    include_str!("../../node/samples/bird-2-established.txt"),
];

fn stage(text: &str) -> Stage {
    let mut stage = Stage::new(3);
    stage.say(bird(&node(1)), 0, text, "");
    stage
}

fn session(peer: usize) -> Check {
    Check::Session { node: node(1), peer: node(peer) }
}

/// An answer of calico-01 in BIRD's form with its sessions' state columns, states and last errors.
fn answer(rows: &[(&str, &str, &str, &str)]) -> String {
    let mut text = "BIRD 1.6.8\nRouter ID is 198.18.7.11\nCurrent server time is 2026-11-21 14:25:20\n\
                    name     proto    table    state  since       info\n"
        .to_owned();
    for (neighbor, column, state, error) in rows {
        let name = neighbor.replace('.', "_");
        let last = if error.is_empty() { String::new() } else { format!("    Last error:       {error}\n") };
        text.extend([
            format!("Mesh_{name} BGP      master   {column}     14:25:00    {state:<13} {error}\n"),
            format!("  BGP state:          {state}\n    Neighbor address: {neighbor}\n    Neighbor AS:      64512\n"),
            last,
        ]);
    }
    text
}

#[test]
fn both_birds_pass_when_old_enough() {
    for text in ESTABLISHED {
        let stage = stage(text);
        assert_eq!(stage.judge(&session(2)), Verdict::Pass { seen: "Established, AS 64512, stable 5 s".into() });
        assert!(stage.judge(&session(3)).passed());
        assert!(stage.judge(&Check::Peers { node: node(1) }).passed());
    }
}

#[test]
fn a_young_session_says_when_it_will_be_old_enough() {
    let read = |now: &str, ago: i64| {
        let text = answer(&[("198.18.7.12", "up", "Established", "")]).replace("14:25:20", now);
        let mut stage = stage(&text);
        // Its own node had all answers a second after this one, and the other node's came after the rest of the time.
        let after = |seconds| Timestamp::from_second(seconds).expect("a moment");
        for (index, answered) in [(1, 1), (2, ago)] {
            let clock = Clock { asked: after(0), first: after(0), last: after(1), answered: after(answered) };
            stage.readings.clocks.insert(node(index), clock);
        }
        stage.judge(&session(2))
    };
    let at = |now: &str| read(now, 1);
    let again = |verdict| match verdict {
        Verdict::NotYet { again_in, .. } => again_in,
        other => panic!("{other:?}"),
    };
    assert_eq!(again(at("14:25:02")), Some(Duration::from_secs(3)));
    assert_eq!(again(at("14:25:00")), Some(Duration::from_secs(5)), "it may have come at the end of that second");
    assert_eq!(again(at("14:24:59")), Some(Duration::from_secs(6)), "printed a second ahead of the clock");
    assert!(at("14:25:06").passed());
    assert_eq!(again(read("14:25:02", 3)), Some(Duration::from_secs(1)), "it ages while others are heard");
}

#[test]
fn every_state_that_is_not_established_fails_and_says_what_it_means() {
    for (state, error, meaning) in [
        ("Active", "Socket: Connection refused", "is BIRD running?"),
        ("Connect", "Socket: No route to host", "ARP"),
        ("Active", "Socket: Network is unreachable", "no route to the peer"),
        ("Active", "Socket: Connection closed", "closed at once"),
        ("Active", "Socket: Connection reset by peer", "no session configured"),
        ("Active", "Socket: Connection timed out", "dropped"),
        ("Connect", "", "not answered"),
        ("Active", "", "call again"),
        ("Passive", "", "look at the peer's end"),
        ("OpenSent", "", "not with BGP"),
        ("OpenConfirm", "", "first keepalive"),
        ("Idle", "", "after an error"),
        ("Idle", "BGP Error: Hold timer expired", "fell silent"),
        ("Passive", "Received: Administrative shutdown", "stopped"),
        ("Idle", "Received: Peer de-configured", "removed"),
        ("Idle", "Received: Connection rejected", "not this lab's BIRD"),
        ("Idle", "Received: Connection collision resolution", "both ends called"),
        ("Idle", "BGP Error: Bad BGP identifier", "same router id"),
        ("Down", "Error: No listening socket", "taken by another program"),
        ("Down", "", "disabled on this node"),
    ] {
        let verdict = stage(&answer(&[("198.18.7.12", "start", state, error)])).judge(&session(2));
        let Verdict::NotYet { why, again_in: None } = verdict else { panic!("{state} {error}: {verdict:?}") };
        assert!(why.starts_with("calico-01 towards calico-02 (198.18.7.12): "), "{why}");
        assert!(why.contains(state) && why.contains(error) && why.contains(meaning), "{why}");
    }
    let other = stage(&answer(&[("198.18.7.12", "start", "Idle", "Received: Other configuration change")]));
    assert!(other.judge(&session(2)).text().contains("Other configuration change (waits after an error)"));
}

#[test]
fn recorded_failures() {
    for (text, peer, part) in [
        (include_str!("../../node/samples/bird-1.6-passive.txt"), 2, "Passive, Received: Administrative shutdown"),
        (include_str!("../../node/samples/bird-1.6-hold.txt"), 3, "Passive, BGP Error: Hold timer expired"),
    ] {
        let verdict = stage(text).judge(&session(peer));
        assert!(matches!(&verdict, Verdict::NotYet { why, .. } if why.contains(part)), "{verdict:?}");
    }
}

#[test]
fn a_wrong_as_is_never_and_named() {
    for error in ["Received: Bad peer AS", "BGP Error: Bad peer AS"] {
        let verdict = stage(&answer(&[("198.18.7.12", "start", "Idle", error)])).judge(&session(2));
        assert!(matches!(&verdict, Verdict::Never { why } if why.contains("disagree about an AS")), "{verdict:?}");
    }
    let text = ESTABLISHED[0].replace("Neighbor AS:      64512", "Neighbor AS:      64599");
    let verdict = stage(&text).judge(&session(2));
    assert!(matches!(&verdict, Verdict::Never { why } if why.contains("AS 64599 for calico-02, planned is 64512")));
    let text = ESTABLISHED[1].replace("Local AS:         64512", "Local AS:         64599");
    assert!(matches!(stage(&text).judge(&session(2)), Verdict::Never { why } if why.contains("for calico-01")));
    let text = ESTABLISHED[0].replace("internal multihop", "external");
    assert!(matches!(stage(&text).judge(&session(2)), Verdict::Never { why } if why.contains("another AS")));
}

#[test]
fn established_is_not_enough_while_routes_are_exchanged() {
    for column in ["wait", "feed"] {
        let verdict = stage(&answer(&[("198.18.7.12", column, "Established", "")])).judge(&session(2));
        assert!(matches!(&verdict, Verdict::NotYet { why, .. } if why.contains("exchanging routes")), "{verdict:?}");
    }
    let recovering = format!("Graceful restart recovery in progress\n{}", ESTABLISHED[0]);
    assert!(!stage(&recovering).judge(&session(2)).passed());
    let source = ESTABLISHED[0].replace("Source address:   198.18.7.11", "Source address:   10.0.2.15");
    assert!(stage(&source).judge(&session(2)).text().contains("from 10.0.2.15, planned is 198.18.7.11"));
}

#[test]
fn peers_are_exactly_the_planned_ones() {
    let up = |address| (address, "up", "Established", "");
    let judge = |rows: &[_]| stage(&answer(rows)).judge(&Check::Peers { node: node(1) });
    assert!(judge(&[up("198.18.7.12"), up("198.18.7.13")]).passed());
    let text = |rows: &[_]| judge(rows).text().to_owned();
    assert_eq!(text(&[up("198.18.7.12")]), "calico-01 lacks the planned peer 198.18.7.13 (calico-03)");
    let three = [up("198.18.7.12"), up("198.18.7.13"), up("198.18.7.99")];
    assert!(text(&three).contains("not planned: 198.18.7.99 (Mesh_198_18_7_99)"));
    let twice = [up("198.18.7.12"), up("198.18.7.13"), up("198.18.7.13")];
    assert!(text(&twice).contains("not planned: 198.18.7.13"));
    assert!(text(&[]).starts_with("BIRD on calico-01 has no peer at all"));
    let other_id = ESTABLISHED[0].replace("Router ID is 198.18.7.11", "Router ID is 10.0.2.15");
    assert!(
        stage(&other_id).judge(&Check::Peers { node: node(1) }).text().contains("router id of calico-01 is 10.0.2.15")
    );
    assert!(stage(&answer(&[up("198.18.7.13")])).judge(&session(2)).text().contains("no session with calico-02"));
}

#[test]
fn with_reflectors_the_expected_peers_follow() {
    let plan = reflected(3);
    let mut stage = Stage { plan, readings: Readings::default() };
    stage.say(
        bird(&node(2)),
        0,
        &answer(&[("198.18.7.11", "up", "Established", "")]).replace("7.11\nCurr", "7.12\nCurr"),
        "",
    );
    assert!(stage.judge(&Check::Peers { node: node(2) }).passed());
    stage.say(bird(&node(3)), 0, ESTABLISHED[0], "");
    assert!(stage.judge(&Check::Peers { node: node(3) }).text().contains("not planned: 198.18.7.12"));
}

#[test]
fn a_bird_that_does_not_answer_fails_its_own_end() {
    let mut stage = Stage::new(3);
    let said = "Unable to connect to server control socket (/run/bird/bird.ctl): No such file or directory\n";
    stage.say(bird(&node(1)), 1, said, "");
    for check in [session(2), Check::Peers { node: node(1) }] {
        assert!(stage.judge(&check).text().starts_with("BIRD on calico-01 does not answer: Unable to connect"));
    }
    stage.say(bird(&node(1)), 124, "", "");
    assert!(stage.judge(&session(2)).text().contains("it said nothing"));
}

#[test]
fn calicoctl_lists_the_planned_peers_and_no_other() {
    let mut stage = Stage { plan: crate::lab::example::carried("coreos-0.15", &[]), ..Stage::new(3) };
    let healthy = crate::node::calicoctl::status::tests::HEALTHY.replace("172.18.18.", "198.18.7.");
    let check = Check::Calicoctl { node: node(1) };
    let mut told = |text: &str| {
        stage.on_node(1, crate::node::calicoctl::status::ask(), 0, text);
        stage.judge(&check)
    };
    let good = told(&healthy);
    assert_eq!((good.passed(), good.text()), (true, "Up 3 hours, 2 peers Established"));
    for (text, shown) in [
        ("calico-node container not running\n".to_owned(), "does not run on calico-01"),
        (healthy.replace("AS Number: 64511", "AS Number: 64512"), "planned is 198.18.7.101 and AS 64511"),
        (healthy.replace("IP: 198.18.7.101", "IP: 10.0.2.15"), "with 10.0.2.15"),
        (
            healthy.replacen(
                "|   up  | 03:32:40 | Established |",
                "| start | 03:32:40 | Active        Socket: Connection refused |",
                1,
            ),
            "198.18.7.102 start Active",
        ),
        (healthy.replace("198.18.7.103", "198.18.7.104"), "198.18.7.104 up Established"),
        (healthy.lines().filter(|line| !line.contains(".103")).collect::<Vec<_>>().join("\n"), "lists 1 of 2"),
        (String::new(), "says nothing"),
    ] {
        let verdict = told(&text);
        assert!(!verdict.passed() && verdict.text().contains(shown), "{shown}: {}", verdict.text());
    }
}
