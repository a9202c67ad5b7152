//! `gc`: what was left on this host and belongs to nothing that is remembered, by label; shown, or removed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use crate::artifact::shelf::{Gone, Kind as Shelf, Thing};
use crate::cluster::home::Found;
use crate::cluster::state::Phase;
use crate::failure::{Exit, Failure};
use crate::lab::name::ClusterName;
use crate::machine::sweep::{self, Leaving, Sweep};

use super::cache::{self, Limits};
use super::cx::{Cx, counted};
use super::down::OfPoints;
use super::fetch::not_fetched;
use super::table::{bytes, columns};

/// Something that was left.
#[derive(Serialize)]
pub struct Line {
    /// What sort of thing (`machine`, `network`, `image`, `cluster`, `sockets`, `lease`, `cache`, …).
    pub kind: String,
    /// Which.
    pub name: String,
    /// Why it is of no use.
    pub why: String,
    /// Bytes of memory that its end frees, where that is known.
    pub memory: Option<u64>,
    /// Bytes of disk that its end frees, where that is known.
    pub disk: Option<u64>,
    /// What removes it by hand.
    pub command: String,
    #[serde(skip)]
    how: How,
}

/// How it is removed.
enum How {
    /// With everything else that carries its cluster's label.
    Down(ClusterName),
    /// By the provider that found it.
    Sweep(usize, Leaving),
    /// As a folder.
    Folder(PathBuf),
    /// With the other leases.
    Lease,
    /// Out of the cache.
    Cache(Thing),
}

/// Everything that was left: on this host, on the servers that known clusters are on, and on those behind `remotes`. Changes
/// nothing.
pub async fn left(cx: &Cx<'_>, remotes: &[String]) -> Result<Vec<Line>, Failure> {
    let before: BTreeSet<ClusterName> = cx.known()?.into_iter().collect();
    let mut lines = with_providers(cx, &before, remotes).await?;
    lines.extend(clusters(cx).await?);
    let known = cx.known()?;
    let sockets = cx.home.left_sockets(&known).map_err(|error| Failure::of_state("look for sockets", &error))?;
    lines.extend(sockets.into_iter().map(|path| file("sockets", "nobody listens there", "rm -r", &path)));
    let leases = cx.leases.abandoned().map_err(|error| Failure::of_lease("look for leases", &error))?;
    lines.extend(leases.iter().map(|path| file("lease", "its cluster is gone", "rm", path)));
    match cache::prunable(cx, Limits { all: false, points: false, older_than: None }).await {
        Ok(things) => lines.extend(things.into_iter().filter_map(of_cache)),
        Err(failure) => cx.events.warn(failure.to_string()),
    }
    Ok(lines)
}

/// The abilities of all providers that have this one.
fn sweeps<'a>(cx: &Cx<'a>) -> Vec<&'a dyn Sweep> {
    cx.providers.iter().filter_map(|provider| provider.sweeps()).collect()
}

/// What providers hold for clusters that are not remembered. What cannot be asked is told and holds up nothing, unless it
/// was named.
async fn with_providers(cx: &Cx<'_>, before: &BTreeSet<ClusterName>, remotes: &[String]) -> Result<Vec<Line>, Failure> {
    let (home, mut found) = (cx.home.labels(), Vec::new());
    for (number, provider) in sweeps(cx).into_iter().enumerate() {
        match provider.leavings(&home, before).await {
            Ok(leavings) => found.extend(leavings.into_iter().map(|leaving| (number, leaving))),
            Err(error) => cx.events.warn(format!("{error}: what it holds is not known")),
        }
        for remote in remotes.iter().cloned().chain(used_remotes(cx)?).collect::<BTreeSet<String>>() {
            match provider.leavings_at(&remote, &home, before).await {
                Ok(leavings) => found.extend(leavings.into_iter().map(|leaving| (number, leaving))),
                Err(error) if remotes.contains(&remote) => {
                    let failure =
                        Failure::new(Exit::Provider, "gc.remote", format!("look for what was left at `{remote}`"));
                    return Err(failure.because(&error));
                }
                Err(error) => cx.events.warn(format!("{error}: what it holds is not known")),
            }
        }
    }
    // A cluster that was begun since is not lost.
    let known: BTreeSet<ClusterName> = cx.known()?.into_iter().collect();
    found.retain(|(_, leaving)| leaving.cluster.as_ref().is_none_or(|cluster| !known.contains(cluster)));
    Ok(found.into_iter().map(|(number, leaving)| of_provider(number, leaving)).collect())
}

/// The remotes that known clusters are on.
fn used_remotes(cx: &Cx<'_>) -> Result<Vec<String>, Failure> {
    let found = cx.home.list().map_err(|error| Failure::of_state("list the clusters", &error))?;
    Ok(found.into_iter().filter_map(|found| Some(found.state.ok()?.wish.away?.remote)).collect())
}

fn of_provider(number: usize, leaving: Leaving) -> Line {
    let why = match &leaving.cluster {
        Some(cluster) => format!("there is no cluster `{cluster}`"),
        None => "nothing is made from it now".into(),
    };
    Line {
        kind: leaving.kind.into(),
        name: leaving.name.clone(),
        why,
        memory: leaving.memory,
        disk: leaving.disk,
        command: leaving.command.clone(),
        how: match (leaving.cluster.clone(), &leaving.remote) {
            (Some(cluster), None) => How::Down(cluster),
            _ => How::Sweep(number, leaving),
        },
    }
}

