//! `snapshot save`, `list`, `show`, `delete`: a running lab kept as it is, and what is kept of it.

pub mod beside;
pub mod kept;
mod login;
pub mod points;
pub mod restore;
pub mod show;

use std::io;
use std::path::{Path, PathBuf};

use crate::cluster::home::Locked;
use crate::cluster::state::{ClusterState, Phase};
use crate::event::{Event, Step};
use crate::failure::{Exit, Failure};
use crate::lab::name::{ClusterName, PointName};
use crate::machine::ability::{Part, Role, Save, Saved};
use crate::machine::{Place, Power, Provider, ProviderError};
use crate::point::folder::{PointError, Points};
use crate::point::{self, Point, Proven, free_name, name_before};

use super::cx::Cx;
use super::fault::standing;
use super::made::Made;
use super::table::bytes;
use points::{LAB, LAB_FOLDER, ROOM, ability, able, alone, copy, is_full, not_half_way, of_point};

/// Keep a running lab as it is; it runs on at once.
pub async fn save(cx: &Cx<'_>, cluster: &ClusterName, name: Option<PointName>) -> Result<Point, Failure> {
    let steps = vec![Step::Save];
    cx.events.tell(Event::Begin { verb: "snapshot save".into(), cluster: cluster.to_string(), steps });
    let locked = cx.locked(cluster).await?;
    let (provider, ability) = ability(cx, locked.state().provider)?;
    let name = match name {
        Some(name) => name,
        None => free_name(&names(cx, cluster)?),
    };
    save_as(cx, &locked, (provider, ability), name).await
}

/// Keep a running lab as it is before this fault is made on it, where its provider can; elsewhere a line says that it
/// was not.
pub async fn save_before(cx: &Cx<'_>, locked: &Locked, fault: &str) -> Result<(), Failure> {
    let cluster = locked.cluster();
    let kind = locked.state().provider;
    let Some((provider, ability)) = able(cx, kind) else {
        cx.events.note(format!("there is no point before {fault}: {kind} cannot save machines as they are"));
        return Ok(());
    };
    let steps = vec![Step::Save];
    cx.events.tell(Event::Begin { verb: "fault add".into(), cluster: cluster.to_string(), steps });
    let name = name_before(fault, &names(cx, cluster)?);
    let saved = save_as(cx, locked, (provider, ability), name).await;
    let point = saved
        .map_err(|failure| failure.hint(format!("make it without a point: calicolab fault add {fault} --no-point")))?;
    cx.events.note(format!(
        "the lab as it was before {fault}: calicolab snapshot restore {} --replace --name {cluster}",
        point.name
    ));
    for lost in &point.saved.lost {
        cx.events.warn(format!("`{}`: {lost}", point.name));
    }
    Ok(())
}

fn names(cx: &Cx<'_>, cluster: &ClusterName) -> Result<Vec<PointName>, Failure> {
    points::of(cx, cluster).names().map_err(|error| of_point("name the point", &error))
}

async fn save_as(
    cx: &Cx<'_>,
    locked: &Locked,
    (provider, ability): (&dyn Provider, &dyn Save),
    name: PointName,
) -> Result<Point, Failure> {
    let cluster = locked.cluster();
    let (points, place) = (points::of(cx, cluster), cx.place(cluster)?);
    not_half_way(cluster, &points)?;
    // What a killed run left standing still would not be called running.
    ability.resume(&place).await.map_err(|error| not_saved(&error))?;
    worth_saving(locked.state(), provider, &place).await?;
    points.clear_left().map_err(|error| of_point("clear away what a killed run left", &error))?;
    tidied(ability, &place, &points).await?;
    let saving = async {
        let point = written(locked, ability, &place, &points, name).await?;
        let outcome = format!(
            "`{}`, {}; the lab stood still for {} ms",
            point.name,
            bytes(point.bytes()),
            point.saved.paused.as_millis()
        );
        Ok((point, outcome))
    };
    let saved = cx.step(Step::Save, saving).await;
    if saved.is_err() {
        // Also after an interrupt in the middle: the lab runs on, and nothing half-written stays.
        if let Err(error) = ability.resume(&place).await {
            cx.events.warn(format!("{error}; calicolab up lets it run on"));
        }
        tidied(ability, &place, &points).await?;
    }
    saved
}

/// A point of machines that do not run, or of a lab that nobody knows the state of, helps nobody.
async fn worth_saving(state: &ClusterState, provider: &dyn Provider, place: &Place) -> Result<(), Failure> {
    let refused = |id, why: String| {
        let hint = format!("calicolab up {} --name {}", state.lab, state.name);
        Failure::new(Exit::Conflict, id, format!("save `{}`", state.name)).because_text(why).hint(hint)
    };
    if !matches!(state.phase, Phase::Ready { .. } | Phase::Unproven { .. }) {
        return Err(refused("point.phase", format!("the cluster is {}", state.phase.word())));
    }
    let machines = provider
        .machines(place)
        .await
        .map_err(|error| Failure::new(Exit::Provider, "provider.machines", "look for machines").because(&error))?;
    for node in &state.nodes {
        if !machines.contains(&(node.clone(), Power::Running)) {
            return Err(refused("point.node-off", format!("the machine of {node} does not run")));
        }
    }
    Ok(())
}

