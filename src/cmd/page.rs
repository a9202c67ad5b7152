//! `report`: what the page about a cluster is made of, out of the cluster's folder.

use std::path::Path;

use super::cx::{Cx, not_locked};
use super::explain::{self, Explained};
use super::kept::plan_of;
use crate::event::Stamped;
use crate::explain::Diagnosis;
use crate::failure::Failure;
use crate::lab::name::ClusterName;
use crate::lab::plan::Plan;
use crate::proof::Proof;

/// What is known of a cluster without asking it.
pub struct Known {
    /// Its plan.
    pub plan: Plan,
    /// Its last proof, if it can be read.
    pub proof: Option<Proof>,
    /// The explanation of that very proof, if one was made.
    pub diagnosis: Option<Diagnosis>,
    /// Every happening.
    pub events: Vec<Stamped>,
}

/// Read it.
pub fn known(cx: &Cx<'_>, cluster: &ClusterName) -> Result<Known, Failure> {
    let state = cx.home.read(cluster).map_err(|error| not_locked(cluster, &error))?;
    let (plan, folder) = (plan_of(cx, cluster)?, cx.home.folder(cluster));
    let saved = read(&folder.join(explain::FILE));
    let last = state.last_proof.as_ref().and_then(|last| explain::read_proof(&last.file));
    // `explain` takes proofs of its own, which are not the cluster's last one.
    let newer = |saved: &Explained| last.as_ref().is_none_or(|proof| saved.evidence.proof.started >= proof.started);
    let (proof, diagnosis) = match saved.filter(newer) {
        Some(saved) => (Some(saved.evidence.proof), Some(saved.diagnosis)),
        None => (last, None),
    };
    let lines = std::fs::read_to_string(folder.join("events.jsonl")).unwrap_or_default();
    let events = lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    Ok(Known { plan, proof, diagnosis, events })
}

fn read(path: &Path) -> Option<Explained> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}