/// Remembered clusters of which nothing else is left.
async fn clusters(cx: &Cx<'_>) -> Result<Vec<Line>, Failure> {
    let mut lines = Vec::new();
    for found in cx.home.list().map_err(|error| Failure::of_state("list the clusters", &error))? {
        let Some(why) = why_over(cx, &found).await else { continue };
        lines.push(Line {
            kind: "cluster".into(),
            why: why.into(),
            memory: None,
            disk: None,
            command: sweep::down(&found.name),
            name: found.name.to_string(),
            how: How::Down(found.name),
        });
    }
    Ok(lines)
}

async fn why_over(cx: &Cx<'_>, found: &Found) -> Option<&'static str> {
    if found.holder.is_some() {
        return None;
    }
    let state = match &found.state {
        Ok(state) => state,
        // Its maker died before it could say what it would make, so it made nothing.
        Err(crate::cluster::StateError::NoSuch { .. }) => return Some("it was never begun"),
        // What cannot be read may be a later calicolab's.
        Err(_) => return None,
    };
    if state.phase == Phase::Destroying {
        return Some("its removal was cut short");
    }
    let all_gone = cx.power(state).await.is_some_and(|machines| machines.is_empty());
    (all_gone && !state.machines.is_empty()).then_some("none of its machines is left")
}

fn file(kind: &str, why: &str, remover: &str, path: &Path) -> Line {
    let shown = path.display().to_string();
    Line {
        kind: kind.into(),
        command: format!("{remover} {}", crate::command::quoted(&[&shown])),
        name: shown,
        why: why.into(),
        memory: None,
        disk: None,
        how: if kind == "lease" { How::Lease } else { How::Folder(path.into()) },
    }
}

/// What runs left of downloads and of payloads; what labs want is for `cache prune` to judge.
fn of_cache(line: cache::Line) -> Option<Line> {
    let why = match line.thing.kind {
        Shelf::Part => "no run is at it",
        Shelf::Derived => "made again where it is missed",
        Shelf::File | Shelf::Image | Shelf::Template | Shelf::Lists => return None,
    };
    Some(Line {
        kind: "cache".into(),
        name: line.called,
        why: why.into(),
        memory: None,
        disk: Some(line.thing.bytes),
        command: "calicolab cache prune --yes".into(),
        how: How::Cache(line.thing),
    })
}

/// Remove what was left; whatever fails, the rest goes.
pub async fn sweep(cx: &Cx<'_>, lines: &[Line]) -> Result<(), Failure> {
    let providers = sweeps(cx);
    let mut failed = Vec::new();
    let (mut down, mut away) = (BTreeSet::new(), BTreeSet::new());
    // What is on servers goes first: by another name they may be this host, whose networks it uses.
    let is_here = |line: &&Line| !matches!(&line.how, How::Sweep(_, leaving) if leaving.remote.is_some());
    let (here, there): (Vec<&Line>, Vec<&Line>) = lines.iter().partition(is_here);
    for line in there.into_iter().chain(here) {
        let removed = match &line.how {
            How::Down(cluster) if !down.insert(cluster) => Ok(()),
            How::Down(cluster) => {
                super::down::down(cx, cluster, OfPoints::Remove).await.map_err(|failure| failure.to_string())
            }
            // All of a cluster goes at once, unless one of its name was begun since.
            How::Sweep(_, Leaving { remote, cluster: Some(cluster), .. })
                if !away.insert((remote, cluster)) || cx.known()?.contains(cluster) =>
            {
                Ok(())
            }
            How::Sweep(number, leaving) => providers[*number]
                .remove(&cx.home.labels(), leaving)
                .await
                .map_err(|error| crate::failure::in_one_line(&error)),
            How::Folder(path) => match std::fs::remove_dir_all(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
                _ => Ok(()),
            },
            How::Lease => cx.leases.sweep().await.map_err(|error| crate::failure::in_one_line(&error)),
            How::Cache(thing) => match cx.cache.remove(thing).await.map_err(|error| not_fetched(&error).to_string()) {
                Ok(Gone::Held) => Err("another run is at it".into()),
                other => other.map(drop),
            },
        };
        failed.extend(removed.err().map(|why| format!("{} {}: {why}", line.kind, line.name)));
    }
    if failed.is_empty() {
        return Ok(());
    }
    let failure = Failure::new(Exit::Cleanup, "gc.incomplete", "remove all that was left");
    Err(failed.into_iter().fold(failure, Failure::because_text).hint("calicolab gc"))
}

/// The list for people.
pub fn table(lines: &[Line]) -> String {
    let rows = lines.iter().map(|line| {
        let memory = line.memory.map(|number| format!("{} of memory", bytes(number)));
        let frees: Vec<String> = line.disk.map(bytes).into_iter().chain(memory).collect();
        let frees = if frees.is_empty() { "-".into() } else { frees.join(", ") };
        vec![line.kind.clone(), line.name.clone(), line.why.clone(), frees, line.command.clone()]
    });
    let text = columns(&["KIND", "NAME", "WHY", "FREES", "BY HAND"], rows);
    let (memory, disk) = sums(lines);
    text + &format!("{}, {} of disk, {} of memory\n", counted(lines.len(), "thing"), bytes(disk), bytes(memory))
}

fn sums(lines: &[Line]) -> (u64, u64) {
    (lines.iter().filter_map(|line| line.memory).sum(), lines.iter().filter_map(|line| line.disk).sum())
}

/// The same for programs.
pub fn json(lines: &[Line], removed: bool) -> Value {
    let (memory, disk) = sums(lines);
    json!({ "things": lines, "memory": memory, "disk": disk, "removed": removed })
}
