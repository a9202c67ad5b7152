//! What all stories of points stand on: where a cluster's points lie, who saves its machines, what a point holds of the
//! cluster's folder, and how failures are told.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cluster::state::ClusterState;
use crate::cmd::cx::Cx;
use crate::failure::{Exit, Failure};
use crate::lab::name::ClusterName;
use crate::machine::ability::Save;
use crate::machine::{Kind, Provider};
use crate::point::Point;
use crate::point::folder::{PointError, Points};

/// The folder in a point's for what it holds of the cluster's.
pub(super) const LAB_FOLDER: &str = "lab";

/// What a point holds of the cluster's folder: all that it takes to make the cluster again.
pub(super) const LAB: [&str; 7] = ["plan.json", "state.json", "made.json", "faults.json", "ssh", "pki", "rendered"];

/// In a home, beside the folder of its clusters.
pub(super) const KEPT: &str = "kept";

/// The points of a cluster.
pub fn of(cx: &Cx<'_>, cluster: &ClusterName) -> Points {
    Points::of(&if alone(cx, cluster) { kept_folder(cx, cluster) } else { cx.home.folder(cluster) })
}

/// Where the points of a cluster that is gone are kept; `points` lies in it as in the cluster's own folder.
pub fn kept_folder(cx: &Cx<'_>, cluster: &ClusterName) -> PathBuf {
    cx.home.root().join(KEPT).join(cluster.as_str())
}

/// Whether there is no cluster of this name, but points of one.
pub fn alone(cx: &Cx<'_>, cluster: &ClusterName) -> bool {
    kept_folder(cx, cluster).is_dir() && !cx.home.folder(cluster).join("state.json").exists()
}

/// Who saves this kind of machines, if anybody can.
pub(super) fn able<'a>(cx: &Cx<'a>, kind: Kind) -> Option<(&'a dyn Provider, &'a dyn Save)> {
    let provider = cx.providers.iter().copied().find(|one| one.kind() == kind)?;
    Some((provider, provider.saves()?))
}

/// How a cluster's machines are saved, if its provider can.
pub(super) fn ability<'a>(cx: &Cx<'a>, kind: Kind) -> Result<(&'a dyn Provider, &'a dyn Save), Failure> {
    able(cx, kind).ok_or_else(|| {
        Failure::new(Exit::HostUnfit, "point.not-here", "keep machines as they are")
            .because_text(format!("{kind} cannot save machines as they are"))
            .hint("calicolab up LAB --provider qemu -n NAME")
    })
}

/// Copy a file or a folder, if it is there. Modes are kept: some of it is secret.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    match fs::metadata(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(there) if there.is_dir() => {
            crate::durable::private_folder(to)?;
            for entry in fs::read_dir(from)? {
                let entry = entry?;
                copy(&entry.path(), &to.join(entry.file_name()))?;
            }
            Ok(())
        }
        Ok(_) => fs::copy(from, to).map(drop),
    }
}

/// The state of the cluster that a point's copy of its folder is of.
pub(super) fn state_of(lab: &Path) -> Option<ClusterState> {
    serde_json::from_slice(&fs::read(lab.join("state.json")).ok()?).ok()
}

/// The failure of a point whose copy of the cluster's folder cannot be understood.
pub(super) fn unread(point: &Point, lab: &Path) -> Failure {
    Failure::new(Exit::Unexpected, "point.lab", format!("read what `{}` was made from", point.name))
        .because_text(format!("{} is not understood", lab.display()))
}

/// A lab that was only half brought back is neither to be saved nor to be gone on with.
pub fn not_half_way(cluster: &ClusterName, points: &Points) -> Result<(), Failure> {
    let Some(point) = points.returning() else { return Ok(()) };
    let failure = Failure::new(Exit::Conflict, "point.half-way", format!("go on with `{cluster}`")).because_text(
        format!("bringing back the point `{point}` was broken off, and its machines are neither old nor new"),
    );
    // One that is another cluster's is brought back beside that one again.
    let own = points.folder(&point).exists();
    let again = own.then(|| format!("calicolab snapshot restore {point} --replace --name {cluster}"));
    Err(again.into_iter().fold(failure, Failure::hint).hint(format!("calicolab down {cluster}")))
}

/// What to do where the disk is full.
pub(super) const ROOM: &str =
    "make room, by removing a point too: calicolab snapshot list, calicolab snapshot delete POINT";

pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// A failure of points in the words and with the code of the command line.
pub fn of_point(doing: impl Into<String>, error: &PointError) -> Failure {
    let delete = |path: &Path| {
        let name =
            path.parent().and_then(|folder| folder.file_name()).unwrap_or_default().to_string_lossy().into_owned();
        format!("calicolab snapshot delete {name}")
    };
    let (exit, id, hint) = match error {
        PointError::NoSuch { .. } => (Exit::NoSuch, "point.none", "calicolab snapshot list".into()),
        PointError::Exists { name } => {
            (Exit::Conflict, "point.exists", format!("take another name, or: calicolab snapshot delete {name}"))
        }
        PointError::Schema { path, .. } => {
            (Exit::Unexpected, "point.schema", format!("use the calicolab that wrote it, or: {}", delete(path)))
        }
        PointError::Broken { path, .. } => (Exit::Unexpected, "point.broken", delete(path)),
        PointError::Damaged { .. } => {
            (Exit::Digest, "point.damaged", "take another point: calicolab snapshot list".into())
        }
        PointError::Io { source, .. } if is_full(source) => (Exit::HostUnfit, "point.disk-full", ROOM.into()),
        PointError::Io { .. } => (Exit::Unexpected, "point.io", String::new()),
    };
    Failure::new(exit, id, doing).because(error).hint(hint)
}
