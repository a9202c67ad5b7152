//! What every provider of machines must do, told by the command line: one function, whoever makes the machines.

use calicolab::event::Event;

use crate::lab::Lab;

/// What a provider's host must be able to do beside the product.
pub struct Beside<'a> {
    /// Put there something that bears the name of the first node's machine and is not ours.
    pub foreign: &'a dyn Fn(&Lab),
    /// Whether that is still there as it was.
    pub untouched: &'a dyn Fn(&Lab) -> bool,
    /// Take it away.
    pub gone: &'a dyn Fn(&Lab),
}

/// Boot, alive, off and on, a second lab beside it, down, down again; killed half-way; what is foreign is not touched.
pub fn contract(beside: &Beside<'_>) {
    let lab = Lab::new();

    // Killed when the second machine comes to exist; and again, and carried on with.
    for carry_on in [false, true] {
        let mut up = lab.follow(&["up"]);
        assert!(up.sees(|event| matches!(event, Event::Machine { node, .. } if node == "calico-02")), "no calico-02");
        up.kill();
        if !carry_on {
            lab.down();
        }
    }
    lab.ok(&["up"]);
    let running = |lab: &Lab| lab.json(&["ls", "-o", "json"], 0)[0]["nodes"]["running"].clone();
    assert_eq!(running(&lab), 3);
    lab.ok(&["verify"]);

    // A second one comes and goes.
    lab.ok(&["up", "primer", "-n", "second", "--nodes", "2"]);
    lab.ok(&["down", "second"]);
    assert_eq!(running(&lab), 3);
    lab.ok(&["verify"]);

    lab.ok(&["stop"]);
    assert_eq!(running(&lab), 0);
    lab.ok(&["stop"]);
    lab.ok(&["start"]);
    lab.down();
    lab.down();

    // What bears our name and is not ours stays, whatever `up` says to it.
    (beside.foreign)(&lab);
    lab.run(&["up"]);
    assert!((beside.untouched)(&lab), "`up` touched what is not its own");
    lab.ok(&["down", "--all"]);
    assert!((beside.untouched)(&lab), "`down` touched what is not its own");
    (beside.gone)(&lab);
    lab.nothing_left();
}
