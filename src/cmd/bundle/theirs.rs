//! `explain --bundle`: somebody's bundle, ours or calicoctl's, explained without asking anybody.

use std::path::{Path, PathBuf};

use super::super::explain::{self, Explained};
use super::{EXPLAINED, PLAN};
use crate::artifact::texts::of_stranger;
use crate::explain::{Evidence, diags};
use crate::failure::{Exit, Failure};
use crate::lab::plan::Plan;

/// Explain one bundle of ours, or those of several nodes of one cluster as calicoctl makes them.
pub fn explain_files(paths: &[PathBuf]) -> Result<Explained, Failure> {
    let mut files = Vec::new();
    for path in paths {
        let wanted = |name: &str| of_ours(name).is_some() || diags::wanted(name);
        let texts = of_stranger(path, wanted).map_err(|error| failed(path).because(&error))?;
        if let Some(explained) = ours(path, &texts)? {
            return Ok(explained);
        }
        // Bundles of several nodes have the same paths in them.
        let place = files.len();
        files.extend(texts.into_iter().map(|(name, text)| (apart(place, &name), text)));
    }
    let Some(first) = paths.first() else { return Err(Failure::new(Exit::Usage, "usage.bundle", "explain no bundle")) };
    let read = diags::read(&files).map_err(|error| {
        failed(first)
            .because(&error)
            .hint("calicolab bundle, calicoctl node diags or calicoctl cluster diags makes one")
    })?;
    let diagnosis = diags::diagnose(&read);
    Ok(Explained { evidence: read.evidence, diagnosis })
}

fn failed(path: &Path) -> Failure {
    Failure::new(Exit::NoSuch, "bundle.read", format!("read {}", path.display()))
}

/// The paths of one node's bundle, told from those of another's.
fn apart(place: usize, name: &str) -> String {
    if name.starts_with("diagnostics/") { format!("{place}/{name}") } else { name.to_owned() }
}

/// Which file of ours stands at `CLUSTER/NAME`.
fn of_ours(path: &str) -> Option<&'static str> {
    let (cluster, name) = path.split_once('/')?;
    [PLAN, EXPLAINED].into_iter().find(|own| name == *own && !cluster.is_empty())
}

/// A bundle of ours, if it is one.
fn ours(path: &Path, texts: &[(String, String)]) -> Result<Option<Explained>, Failure> {
    let text = |own| texts.iter().find(|(name, _)| of_ours(name) == Some(own)).map(|(_, text)| text);
    if text(PLAN).is_none() && text(EXPLAINED).is_none() {
        return Ok(None);
    }
    let lacks = |what: &str| failed(path).because_text(format!("it has no {what} that this version can read"));
    let plan: Option<Plan> = text(PLAN).and_then(|text| serde_json::from_str(text).ok());
    let explained: Option<Explained> = text(EXPLAINED).and_then(|text| serde_json::from_str(text).ok());
    let plan = plan.ok_or_else(|| lacks(PLAN))?;
    let evidence: Evidence = explained.ok_or_else(|| lacks(EXPLAINED))?.evidence;
    // Rules look nodes up in the plan.
    if !evidence.nodes.keys().all(|node| plan.nodes.names().any(|own| own == node)) {
        return Err(failed(path).because_text("its plan and its readings are of different clusters"));
    }
    explain::judged(evidence, &plan).map(Some)
}
