//! Faults in machines, whose kernels and clocks are their own: on one cluster, one after the other.

use std::time::Instant;

use serde_json::Value;

use crate::lab::{Lab, Test};
use crate::trial::{Tried, catalogue, told, tried, word};

pub const ALL: &[Test] =
    &[("faults_are_seen_named_and_undone_in_machines", faults_are_seen_named_and_undone_in_machines)];

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

/// With the whole proof before and after, and a point of the lab, in `make soak`.
const WHOLE: [&str; 5] = ["password", "loss", "mtu-hole", "own-block", "services-missing"];

fn faults_are_seen_named_and_undone_in_machines() {
    let lab = Lab::new();
    lab.ok(&["up"]);
    let all = catalogue(&lab);
    let own: Vec<&str> = all.iter().filter(|fault| fault["machines_only"] == true).map(word).collect();
    assert!(own.iter().all(|word| NEARBY.contains(word)), "only machines can have {own:?}");
    let fault =
        |wanted: &str| all.iter().find(|fault| word(fault) == wanted).unwrap_or_else(|| panic!("no fault {wanted}"));
    let (mut wrong, began) = (Vec::new(), Instant::now());
    let soak = std::env::var("CALICOLAB_SOAK").as_deref() == Ok("all");
    for wanted in NEARBY {
        let tried = tried_nearby(&lab, fault(wanted));
        told(&tried.line);
        wrong.extend(tried.wrong);
    }
    lab.ok(&["verify"]);
    told(&format!("{} faults and a proof in {:.0} s\n", NEARBY.len(), began.elapsed().as_secs_f64()));
    for wanted in WHOLE.iter().take(if soak { WHOLE.len() } else { 0 }) {
        let tried = tried(&lab, fault(wanted));
        told(&tried.line);
        wrong.extend(tried.wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    lab.down();
}

/// The layer's own checks, by the words of `verify`.
fn checks_of(layer: &str) -> &'static [&'static str] {
    match layer {
        "machine" => &["machine", "clocks"],
        "address" => &["address"],
        "link" => &["address", "link"],
        "datastore" => &["datastore", "address"],
        "session" => &["peers", "session"],
        "route" => &["session", "route"],
        "packet" => &["route", "packet"],
        "service" => &["service-pod"],
        _ => &["dns-server"],
    }
}

/// What `explain` says; once more where the machines were too slow for it to decide. A wrong name is a wrong name.
fn decided(lab: &Lab, near: &[&str]) -> Value {
    let words = [&["explain", "-o", "json", "--timeout", "1"], near].concat();
    let ask = || serde_json::from_slice::<Value>(&lab.run(&words).stdout).expect("JSON");
    let first = ask();
    if first["outcome"] == "undecided" { ask() } else { first }
}

/// Make it, look, and undo it, as slow machines can: only the checks near the broken link are asked, and the proof of
/// the whole lab is left to the end.
fn tried_nearby(lab: &Lab, fault: &Value) -> Tried {
    let word = word(fault);
    let began = Instant::now();
    lab.ok(&["fault", "add", word, "--no-point"]);
    let made = began.elapsed();
    let near = checks_of(fault["symptom"].as_str().expect("it breaks something"));
    let diagnosis = decided(lab, near);
    let whole = began.elapsed();
    let named = diagnosis["first"]["id"].as_str().unwrap_or("nothing");
    let by = diagnosis["failing"][0].as_str().unwrap_or("nothing");
    lab.ok(&["fault", "clear", "--no-proof"]);
    let undone = lab.run(&[&["verify"], near].concat()).status.code() == Some(0);
    let right = named == fault["explained"];
    let (made, whole, all) = (made.as_secs_f64(), whole.as_secs_f64(), began.elapsed().as_secs_f64());
    let note = if right && undone { "" } else { "  WRONG" };
    if !note.is_empty() {
        told(&format!("{diagnosis:#}\n"));
    }
    Tried {
        line: format!(
            "{word:<18} {by:<34} {named:<18} made {made:.1} s, named {whole:.1} s, whole again {all:.1} s{note}\n"
        ),
        wrong: (!(right && undone)).then(|| format!("{word}: seen by {by}, named {named}, undone {undone}")),
    }
}
