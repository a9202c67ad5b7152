//! `explain`: a proof of what fails, everything that both ends can tell of it, and the first broken link.

pub mod show;

use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::bring;
use super::calm;
use super::cx::{Cx, not_locked};
use super::kept::{connect, keep, plan_of};
use super::verify;
use crate::durable;
use crate::event::{Event, Step};
use crate::explain::gather::gather;
use crate::explain::{Diagnosis, Evidence, Outcome, Told, explain as diagnose};
use crate::failure::{Exit, Failure};
use crate::lab::name::ClusterName;
use crate::lab::plan::Plan;
use crate::proof::Proof;
use crate::proof::round::{Pace, prove};

/// What is asked of `explain`.
pub struct Want {
    /// Checks by id or the beginning of one; all if there are none.
    pub checks: Vec<String>,
    /// Whether the last proof is explained.
    pub last: bool,
    /// How long checks may take to pass.
    pub patience: Duration,
}

/// What is kept of an explanation, and what a bundle carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// What was read.
    pub evidence: Evidence,
    /// What it comes to.
    pub diagnosis: Diagnosis,
}

/// Where the last explanation of a cluster is kept, beside its proofs.
pub const FILE: &str = "explained.json";

/// Explain what fails now, or what failed in the last proof.
pub async fn explain(cx: &Cx<'_>, cluster: &ClusterName, want: &Want) -> Result<Explained, Failure> {
    cx.events.tell(Event::Begin { verb: "explain".into(), cluster: cluster.to_string(), steps: vec![Step::Prove] });
    let plan = plan_of(cx, cluster)?;
    let checks = verify::chosen(&plan, &want.checks)?;
    let state = cx.home.read(cluster).map_err(|error| not_locked(cluster, &error))?;
    let folder = cx.home.folder(cluster);
    let asking = async {
        let remotes = connect(cx, cluster, &plan, &state).await?;
        let askers = bring::askers_or_why(&remotes);
        let proof = if want.last {
            let file = state.last_proof.as_ref().map(|last| last.file.clone());
            let mut proof = file.as_deref().and_then(read_proof).ok_or_else(|| no_proof(cluster))?;
            proof.findings.retain(|finding| checks.contains(&finding.check));
            proof
        } else {
            let mut proof = prove(&plan, &checks, &askers, Pace::AtOnce, want.patience, &cx.events).await;
            calm::compare_and_recall(&folder, &plan, &mut proof)?;
            keep(&folder, &proof)?;
            proof
        };
        let outcome = verify::outcome(&proof);
        let began = Instant::now();
        let evidence = gather(&plan, proof, &askers).await;
        cx.events.note(format!("what both ends tell was read in {:.1} s", began.elapsed().as_secs_f64()));
        Ok((evidence, outcome))
    };
    let evidence = cx.step(Step::Prove, asking).await?;
    let explained = judged(evidence, &plan)?;
    let bytes = serde_json::to_vec(&explained).map_err(std::io::Error::from);
    let path = folder.join(FILE);
    bytes.and_then(|bytes| durable::write(&path, &bytes, 0o600)).map_err(|error| {
        Failure::new(Exit::Unexpected, "explain.write", format!("write {}", path.display())).because(&error)
    })?;
    Ok(explained)
}

/// Name the first broken link in what was read, wherever that was.
pub fn judged(evidence: Evidence, plan: &Plan) -> Result<Explained, Failure> {
    let silent = |told: &Told| matches!(told, Told::Unasked(_));
    if !evidence.nodes.is_empty() && evidence.nodes.values().all(silent) {
        let why = evidence.nodes.iter().filter_map(|(node, told)| match told {
            Told::Unasked(why) => Some(format!("{node}: {why}")),
            Told::Answers(_) => None,
        });
        let failure = Failure::new(Exit::Unasked, "explain.unasked", format!("ask the nodes of `{}`", plan.cluster));
        let failure = why.fold(failure, Failure::because_text);
        return Err(failure.hint(format!("calicolab status --name {}", plan.cluster)));
    }
    let diagnosis = diagnose(&evidence, plan);
    Ok(Explained { evidence, diagnosis })
}

/// How the program ends with a diagnosis.
pub fn exit(diagnosis: &Diagnosis) -> Exit {
    match diagnosis.outcome {
        Outcome::NothingBroken | Outcome::Explained => Exit::Done,
        Outcome::Undecided => Exit::Unproven,
    }
}

/// A saved proof, if it can be read.
pub fn read_proof(path: &Path) -> Option<Proof> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn no_proof(cluster: &ClusterName) -> Failure {
    Failure::new(Exit::NoSuch, "proof.none", format!("read the last proof of `{cluster}`"))
        .because_text("there is none that can be read")
        .hint(format!("calicolab explain --name {cluster}"))
}
