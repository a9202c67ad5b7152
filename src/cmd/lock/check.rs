//! `lock --check`: whether every lock is of its lab, and what is missing in it. Opens no connection.

use serde::Serialize;

use crate::cmd::cx::Cx;
use crate::cmd::draft;
use crate::cmd::table::columns;
use crate::failure::{Exit, Failure};
use crate::lab::agreement::agree;
use crate::lab::file::Lab;
use crate::lab::lock_file::PlacedLock;
use crate::lab::name::LabName;
use crate::lab::plan::pinned;
use crate::lab::problem::Problems;

/// One lab's lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// The lab.
    pub lab: LabName,
    /// How many files are pinned, for all processors.
    pub pins: usize,
    /// Artifacts that its nodes need and that have no digest.
    pub missing: Vec<String>,
    /// What is wrong, each with its place.
    pub problems: Vec<String>,
}

/// Check the locks of these labs, or of all if none is named.
pub fn check(cx: &Cx<'_>, labs: &[String]) -> Result<Vec<Checked>, Failure> {
    let unread = |error| draft::unread(&crate::cmd::labs::LabsError::Library(error));
    let names = if labs.is_empty() {
        cx.library.labs().map_err(unread)?
    } else {
        labs.iter().map(|word| draft::lab_name(cx, word)).collect::<Result<_, _>>()?
    };
    let images = cx.library.images().map_err(unread)?;
    let mut all = Vec::new();
    for name in names {
        let text = cx.library.lab(&name).map_err(unread)?;
        let lab = Lab::read(&name, &text.text, &text.shown, &[], &images);
        let own = draft::own_lock(cx, &name, &[]);
        let lock = match cx.library.lock_text(&name, Some(&own)).map_err(unread)? {
            Some(text) => PlacedLock::read(&text.text, &text.shown),
            None => PlacedLock::read("schema: 1\npins: []\n", &format!("labs/{name}/lock.yaml")),
        };
        all.push(checked(name, lab, lock));
    }
    Ok(all)
}

fn checked(name: LabName, lab: Result<Lab, Problems>, lock: Result<PlacedLock, Problems>) -> Checked {
    let told = |problems: &Problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (lab, lock) = match (lab, lock) {
        (Ok(lab), Ok(lock)) => (lab, lock),
        (lab, lock) => {
            let problems = [lab.err(), lock.err()].iter().flatten().flat_map(told).collect();
            return Checked { lab: name, pins: 0, missing: Vec::new(), problems };
        }
    };
    let missing = lab.artifacts.iter().filter(|artifact| pinned(artifact, &lock.lock, lab.arch).is_err());
    Checked {
        lab: name,
        pins: lock.lock.pins.len(),
        missing: missing.map(|artifact| artifact.name.clone()).collect(),
        problems: agree(&lab, &lock).err().as_ref().map_or_else(Vec::new, told),
    }
}

/// The labs for people.
pub fn table(checked: &[Checked]) -> String {
    let rows = checked.iter().map(|one| {
        let (pins, missing) = if one.problems.is_empty() {
            let missing = if one.missing.is_empty() { "-".into() } else { one.missing.join(" ") };
            (one.pins.to_string(), missing)
        } else {
            ("-".into(), format!("wrong: {}", one.problems.len()))
        };
        vec![one.lab.to_string(), pins, missing]
    });
    columns(&["LAB", "PINS", "MISSING"], rows)
}

/// The failure that tells every problem, if there is one.
pub fn wrong(checked: &[Checked]) -> Option<Failure> {
    let mut problems = checked.iter().flat_map(|one| &one.problems).peekable();
    problems.peek()?;
    let failure = Failure::new(Exit::LabInvalid, "lock.invalid", "find every lock right");
    Some(problems.fold(failure, |failure, problem| failure.because_text(problem.clone())))
}
