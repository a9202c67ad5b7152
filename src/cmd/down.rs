//! `down`: the one undo, from any half-made state.

use crate::cluster::StateError;
use crate::cluster::lock::after_the_dead;
use crate::event::{Event, Step};
use crate::failure::{Exit, Failure};
use crate::lab::name::ClusterName;
use crate::machine::Provider;

use super::cx::not_locked;
use super::cx::{Cx, counted};
use super::kubeconfig;
use super::snapshot::kept;
use super::snapshot::points::alone;

/// What becomes of a cluster's points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfPoints {
    /// They go with it: what they hold of its memory are secrets, too.
    Remove,
    /// They stay, and the cluster can be made again from each.
    Keep,
}

/// Remove one cluster: what carries its label, its leases, its files. Fine if there is nothing.
pub async fn down(cx: &Cx<'_>, cluster: &ClusterName, points: OfPoints) -> Result<(), Failure> {
    cx.events.tell(Event::Begin { verb: "down".into(), cluster: cluster.to_string(), steps: vec![Step::Destroy] });
    cx.step(Step::Destroy, destroy(cx, cluster, points)).await
}

/// As [`down`]; and where there is no cluster of this name, what was kept of one goes.
pub async fn down_or_forget(cx: &Cx<'_>, cluster: &ClusterName, points: OfPoints) -> Result<(), Failure> {
    let alone = alone(cx, cluster) && points == OfPoints::Remove;
    down(cx, cluster, points).await?;
    if alone {
        let number = kept::forget(cx, cluster)?;
        cx.events.note(format!(
            "{} of an earlier `{cluster}` {} removed",
            counted(number, "point"),
            if number == 1 { "is" } else { "are" }
        ));
    }
    Ok(())
}

/// Remove all clusters of this home, and what was kept of earlier ones, each as far as it goes; every failure is told.
pub async fn down_all(cx: &Cx<'_>, points: OfPoints) -> Result<(), Failure> {
    let known = cx.known()?;
    let steps = vec![Step::Destroy];
    cx.events.tell(Event::Begin { verb: "down".into(), cluster: counted(known.len(), "cluster"), steps });
    let removed = futures::future::join_all(known.iter().map(|cluster| destroy(cx, cluster, points)));
    let all = async {
        let mut failed: Vec<Failure> = removed.await.into_iter().filter_map(Result::err).collect();
        if points == OfPoints::Remove {
            failed.extend(kept::clusters(cx)?.iter().filter_map(|cluster| kept::forget(cx, cluster).err()));
        }
        match failed.into_iter().reduce(|all, one| all.because_text(one.to_string())) {
            None => Ok(((), counted(known.len(), "cluster"))),
            Some(failure) => Err(failure),
        }
    };
    cx.step(Step::Destroy, all).await
}

async fn destroy(cx: &Cx<'_>, cluster: &ClusterName, points: OfPoints) -> Result<((), String), Failure> {
    let locked = match after_the_dead(|| cx.home.lock_to_undo(cluster)).await {
        Ok(locked) => Some(locked),
        Err(StateError::NoSuch { .. }) => None,
        Err(error) => return Err(not_locked(cluster, &error)),
    };
    if points == OfPoints::Keep {
        kept::room(cx, cluster)?;
    }
    if let Some(locked) = &locked {
        // A state that cannot be written must not keep its machines.
        if let Err(error) = locked.record_destroying() {
            cx.events.warn(format!("`{cluster}`: {error}"));
        }
    }
    if locked.is_some() {
        kubeconfig::goes(cx, cluster).await;
    }
    let place = cx.place(cluster)?;
    let mut failed: Option<Failure> = None;
    let mut add = |error: &(dyn std::error::Error + 'static)| {
        let failure = failed
            .take()
            .unwrap_or_else(|| Failure::new(Exit::Cleanup, "down.incomplete", format!("remove `{cluster}`")));
        failed = Some(failure.because(error));
    };
    // By label and not by memory: every provider is asked that may have made something under this name.
    let made_by = locked.as_ref().and_then(|locked| locked.state().provider);
    let asked: Vec<&dyn Provider> =
        cx.providers.iter().copied().filter(|one| made_by.is_none_or(|kind| one.kind() == kind)).collect();
    for provider in asked {
        cx.events.progress(Step::Destroy, cluster.as_str(), format!("removing what {} holds", provider.kind()));
        if let Err(error) = provider.destroy(&place).await {
            add(&error);
        }
    }
    if let Err(error) = cx.leases.release(cx.home.root(), cluster).await {
        add(&error);
    }
    if let Some(failure) = failed {
        return Err(failure.left(format!("the files of `{cluster}`")).hint(format!("calicolab down {cluster}")));
    }
    let Some(locked) = locked else { return Ok(((), format!("there is no `{cluster}`"))) };
    let kept = if points == OfPoints::Keep { kept::put_aside(cx, cluster)? } else { 0 };
    locked.remove().map_err(|error| {
        Failure::new(Exit::Cleanup, "down.files", format!("remove the files of `{cluster}`"))
            .because(&error)
            .hint(format!("calicolab down {cluster}"))
    })?;
    Ok((
        (),
        match kept {
            0 => format!("nothing of `{cluster}` is left"),
            some => format!("{} of `{cluster}`, and nothing else, is kept", counted(some, "point")),
        },
    ))
}
