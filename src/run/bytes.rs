//! The verbs about bytes (fetch, pack, unpack, cache, mirror), from their words to what is shown.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::{Stream, shown};
use crate::artifact::pack::Existing;
use crate::cli::{CacheVerb, Format, MirrorVerb};
use crate::cmd::cache::{self, Limits, points};
use crate::cmd::cx::Cx;
use crate::cmd::fetch::{self, Archs};
use crate::cmd::{mirror, pack, unpack};
use crate::failure::{Exit, Failure};
use crate::report::data;

const DAY: u64 = 24 * 3600;

pub(super) async fn fetch(
    cx: &Cx<'_>,
    labs: &[String],
    archs: Archs,
    dry_run: bool,
    (output, quiet): (Format, Stream<'_>),
) -> Result<Exit, Failure> {
    let mut surveys = Vec::new();
    for lab in labs {
        surveys.push(fetch::survey(cx, lab, archs).await?);
    }
    let lines = |surveys: &[fetch::Survey]| surveys.iter().flat_map(|survey| survey.lines.clone()).collect::<Vec<_>>();
    if !dry_run {
        fetch::fetch(cx, &surveys).await?;
        surveys.clear();
        for lab in labs {
            surveys.push(fetch::survey(cx, lab, archs).await?);
        }
    }
    let lines = lines(&surveys);
    shown(output, quiet, || fetch::table(&lines), || json!(lines));
    Ok(Exit::Done)
}

pub(super) async fn pack(cx: &Cx<'_>, lab: &str, file: &Path, force: bool, quiet: Stream<'_>) -> Result<Exit, Failure> {
    let existing = if force { Existing::Replace } else { Existing::Keep };
    pack::pack(cx, lab, file, existing).await?;
    if quiet.is_none() {
        data(&format!("next: calicolab unpack {} (on the other machine)", file.display()));
    }
    Ok(Exit::Done)
}

pub(super) async fn unpack(
    cx: &Cx<'_>,
    file: &Path,
    list: bool,
    dry_run: bool,
    (output, quiet): (Format, Stream<'_>),
) -> Result<Exit, Failure> {
    if list || dry_run {
        let list = if list { unpack::list(file).await? } else { unpack::check(cx, file).await? };
        shown(output, quiet, || unpack::table(&list), || json!(list));
        return Ok(Exit::Done);
    }
    let done = unpack::unpack(cx, file).await?;
    let lab = &done.lab;
    let next = match &done.labs {
        Some(folder) => format!("calicolab --labs {} up {lab}", crate::command::quoted(&[folder.to_string_lossy()])),
        None => format!("calicolab up {lab}"),
    };
    shown(output, quiet, || format!("next: {next}"), || json!({ "lab": lab, "labs": done.labs, "next": next }));
    Ok(Exit::Done)
}

pub(super) async fn cache(cx: &Cx<'_>, verb: &CacheVerb, quiet: Stream<'_>) -> Result<Exit, Failure> {
    match verb {
        CacheVerb::Ls { form } => {
            let (lines, points) = (cache::list(cx).await?, points::all(cx)?);
            let now = jiff::Timestamp::now();
            shown(
                form.output,
                quiet,
                || cache::table(&lines, now) + &points::table(&points, now),
                || {
                    let mut value = cache::json(&lines);
                    value["points"] = json!(points);
                    value
                },
            );
        }
        CacheVerb::Verify { remove_damaged, form } => {
            let found = cache::verify(cx, *remove_damaged).await?;
            let text = || {
                let removed: Vec<String> = found.removed.iter().map(|name| format!("removed: {name}\n")).collect();
                format!(
                    "{}{} right, {} damaged",
                    removed.concat(),
                    found.right,
                    found.damaged.len() + found.removed.len()
                )
            };
            shown(form.output, quiet, text, || json!(found));
            cache::damaged(&found)?;
        }
        CacheVerb::Prune { yes, all, points, older_than, form } => {
            let older_than = older_than.map(|days| Duration::from_secs(days * DAY));
            let limits = Limits { all: *all, points: *points, older_than };
            let points = if *yes {
                points::prune(cx, limits)?
            } else {
                points::all(cx)?.into_iter().filter(|line| line.may_go(limits)).collect()
            };
            let gone = if *yes { cache::prune(cx, limits).await?.gone } else { cache::prunable(cx, limits).await? };
            let text = || {
                let end = match (gone.is_empty() && points.is_empty(), *yes) {
                    (true, _) => "nothing can go\n",
                    (false, true) => "removed\n",
                    (false, false) => "nothing was removed; --yes removes these\n",
                };
                let now = jiff::Timestamp::now();
                cache::table(&gone, now) + &points::table(&points, now) + end
            };
            shown(form.output, quiet, text, || {
                let mut value = cache::json(&gone);
                value["points"] = json!(points);
                value["removed"] = (*yes).into();
                value
            });
        }
    }
    Ok(Exit::Done)
}

pub(super) async fn mirror(cx: &Cx<'_>, verb: &MirrorVerb, quiet: Stream<'_>) -> Result<Exit, Failure> {
    let MirrorVerb::Serve { listen } = verb;
    let mirror = mirror::bind(*listen).await?;
    if quiet.is_none() {
        data(&mirror.url());
    }
    mirror.serve(cx).await.map(|()| Exit::Done)
}
