//! The sessions of the last proof: kept to see which of them ended meanwhile, forgotten where a story of ours ends them.

use std::io;
use std::path::{Path, PathBuf};

use super::fault::standing;
use crate::durable;
use crate::failure::{Exit, Failure};
use crate::lab::plan::Plan;
use crate::proof::check::Layer;
use crate::proof::flap::{Flap, flapped};
use crate::proof::{Check, Proof};

fn file(folder: &Path) -> PathBuf {
    folder.join("sessions.json")
}

/// What is done now ends sessions: what they were is forgotten before it is done.
pub fn disturbed(folder: &Path) -> Result<(), Failure> {
    match std::fs::remove_file(file(folder)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let path = file(folder);
            Err(Failure::new(Exit::Unexpected, "calm.remove", format!("remove {}", path.display())).because(&error))
        }
        _ => Ok(()),
    }
}

/// The sessions as they last stood, if nothing of ours ended any since and no fault stands.
pub fn last(folder: &Path) -> Option<Proof> {
    let calm = standing::active(folder).is_empty();
    let read = || serde_json::from_slice(&std::fs::read(file(folder)).ok()?).ok();
    calm.then(read).flatten()
}

/// Say in a proof which sessions flapped, and remember how they stand now, if they do.
pub fn compare(folder: &Path, plan: &Plan, proof: &mut Proof) -> Result<(), Failure> {
    proof.flapped = last(folder).map_or_else(Vec::new, |before| flapped(&before, proof, plan));
    remember(folder, plan, proof)
}

/// The same, and what the last proof said of sessions that are still those: to explain it is asked after it was said.
pub fn compare_and_recall(folder: &Path, plan: &Plan, proof: &mut Proof) -> Result<(), Failure> {
    let said = last(folder).map_or_else(Vec::new, |before| before.flapped);
    compare(folder, plan, proof)?;
    let known = |flap: &Flap| proof.flapped.iter().any(|own| own.nodes() == flap.nodes());
    let recalled: Vec<Flap> = said.into_iter().filter(|flap| !known(flap)).collect();
    proof.flapped.extend(recalled);
    remember(folder, plan, proof)
}

fn remember(folder: &Path, plan: &Plan, proof: &Proof) -> Result<(), Failure> {
    let sessions = || proof.findings.iter().filter(|one| matches!(one.check, Check::Session { .. }));
    let planned: usize = plan.nodes.values().map(|part| part.peers.len()).sum();
    let all_stand = sessions().count() == planned && sessions().all(|one| one.verdict.passed());
    if !all_stand || !standing::active(folder).is_empty() {
        return Ok(());
    }
    let mut kept = proof.clone();
    kept.findings.retain(|one| one.check.layer() == Layer::Session);
    let mut wanted: Vec<usize> = kept.findings.iter().flat_map(|one| one.evidence.clone()).collect();
    wanted.sort_unstable();
    wanted.dedup();
    kept.readings = wanted.iter().filter_map(|at| proof.readings.get(*at).cloned()).collect();
    kept.findings.iter_mut().for_each(|one| one.evidence.clear());
    let path = file(folder);
    let bytes = serde_json::to_vec(&kept).map_err(io::Error::from);
    bytes.and_then(|bytes| durable::write(&path, &bytes, 0o600)).map_err(|error| {
        Failure::new(Exit::Unexpected, "calm.write", format!("write {}", path.display())).because(&error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::{Verdict, samples};

    fn standing(folder: &Path, text: &str) {
        std::fs::write(folder.join("faults.json"), text).expect("written");
    }

    #[test]
    fn sessions_are_remembered_when_all_stand_and_nothing_is_broken_on_purpose() {
        let folder = tempfile::tempdir().expect("a folder");
        let (folder, plan) = (folder.path(), samples::plan(2));
        let mut good = samples::proof(&plan, &[]);
        compare(folder, &plan, &mut good).expect("written");
        let known = last(folder).expect("remembered");
        assert!(known.findings.iter().all(|one| one.check.layer() == Layer::Session) && known.findings.len() == 4);
        assert!(good.flapped.is_empty());

        disturbed(folder).expect("removed");
        disturbed(folder).expect("nothing to remove");
        assert!(last(folder).is_none());
        let mut part = good.clone();
        part.findings.retain(|one| one.check.layer() > Layer::Session);
        compare(folder, &plan, &mut part).expect("nothing to write");
        let mut bad = samples::proof(&plan, &[]);
        let session = bad.findings.iter_mut().find(|one| matches!(one.check, Check::Session { .. })).expect("one");
        session.verdict = Verdict::not_yet("Active");
        compare(folder, &plan, &mut bad).expect("nothing to write");
        assert!(last(folder).is_none());

        standing(
            folder,
            r#"[{"fault":"resolver","node":"calico-02","on":["calico-02"],"since":"2026-11-21T00:00:00Z","until":"2026-11-21T00:05:00Z"}]"#,
        );
        compare(folder, &plan, &mut good).expect("nothing to write");
        standing(folder, "[]");
        assert!(last(folder).is_none(), "while a fault stands nothing is remembered");
        compare(folder, &plan, &mut good).expect("written");
        assert!(last(folder).is_some());
    }

    #[test]
    fn what_was_said_is_said_again_to_who_asks_why() {
        let folder = tempfile::tempdir().expect("a folder");
        let (folder, plan) = (folder.path(), samples::plan(2));
        let mut proof = samples::proof(&plan, &[]);
        let end = |index| crate::proof::flap::End {
            node: samples::node(index),
            anew: true,
            restarted: false,
            saw: "up for 5 s".into(),
        };
        proof.flapped = vec![Flap { stood: jiff::Timestamp::UNIX_EPOCH, ends: vec![end(1), end(2)] }];
        remember(folder, &plan, &proof).expect("written");
        let mut asked = samples::proof(&plan, &[]);
        compare_and_recall(folder, &plan, &mut asked).expect("written");
        assert_eq!(asked.flapped, proof.flapped);
        // Whoever proves it once more has heard of it.
        compare(folder, &plan, &mut asked).expect("written");
        assert!(asked.flapped.is_empty() && last(folder).expect("remembered").flapped.is_empty());
    }
}
