//! Sessions that end and come back by themselves are told of; those that a story of ours ends are not.

use calicolab::event::Event;
use serde_json::Value;

use crate::lab::{Lab, Test};
use crate::trial::ids;

/// The tests.
pub const ALL: &[Test] = &[("told_and_not_told", told_and_not_told), ("long_timers", long_timers)];

fn flapped(lab: &Lab) -> Vec<Value> {
    lab.json(&["verify", "-o", "json"], 0)["flapped"].as_array().expect("a list").clone()
}

fn warned(lab: &Lab) -> Vec<Value> {
    let diagnosis = lab.json(&["explain", "-o", "json", "--timeout", "60"], 0);
    let warnings = diagnosis["warnings"].as_array().expect("a list").clone();
    warnings.into_iter().filter(|one| one["id"] == "flapped").collect()
}

fn reset(lab: &Lab) {
    lab.on(
        "calico-02",
        "birdc restart $(birdc -r show protocols | sed -n \"s/^\\(Mesh_[0-9_]*\\) .*/\\1/p\" | head -n 1)",
    );
}

fn told_and_not_told() {
    let lab = Lab::new();
    lab.ok(&["up", "--nodes", "2"]);
    assert_eq!(flapped(&lab), [Value::Null; 0], "the proof of `up` is the one before");

    // A reset by hand: both ends say so, to who proves it and to who asks why, and once.
    reset(&lab);
    let found = flapped(&lab);
    assert_eq!(found.len(), 1, "{found:#?}");
    let ends = found[0]["ends"].as_array().expect("both ends");
    assert!(ends.len() == 2 && ends.iter().all(|end| end["anew"] == true && end["restarted"] == false), "{ends:#?}");
    let warnings = warned(&lab);
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert_eq!(warnings[0]["evidence"].as_array().map(Vec::len), Some(2));
    assert!(flapped(&lab).is_empty() && warned(&lab).is_empty());

    // The daemon started anew, seen first by who asks why; and by who watches.
    let mut watching = lab.follow(&["watch", "--interval", "1", "session"]);
    let told = |event: &Event| matches!(event, Event::Check { mark: calicolab::event::Mark::Pass, .. });
    assert!(watching.sees(told));
    lab.on("calico-02", "systemctl restart bird");
    assert!(watching.sees(|event| matches!(event, Event::Warning { text } if text.contains("started anew"))
        || matches!(event, Event::Check { mark, .. } if *mark != calicolab::event::Mark::Pass)));
    watching.interrupt();
    watching.ended();
    let warnings = warned(&lab);
    assert!(warnings[0]["says"].as_str().is_some_and(|says| says.ends_with("BIRD was started anew on calico-02")));

    // What our own stories end is no flap.
    lab.ok(&["fault", "add", "bird-stopped"]);
    lab.ok(&["fault", "clear"]);
    assert!(flapped(&lab).is_empty() && warned(&lab).is_empty());
    lab.ok(&["fault", "add", "port-dropped", "--for", "3s"]);
    lab.until("calico-02", "! [ -e /var/lib/calicolab/faults/port-dropped ]");
    assert!(flapped(&lab).is_empty(), "a fault that the node undid by itself");
    lab.ok(&["fault", "clear"]);
    lab.ok(&["stop"]);
    lab.ok(&["start"]);
    assert!(flapped(&lab).is_empty() && warned(&lab).is_empty());
    lab.ok(&["up", "--nodes", "2", "--recreate"]);
    assert!(flapped(&lab).is_empty() && warned(&lab).is_empty());
    // And a machine's clock has no part in it: what BIRD says of its own life has.
    reset(&lab);
    assert_eq!(flapped(&lab).len(), 1);
    lab.down();
}

/// Calico's own timers call a session Established for four minutes; whoever looks is told at once, and harms nothing.
fn long_timers() {
    let lab = Lab::new();
    lab.ok(&["up", "--nodes", "2", "--set", "bgp.timers=calico"]);
    let drop = "nft \"add table inet cut; add chain inet cut in { type filter hook input priority -10; }; \
        add rule inet cut in tcp dport 179 drop; add rule inet cut in tcp sport 179 drop\"";
    lab.on("calico-02", drop);
    let broken = lab.json(&["verify", "-o", "json", "--timeout", "1"], 21);
    assert_eq!(broken["earliest_failing"], "session.calico-01.calico-02", "{broken:#}");
    let diagnosis = lab.json(&["explain", "--last", "-o", "json"], 0);
    assert_eq!(diagnosis["first"]["id"], "port-one-way", "{diagnosis:#}");
    lab.on("calico-02", "nft delete table inet cut");
    assert!(flapped(&lab).is_empty(), "the session outlived it");
    assert!(!ids(&diagnosis["also"]).contains(&"flapped"));
    lab.down();
}
