//! A point, a lab as it was at one moment, as plain data: what it holds, of whom it descends, where it can be brought back.

pub mod folder;

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::guest::Kind;
use crate::lab::name::{LabName, PointName};
use crate::lab::pin::Digest;
use crate::machine::ability::Saved;

/// Version of `point.json`.
pub const SCHEMA: u32 = 1;

/// A lab as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Its name.
    pub name: PointName,
    /// When it was saved.
    pub at: Timestamp,
    /// Version of the calicolab that saved it.
    pub calicolab: String,
    /// The id of the cluster it is of.
    pub cluster: String,
    /// The lab that is made from.
    pub lab: LabName,
    /// Who made its machines.
    pub provider: Kind,
    /// The point that the lab was brought back from, or saved as, before.
    pub parent: Option<PointName>,
    /// The proof that held when it was saved; none where the lab was not proven.
    pub proven: Option<Proven>,
    /// What its machines can be brought back by (see [`differences`]).
    pub fit: BTreeMap<String, String>,
    /// What its provider kept.
    pub saved: Saved,
    /// Every file of it, and every one it stands on.
    pub files: Vec<Summed>,
}

/// The last proof before a point was saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proven {
    /// When it ended.
    pub at: Timestamp,
    /// How many checks passed, which were all.
    pub checks: u32,
}

/// A file of a point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summed {
    /// Where it lies.
    pub of: Of,
    /// Its path there.
    pub file: PathBuf,
    /// SHA-256 over its length and its blocks that are not zero: disks are mostly holes.
    pub digest: Digest,
    /// The bytes it takes on disk.
    pub bytes: u64,
}

/// Whose a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Of {
    /// The point's own; its path is in the point's folder.
    Point,
    /// Several points'; its path is in the folder of shared files.
    Points,
    /// The cache's; its path is absolute.
    Cache,
}

impl Point {
    /// The bytes that would be free without it, if no other point stood on its disks.
    pub fn bytes(&self) -> u64 {
        self.files.iter().filter(|one| one.of != Of::Cache).map(|one| one.bytes).sum()
    }
}

/// What is otherwise here than where a point was saved, a sentence each.
pub fn differences(saved: &BTreeMap<String, String>, here: &BTreeMap<String, String>) -> Vec<String> {
    let differs = saved.iter().filter_map(|(what, then)| match here.get(what) {
        Some(now) if now == then => None,
        Some(now) => Some(format!("it was saved with {what} {then}, and here is {now}")),
        None => Some(format!("it was saved with {what} {then}, and here is none")),
    });
    differs.collect()
}

/// The latest point that was proven when it was saved.
pub fn last_proven(points: &[Point]) -> Option<&Point> {
    points.iter().filter(|point| point.proven.is_some()).max_by_key(|point| point.at)
}

/// The first of `point-1`, `point-2`, … that is no name yet.
pub fn free_name(taken: &[PointName]) -> PointName {
    let names = (1..).map(|number: u32| format!("point-{number}"));
    let free = names.map(|name| name.parse::<PointName>().expect("a name")).find(|name| !taken.contains(name));
    free.expect("numbers do not end")
}

/// The name of a point saved before a fault: `before-FAULT`, or the first of `before-FAULT-2`, … that is none yet.
pub fn name_before(fault: &str, taken: &[PointName]) -> PointName {
    let numbered = (2..).map(|number: u32| format!("before-{fault}-{number}"));
    let names = std::iter::once(format!("before-{fault}")).chain(numbered);
    let free = names
        .map(|name| name.parse::<PointName>().expect("a fault's word is short"))
        .find(|name| !taken.contains(name));
    free.expect("numbers do not end")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }

    #[test]
    fn another_qemu_or_processor_is_said_in_a_sentence() {
        let saved = words(&[("QEMU", "7.2.22"), ("processor", "qemu64 in software")]);
        assert_eq!(differences(&saved, &saved), [""; 0]);
        let here = words(&[("QEMU", "10.0.2"), ("more", "than was asked")]);
        insta::assert_snapshot!(differences(&saved, &here).join("\n"), @r"
        it was saved with QEMU 7.2.22, and here is 10.0.2
        it was saved with processor qemu64 in software, and here is none
        ");
    }

    #[test]
    fn the_first_free_number_names_a_point() {
        let taken: Vec<PointName> = ["point-1", "mine", "point-3"].map(|name| name.parse().expect("a name")).into();
        assert_eq!(free_name(&taken).as_str(), "point-2");
        assert_eq!(free_name(&[]).as_str(), "point-1");
    }

    #[test]
    fn a_point_before_a_fault_bears_its_name() {
        let before = |taken: &[&str]| {
            let taken: Vec<PointName> = taken.iter().map(|name| name.parse().expect("a name")).collect();
            name_before("link-down", &taken).to_string()
        };
        assert_eq!(before(&["before-bgp-down"]), "before-link-down");
        assert_eq!(before(&["before-link-down", "before-link-down-2"]), "before-link-down-3");
    }

    #[test]
    fn the_last_good_one_is_the_latest_that_was_proven() {
        let at = |second| Timestamp::new(second, 0).expect("a time");
        let point = |name: &str, second, proven: bool| {
            let proven = proven.then(|| Proven { at: at(second), checks: 31 });
            Point { name: name.parse().expect("a name"), at: at(second), proven, ..folder::example() }
        };
        let points = [point("old", 1, true), point("good", 2, true), point("bad", 3, false)];
        assert_eq!(last_proven(&points).map(|point| point.name.as_str()), Some("good"));
        assert_eq!(last_proven(&points[2..]), None);
    }
}
