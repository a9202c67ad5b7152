//! Every fault of the catalogue: seen by `verify`, named by `explain`, undone to a proven cluster.

use std::fmt::Write as _;

use calicolab::event::{Event, Mark};

use crate::lab::{Lab, Test, eventually};
use crate::trial::{catalogue, ids, told, tried, word};

/// The tests: the catalogue on three labs, so that it takes a third of the time.
pub const ALL: &[Test] = &[
    ("first_third", || third(0)),
    ("second_third", || third(1)),
    ("last_third", || third(2)),
    ("pairs", pairs),
    ("undone_by_itself", undone_by_itself),
    ("looking_harms_nothing", looking_harms_nothing),
    ("watched", watched),
];

/// A line for each fault: what saw it, how it was explained, seconds. What containers cannot show honestly is refused.
fn third(part: usize) {
    let lab = Lab::new();
    lab.ok(&["up"]);
    let (mut table, mut wrong) = (String::new(), Vec::new());
    for fault in catalogue(&lab).iter().skip(part).step_by(3) {
        let word = word(fault);
        if fault["machines_only"] == true {
            let refused = lab.ends(&["fault", "add", word], 11);
            assert!(refused.contains("error[fault.shared-kernel]"), "{refused}");
            let _ = writeln!(table, "{word:<18} only in machines");
            continue;
        }
        let tried = tried(&lab, fault);
        table.push_str(&tried.line);
        wrong.extend(tried.wrong);
    }
    told(&table);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    lab.down();
}

/// Of two faults the one whose link is earlier is named first, and the other one too.
fn pairs() {
    let lab = Lab::new();
    lab.ok(&["up"]);
    for (later, earlier, first) in [
        (["resolver", "calico-03"], ["bird-stopped", "calico-02"], "bird-stopped"),
        (["dns-stopped", "calico-03"], ["half-blackhole", "calico-01"], "blackhole"),
        (["no-forwarding", "calico-03"], ["link-down", "calico-02"], "link-down"),
        (["services-missing", "calico-01"], ["port-rejected", "calico-02"], "port-rejected"),
        (["policy-rule", "calico-02"], ["wrong-address", "calico-03"], "wrong-address"),
    ] {
        lab.ok(&["fault", "add", later[0], "--node", later[1]]);
        lab.ends(&["fault", "add", earlier[0], "--node", earlier[1]], 11);
        lab.ok(&["fault", "add", earlier[0], "--node", earlier[1], "--force"]);
        lab.json(&["verify", "-o", "json", "--timeout", "1"], 21);
        let diagnosis = lab.json(&["explain", "--last", "-o", "json"], 0);
        assert_eq!(diagnosis["first"]["id"], first, "{later:?} and {earlier:?}: {diagnosis:#}");
        assert!(ids(&diagnosis["also"]).contains(&later[0]), "{later:?} and {earlier:?}: {diagnosis:#}");
        lab.ok(&["fault", "clear"]);
    }
    lab.ends(&["fault", "add", "bird-stoped"], 12);
    lab.ends(&["fault", "add", "dns-stopped", "--node", "calico-01"], 2);
    lab.ends(&["fault", "add", "resolver", "--for", "soon"], 2);
    lab.down();
}

/// After its time the node repairs itself, though nobody is there to tell it; the kill of who made it changes nothing.
fn undone_by_itself() {
    let lab = Lab::new();
    lab.ok(&["up", "--nodes", "2"]);
    let mut add = lab.follow(&["fault", "add", "link-down", "--node", "calico-02", "--for", "20s"]);
    add.next();
    eventually("it is remembered before it is made", || {
        lab.home().join("clusters/primer/faults.json").exists().then_some(())
    });
    add.kill();
    lab.until("calico-02", "! [ -e /var/lib/calicolab/faults/link-down/undo ]");
    lab.ok(&["fault", "clear"]);
    lab.ok(&["fault", "add", "resolver", "--node", "calico-02", "--for", "3s"]);
    lab.json(&["verify", "-o", "json", "--timeout", "1", "dns"], 21);
    lab.until("calico-02", "! [ -e /var/lib/calicolab/faults/resolver ]");
    lab.ok(&["verify"]);
    lab.down();
}

/// With graceful restart a connection to port 179 from the wrong place would end a session: looking opens none.
fn looking_harms_nothing() {
    let lab = Lab::new();
    lab.ok(&["up", "--set", "bgp.timers=calico"]);
    let state = || {
        // One and the same connection all the time, and not a word of BIRD's.
        let of = |node: &str| {
            let connections = lab.on(node, "ss -Htn state established \"( sport = :179 or dport = :179 )\" | sort | tr -s \" \" | cut -d\" \" -f3-");
            // What BIRD says of a busy host, and of pods' devices that come and go, is not of sessions.
            let words = lab.on(node, "journalctl -q -u bird -o cat | grep -v \"I/O loop\\|netlink messages\\|KIF:\"");
            format!("{node}: {connections} {words}")
        };
        ["calico-01", "calico-02", "calico-03"].map(of)
    };
    lab.ok(&["verify"]);
    let before = state();
    for _ in 0..20 {
        lab.ok(&["verify"]);
        let diagnosis = lab.json(&["explain", "--last", "-o", "json"], 0);
        assert_eq!(diagnosis["outcome"], "nothing-broken", "{diagnosis:#}");
        assert!(ids(&diagnosis["warnings"]).is_empty(), "{diagnosis:#}");
    }
    assert_eq!(state(), before);
    lab.down();
}

/// Who watches sees a session end and come back, at both ends, and is told by the exit code how the last look was.
fn watched() {
    let lab = Lab::new();
    lab.ok(&["up", "--nodes", "2"]);
    let mut watching = lab.follow(&["watch", "--interval", "1"]);
    let mut sees = |id: &str, up: bool| {
        let wanted = |event: &Event| matches!(event, Event::Check { check, mark, .. } if check == id && (*mark == Mark::Pass) == up);
        assert!(watching.sees(wanted), "{id} is not told, {up}");
    };
    sees("session.calico-02.calico-01", true);
    lab.ok(&["fault", "add", "bird-stopped", "--node", "calico-02"]);
    sees("session.calico-01.calico-02", false);
    lab.ok(&["fault", "clear"]);
    sees("session.calico-01.calico-02", true);
    watching.interrupt();
    assert_eq!(watching.ended().0, Some(0));
    // Lines where there is no terminal, and the exit code of the only look.
    lab.ok(&["fault", "add", "bird-stopped", "--node", "calico-02"]);
    let out = lab.run(&["watch", "--looks", "1"]);
    let text = String::from_utf8_lossy(&out.stdout);
    assert_eq!(out.status.code(), Some(21), "{text}");
    assert!(text.contains("checks pass, look 1") && text.contains("FAIL              session.calico-01"), "{text}");
    lab.ends(&["watch", "sessions"], 12);
    lab.down();
}
