//! Faults in machines, whose kernels and clocks are their own: on one cluster, one after the other.

use crate::lab::Lab;
use crate::trial::{catalogue, told, tried, word};

/// What containers cannot make honestly, and one that moves sessions.
const ALWAYS: [&str; 3] = ["clock", "delay", "wrong-address"];

/// The rest of the chain, for whom an emulated machine takes a minute each: `make soak`.
const SOAK: [&str; 8] =
    ["link-down", "loss", "port-one-way", "bird-stopped", "password", "policy-rule", "no-forwarding", "dns-stopped"];

#[test]
fn faults_are_seen_named_and_undone_in_machines() {
    let lab = Lab::new();
    lab.ok(&["up"]);
    let all = catalogue(&lab);
    let own: Vec<&str> = all.iter().filter(|fault| fault["machines_only"] == true).map(word).collect();
    assert!(own.iter().all(|word| ALWAYS.contains(word)), "only machines can have {own:?}");
    let rest = if std::env::var("CALICOLAB_SOAK").as_deref() == Ok("all") { &SOAK[..] } else { &[] };
    let mut wrong = Vec::new();
    for wanted in ALWAYS.iter().chain(rest) {
        let fault = all.iter().find(|fault| word(fault) == *wanted).unwrap_or_else(|| panic!("no fault {wanted}"));
        let tried = tried(&lab, fault);
        told(&tried.line);
        wrong.extend(tried.wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    lab.down();
}
