//! The verbs about what is broken, from their words to what is shown.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::{Stream, papers, show_proof, shown};
use crate::cli::Form;
use crate::cli::broken::{Broken, FaultVerb};
use crate::cmd::cx::Cx;
use crate::cmd::{bundle, explain, fault, kept, verify, watch};
use crate::event::Event;
use crate::failure::{Exit, Failure};
use crate::lab::name::ClusterName;
use crate::proof::CheckId;
use crate::report::watch::{Live, Look, lines};
use crate::report::{Manner, data};

/// What others are told that find the cluster locked.
pub(super) fn word(verb: &Broken) -> &'static str {
    match verb {
        Broken::Explain { .. } => "explain",
        Broken::Watch { .. } => "watch",
        Broken::Bundle { .. } => "bundle",
        Broken::Report { .. } => "report",
        Broken::Fault { verb: FaultVerb::Add { .. } } => "fault add",
        Broken::Fault { verb: FaultVerb::Clear { .. } } => "fault clear",
        Broken::Fault { verb: FaultVerb::List { .. } } => "fault list",
    }
}

pub(super) async fn story(cx: &Cx<'_>, verb: &Broken, quiet: Stream<'_>) -> Result<Exit, Failure> {
    match verb {
        Broken::Explain { bundle, form, .. } if !bundle.is_empty() => {
            let explained = bundle::theirs::explain_files(bundle)?;
            Ok(explained_as(&explained, form, quiet))
        }
        Broken::Explain { checks, which, last, bundle: _, timeout, form } => {
            let patience = Duration::from_secs(*timeout);
            let want = explain::Want { checks: checks.clone(), last: *last, patience };
            let explained = explain::explain(cx, &cx.which(which.name.as_deref())?, &want).await?;
            Ok(explained_as(&explained, form, quiet))
        }
        Broken::Watch { checks, which, interval, looks } => {
            let cluster = cx.which(which.name.as_deref())?;
            let want = watch::Want { checks: checks.clone(), interval: Duration::from_secs(*interval), looks: *looks };
            watched(cx, &cluster, &want, quiet).await
        }
        Broken::Fault { verb } => faults(cx, verb, quiet).await,
        Broken::Bundle { which, file } => {
            let cluster = cx.which(which.name.as_deref())?;
            let written = bundle::bundle(cx, &cluster, file.as_deref()).await?;
            if quiet.is_none() {
                data(&written.display().to_string());
            }
            Ok(Exit::Done)
        }
        Broken::Report { which, file } => {
            let cluster = cx.which(which.name.as_deref())?;
            let path = file.clone().unwrap_or_else(|| PathBuf::from(format!("{cluster}.html")));
            papers::page(cx, &cluster, &path, None)?;
            if quiet.is_none() {
                data(&path.display().to_string());
            }
            Ok(Exit::Done)
        }
    }
}

fn explained_as(explained: &explain::Explained, form: &Form, quiet: Stream<'_>) -> Exit {
    let diagnosis = &explained.diagnosis;
    shown(form.output, quiet, || explain::show::text(diagnosis), || json!(diagnosis));
    explain::exit(diagnosis)
}

/// Events where standard output belongs to them, a picture on a terminal, lines elsewhere.
async fn watched(cx: &Cx<'_>, cluster: &ClusterName, want: &watch::Want, quiet: Stream<'_>) -> Result<Exit, Failure> {
    let live = (quiet.is_none() && Manner::choose(false) == Manner::Bars).then(Live::new);
    let ended = watch::watch(cx, cluster, want, &mut |plan, number, proof, changes| {
        let look = Look { number, at: jiff::Timestamp::now(), proof, changes };
        match (&live, quiet) {
            (Some(live), _) => live.show(plan, &look),
            (None, Some(events)) => {
                let first = number == 1;
                let changed = |id: &CheckId| changes.iter().any(|change| change.check == *id);
                for finding in proof.findings.iter().filter(|one| first || changed(&one.id)) {
                    let (check, mark) = (finding.id.to_string(), finding.verdict.mark());
                    events.tell(Event::Check { check, mark, text: finding.verdict.text().into() });
                }
                proof.flapped.iter().for_each(|flap| events.warn(flap.to_string()));
            }
            (None, None) => match lines(plan, &look) {
                nothing if nothing.is_empty() => {}
                lines => data(&lines),
            },
        }
    })
    .await;
    if let Some(live) = live {
        live.end();
    }
    let proof = ended?;
    verify::unproven(cx, cluster, &proof).map_or(Ok(Exit::Done), Err)
}

async fn faults(cx: &Cx<'_>, verb: &FaultVerb, quiet: Stream<'_>) -> Result<Exit, Failure> {
    match verb {
        FaultVerb::List { which, form } => {
            // The catalogue can be read without a cluster.
            let cluster =
                if which.name.is_none() { cx.which(None).ok() } else { Some(cx.which(which.name.as_deref())?) };
            let installer = cluster.as_ref().and_then(|cluster| Some(kept::plan_of(cx, cluster).ok()?.installer));
            let standing = cluster.map_or_else(Vec::new, |cluster| fault::standing::active(&cx.home.folder(&cluster)));
            let (text, json) = (|| fault::table(&standing, installer), || fault::json(&standing, installer));
            shown(form.output, quiet, text, json);
            Ok(Exit::Done)
        }
        FaultVerb::Add { fault, which, node, life, force, no_point } => {
            let cluster = cx.which(which.name.as_deref())?;
            let life = lifetime(life)?;
            let (fault, node) = (fault.clone(), node.clone());
            let want = fault::Want { fault, node, life, force: *force, point: !no_point };
            let made = fault::add(cx, &cluster, &want).await?;
            if quiet.is_none() {
                data(&format!(
                    "{} stands on {} until {:.0}, or `calicolab fault clear`",
                    made.fault, made.node, made.until
                ));
                data(&format!("next: calicolab explain --name {cluster}"));
            }
            Ok(Exit::Done)
        }
        FaultVerb::Clear { faults, no_proof: true, which, form: _ } => {
            fault::undo(cx, &cx.which(which.name.as_deref())?, faults).await?;
            Ok(Exit::Done)
        }
        FaultVerb::Clear { faults, no_proof: false, which, form } => {
            let cluster = cx.which(which.name.as_deref())?;
            let proof = fault::clear(cx, &cluster, faults).await?;
            show_proof(&proof, form.output, quiet, false);
            verify::unproven(cx, &cluster, &proof).map_or(Ok(Exit::Done), Err)
        }
    }
}

/// `5m`, `90s`, `1h`: at most a day.
fn lifetime(text: &str) -> Result<Duration, Failure> {
    let wrong = || {
        Failure::new(Exit::Usage, "usage.time", "read how long the fault may stand")
            .because_text(format!("`{text}` is no time from 1 s to 24 h"))
            .hint("--for 5m")
    };
    let life: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    let life = Duration::try_from(life).map_err(|_| wrong())?;
    if (1..=86400).contains(&life.as_secs()) { Ok(life) } else { Err(wrong()) }
}
