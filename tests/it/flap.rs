//! Sessions of living BIRD 1.6 and 2 that end and come back, and sessions that are dead and called Established.

use std::time::Duration;

use calicolab::cmd::verify::show::choose;
use calicolab::event::Events;
use calicolab::lab::file::Timers;
use calicolab::node::bird::Bird;
use calicolab::proof::expect::expect;
use calicolab::proof::flap::flapped;
use calicolab::proof::round::{Pace, prove};
use calicolab::proof::{Answer, Proof, Verdict};

use crate::support::birds::{Birds, Flavour, Twist};

const BOTH: [Flavour; 2] = [Flavour::One, Flavour::Two];

async fn sessions(birds: &Birds, patience_s: u64) -> Proof {
    let checks = choose(&expect(&birds.plan), &["session".into()]).expect("they are planned");
    let (events, _reader) = Events::channel();
    prove(&birds.plan, &checks, &birds.askers(), Pace::AtOnce, Duration::from_secs(patience_s), &events).await
}

#[track_caller]
fn stand(proof: &Proof) {
    let failing: Vec<&str> =
        proof.findings.iter().filter(|one| !one.verdict.passed()).map(|one| one.verdict.text()).collect();
    assert!(failing.is_empty(), "{failing:#?}");
}

/// For how many seconds the first node's BIRD had lived.
fn lived(proof: &Proof) -> f64 {
    let own = proof.readings.iter().filter(|reading| reading.probe.node.as_str() == "calico-01");
    let said = own.filter_map(|reading| match &reading.answer {
        Answer::Said(output) => Bird::parse(&output.stdout).ok(),
        Answer::Unasked(_) => None,
    });
    let mut lives = said.filter_map(|bird| Some(bird.now?.duration_since(bird.booted?).as_secs_f64()));
    lives.next_back().expect("it says when it began")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_reset_between_two_proofs_is_told_with_both_ends() {
    for flavour in BOTH {
        let mut birds = Birds::new(flavour, 3, &[]);
        // As labs have it: what stood at a proof was older than the coarseness of BIRD's clock.
        birds.plan.proof.stability_s = 5;
        let first = sessions(&birds, 30).await;
        stand(&first);
        let calm = sessions(&birds, 30).await;
        assert!(flapped(&first, &calm, &birds.plan).is_empty(), "{flavour:?}");

        let name = format!("Mesh_{}", birds.plan.nodes.values().nth(2).expect("three").address).replace('.', "_");
        birds.inside(1, &["birdc", "restart", &name]);
        let then = sessions(&birds, 30).await;
        stand(&then);
        let found = flapped(&calm, &then, &birds.plan);
        assert_eq!(found.len(), 1, "{flavour:?}: {found:#?}");
        let names: Vec<&str> = found[0].nodes().iter().map(|node| node.as_str()).collect();
        assert_eq!(names, ["calico-02", "calico-03"]);
        assert!(found[0].ends.iter().all(|end| end.anew && !end.restarted), "{flavour:?}: {found:#?}");
        assert!(flapped(&then, &sessions(&birds, 30).await, &birds.plan).is_empty(), "{flavour:?}");

        // Without systemd's word for it a BIRD is another one if it has lived less long: the first must have lived for
        // longer than the second takes to have sessions that stand, which is more than it looks like on a busy host.
        let mut old = sessions(&birds, 30).await;
        while lived(&old) < 25.0 {
            old = sessions(&birds, 30).await;
        }
        birds.stop(0);
        birds.start(0);
        let last = sessions(&birds, 30).await;
        stand(&last);
        let found = flapped(&old, &last, &birds.plan);
        assert_eq!(found.len(), 2, "{flavour:?}: {found:#?}");
        assert!(found.iter().all(|flap| flap.ends[0].node.as_str() == "calico-01" && flap.ends[0].restarted));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_long_timers_a_peer_that_does_not_answer_is_seen_at_once() {
    for flavour in BOTH {
        let mut birds = Birds::new(flavour, 2, &[(0, Twist::Slow), (1, Twist::Slow)]);
        birds.plan.bgp.timers = Timers::Calico;
        let first = sessions(&birds, 30).await;
        stand(&first);
        for _ in 0..5 {
            let calm = sessions(&birds, 10).await;
            stand(&calm);
            assert!(flapped(&first, &calm, &birds.plan).is_empty(), "{flavour:?}");
        }
        birds.cut(1);
        let cut = sessions(&birds, 0).await;
        for finding in &cut.findings {
            assert!(
                matches!(&finding.verdict, Verdict::NotYet { why, .. } if why.contains("called Established, and nothing")),
                "{flavour:?}: {:?}",
                finding.verdict
            );
        }
    }
}
