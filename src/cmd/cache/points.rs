//! Points as the cache's verbs know them: whose each is, what it takes, who may read it, and what of the cache it stands on.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use super::Limits;
use crate::cmd::cx::{Cx, counted};
use crate::cmd::ls::age;
use crate::cmd::snapshot::kept;
use crate::cmd::snapshot::points::{kept_folder, of_point};
use crate::cmd::table::{bytes, columns};
use crate::failure::Failure;
use crate::lab::name::{ClusterName, PointName};
use crate::point::Of;
use crate::point::folder::Points;

/// A point, whoever it is of.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Its name.
    pub point: PointName,
    /// The cluster it is of.
    pub cluster: ClusterName,
    /// Whether that cluster is there; else `down --keep-points` kept it.
    pub cluster_is_there: bool,
    /// When it was saved; none if that cannot be read.
    pub at: Option<Timestamp>,
    /// The bytes that it takes on disk, with the disks that it may share with others.
    pub bytes: u64,
    /// Who may do what with memory and disks, all their modes taken together (`0600`).
    pub mode: String,
    /// The files of the cache that it stands on; none if that cannot be read.
    #[serde(skip)]
    pub stands_on: Option<Vec<PathBuf>>,
}

impl Line {
    /// Who wants what it stands on, for people.
    pub fn who(&self) -> String {
        format!("point {} of {}", self.point, self.cluster)
    }

    /// Whether it is to go: one of a cluster that is gone, if that was asked for, and old enough.
    pub fn may_go(&self, limits: Limits) -> bool {
        let old = limits.older_than.is_none_or(|limit| {
            let age = self.at.map(|at| Timestamp::now().as_second() - at.as_second());
            age.and_then(|age| u64::try_from(age).ok()).is_some_and(|age| age >= limit.as_secs())
        });
        limits.points && !self.cluster_is_there && old
    }
}

/// All points of this home's clusters, also of those that are gone.
pub fn all(cx: &Cx<'_>) -> Result<Vec<Line>, Failure> {
    let there = cx.known()?.into_iter().map(|cluster| (Points::of(&cx.home.folder(&cluster)), cluster, true));
    let gone = kept::clusters(cx)?.into_iter().map(|cluster| (Points::of(&kept_folder(cx, &cluster)), cluster, false));
    let mut lines = Vec::new();
    for (points, cluster, cluster_is_there) in there.chain(gone) {
        for point in points.names().map_err(|error| of_point("list the points", &error))? {
            lines.push(line(&points, point, &cluster, cluster_is_there));
        }
    }
    Ok(lines)
}

fn line(points: &Points, point: PointName, cluster: &ClusterName, cluster_is_there: bool) -> Line {
    let (mut took, mut mode) = (0, 0);
    let folder = points.folder(&point);
    // What cannot be looked at adds nothing; `snapshot list` says why.
    let _ = look(&folder, &mut took, &mut mode);
    let read = points.read(&point).ok();
    for disk in read.iter().flat_map(|point| &point.files).filter(|file| file.of == Of::Points) {
        let _ = look(&points.shared().join(&disk.file), &mut took, &mut mode);
    }
    let cached = read.as_ref().map(|point| point.files.iter().filter(|file| file.of == Of::Cache));
    Line {
        point,
        cluster: cluster.clone(),
        cluster_is_there,
        at: read.as_ref().map(|point| point.at),
        bytes: took,
        mode: format!("{mode:04o}"),
        stands_on: cached.map(|files| files.map(|file| file.file.clone()).collect()),
    }
}

/// Add what a file, or all files below a folder, take and allow.
fn look(path: &Path, took: &mut u64, mode: &mut u32) -> io::Result<()> {
    let there = fs::symlink_metadata(path)?;
    if !there.is_dir() {
        *took += there.blocks() * 512;
        *mode |= there.permissions().mode() & 0o777;
        return Ok(());
    }
    // Below the first folder is what was copied of the cluster's, public keys too, each with the mode it has there.
    let mut of_copies = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        look(&entry.path(), took, if entry.file_type()?.is_dir() { &mut of_copies } else { mode })?;
    }
    Ok(())
}

/// Remove the points that may go; which they were.
pub fn prune(cx: &Cx<'_>, limits: Limits) -> Result<Vec<Line>, Failure> {
    let gone: Vec<Line> = all(cx)?.into_iter().filter(|line| line.may_go(limits)).collect();
    for line in &gone {
        kept::remove(cx, &line.cluster, &line.point)?;
    }
    Ok(gone)
}

/// For people; nothing if there are none.
pub fn table(lines: &[Line], now: Timestamp) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let rows = lines.iter().map(|line| {
        let cluster = if line.cluster_is_there { line.cluster.to_string() } else { format!("{} (gone)", line.cluster) };
        let age = line.at.map_or_else(|| "-".into(), |at| age(at, now));
        vec![line.point.to_string(), cluster, bytes(line.bytes), age, line.mode.clone()]
    });
    let size = lines.iter().map(|line| line.bytes).sum();
    let total = format!("{}, {}; they hold keys\n", counted(lines.len(), "point"), bytes(size));
    columns(&["POINT", "CLUSTER", "SIZE", "AGE", "MODE"], rows) + &total
}
