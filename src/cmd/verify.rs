//! `verify`: the proof of a cluster that stands, whole or in part, without taking its lock.

pub mod show;

use std::time::Duration;

use crate::cluster::state::{ClusterState, Phase};
use crate::event::{Event, Step};
use crate::failure::{Exit, Failure};
use crate::lab::name::{ClusterName, PerNode};
use crate::lab::plan::Plan;
use crate::machine::Target;
use crate::proof::round::{Pace, prove};
use crate::proof::{Check, Proof, expect};
use crate::ssh::{Remote, SshError};

use super::bring;
use super::cx::{ANSWER, Cx, counted};
use super::up::{keep, not_locked, read_plan};

/// What is asked of `verify`.
pub struct Want {
    /// Checks by id or the beginning of one; all if there are none.
    pub checks: Vec<String>,
    /// How long to wait for all to pass; the plan's patience if not said, zero for one round.
    pub patience: Option<Duration>,
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
    let plan = plan_of(cx, cluster)?;
    let checks = chosen(&plan, &want.checks)?;
    let taking = async {
        let remotes = connect(cx, cluster, &plan, &state).await?;
        let patience = want.patience.unwrap_or(Duration::from_secs(plan.proof.verify_s));
        let proof = prove(&plan, &checks, &bring::askers_or_why(&remotes), Pace::AtOnce, patience, &cx.events).await;
        let last = keep(&cx.home.folder(cluster), &proof)?;
        // Who holds the cluster writes its state; a look from beside is kept as a proof file only.
        if let Ok(mut locked) = cx.home.lock(cluster)
            && want.checks.is_empty()
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

/// The plan a cluster was begun by.
pub fn plan_of(cx: &Cx<'_>, cluster: &ClusterName) -> Result<Plan, Failure> {
    let path = cx.home.folder(cluster).join("plan.json");
    read_plan(&path).ok_or_else(|| {
        Failure::new(Exit::Conflict, "plan.missing", format!("read the plan of `{cluster}`"))
            .because_text(format!("{} is not there or cannot be understood", path.display()))
            .hint("calicolab up (makes what is missing)")
    })
}

/// The ways to the nodes, all tried at once; a node that cannot be reached keeps its reason.
pub async fn connect(
    cx: &Cx<'_>,
    cluster: &ClusterName,
    plan: &Plan,
    state: &ClusterState,
) -> Result<PerNode<Result<Remote, SshError>>, Failure> {
    let targets = targets(plan, state)?;
    let key = cx.home.folder(cluster).join("ssh").join("key");
    let limit = ANSWER.min(Duration::from_secs(20));
    targets.try_join(async |node, target| Ok(Remote::connect(target, node, &key, limit).await)).await
}

/// How the nodes of a cluster are reached, if all its machines were made.
pub fn targets(plan: &Plan, state: &ClusterState) -> Result<PerNode<Target>, Failure> {
    plan.nodes.try_map(|node, _| {
        state.machines.iter().find(|(name, _)| name == node).map(|(_, machine)| machine.target.clone()).ok_or_else(
            || {
                Failure::new(Exit::Conflict, "machine.missing", format!("reach {node}"))
                    .because_text(format!("{node} has no machine: the cluster is {}", state.phase.word()))
                    .hint(format!("calicolab up {} --name {}", state.lab, state.name))
            },
        )
    })
}

/// What a step says of a proof.
pub fn outcome(proof: &Proof) -> String {
    let passed = proof.findings.iter().filter(|finding| finding.verdict.passed()).count();
    format!("{passed} of {}", counted(proof.findings.len(), "check"))
}

/// The ids of the checks that do not pass, the earliest in the chain first.
pub fn failing(proof: &Proof) -> Vec<String> {
    show::failing(proof).iter().map(|finding| finding.id.to_string()).collect()
}

/// The failure a proof comes to, if it does not hold: it names the failing check that is earliest in the chain.
pub fn unproven(cluster: &ClusterName, proof: &Proof) -> Option<Failure> {
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
    Some(failure.hint(format!("calicolab verify --name {cluster}")))
}
