//! Recorded answers of BIRD 1.6.8 and 2.0.12.

use super::*;

const ESTABLISHED_1: &str = include_str!("../samples/bird-1.6-established.txt");
const ESTABLISHED_2: &str = include_str!("../samples/bird-2-established.txt");

fn session(text: &str, neighbor: &str) -> (Protocol, Bgp) {
    let bird = Bird::parse(text).expect("a table");
    let wanted = Some(neighbor.parse().expect("an address"));
    bird.sessions()
        .find(|(_, bgp)| bgp.neighbor == wanted)
        .map(|(protocol, bgp)| (protocol.clone(), bgp.clone()))
        .expect("the neighbour is there")
}

#[test]
fn both_versions_give_the_same_value() {
    for (text, version, local_as) in [(ESTABLISHED_1, "1.6.8", None), (ESTABLISHED_2, "2.0.12", Some(64512))] {
        let bird = Bird::parse(text).expect("a table");
        assert_eq!(bird.version.as_deref(), Some(version));
        assert_eq!(bird.router_id, Some(Ipv4Addr::new(198, 18, 7, 11)));
        assert!(bird.now.is_some() && !bird.recovering);
        assert_eq!(bird.protocols.len(), 6);
        assert_eq!(bird.sessions().count(), 2);
        let (protocol, bgp) = session(text, "198.18.7.12");
        assert_eq!((protocol.name.as_str(), protocol.state.as_str()), ("Mesh_198_18_7_12", "up"));
        assert!(bgp.established());
        assert_eq!(
            bgp,
            Bgp {
                state: "Established".into(),
                neighbor: Some(Ipv4Addr::new(198, 18, 7, 12)),
                neighbor_as: Some(64512),
                local_as,
                internal: Some(true),
                source: Some(Ipv4Addr::new(198, 18, 7, 11)),
                last_error: None,
                hold: bgp.hold,
                keepalive: bgp.keepalive,
            }
        );
        assert!(bgp.hold.is_some_and(|(left, whole)| left <= whole && whole > 0.0), "{:?}", bgp.hold);
        assert!(bgp.keepalive.is_some_and(|every| every > 0.0));
    }
}

#[test]
fn sessions_that_are_not_up_keep_their_state_and_last_error() {
    for (text, neighbor, state, error) in [
        (
            include_str!("../samples/bird-1.6-passive.txt"),
            "198.18.7.12",
            "Passive",
            "Received: Administrative shutdown",
        ),
        (include_str!("../samples/bird-1.6-refused.txt"), "198.18.7.12", "Active", "Socket: Connection refused"),
        (include_str!("../samples/bird-1.6-hold.txt"), "198.18.7.13", "Passive", "BGP Error: Hold timer expired"),
        (include_str!("../samples/bird-1.6-bad-as.txt"), "198.18.7.12", "Active", "BGP Error: Bad peer AS"),
        (include_str!("../samples/bird-2-refused.txt"), "198.18.7.12", "Active", "Socket: Connection refused"),
    ] {
        let (protocol, bgp) = session(text, neighbor);
        assert_eq!(protocol.state, "start");
        assert!(!bgp.established());
        assert_eq!((bgp.state.as_str(), bgp.last_error.as_deref()), (state, Some(error)));
    }
}

#[test]
fn a_plain_table_is_read_too() {
    let text = "BIRD 1.6.8 ready.\n\
        name     proto    table    state  since       info\n\
        kernel1  Kernel   master   up     14:24:48    \n\
        Mesh_198_18_7_12 BGP      master   start  2026-11-20    Active        Socket: Connection refused\n\
        Mesh_198_18_7_13 BGP      master   up     2026-11-21 14:24:49  Established\n\
        Off      BGP      master   down   14:24:48    \n\
        Taken    BGP      master   down   14:24:48    Error: No listening socket\n";
    let bird = Bird::parse(text).expect("a table");
    let rows: Vec<_> = bird.sessions().collect();
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[0].1.last_error.as_deref(), Some("Socket: Connection refused"));
    assert_eq!(rows[0].0.since, Since::Date(Date::constant(2026, 11, 20)));
    assert!(rows[1].1.established());
    assert!(matches!(rows[1].0.since, Since::Both(_)));
    assert_eq!((rows[2].1.state.as_str(), &rows[2].1.last_error), ("", &None));
    assert_eq!(rows[3].0.info, "Error: No listening socket");
}

