//! The verbs about points, from their words to what is shown.

use serde_json::json;

use super::{Stream, cluster_name, show_proof, shown};
use crate::cli::Which;
use crate::cli::points::SnapshotVerb;
use crate::cmd::cx::{Cx, counted};
use crate::cmd::snapshot::points::{alone, of_point};
use crate::cmd::snapshot::{self, beside, restore, show};
use crate::failure::{Exit, Failure};
use crate::lab::name::{ClusterName, PointName};
use crate::machine::Power;
use crate::proof::Proof;
use crate::report::{self, data};

/// What others are told that find the cluster locked.
pub(super) fn word(verb: &SnapshotVerb) -> &'static str {
    match verb {
        SnapshotVerb::Save { .. } => "snapshot save",
        SnapshotVerb::List { .. } => "snapshot list",
        SnapshotVerb::Show { .. } => "snapshot show",
        SnapshotVerb::Restore { .. } => "snapshot restore",
        SnapshotVerb::Delete { .. } => "snapshot delete",
    }
}

pub(super) async fn story(cx: &Cx<'_>, verb: &SnapshotVerb, quiet: Stream<'_>) -> Result<Exit, Failure> {
    match verb {
        SnapshotVerb::Save { point, which } => {
            let cluster = cx.which(which.name.as_deref())?;
            let saved = snapshot::save(cx, &cluster, point.as_deref().map(named).transpose()?).await?;
            match quiet {
                Some(events) => events.answer(json!(saved)),
                None => data(&format!("next: calicolab snapshot restore {} --replace --name {cluster}", saved.name)),
            }
        }
        SnapshotVerb::List { which, form } => {
            let cluster = of(cx, which)?;
            let lines = show::lines(&snapshot::points::of(cx, &cluster))?;
            let now = jiff::Timestamp::now();
            shown(form.output, quiet, || show::table(&lines, now), || show::json(&lines));
        }
        SnapshotVerb::Show { point, which, form } => {
            let cluster = of(cx, which)?;
            let read = snapshot::points::of(cx, &cluster).read(&named(point)?);
            let point = read.map_err(|error| of_point("show the point", &error))?;
            shown(form.output, quiet, || show::text(&point, jiff::Timestamp::now()), || json!(point));
        }
        SnapshotVerb::Restore { point, replace, beside, which, form, .. } => {
            let cluster = of(cx, which)?;
            let point = point.as_deref().map(named).transpose()?;
            let replace = *replace || (beside.is_none() && quiet.is_none() && agreed(cx, &cluster).await);
            let want = restore::Want { point, replace };
            let proof = match beside {
                None => restore::restore(cx, &cluster, &want).await?,
                Some(name) => beside::restore(cx, &cluster, &want, &cluster_name(Some(name), "")?).await?,
            };
            show_proof(&proof, form.output, quiet, false);
        }
        SnapshotVerb::Delete { point, which } => {
            snapshot::delete(cx, &of(cx, which)?, &named(point)?).await?;
        }
    }
    Ok(Exit::Done)
}

/// Whether there are machines that would be ended, and the user says on a terminal that they may.
async fn agreed(cx: &Cx<'_>, cluster: &ClusterName) -> bool {
    let Ok(state) = cx.home.read(cluster) else { return false };
    let machines = cx.power(&state).await.unwrap_or_default();
    let running = machines.iter().filter(|(_, power)| *power == Power::Running).count();
    let machines = counted(running, "machine");
    running > 0 && report::agreed(&format!("End {machines} of `{cluster}`? What they did since is lost.")) == Some(true)
}

/// `up LAB --from POINT`: the cluster as it was, whether it is there or only its points are.
pub(super) async fn from(cx: &Cx<'_>, cluster: &ClusterName, word: &str, lab: Option<&str>) -> Result<Proof, Failure> {
    let name = named(word)?;
    if !alone(cx, cluster) {
        cx.which(Some(cluster.as_str()))?;
    }
    if let Some(lab) = lab {
        let point = snapshot::points::of(cx, cluster).read(&name);
        let is = point.map_err(|error| of_point("find the point", &error))?.lab;
        if is.as_str() != lab {
            return Err(Failure::new(Exit::Conflict, "point.lab", format!("bring `{cluster}` back as the lab {lab}"))
                .because_text(format!("`{name}` of `{cluster}` is a point of the lab {is}"))
                .hint(format!("calicolab up {is} --from {name} --name {cluster}"))
                .hint(format!("calicolab up {lab} --name {cluster}-2")));
        }
    }
    restore::restore(cx, cluster, &restore::Want { point: Some(name), replace: false }).await
}

/// The cluster that is meant, also one of which only points are left.
fn of(cx: &Cx<'_>, which: &Which) -> Result<ClusterName, Failure> {
    let word = which.name.as_deref();
    let kept = word.and_then(|word| word.parse::<ClusterName>().ok()).filter(|name| alone(cx, name));
    kept.map_or_else(|| cx.which(word), Ok)
}

fn named(word: &str) -> Result<PointName, Failure> {
    word.parse().map_err(|error: crate::lab::name::NameError| {
        Failure::new(Exit::Usage, "usage.name", "name the point").because(&error)
    })
}
