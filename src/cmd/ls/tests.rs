//! Every phase as it is listed.

use super::*;
use crate::cluster::example;

fn at(text: &str) -> Timestamp {
    format!("2026-05-04T{text}Z").parse().expect("a time")
}

fn holder() -> Holder {
    Holder { pid: 4711, started: 1, verb: "up".into(), since: at("03:00:00"), host: "desk".into() }
}

fn found(name: &str, phase: Phase, holder: Option<Holder>) -> Found {
    let mut state = example::state(name);
    (state.created, state.changed, state.id, state.phase) = (at("03:00:00"), at("03:00:00"), "ab".into(), phase);
    Found { name: state.name.clone(), state: Ok(state), holder }
}

fn unreadable(name: &str, error: StateError) -> Found {
    Found { name: name.parse().expect("a name"), state: Err(error), holder: None }
}

fn power(on: usize) -> Vec<(NodeName, Power)> {
    let nodes = example::state("any").nodes.into_iter().enumerate();
    nodes.map(|(n, node)| (node, if n < on { Power::Running } else { Power::Off })).collect()
}

#[test]
fn every_phase_has_its_word() {
    let none = |name: &str| StateError::NoSuch { cluster: name.parse().expect("a name"), home: "/h".into() };
    let mut all = vec![
        found("at-work", Phase::Raising, Some(holder())),
        found("dead", Phase::Raising, None),
        found("failed", Phase::Failed { message: "boot".into() }, None),
        found("going", Phase::Destroying, Some(holder())),
        found("half-gone", Phase::Destroying, None),
        found("ready", Phase::Ready { at: at("03:02:00") }, None),
        found("stopped", Phase::Stopped, None),
        found("unproven", Phase::Unproven { failing: vec!["session/calico-02/calico-03".into()] }, None),
        unreadable("empty", none("empty")),
        unreadable("newer", StateError::Schema { path: "/h".into(), found: 9 }),
        unreadable(
            "torn",
            StateError::Io { doing: "read", path: "/h".into(), source: std::io::ErrorKind::Other.into() },
        ),
    ];
    let proof = |pass, not_yet| LastProof {
        at: at("03:02:00"),
        pass,
        not_yet,
        never: 0,
        unknown: 0,
        file: "/h/proof/1.json".into(),
    };
    all[5].state.as_mut().expect("known").last_proof = Some(proof(31, 0));
    all[7].state.as_mut().expect("known").last_proof = Some(proof(29, 2));
    let powers: Vec<_> = [Some(2), Some(1), None, Some(1), Some(0), Some(3), Some(0), Some(3), None, None, None]
        .into_iter()
        .map(|on| on.map(power))
        .collect();
    let lines: Vec<Line<'_>> =
        all.iter().zip(&powers).map(|(found, power)| Line { found, power: power.as_deref() }).collect();
    insta::assert_snapshot!(table(&lines, at("05:04:05")));
    insta::assert_snapshot!(serde_json::to_string_pretty(&json(&lines[6..])).expect("it is JSON"));
}

#[test]
fn no_cluster_is_a_header() {
    assert_eq!(table(&[], at("03:00:00")).lines().count(), 1);
    assert_eq!(json(&[]), json!([]));
}

#[test]
fn ages_have_one_unit() {
    let ages = [-5, 0, 119, 120, 7199, 7200, 172_799, 172_800].map(|seconds| {
        let then = Timestamp::from_second(1_000_000_000).expect("a time");
        age(then, Timestamp::from_second(1_000_000_000 + seconds).expect("a time"))
    });
    assert_eq!(ages, ["0s", "0s", "119s", "2m", "119m", "2h", "47h", "2d"]);
}
