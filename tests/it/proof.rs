//! Proofs of living BIRD 1.6 and 2 in network namespaces: what is right passes, and each fault fails where it is.

use std::time::Duration;

use calicolab::cmd::verify::show::{Outcome, choose, earliest, outcome};
use calicolab::event::{Event, Events};
use calicolab::proof::expect::expect;
use calicolab::proof::round::{Pace, prove};
use calicolab::proof::{Finding, Proof, Verdict, judge_again};

use crate::support::birds::{Birds, Flavour, Twist};
use crate::support::pods;
use crate::support::waiting::eventually;

const BOTH: [Flavour; 2] = [Flavour::One, Flavour::Two];
const UNDERLAY: &[&str] = &["address", "link", "peers", "session", "route"];

async fn take(birds: &Birds, words: &[&str], patience_s: u64) -> Proof {
    let words: Vec<String> = words.iter().map(|word| (*word).into()).collect();
    let checks = choose(&expect(&birds.plan), &words).expect("such checks are planned");
    let (events, _reader) = Events::channel();
    prove(&birds.plan, &checks, &birds.askers(), Pace::AtOnce, Duration::from_secs(patience_s), &events).await
}

/// Proofs of one round each, until one of these checks does not hold.
async fn until_failing(birds: &Birds, id: &str) -> Proof {
    let end = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let proof = take(birds, UNDERLAY, 0).await;
        if !find(&proof, id).verdict.passed() {
            return proof;
        }
        assert!(tokio::time::Instant::now() < end, "{id} holds for 60 s");
    }
}

fn find<'a>(proof: &'a Proof, id: &str) -> &'a Finding {
    proof.findings.iter().find(|finding| finding.id.as_str() == id).expect("it was chosen")
}

