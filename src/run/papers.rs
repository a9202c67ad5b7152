//! What a proof is written to beside its answer: the page about the cluster, and JUnit's XML.

use std::path::Path;

use jiff::Timestamp;

use crate::cli::papers::Papers;
use crate::cmd::cx::Cx;
use crate::cmd::page;
use crate::durable;
use crate::failure::{Exit, Failure};
use crate::lab::name::ClusterName;
use crate::proof::Proof;
use crate::report::{html, junit};

/// Write what is wanted of a proof; that there is none is said.
pub(super) fn write(cx: &Cx<'_>, cluster: &ClusterName, papers: &Papers, proof: Option<&Proof>) -> Result<(), Failure> {
    let Papers { junit, html } = papers;
    let Some(proof) = proof else {
        for file in [junit, html].into_iter().flatten() {
            cx.events.warn(format!("{} is not written: no proof was taken", file.display()));
        }
        return Ok(());
    };
    if let Some(file) = junit {
        let text = junit::junit(proof).map_err(|error| unwritten(file).because(&error))?;
        durable::write(file, text.as_bytes(), 0o644).map_err(|error| unwritten(file).because(&error))?;
    }
    html.as_ref().map_or(Ok(()), |file| page(cx, cluster, file, Some(proof)))
}

/// The proof that was taken since `began`, where the verb that took it failed by it.
pub(super) fn taken_since(cx: &Cx<'_>, cluster: &ClusterName, began: Timestamp) -> Option<Proof> {
    page::known(cx, cluster).ok()?.proof.filter(|proof| proof.started >= began)
}

/// The page about a cluster; of `proof`, or of its last one.
pub(super) fn page(cx: &Cx<'_>, cluster: &ClusterName, path: &Path, proof: Option<&Proof>) -> Result<(), Failure> {
    let known = page::known(cx, cluster)?;
    let (proof, diagnosis) = match proof {
        // An explanation is of the proof that it was made for.
        Some(_) => (proof, None),
        None => (known.proof.as_ref(), known.diagnosis.as_ref()),
    };
    let view = html::View { plan: &known.plan, proof, diagnosis, events: &known.events, at: Timestamp::now() };
    let page = html::page(&view).map_err(|error| unwritten(path).because(&error))?;
    durable::write(path, page.as_bytes(), 0o600).map_err(|error| unwritten(path).because(&error))
}

fn unwritten(path: &Path) -> Failure {
    Failure::new(Exit::Unexpected, "report.write", format!("write {}", path.display()))
}
