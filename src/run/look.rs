//! The verbs that look at this host, from their words to what is shown: plan, doctor, ls, status, logs, gc.

use serde_json::json;

use super::{Stream, shown};
use crate::cli::{Format, Which};
use crate::cmd::cx::Cx;
use crate::cmd::{self, draft, needs, up};
use crate::failure::{Exit, Failure};
use crate::install::pki::Pki;
use crate::lab::file::Installer;
use crate::proof::expect;
use crate::report::data;

pub(super) async fn planned(cx: &Cx<'_>, want: &up::Want, output: Format, quiet: Stream<'_>) -> Result<Exit, Failure> {
    let (wanted, plan) = up::drafted(cx, want)?;
    // Of what cannot be installed yet it is not known either how long it takes and what will prove it.
    let able = draft::installable(&plan).is_ok();
    let here = plan.away.is_none();
    // Nobody has seen how long the machines of 2016 take.
    let seen = plan.installer != Installer::Coreos;
    let estimate = match cx.providers.first().filter(|_| able && here && seen) {
        Some(provider) => provider.estimate(&plan).await.map(|boot| cmd::plan::with_install(boot, &plan)),
        None => None,
    };
    let first = needs::first(cx, &wanted)?;
    let checks = if able { expect::expect(&plan) } else { Vec::new() };
    let checks: Vec<String> = checks.iter().map(|check| check.id().to_string()).collect();
    shown(output, quiet, || cmd::plan::text(&plan, &checks, estimate.as_ref(), first.as_deref()), || json!(plan));
    draft::complete(&wanted, &plan).map(|()| Exit::Done)
}

pub(super) async fn manifests(
    cx: &Cx<'_>,
    want: &up::Want,
    output: Format,
    quiet: Stream<'_>,
) -> Result<Exit, Failure> {
    let (draft, plan) = up::drafted(cx, want)?;
    let files = cmd::plan::manifests::manifests(cx, &draft, &plan).await?;
    shown(output, quiet, || cmd::plan::manifests::text(&files), || cmd::plan::manifests::json(&files));
    Ok(Exit::Done)
}

pub(super) async fn list_clusters(cx: &Cx<'_>, output: Format, quiet: Stream<'_>) -> Result<Exit, Failure> {
    let found = cx.home.list().map_err(|error| Failure::of_state("list the clusters", &error))?;
    let mut powers = Vec::new();
    for one in &found {
        powers.push(match &one.state {
            Ok(state) => cx.power(state).await,
            Err(_) => None,
        });
    }
    let lines: Vec<_> =
        found.iter().zip(&powers).map(|(found, power)| cmd::ls::Line { found, power: power.as_deref() }).collect();
    shown(output, quiet, || cmd::ls::table(&lines, jiff::Timestamp::now()), || cmd::ls::json(&lines));
    Ok(Exit::Done)
}

pub(super) async fn status(
    cx: &Cx<'_>,
    name: Option<&str>,
    output: Format,
    quiet: Stream<'_>,
) -> Result<Exit, Failure> {
    let cluster = cx.which(name)?;
    let state = cx.home.read(&cluster).map_err(|error| cmd::cx::not_locked(&cluster, &error))?;
    let (power, holder) = (cx.power(&state).await, cx.home.holder(&cluster));
    let plan = cmd::kept::plan_of(cx, &cluster).ok();
    let files = cmd::status::files(&cx.home.folder(&cluster), &state);
    let facts = cmd::status::Facts {
        state: &state,
        holder: holder.as_ref(),
        plan: plan.as_ref(),
        power: power.as_deref(),
        files: &files,
        good_until: Pki::good_until(&cx.home.folder(&cluster).join("pki")),
        now: jiff::Timestamp::now(),
    };
    shown(output, quiet, || cmd::status::text(&facts), || cmd::status::json(&facts));
    Ok(Exit::Done)
}

pub(super) async fn doctor(cx: &Cx<'_>, want: &up::Want, output: Format, quiet: Stream<'_>) -> Result<Exit, Failure> {
    let report = cmd::doctor::doctor(cx, want).await?;
    shown(output, quiet, || cmd::doctor::text(&report), || json!(report));
    Ok(if report.fit { Exit::Done } else { Exit::HostUnfit })
}

pub(super) async fn left(
    cx: &Cx<'_>,
    remotes: &[String],
    remove: bool,
    output: Format,
    quiet: Stream<'_>,
) -> Result<Exit, Failure> {
    use cmd::gc;
    let lines = gc::left(cx, remotes).await?;
    if remove {
        gc::sweep(cx, &lines).await?;
    }
    let text = || {
        let end = match (lines.is_empty(), remove) {
            (true, _) => return "nothing is left\n".into(),
            (false, true) => "removed\n",
            (false, false) => "nothing was removed; --yes removes these\n",
        };
        gc::table(&lines) + end
    };
    shown(output, quiet, text, || gc::json(&lines, remove));
    Ok(Exit::Done)
}

pub(super) async fn logs(
    cx: &Cx<'_>,
    which: &Which,
    node: Option<&str>,
    console: bool,
    unit: Option<&str>,
    lines: u32,
) -> Result<Exit, Failure> {
    use cmd::logs::Source;
    let cluster = cx.which(which.name.as_deref())?;
    let source = match node.map(str::to_owned) {
        None => Source::Own,
        Some(node) if console => Source::Console { node },
        Some(node) => Source::Journal { node, unit: unit.map(str::to_owned) },
    };
    data(&cmd::logs::logs(cx, &cluster, &source, lines).await?);
    Ok(Exit::Done)
}
