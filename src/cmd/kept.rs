//! What a cluster's folder holds for its stories: the plan it was begun by, the ways to its nodes, its proofs.

use std::path::Path;
use std::time::Duration;

use crate::cluster::state::{ClusterState, LastProof};
use crate::durable;
use crate::event::Mark;
use crate::failure::{Exit, Failure};
use crate::guest::Target;
use crate::lab::name::{ClusterName, PerNode};
use crate::lab::plan::Plan;
use crate::proof::Proof;
use crate::ssh::{Remote, SshError};

use super::cx::{ANSWER, Cx};

/// Where a cluster's proofs are, in its folder.
pub const PROOFS: &str = "proof";

/// The plan that was saved at a path, if it can be read.
pub fn read_plan(path: &Path) -> Option<Plan> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
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
    connect_within(cx, cluster, plan, state, ANSWER.min(Duration::from_secs(20))).await
}

/// The same with another patience for each.
pub async fn connect_within(
    cx: &Cx<'_>,
    cluster: &ClusterName,
    plan: &Plan,
    state: &ClusterState,
    limit: Duration,
) -> Result<PerNode<Result<Remote, SshError>>, Failure> {
    let targets = targets(plan, state)?;
    let key = cx.home.folder(cluster).join("ssh").join("key");
    targets.try_join(async |node, target| Ok(Remote::connect(target, node, &key, limit).await)).await
}

/// The way to the master alone.
pub async fn master(cx: &Cx<'_>, cluster: &ClusterName, plan: &Plan, state: &ClusterState) -> Result<Remote, Failure> {
    let targets = targets(plan, state)?;
    let key = cx.home.folder(cluster).join("ssh").join("key");
    let connected = Remote::connect(&targets[&plan.master], &plan.master, &key, ANSWER).await;
    connected
        .map_err(|error| Failure::new(Exit::Boot, "ssh.unreachable", format!("reach {}", plan.master)).because(&error))
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

/// Save a proof as `proof/TIME.json`, so that anyone can judge it again.
pub fn keep(folder: &Path, proof: &Proof) -> Result<LastProof, Failure> {
    let folder = folder.join(PROOFS);
    let at = jiff::Timestamp::now();
    let file = folder.join(format!("{}.json", at.strftime("%Y%m%dT%H%M%S%.3fZ")));
    let written = durable::private_folder(&folder)
        .and_then(|()| serde_json::to_vec_pretty(proof).map_err(Into::into))
        .and_then(|bytes| durable::write(&file, &bytes, 0o600));
    written.map_err(|error| {
        Failure::new(Exit::Unexpected, "proof.write", format!("write {}", file.display())).because(&error)
    })?;
    let count = |mark: Mark| {
        let number = proof.findings.iter().filter(|finding| finding.verdict.mark() == mark).count();
        u32::try_from(number).unwrap_or(u32::MAX)
    };
    let (pass, not_yet) = (count(Mark::Pass), count(Mark::NotYet));
    Ok(LastProof { at, pass, not_yet, never: count(Mark::Never), unknown: count(Mark::Unknown), file })
}
