//! Recorded answers of both BIRDs, some time later and with sessions that are not the same.

use super::*;
use crate::proof::samples::{self, NONCE, Stage, node};
use crate::proof::{Check, Probe, Reading};

const OLD: &str = include_str!("../../node/samples/bird-1.6-established.txt");
const NEW: &str = include_str!("../../node/samples/bird-2-established.txt");

/// What two nodes' BIRDs say, as a proof: of the second node with its address and the first one's in each other's place.
fn proof(first: &str, second: &str) -> Proof {
    let mut stage = Stage::new(2);
    let swapped = second.replace("198.18.7.11", "X").replace("198.18.7.12", "198.18.7.11").replace('X', "198.18.7.12");
    stage.say(session::bird(&node(1)), 0, first, "");
    stage.say(session::bird(&node(2)), 0, &swapped, "");
    let mut proof = samples::proof(&stage.plan, &[]);
    proof.readings = stage.readings.by_probe.into_values().collect();
    proof
}

/// BIRD 1.6's answer with another clock, other moments and another run.
fn at(now: &str, booted: &str, since: &str, run: &str) -> String {
    OLD.replace("Current server time is 2026-11-21 14:25:30", &format!("Current server time is {now}"))
        .replace("Last reboot on 2026-11-21 14:25:21", &format!("Last reboot on {booted}\nRun {run}"))
        .replace("up     14:25:22    Established", &format!("up     {since}    Established"))
}

#[track_caller]
fn anew(before: &str, now: &str) -> Option<bool> {
    let plan = samples::plan(2);
    // The other end stays as it was.
    let found = flapped(&proof(before, before), &proof(now, before), &plan);
    assert!(found.len() < 2);
    found.first().map(|flap| {
        assert_eq!(flap.nodes(), [&node(1), &node(2)]);
        assert!(flap.ends[0].anew && !flap.ends[1].anew, "{flap:?}");
        flap.ends[0].restarted
    })
}

#[test]
fn a_session_that_is_the_same_is_no_flap_however_it_is_printed() {
    let before = at("2026-11-21 14:25:30", "2026-11-21 14:25:21", "14:25:22", "a");
    for (now, booted, since, why) in [
        ("2026-11-21 15:00:00", "2026-11-21 14:25:21", "14:25:22", "later"),
        ("2026-11-21 15:00:00", "2026-11-21 14:25:23", "14:25:22", "one moment, two seconds apart"),
        ("2026-11-21 15:00:00", "2026-11-21 14:25:20", "14:25:23", "and the other way"),
        ("2027-03-01 02:00:00", "2027-03-01 01:25:21", "01:25:22", "somebody set the clock on"),
        ("2020-01-01 00:00:30", "2020-01-01 00:00:01", "00:00:02", "somebody set it back"),
        ("2020-01-01 00:00:30", "2019-12-31 23:59:59", "00:00:00", "over midnight"),
        ("2026-11-22 14:25:20", "2026-11-21 14:25:21", "2026-11-21", "by its date"),
        ("2026-12-24 20:00:00", "2026-11-21 14:25:21", "2026-11-21", "weeks later"),
        ("2026-11-23 20:00:00", "2026-11-21 14:25:21", "14:25:22", "by its time of day, though it is of another day"),
    ] {
        assert_eq!(anew(&before, &at(now, booted, since, "a")), None, "{why}");
    }
    let (one, other) = (NEW.to_owned(), NEW.replace("14:26:30.438", "18:26:30.438"));
    assert_eq!(anew(&one, &other), None);
    let dated = at("2026-11-23 14:25:30", "2026-11-20 14:25:21", "2026-11-21", "a");
    assert_eq!(anew(&dated, &at("2026-11-26 14:25:30", "2026-11-20 14:25:21", "2026-11-21", "a")), None);
}

#[test]
fn a_session_that_began_since_then_is_one() {
    let before = at("2026-11-21 14:25:30", "2026-11-21 14:25:21", "14:25:22", "a");
    for (now, booted, since, why) in [
        ("2026-11-21 15:00:00", "2026-11-21 14:25:21", "14:25:31", "a second after the proof"),
        ("2026-11-21 15:00:00", "2026-11-21 14:25:21", "14:59:50", "just now"),
        ("2026-11-22 00:00:05", "2026-11-21 14:25:21", "23:59:58", "over midnight"),
        ("2027-03-01 02:00:00", "2027-03-01 01:25:21", "01:59:00", "though somebody set the clock"),
        ("2026-11-24 20:00:00", "2026-11-21 14:25:21", "2026-11-23", "on a later day"),
    ] {
        assert_eq!(anew(&before, &at(now, booted, since, "a")), Some(false), "{why}");
    }
    let dated = at("2026-11-23 14:25:30", "2026-11-20 14:25:21", "2026-11-21", "a");
    assert_eq!(anew(&dated, &at("2026-11-23 20:00:00", "2026-11-20 14:25:21", "19:59:00", "a")), Some(false));
    let anew_2 = NEW.replace("2026-11-21 14:26:30.438", "2026-11-21 15:00:00.000").replace("14:26:24.", "14:59:24.");
    assert_ne!(NEW, anew_2, "the sample changed");
    assert_eq!(anew(NEW, &anew_2), Some(false));
}

#[test]
fn a_bird_that_was_started_anew_is_named() {
    let before = at("2026-11-21 14:25:30", "2026-11-21 14:25:21", "14:25:22", "a");
    // Its session is as old in its life as the one before was.
    let now = at("2026-11-21 15:00:00", "2026-11-21 14:55:21", "14:55:22", "b");
    assert_eq!(anew(&before, &now), Some(true));
    let flap = &flapped(&proof(&before, &before), &proof(&now, &before), &samples::plan(2))[0];
    let text = flap.to_string();
    assert!(text.contains("calico-01: up for 5 min; its BIRD was started anew 5 min ago"), "{text}");
    assert!(text.contains("calico-02: up for 8 s, as then"), "{text}");
    // Without systemd's word it is known only if it is younger.
    let (old, young) = (before.replace("Run a\n", ""), now.replace("Run b\n", ""));
    assert_eq!(anew(&old, &young), None);
    assert_eq!(anew(&now.replace("Run b\n", ""), &old), Some(true));
}

#[test]
fn what_was_not_up_or_not_asked_is_no_flap() {
    let before = at("2026-11-21 14:25:30", "2026-11-21 14:25:21", "14:25:22", "a");
    let now = at("2026-11-21 15:00:00", "2026-11-21 14:25:21", "14:59:00", "a");
    let down = now.replace("BGP state:          Established", "BGP state:          Active");
    assert_eq!(anew(&before, &down), None);
    assert_eq!(anew(&down, &now), None);
    assert_eq!(anew(&before, "Unable to connect"), None);
    assert_eq!(anew(&before, &now.replace("Last reboot on", "Last time on")), None);
    let mut unasked = proof(&now, &now);
    let gone = |reading: &mut Reading| reading.answer = Answer::Unasked("gone".into());
    unasked.readings.iter_mut().for_each(gone);
    assert!(flapped(&proof(&before, &before), &unasked, &samples::plan(2)).is_empty());
}

#[test]
fn the_answer_is_the_one_that_sessions_are_judged_by() {
    let stage = Stage::new(2);
    let check = Check::Session { node: node(1), peer: node(2) };
    let asked: Vec<Probe> = check.probes(&stage.scene());
    assert_eq!(asked, [session::bird(&node(1))]);
    assert_eq!(stage.scene().nonce, NONCE);
}