fn failing(proof: &Proof) -> Vec<String> {
    let all = proof.findings.iter().filter(|finding| !finding.verdict.passed());
    all.map(|finding| format!("{}: {}", finding.id, finding.verdict.text())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mesh_of_three_passes_and_can_be_judged_again() {
    for flavour in BOTH {
        let birds = Birds::new(flavour, 3, &[]);
        let proof = take(&birds, UNDERLAY, 30).await;
        assert_eq!(failing(&proof), [""; 0], "{flavour:?}");
        assert_eq!(outcome(&proof), Outcome::Proven);
        let text = serde_json::to_string(&proof).expect("JSON");
        let saved: Proof = serde_json::from_str(&text).expect("the same");
        assert_eq!(saved, proof);
        let again = judge_again(&saved, &birds.plan);
        assert_eq!(again.len(), proof.findings.len());
        for ((id, verdict), finding) in again.iter().zip(&proof.findings) {
            assert_eq!((id, verdict), (&finding.id, &finding.verdict));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn few_rounds_are_asked_and_changes_alone_are_told() {
    let birds = Birds::new(Flavour::One, 2, &[]);
    let first = take(&birds, UNDERLAY, 30).await;
    assert_eq!(failing(&first), [""; 0]);
    let (events, mut reader) = Events::channel();
    let checks = choose(&expect(&birds.plan), &["session".into(), "route".into()]).expect("planned");
    let proof = prove(&birds.plan, &checks, &birds.askers(), Pace::AtOnce, Duration::from_secs(10), &events).await;
    drop(events);
    assert_eq!(proof.rounds, 1, "everything holds at the first look");
    assert_eq!(proof.readings.len(), 4, "two probes a node, however many checks share them");
    let mut told = Vec::new();
    while let Some(stamped) = reader.recv().await {
        if let Event::Check { check, .. } = stamped.event {
            told.push(check);
        }
    }
    assert_eq!(told.len(), checks.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_link_turns_both_halves_into_not_yet() {
    for flavour in BOTH {
        let birds = Birds::new(flavour, 3, &[]);
        assert_eq!(failing(&take(&birds, UNDERLAY, 30).await), [""; 0], "{flavour:?}");
        birds.cut(2);
        let proof = until_failing(&birds, "session.calico-01.calico-03").await;
        assert!(matches!(find(&proof, "session.calico-01.calico-03").verdict, Verdict::NotYet { .. }));
        let proof = until_failing(&birds, "session.calico-03.calico-01").await;
        assert!(!find(&proof, "link.calico-01.calico-03").verdict.passed());
        assert!(find(&proof, "session.calico-01.calico-02").verdict.passed(), "the others stay up");
        let first = earliest(&proof).expect("something fails");
        assert_eq!(first.id.as_str(), "address.calico-03", "the cable is earlier in the chain than the session");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn established_without_a_usable_route_fails_at_the_route() {
    for flavour in BOTH {
        let birds = Birds::new(flavour, 3, &[(0, Twist::NoDirect)]);
        let proof = take(&birds, UNDERLAY, 6).await;
        let failing = failing(&proof);
        assert_eq!(failing.len(), 2, "{flavour:?}: {failing:#?}");
        assert!(failing.iter().all(|line| line.starts_with("route.calico-01.10.244.0.")), "{failing:#?}");
        assert!(find(&proof, "session.calico-01.calico-02").verdict.passed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_as_is_named_and_not_waited_for() {
    for flavour in BOTH {
        let birds = Birds::new(flavour, 3, &[(1, Twist::WrongAs)]);
        let proof = take(&birds, UNDERLAY, 90).await;
        assert!(proof.took < Duration::from_secs(80), "{flavour:?}: nothing heals it, so nothing is waited for");
        let never: Vec<&Finding> =
            proof.findings.iter().filter(|finding| matches!(finding.verdict, Verdict::Never { .. })).collect();
        assert!(!never.is_empty(), "{flavour:?}: {:#?}", failing(&proof));
        for finding in never {
            assert!(finding.id.as_str().starts_with("session.") && finding.id.as_str().contains("calico-02"));
            assert!(finding.verdict.text().contains(" AS"), "{}", finding.verdict.text());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extra_peer_fails() {
    for flavour in BOTH {
        let birds = Birds::new(flavour, 2, &[(0, Twist::ExtraPeer)]);
        let proof = take(&birds, UNDERLAY, 6).await;
        let failing = failing(&proof);
        assert_eq!(failing.len(), 1, "{flavour:?}: {failing:#?}");
        assert!(
            failing[0].starts_with("peers.calico-01: ") && failing[0].contains("198.18.7.99 (Extra)"),
            "{failing:#?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_bird_fails_at_both_ends_and_heals() {
    for flavour in BOTH {
        let mut birds = Birds::new(flavour, 3, &[]);
        assert_eq!(failing(&take(&birds, UNDERLAY, 30).await), [""; 0], "{flavour:?}");
        birds.stop(1);
        let proof = take(&birds, &["session"], 1).await;
        let ids: Vec<&str> =
            proof.findings.iter().filter(|one| !one.verdict.passed()).map(|one| one.id.as_str()).collect();
        let four = ["01.calico-02", "02.calico-01", "02.calico-03", "03.calico-02"];
        assert_eq!(ids, four.map(|pair| format!("session.calico-{pair}")), "{flavour:?}");
        assert!(
            find(&proof, "session.calico-02.calico-01").verdict.text().starts_with("BIRD on calico-02 does not answer")
        );
        birds.start(1);
        assert_eq!(failing(&take(&birds, UNDERLAY, 30).await), [""; 0], "{flavour:?}: healed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_gone_is_unknown_and_not_called_broken() {
    let mut birds = Birds::new(Flavour::One, 2, &[]);
    birds.lose(1);
    let proof = take(&birds, &["peers.calico-02", "session.calico-02", "route.calico-02"], 1).await;
    assert_eq!(outcome(&proof), Outcome::Unasked);
    for finding in &proof.findings {
        assert!(
            matches!(&finding.verdict, Verdict::Unknown { why } if why.starts_with("calico-02 could not be asked"))
        );
    }
    assert!(proof.clocks.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn fresh_containers_reach_each_other_and_are_gone_afterwards() {
    let birds = Birds::new(Flavour::One, 3, &[]);
    pods::give(&birds);
    let proof = take(&birds, &["session", "route", "packet"], 30).await;
    assert_eq!(failing(&proof), [""; 0]);
    pods::until_none(&birds).await;
    let again = take(&birds, &["packet"], 30).await;
    assert_eq!(failing(&again), [""; 0]);
    assert_ne!(proof.nonce, again.nonce);
    pods::until_none(&birds).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_for_an_address_that_nobody_has_is_found() {
    let birds = Birds::new(Flavour::One, 2, &[]);
    pods::give(&birds);
    pods::inside(&birds, 1, &["ip", "addr", "add", "10.244.0.126/32", "dev", "lo"]);
    let proof = take(&birds, &["packet"], 6).await;
    let failing = failing(&proof);
    assert_eq!(failing.len(), 1, "{failing:#?}");
    assert!(
        failing[0].contains("calico-01 gets an answer from 10.244.0.126, which nobody on calico-02 has"),
        "{failing:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn small_packets_through_and_large_ones_not_is_told_apart() {
    let birds = Birds::new(Flavour::One, 2, &[]);
    pods::give(&birds);
    for index in [0, 1] {
        pods::inside(&birds, index, &["ip", "link", "set", "lab0", "mtu", "1400"]);
    }
    let proof = take(&birds, &["link", "packet"], 6).await;
    // In the last round too, when a container that was told of the narrow way would have cut its packets to fit.
    let both = ["calico-01.calico-02", "calico-02.calico-01"];
    for id in both.iter().flat_map(|pair| [format!("link.{pair}"), format!("packet.{pair}")]) {
        let text = find(&proof, &id).verdict.text();
        assert!(text.contains("84") && text.contains("1500") && !text.contains("by name"), "{id}: {text}");
    }
    assert!(earliest(&proof).expect("something fails").id.as_str().starts_with("link."));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_proof_leaves_no_container() {
    let birds = Birds::new(Flavour::One, 2, &[]);
    pods::give(&birds);
    pods::inside(&birds, 1, &["ip", "addr", "add", "10.244.0.126/32", "dev", "lo"]);
    let up = || (0..2).all(|index| !pods::list(&birds, index).is_empty()).then_some(());
    tokio::select! {
        _ = take(&birds, &["packet"], 60) => panic!("it cannot pass"),
        () = eventually("containers come up", up) => {}
    }
    pods::until_none(&birds).await;
}
