//! The program killed at each step's boundaries and at each machine's first effect: `down` leaves nothing, and `up`
//! works.

use calicolab::event::{Event, Step};

use crate::lab::{Lab, Test};

/// The tests; in two parts, since two run at once.
pub const ALL: &[Test] = &[("early", early), ("late", late), ("of_down", of_down), ("everywhere", everywhere)];

/// A moment worth dying at.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Moment {
    Started(Step),
    Done(Step),
    Machine(String),
}

impl Moment {
    fn of(event: &Event) -> Option<Self> {
        match event {
            Event::StepStarted { step } => Some(Self::Started(*step)),
            Event::StepDone { step, .. } => Some(Self::Done(*step)),
            Event::Machine { node, .. } => Some(Self::Machine(node.clone())),
            _ => None,
        }
    }
}

/// Die at `moment`; whether it came.
fn die(lab: &Lab, verb: &[&str], moment: &Moment) -> bool {
    let mut run = lab.follow(verb);
    let came = run.sees(|event| Moment::of(event).as_ref() == Some(moment));
    run.kill();
    came
}

#[track_caller]
fn dies(lab: &Lab, moment: &Moment) {
    assert!(die(lab, &["up"], moment), "{moment:?} does not come");
}

fn early() {
    use Step::{Boot, Fetch, Plan, Render};
    let lab = Lab::new();
    for step in [Plan, Fetch, Render] {
        for moment in [Moment::Started(step), Moment::Done(step)] {
            dies(&lab, &moment);
            lab.down();
        }
    }
    dies(&lab, &Moment::Started(Boot));
    lab.down();
    for node in 1..=3 {
        dies(&lab, &Moment::Machine(format!("calico-0{node}")));
        lab.down();
    }
    // And on from there without a `down`.
    dies(&lab, &Moment::Done(Plan));
    dies(&lab, &Moment::Done(Render));
    dies(&lab, &Moment::Machine("calico-01".into()));
    lab.ok(&["up"]);
    lab.down();
}

fn late() {
    use Step::{Boot, Install, Prove, Reach};
    let lab = Lab::new();
    let started = |step| Moment::Started(step);
    for moment in [Moment::Done(Boot), started(Reach), started(Install), Moment::Done(Reach), Moment::Done(Install)] {
        dies(&lab, &moment);
        lab.down();
    }
    dies(&lab, &started(Prove));
    dies(&lab, &started(Install));
    lab.ok(&["up"]);
    lab.down();
    dies(&lab, &Moment::Done(Prove));
    lab.ok(&["verify"]);
    lab.down();
}

/// `down` itself killed: the next one finishes, and so does an `up` of the same name.
fn of_down() {
    let lab = Lab::new();
    dies(&lab, &Moment::Done(Step::Boot));
    assert!(die(&lab, &["down", "primer"], &Moment::Started(Step::Destroy)));
    lab.down();
    dies(&lab, &Moment::Done(Step::Boot));
    assert!(die(&lab, &["down", "primer"], &Moment::Started(Step::Destroy)));
    lab.ok(&["up"]);
    lab.down();
}

/// At every single happening, each followed by `down` and by `up`: hours, and only when asked for.
fn everywhere() {
    if std::env::var("CALICOLAB_SOAK").as_deref() != Ok("all") {
        return;
    }
    let lab = Lab::new();
    for nth in 1.. {
        let mut run = lab.follow(&["up"]);
        let mut seen = 0;
        let came = run.sees(|_| {
            seen += 1;
            seen == nth
        });
        run.kill();
        lab.down();
        lab.ok(&["up"]);
        lab.down();
        if !came {
            break;
        }
    }
}
