//! What every provider of machines must do, told by the command line: one function, whoever makes the machines.

use calicolab::event::{Event, Step};

use crate::lab::Lab;

/// What a provider's host must be able to do beside the product.
pub struct Beside<'a> {
    /// How far its machines are brought.
    pub until: Until,
    /// Whether it can keep machines as they are.
    pub keeps: bool,
    /// Put there something that bears the name of the first node's machine and is not ours.
    pub foreign: &'a dyn Fn(&Lab),
    /// Whether that is still there as it was.
    pub untouched: &'a dyn Fn(&Lab) -> bool,
    /// Take it away.
    pub gone: &'a dyn Fn(&Lab),
}

/// How far machines are brought; the contract is about machines, not about what runs on them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Three nodes and their proof.
    Proven,
    /// Two nodes that are logged in to: where a proof costs minutes.
    Reached,
}

impl Until {
    fn nodes(self) -> usize {
        if self == Self::Proven { 3 } else { 2 }
    }

    /// Run a verb that raises machines.
    #[track_caller]
    fn raise(self, lab: &Lab, words: &[&str]) {
        if self == Self::Reached {
            let mut raising = lab.follow(words);
            let reached = raising.sees(|event| matches!(event, Event::StepDone { step: Step::Reach, .. }));
            assert!(reached, "calicolab {words:?} reached no machines");
            return raising.kill();
        }
        lab.ok(words);
    }

    /// All nodes run and answer.
    #[track_caller]
    fn alive(self, lab: &Lab) {
        assert_eq!(running(lab), self.nodes());
        if self == Self::Proven {
            lab.ok(&["verify", "-n", "primer"]);
            return;
        }
        for number in 1..=self.nodes() {
            let node = format!("calico-0{number}");
            assert_eq!(lab.ok(&["ssh", "-n", "primer", &node, "--", "hostname"]).trim(), node);
        }
    }
}

/// How many machines of the first lab run.
fn running(lab: &Lab) -> usize {
    let clusters = lab.json(&["ls", "-o", "json"], 0);
    let clusters = clusters.as_array().expect("a list");
    let primer = clusters.iter().find(|cluster| cluster["name"] == "primer").expect("the first lab");
    usize::try_from(primer["nodes"]["running"].as_u64().expect("a number")).expect("a small one")
}

/// What is kept comes back as it was, which a file made in between does not outlive; who cannot keep it says so.
#[track_caller]
fn kept(beside: &Beside<'_>, lab: &Lab) {
    let save = ["snapshot", "save", "kept", "-n", "primer"];
    if !beside.keeps {
        let refused = lab.ends(&save, 30);
        assert!(refused.contains("error[point.not-here]"), "{refused}");
    } else if beside.until == Until::Reached {
        let refused = lab.ends(&save, 11);
        assert!(refused.contains("error[point.phase]"), "what was never looked at is not kept: {refused}");
    } else {
        lab.ok(&save);
        lab.on("calico-02", "touch /etc/later; sync");
        lab.ok(&["snapshot", "restore", "kept", "--replace", "-n", "primer"]);
        beside.until.alive(lab);
        lab.on("calico-02", "! [ -e /etc/later ]");
        lab.ok(&["snapshot", "delete", "kept", "-n", "primer"]);
    }
}

/// Boot, alive, kept, off and on, a second lab beside it, down, down again; killed half-way; what is foreign is not touched.
pub fn contract(beside: &Beside<'_>) {
    let (lab, until) = (Lab::new(), beside.until);
    let nodes = until.nodes().to_string();
    let up = ["up", "--nodes", &nodes];
    let second_exists = |event: &Event| matches!(event, Event::Machine { node, .. } if node == "calico-02");

    // Killed when the second machine comes to exist; and again, and carried on with.
    for carry_on in [false, true] {
        let mut killed = lab.follow(&up);
        assert!(killed.sees(second_exists), "no calico-02");
        killed.kill();
        if !carry_on {
            lab.down();
        }
    }
    until.raise(&lab, &up);
    until.alive(&lab);
    kept(beside, &lab);

    // A second one comes and goes.
    until.raise(&lab, &["up", "primer", "-n", "second", "--nodes", "2"]);
    until.alive(&lab);
    lab.ok(&["down", "second"]);
    until.alive(&lab);

    lab.ok(&["stop"]);
    assert_eq!(running(&lab), 0);
    lab.ok(&["stop"]);
    until.raise(&lab, &["start"]);
    until.alive(&lab);
    lab.down();
    lab.down();

    // What bears our name and is not ours stays, whatever `up` says to it.
    (beside.foreign)(&lab);
    if until == Until::Proven {
        lab.run(&up);
    } else {
        let mut beginning = lab.follow(&up);
        beginning.sees(second_exists);
        beginning.kill();
    }
    assert!((beside.untouched)(&lab), "`up` touched what is not its own");
    lab.ok(&["down", "--all"]);
    assert!((beside.untouched)(&lab), "`down` touched what is not its own");
    (beside.gone)(&lab);
    lab.nothing_left();
}
