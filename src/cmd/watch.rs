//! `watch`: look after look at a cluster until the user has seen enough; nothing is changed, and nothing kept.

use std::time::Duration;

use super::bring;
use super::cx::{Cx, not_locked};
use super::kept::{connect, plan_of};
use super::verify::chosen;
use crate::event::{Event, Events, Mark, Step};
use crate::failure::{Exit, Failure};
use crate::lab::name::ClusterName;
use crate::lab::plan::Plan;
use crate::proof::Proof;
use crate::proof::change::{Change, changes};
use crate::proof::check::Layer;
use crate::proof::round::{Pace, prove};

/// What is asked of `watch`.
pub struct Want {
    /// Checks by id or the beginning of one; those that need no container if there are none.
    pub checks: Vec<String>,
    /// Pause between two looks.
    pub interval: Duration,
    /// After how many looks to end; only the user ends it if there is none.
    pub looks: Option<u32>,
}

/// Who is told each look: its number, how everything stands, and what is different.
pub type Seen<'a> = dyn FnMut(&Plan, u32, &Proof, &[Change]) + Send + 'a;

/// Look until the user interrupts; gives the last look. `seen` is told each one with its number.
///
/// A look is one round of the proof's own questions, over connections that stay; those that make containers and send
/// packets between them are asked only by name. No lock is taken.
pub async fn watch(cx: &Cx<'_>, cluster: &ClusterName, want: &Want, seen: &mut Seen<'_>) -> Result<Proof, Failure> {
    cx.events.tell(Event::Begin { verb: "watch".into(), cluster: cluster.to_string(), steps: vec![Step::Prove] });
    let state = cx.home.read(cluster).map_err(|error| not_locked(cluster, &error))?;
    let mut plan = plan_of(cx, cluster)?;
    // How a session stands now, and not since when.
    plan.proof.stability_s = 0;
    let mut checks = chosen(&plan, &want.checks)?;
    if want.checks.is_empty() {
        checks.retain(|check| check.layer() <= Layer::Route);
    }
    // What a round says while it is taken is nothing to who sees its end.
    let (quiet, _) = Events::channel();
    let mut last: Option<Proof> = None;
    let mut remotes = None;
    for number in 1.. {
        let look = async {
            let open = match remotes.take() {
                Some(open) => open,
                None => connect(cx, cluster, &plan, &state).await?,
            };
            let askers = bring::askers_or_why(&open);
            let proof = prove(&plan, &checks, &askers, Pace::AtOnce, Duration::ZERO, &quiet).await;
            Ok::<_, Failure>((proof, open))
        };
        let (proof, open) = tokio::select! {
            biased;
            () = cx.interrupt.told() => break,
            look = look => look?,
        };
        // Who could not be asked is tried anew.
        remotes = (!proof.findings.iter().any(|one| one.verdict.mark() == Mark::Unknown)).then_some(open);
        let changed = changes(last.as_ref(), &proof);
        seen(&plan, number, &proof, &changed);
        last = Some(proof);
        let ended = want.looks.is_some_and(|looks| number >= looks);
        if ended || tokio::time::timeout(want.interval, cx.interrupt.told()).await.is_ok() {
            break;
        }
    }
    last.ok_or_else(|| {
        Failure::new(Exit::Interrupted, "interrupted", format!("look at `{cluster}`")).because_text("interrupted")
    })
}
