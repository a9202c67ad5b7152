//! `snapshot restore --as`: a lab as it was, beside the one it is of; only what the host sees of it is another.

use std::fs;
use std::io;
use std::path::Path;

use super::points::{self, LAB, LAB_FOLDER, ability, alone, copy, state_of, unread};
use super::restore::{self, Site, Want, chosen};
use crate::cluster::home::Locked;
use crate::cluster::state::{ClusterState, Phase};
use crate::cmd::cx::{Cx, not_locked};
use crate::cmd::kept::read_plan;
use crate::durable;
use crate::event::{Event, Step};
use crate::failure::{Exit, Failure};
use crate::lab::name::ClusterName;
use crate::lab::plan::Plan;
use crate::machine::ability::{Lies, Saved};
use crate::point::folder::Points;
use crate::proof::Proof;

/// Bring a point of `cluster` back as a cluster of its own, and prove that one. The other is not touched.
pub async fn restore(cx: &Cx<'_>, cluster: &ClusterName, want: &Want, name: &ClusterName) -> Result<Proof, Failure> {
    let steps = vec![Step::Check, Step::Restore, Step::Prove];
    cx.events.tell(Event::Begin { verb: "snapshot restore".into(), cluster: name.to_string(), steps });
    // The point must not go while it is read.
    let held = if alone(cx, cluster) { None } else { Some(cx.locked(cluster).await?) };
    let from = points::of(cx, cluster);
    let point = chosen(&from, want.point.as_ref())?;
    let lab = from.folder(&point.name).join(LAB_FOLDER);
    let (_, ability) = ability(cx, point.provider)?;
    if point.saved.parts.is_empty() {
        return Err(Failure::new(
            Exit::HostUnfit,
            "point.bound",
            format!("bring back `{}` beside the lab", point.name),
        )
        .because_text(format!("{} keeps what it saved with the machines that were saved", point.provider))
        .hint(format!("calicolab snapshot restore {} --replace --name {cluster}", point.name)));
    }
    let (Some(then), Some(plan)) = (state_of(&lab), read_plan(&lab.join("plan.json"))) else {
        return Err(unread(&point, &lab));
    };
    cx.step(Step::Check, restore::fit(&from, &point, ability)).await?;
    let plan = Plan { cluster: name.clone(), ..plan };
    let state = ClusterState {
        name: name.clone(),
        phase: Phase::Raising,
        created: jiff::Timestamp::now(),
        leased: None,
        machines: Vec::new(),
        last_proof: None,
        ..then
    };
    let mut locked = cx.created(state).await.map_err(|error| not_locked(name, &error))?;
    let (points, place) = (points::of(cx, name), cx.place(name)?);
    let old_key = lab.join("ssh").join("key");
    let site = Site {
        cx,
        plan: &plan,
        points: &points,
        from: &from,
        point: &point,
        ability,
        place: &place,
        login: Some(&old_key),
    };
    let made = made(&locked, &plan, &lab).and_then(|()| linked(&from, &points, &point.saved));
    let made = made.map_err(|error| {
        Failure::new(Exit::Unexpected, "point.beside", format!("make `{name}` beside `{cluster}`")).because(&error)
    });
    let restored = match made {
        Ok(()) => cx.step(Step::Restore, restore::returned(&site, &mut locked, &[])).await,
        Err(failure) => Err(failure),
    };
    drop(held);
    match restored {
        Ok(remotes) => restore::proven(cx, &plan, &remotes, &mut locked).await,
        Err(failure) => {
            let failure = failure.left(format!("`{name}`, half brought back")).hint(format!("calicolab down {name}"));
            let _ = locked.record(|state| state.phase = Phase::Failed { message: failure.to_string() });
            Err(failure)
        }
    }
}

/// The folder of the new cluster: all that the machines know of, and another key to log in with.
fn made(locked: &Locked, plan: &Plan, lab: &Path) -> io::Result<()> {
    let own = locked.folder();
    let others = LAB.iter().filter(|file| !["state.json", "plan.json"].contains(file));
    for file in others {
        copy(&lab.join(file), &own.join(file))?;
    }
    for file in ["key", "key.pub", "known_hosts", "config"] {
        gone(&own.join("ssh").join(file))?;
    }
    durable::write(&own.join("plan.json"), &serde_json::to_vec_pretty(plan)?, 0o600)
}

fn gone(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What the point's machines stand on, under the new cluster's folder too: nobody writes to it any more, so that it need
/// not be copied, and stays as long as one of both needs it.
fn linked(from: &Points, to: &Points, saved: &Saved) -> io::Result<()> {
    durable::private_folder(&to.shared())?;
    for part in saved.parts.iter().filter(|part| part.lies == Lies::Shared) {
        fs::hard_link(from.shared().join(&part.file), to.shared().join(&part.file))?;
    }
    Ok(())
}
