//! Points that outlive their cluster: put aside by `down --keep-points`, and the cluster made again for one of them.

use std::fs;
use std::io;

use super::points::{KEPT, LAB, LAB_FOLDER, copy, kept_folder, of_point, state_of, unread};
use crate::cluster::state::{ClusterState, Phase};
use crate::cmd::cx::{Cx, not_locked};
use crate::durable;
use crate::failure::{Exit, Failure};
use crate::lab::name::{ClusterName, PointName};
use crate::point::folder::Points;

/// The clusters of which points are kept here.
pub fn clusters(cx: &Cx<'_>) -> Result<Vec<ClusterName>, Failure> {
    let root = cx.home.root().join(KEPT);
    let entries = match fs::read_dir(&root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| {
            Failure::new(Exit::Unexpected, "point.kept", format!("list {}", root.display())).because(&error)
        })?,
    };
    let mut names: Vec<ClusterName> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    names.sort();
    Ok(names)
}

/// Before anything of a cluster is removed: whether its points could be put aside.
pub fn room(cx: &Cx<'_>, cluster: &ClusterName) -> Result<(), Failure> {
    let kept = kept_folder(cx, cluster);
    if !kept.exists() {
        return Ok(());
    }
    Err(Failure::new(Exit::Conflict, "point.kept", format!("keep the points of `{cluster}`"))
        .because_text(format!("{} holds those of an earlier cluster of this name", kept.display()))
        .hint(format!("remove that folder, or leave out --keep-points: calicolab down {cluster}")))
}

/// Put the points of a cluster aside whose machines are gone; how many. Those that its provider kept with the machines
/// went with them.
pub fn put_aside(cx: &Cx<'_>, cluster: &ClusterName) -> Result<usize, Failure> {
    let (own, kept) = (cx.home.folder(cluster), kept_folder(cx, cluster));
    let points = Points::of(&own);
    let failure = |error: &_| of_point("keep the points", error);
    for point in points.readable().map_err(|error| failure(&error))? {
        if point.saved.parts.is_empty() {
            cx.events.warn(format!("`{}` went with the machines: {} kept it there", point.name, point.provider));
            points.remove(&point.name).map_err(|error| failure(&error))?;
        }
    }
    let names = points.names().map_err(|error| failure(&error))?;
    if names.is_empty() {
        return Ok(0);
    }
    let moved = durable::private_folder(&kept).and_then(|()| fs::rename(own.join("points"), kept.join("points")));
    moved.map_err(|error| failed(cluster, &error))?;
    Ok(names.len())
}

/// Make the cluster again that one of the points kept is of, without its machines.
pub async fn make_again(cx: &Cx<'_>, cluster: &ClusterName, name: &PointName) -> Result<(), Failure> {
    let (kept, own) = (kept_folder(cx, cluster), cx.home.folder(cluster));
    let points = Points::of(&kept);
    let point = points.read(name).map_err(|error| of_point("find the point", &error))?;
    let lab = points.folder(name).join(LAB_FOLDER);
    let state = state_of(&lab).ok_or_else(|| unread(&point, &lab))?;
    let locked = cx.created(ClusterState { phase: Phase::Stopped, ..state }).await;
    let locked = locked.map_err(|error| not_locked(cluster, &error))?;
    let made = || -> io::Result<()> {
        for file in LAB.iter().filter(|file| **file != "state.json") {
            copy(&lab.join(file), &own.join(file))?;
        }
        fs::rename(kept.join("points"), own.join("points"))?;
        fs::remove_dir(&kept)
    };
    made().map_err(|error| failed(cluster, &error))?;
    drop(locked);
    Ok(())
}

/// Remove a point that is kept, and with the last one what they stand on.
pub fn remove(cx: &Cx<'_>, cluster: &ClusterName, name: &PointName) -> Result<(), Failure> {
    let kept = kept_folder(cx, cluster);
    let points = Points::of(&kept);
    let left =
        points.remove(name).and_then(|()| points.names()).map_err(|error| of_point("remove the point", &error))?;
    if left.is_empty() { fs::remove_dir_all(&kept).map_err(|error| failed(cluster, &error)) } else { Ok(()) }
}

/// Remove all points that are kept of a cluster; how many that were.
pub fn forget(cx: &Cx<'_>, cluster: &ClusterName) -> Result<usize, Failure> {
    let kept = kept_folder(cx, cluster);
    if !kept.exists() {
        return Ok(0);
    }
    let number = Points::of(&kept).names().map_err(|error| of_point("remove the points", &error))?.len();
    fs::remove_dir_all(&kept).map_err(|error| failed(cluster, &error))?;
    Ok(number)
}

fn failed(cluster: &ClusterName, error: &io::Error) -> Failure {
    Failure::new(Exit::Unexpected, "point.kept", format!("move the points of `{cluster}`")).because(error)
}