async fn written(
    locked: &Locked,
    ability: &dyn Save,
    place: &Place,
    points: &Points,
    name: PointName,
) -> Result<Point, Failure> {
    let (state, folder) = (locked.state(), locked.folder());
    let failed = |error: &PointError| of_point("write the point", error);
    let made = Made::read(&folder).ok_or_else(|| {
        Failure::new(Exit::Conflict, "point.made", "find what the machines were made from")
            .because_text("the cluster was begun by an earlier calicolab")
            .hint(format!("calicolab stop --name {0}, then calicolab start --name {0}", state.name))
    })?;
    let part = points.begin(&name).map_err(|error| failed(&error))?;
    let (shared, at) = (points.shared(), jiff::Timestamp::now());
    let id = format!("{}-{:x}", state.id, at.as_microsecond());
    let saved = ability.save(place, &state.nodes, &part.slot(&id, &shared)).await;
    let saved = saved.map_err(|error| not_saved(&error))?;
    copied(&folder, &part.folder().join(LAB_FOLDER))
        .map_err(|error| failed(&PointError::Io { doing: "copied", path: folder.clone(), source: error }))?;
    let files = part.sums(&shared, disks(&saved), made.files()).await.map_err(|error| failed(&error))?;
    let proven = match (&state.phase, &state.last_proof) {
        (Phase::Ready { .. }, Some(proof)) if standing::active(&folder).is_empty() => {
            Some(Proven { at: proof.at, checks: proof.pass })
        }
        _ => None,
    };
    let point = Point {
        schema: point::SCHEMA,
        name,
        at,
        calicolab: env!("CARGO_PKG_VERSION").into(),
        cluster: state.id.clone(),
        lab: state.lab.clone(),
        provider: state.provider,
        parent: points.here(),
        proven,
        fit: ability.fit().await,
        saved,
        files,
    };
    part.finish(&point).and_then(|()| points.set_here(&point.name)).map_err(|error| failed(&error))?;
    Ok(point)
}

/// The shared files that a point stands on, each once.
fn disks(saved: &Saved) -> Vec<PathBuf> {
    let disk = |part: &&Part| part.role == Role::Disk;
    saved.parts.iter().filter(disk).map(|part| part.file.clone()).collect()
}

/// Copy what a point holds of the cluster's folder. Modes are kept: some of it is secret.
fn copied(folder: &Path, to: &Path) -> io::Result<()> {
    crate::durable::private_folder(to)?;
    for name in LAB {
        copy(&folder.join(name), &to.join(name))?;
    }
    Ok(())
}

/// Remove a point, and the disks that nothing stands on any more.
pub async fn delete(cx: &Cx<'_>, cluster: &ClusterName, name: &PointName) -> Result<(), Failure> {
    if alone(cx, cluster) {
        return kept::remove(cx, cluster, name);
    }
    let locked = cx.locked(cluster).await?;
    let points = points::of(cx, cluster);
    points.remove(name).map_err(|error| of_point("remove the point", &error))?;
    match ability(cx, locked.state().provider) {
        Ok((_, ability)) => tidied(ability, &cx.place(cluster)?, &points).await,
        Err(failure) => Err(failure),
    }
}

async fn tidied(ability: &dyn Save, place: &Place, points: &Points) -> Result<(), Failure> {
    // A point that cannot be read may stand on any of them.
    let all =
        points.names().and_then(|names| names.iter().map(|name| points.read(name)).collect::<Result<Vec<_>, _>>());
    let Ok(all) = all else { return Ok(()) };
    let kept: Vec<Saved> = all.into_iter().map(|point| point.saved).collect();
    ability.tidy(place, &points.shared(), &kept).await.map_err(|error| {
        Failure::new(Exit::Cleanup, "point.tidy", "remove what no point stands on")
            .because(&error)
            .left(format!("disks in {}", points.shared().display()))
    })
}

fn not_saved(error: &ProviderError) -> Failure {
    fn full(error: &ProviderError) -> bool {
        match error {
            ProviderError::Io { source, .. } => is_full(source),
            ProviderError::Several(all) => all.iter().any(full),
            _ => false,
        }
    }
    let failure = if full(error) {
        Failure::new(Exit::HostUnfit, "point.disk-full", "save the machines").hint(ROOM)
    } else {
        Failure::new(Exit::Provider, "point.save", "save the machines")
    };
    failure.because(error).left("nothing of the point; the lab runs on")
}
