//! `verify`: the proof of a cluster that stands, whole or in part, without taking its lock.

pub mod show;

use std::time::Duration;

use crate::cluster::state::Phase;
use crate::event::{Event, Step};
use crate::failure::{Exit, Failure};
use crate::lab::name::ClusterName;
use crate::lab::plan::Plan;
use crate::proof::round::{Pace, prove};
use crate::proof::{Check, Proof, expect};

use super::bring;
use super::calm;
use super::cx::not_locked;
use super::cx::{Cx, counted};
use super::kept::{PROOFS, connect, keep, plan_of};

/// What is asked of `verify`.
pub struct Want {
    /// Checks by id or the beginning of one; all if there are none.
    pub checks: Vec<String>,
    /// How long to wait for all to pass; the plan's patience if not said, zero for one round.
    pub patience: Option<Duration>,
    /// Do not ask how long sessions have been up.
    pub without_stability: bool,
}

/// The checks that are meant, of a cluster's plan.
pub fn chosen(plan: &Plan, words: &[String]) -> Result<Vec<Check>, Failure> {
    show::choose(&expect::expect(plan), words).map_err(|error| {
        Failure::new(Exit::NoSuch, "check.none", "choose the checks").because(&error).hint("calicolab verify --list")
    })
}

/// Take the proof. A proof that fails is no failure of ours: see [`unproven`].
pub async fn verify(cx: &Cx<'_>, cluster: &ClusterName, want: &Want) -> Result<Proof, Failure> {
    cx.events.tell(Event::Begin { verb: "verify".into(), cluster: cluster.to_string(), steps: vec![Step::Prove] });
    let state = cx.home.read(cluster).map_err(|error| not_locked(cluster, &error))?;
    let mut plan = plan_of(cx, cluster)?;
    if want.without_stability {
        plan.proof.stability_s = 0;
    }
    let checks = chosen(&plan, &want.checks)?;
    let taking = async {
        let remotes = connect(cx, cluster, &plan, &state).await?;
        let patience = want.patience.unwrap_or(Duration::from_secs(plan.proof.verify_s));
        let (askers, folder) = (bring::askers_or_why(&remotes), cx.home.folder(cluster));
        let mut proof = prove(&plan, &checks, &askers, Pace::AtOnce, patience, &cx.events).await;
        calm::compare(&folder, &plan, &mut proof)?;
        proof.flapped.iter().for_each(|flap| cx.events.warn(flap.to_string()));
        let last = keep(&folder, &proof)?;
        // Who holds the cluster writes its state; a look from beside is kept as a proof file only.
        if let Ok(mut locked) = cx.home.lock(cluster)
            && want.checks.is_empty()
            && !want.without_stability
        {
            let phase = match failing(&proof) {
                failing if failing.is_empty() => Phase::Ready { at: jiff::Timestamp::now() },
                failing => Phase::Unproven { failing },
            };
            let _ = locked.record(|state| {
                state.last_proof = Some(last);
                if matches!(state.phase, Phase::Ready { .. } | Phase::Unproven { .. }) {
                    state.phase = phase;
                }
            });
        }
        let outcome = outcome(&proof);
        Ok((proof, outcome))
    };
    cx.step(Step::Prove, taking).await
}

/// What a step says of a proof.
pub fn outcome(proof: &Proof) -> String {
    let passed = proof.findings.iter().filter(|finding| finding.verdict.passed()).count();
    let left_out = if proof.without_stability { ", the age of sessions left out" } else { "" };
    format!("{passed} of {}{left_out}", counted(proof.findings.len(), "check"))
}

/// The ids of the checks that do not pass, the earliest in the chain first.
pub fn failing(proof: &Proof) -> Vec<String> {
    show::failing(proof).iter().map(|finding| finding.id.to_string()).collect()
}

/// The failure a proof comes to, if it does not hold: it names the failing check that is earliest in the chain, and where
/// all is that nodes said, of which people are shown the ends.
pub fn unproven(cx: &Cx<'_>, cluster: &ClusterName, proof: &Proof) -> Option<Failure> {
    let first = show::earliest(proof)?;
    let (exit, id) = match show::outcome(proof) {
        show::Outcome::Unasked => (Exit::Unasked, "proof.unasked"),
        _ => (Exit::Unproven, "proof.failed"),
    };
    let others = failing(proof).len() - 1;
    let mut failure = Failure::new(exit, id, format!("prove `{cluster}`")).because_text(format!(
        "{} ({}): {}",
        first.id,
        first.check.layer(),
        first.verdict.text()
    ));
    if others > 0 {
        failure = failure.because_text(format!("and {} later in the chain", counted(others, "check")));
    }
    let folder = cx.home.folder(cluster).join(PROOFS);
    failure = failure.because_text(format!("all that nodes said is in the newest file of {}", folder.display()));
    Some(failure.hint(format!("calicolab verify --name {cluster}")))
}
