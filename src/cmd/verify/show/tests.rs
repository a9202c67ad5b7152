//! Choice, tables, JSON and outcome of proofs made by hand.

use super::*;
use crate::command::{Argv, Ended, Output};
use crate::proof::samples::{self, node};
use crate::proof::{Answer, Place, Probe, Reading, expect, plan_digest};

/// A proof of three nodes in which the checks of `bad` stand as given.
fn proof(bad: &[(&str, Verdict)]) -> Proof {
    let plan = samples::plan(3);
    let output = Output { ended: Ended::Exit(1), stdout: String::new(), stderr: "Unable to connect\n".into() };
    let probe = Probe { node: node(2), place: Place::Node, argv: Argv::new("birdc").arg("show") };
    let findings = expect::expect(&plan).into_iter().map(|check| {
        let id = check.id();
        let verdict = bad.iter().find(|(word, _)| id.as_str() == *word).map(|(_, verdict)| verdict.clone());
        let seen = if check.kind() == "session" { "Established, stable 5 s".into() } else { id.to_string() };
        let verdict = verdict.unwrap_or(Verdict::Pass { seen });
        Finding { id, check, verdict, evidence: vec![0], took: Duration::from_millis(1500), rounds: 2 }
    });
    Proof {
        schema: 1,
        cluster: plan.cluster.clone(),
        plan: plan_digest(&plan),
        without_stability: false,
        nonce: samples::NONCE.into(),
        started: jiff::Timestamp::UNIX_EPOCH,
        took: Duration::from_millis(6100),
        rounds: 3,
        readings: vec![Reading { probe, answer: Answer::Said(output), at: jiff::Timestamp::UNIX_EPOCH }],
        clocks: BTreeMap::new(),
        findings: findings.collect(),
    }
}

#[test]
fn one_line_a_kind_where_all_pass() {
    let text = table(&proof(&[]));
    assert!(text.contains("pass  session          6/6  Established, stable 5 s\n"), "{text}");
    assert!(text.contains("pass  address          3/3  e.g. address.calico-01\n"), "{text}");
    assert!(text.ends_with("65 of 65 checks pass, 3 rounds, 6.1 s\n"), "{text}");
    assert_eq!(outcome(&proof(&[])).exit_code(), 0);
}

#[test]
fn each_failing_check_has_its_line_and_evidence_and_the_earliest_is_named() {
    let proof = proof(&[
        ("dns.calico-03", Verdict::not_yet("no servers could be reached")),
        ("session.calico-01.calico-02", Verdict::not_yet("Active, Socket: Connection refused")),
        ("session.calico-02.calico-01", Verdict::never("BIRD on calico-02 does not answer")),
    ]);
    let text = table(&proof);
    assert!(text.contains("FAIL  session          4/6\n"), "{text}");
    assert!(text.contains("      not yet session.calico-01.calico-02: Active, Socket: Connection refused\n"), "{text}");
    assert!(text.contains("      never session.calico-02.calico-01: BIRD on calico-02"), "{text}");
    assert!(text.contains("calico-02: `birdc show` ended with status 1: Unable to connect\n"), "{text}");
    assert!(text.contains("look first at session.calico-01.calico-02 (session): Active"), "{text}");
    assert_eq!(failing(&proof).len(), 3);
    assert_eq!(outcome(&proof).exit_code(), 21);
}

#[test]
fn what_could_not_be_asked_is_not_called_broken() {
    let unknown = || Verdict::Unknown { why: "calico-03 could not be asked: connection refused".into() };
    let one = proof(&[("machine.calico-03", unknown())]);
    assert_eq!(outcome(&one).exit_code(), 22);
    let both = proof(&[("machine.calico-03", unknown()), ("dns.calico-01", Verdict::not_yet("silent"))]);
    assert_eq!(outcome(&both).exit_code(), 21);
}

#[test]
fn json_has_every_check_with_id_node_verdict_and_evidence() {
    let json = json(&proof(&[("session.calico-01.calico-02", Verdict::never("Bad peer AS"))]));
    assert_eq!((&json["proven"], &json["exit_code"]), (&json!(false), &json!(21)));
    assert_eq!(json["earliest_failing"], "session.calico-01.calico-02");
    let checks = json["checks"].as_array().expect("a list");
    assert_eq!(checks.len(), 65);
    let session = checks.iter().find(|check| check["id"] == "session.calico-01.calico-02").expect("it is there");
    assert_eq!(session["node"], "calico-01");
    assert_eq!(session["nodes"], json!(["calico-01", "calico-02"]));
    assert_eq!(session["verdict"], "never");
    assert_eq!(session["evidence"][0]["probe"]["argv"], json!(["birdc", "show"]));
}

#[test]
fn checks_are_chosen_by_id_or_beginning() {
    let checks = expect::expect(&samples::plan(3));
    let choose = |words: &[&str]| choose(&checks, &words.iter().map(|word| (*word).into()).collect::<Vec<_>>());
    assert_eq!(choose(&[]).expect("all").len(), 65);
    assert_eq!(choose(&["session"]).expect("all of a kind").len(), 6);
    assert_eq!(choose(&["session.calico-01", "route"]).expect("both").len(), 11);
    assert_eq!(choose(&["dns"]).expect("all names").len(), 18);
    let error = choose(&["sesion.calico-01.calico-02"]).expect_err("misspelt");
    assert_eq!(
        error.to_string(),
        "no check is called `sesion.calico-01.calico-02`; did you mean `session.calico-01.calico-02`?"
    );
    assert_eq!(choose(&["xyzzy"]).expect_err("nothing like it").to_string(), "no check is called `xyzzy`");
    assert!(list(&checks).starts_with("machine    machine.calico-01\n"));
}