#[test]
fn what_is_no_answer_of_bird_is_an_error() {
    let gone = "Unable to connect to server control socket (/run/bird/bird.ctl): No such file or directory\n";
    assert!(matches!(Bird::parse(gone), Err(BirdError::NoTable(text)) if text.starts_with("Unable")));
    assert!(Bird::parse("").is_err());
}

#[test]
fn recovery_is_seen() {
    let text = "Daemon is up and running\nGraceful restart recovery in progress\n  Waiting for 2 protocols to recover\n\
                name     proto    table    state  since       info\n";
    assert!(Bird::parse(text).expect("a table").recovering);
}

#[test]
fn age_is_the_least_it_can_be() {
    let at = |since: &str, now: &str| {
        let text = format!("name proto table state since info\nm BGP master up {since} Established\n");
        let bird = Bird::parse(&text).expect("a table");
        bird.protocols[0].age(now.parse().expect("a moment")).map(|age| age.as_millis())
    };
    assert_eq!(at("14:24:49", "2026-11-21 14:24:55"), Some(5000), "whole seconds: up to one less");
    assert_eq!(at("14:26:24.221", "2026-11-21 14:26:29.721"), Some(5500));
    assert_eq!(at("23:59:58", "2026-11-22 00:00:04"), Some(5000), "over midnight");
    assert_eq!(at("14:24:51", "2026-11-21 14:24:50"), Some(0), "a moment ahead of the clock is no day ago");
    assert_eq!(at("2026-11-21 23:59:58", "2026-11-22 00:00:04"), Some(5000));
    assert_eq!(at("2026-11-19 14:00:00.000001", "2026-11-21 14:00:00.000001"), Some(172_800_000), "longer than a day");
    assert_eq!(at("2026-11-20", "2026-11-21 14:00:00"), Some(72_000_000));
    assert_eq!(at("soon", "2026-11-21 14:00:00"), None);
}

#[test]
fn what_has_passed_since_the_read_is_not_waited_for_again() {
    let old_enough_in = |since: &str, now: &str, runs: &str, ago: u64| {
        let text = format!(
            "Current server time is {now}\n{runs}\nname proto table state since info\nm BGP master up {since} x\n"
        );
        let bird = Bird::parse(&text).expect("a table");
        let wait = bird.protocols[0].old_enough_in(Duration::from_secs(5), &bird, Duration::from_millis(ago));
        wait.map(|wait| (wait.as_micros() + 500) / 1000)
    };
    let (since, now) = ("14:24:49", "2026-11-21 14:24:51");
    assert_eq!(old_enough_in(since, now, "Node runs 66100", 0), Some(4000));
    assert_eq!(old_enough_in(since, now, "Node runs 66170", 0), Some(3300), "most of the next second has passed");
    assert_eq!(old_enough_in(since, now, "Node runs 66170", 1100), Some(2200));
    assert_eq!(old_enough_in(since, now, "Node runs 66170", 9000), Some(0));
    assert_eq!(old_enough_in(since, now, "Node runs ", 500), Some(3500), "nobody knows how much of it");
    assert_eq!(old_enough_in("14:24:51", now, "Node runs 66150", 0), Some(5500), "not before the end of its second");
    assert_eq!(old_enough_in("14:00:00", now, "Node runs 66100", 0), Some(0));
    assert_eq!(old_enough_in("soon", now, "Node runs 66100", 0), None);
    let exact = |ago| old_enough_in("14:24:49.100", "2026-11-21 14:24:51.300", "Node runs 66170", ago);
    assert_eq!(exact(200), Some(2600), "BIRD 2 tells fractions");
}
