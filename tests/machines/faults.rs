//! Faults in machines, whose kernels and clocks are their own: on one cluster, one after the other.

use std::time::Instant;

use crate::lab::Lab;
use crate::trial::{catalogue, told, tried, tried_nearby, word};

/// What containers cannot make honestly, and the links of the chain, one fault each.
const NEARBY: [&str; 10] = [
    "clock",
    "delay",
    "wrong-address",
    "link-down",
    "port-one-way",
    "bird-stopped",
    "half-blackhole",
    "policy-rule",
    "no-forwarding",
    "dns-stopped",
];

/// With the whole proof before and after, and a point of the lab: one, and more in `make soak`.
const WHOLE: [&str; 5] = ["password", "loss", "mtu-hole", "own-block", "services-missing"];

#[test]
fn faults_are_seen_named_and_undone_in_machines() {
    let lab = Lab::new();
    lab.ok(&["up"]);
    let all = catalogue(&lab);
    let own: Vec<&str> = all.iter().filter(|fault| fault["machines_only"] == true).map(word).collect();
    assert!(own.iter().all(|word| NEARBY.contains(word)), "only machines can have {own:?}");
    let fault =
        |wanted: &str| all.iter().find(|fault| word(fault) == wanted).unwrap_or_else(|| panic!("no fault {wanted}"));
    let (mut wrong, began) = (Vec::new(), Instant::now());
    for wanted in NEARBY {
        let tried = tried_nearby(&lab, fault(wanted));
        told(&tried.line);
        wrong.extend(tried.wrong);
    }
    lab.ok(&["verify"]);
    told(&format!("{} faults and a proof in {:.0} s\n", NEARBY.len(), began.elapsed().as_secs_f64()));
    let soak = std::env::var("CALICOLAB_SOAK").as_deref() == Ok("all");
    for wanted in WHOLE.iter().take(if soak { WHOLE.len() } else { 1 }) {
        let tried = tried(&lab, fault(wanted));
        told(&tried.line);
        wrong.extend(tried.wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    lab.down();
}
