//! `up`, from its words to its answer.

use std::time::Duration;

use super::{Stream, look, papers, points, servers, show_proof, want};
use crate::cli::papers::Papers;
use crate::cli::{Format, OnFailure, Up};
use crate::cmd::cx::Cx;
use crate::cmd::up;
use crate::failure::{Exit, Failure};
use crate::lab::name::ClusterName;
use crate::machine::Kind;
use crate::proof::Proof;
use crate::report::data;

/// The verb `up`.
pub(super) async fn up(cx: &Cx<'_>, asked: &Up, quiet: Stream<'_>) -> Result<Exit, Failure> {
    let Up { lab, name, wish, provider, away, dry_run, recreate, from, cold, boot_timeout, on_failure, papers, form } =
        asked;
    let mut want = want(lab.as_deref().unwrap_or("primer"), name.as_deref(), wish)?;
    want.provider = provider_kind(provider)?;
    want.wish.away = servers(away.remote.as_deref(), &away.target);
    if want.wish.away.is_some() {
        want.provider = Some(serves_remotes(want.provider)?);
    }
    want.recreate = *recreate;
    want.down_on_failure = *on_failure == OnFailure::Down;
    want.cold = *cold;
    want.boot_limit = Duration::from_secs(*boot_timeout);
    if *dry_run {
        return look::planned(cx, &want, form.output, quiet).await;
    }
    match from {
        None => raised(cx, &want.cluster, up::up(cx, &want), papers, (form.output, quiet)).await,
        Some(point) => {
            let ended = points::from(cx, &want.cluster, point, lab.as_deref());
            raised(cx, &want.cluster, ended, papers, (form.output, quiet)).await
        }
    }
}

/// `up`, its papers and its answer; the last line is the next command to type.
async fn raised(
    cx: &Cx<'_>,
    cluster: &ClusterName,
    raising: impl Future<Output = Result<Proof, Failure>>,
    papers: &Papers,
    (output, quiet): (Format, Stream<'_>),
) -> Result<Exit, Failure> {
    let began = jiff::Timestamp::now();
    let ended = Box::pin(raising).await;
    let taken = ended.as_ref().ok().cloned().or_else(|| papers::taken_since(cx, cluster, began));
    let written = papers::write(cx, cluster, papers, taken.as_ref());
    let proof = ended?;
    written?;
    show_proof(&proof, output, quiet, false);
    if quiet.is_none() && output == Format::Table {
        let nodes = cx.home.read(cluster).map(|state| state.nodes).unwrap_or_default();
        if let Some(node) = nodes.last() {
            data(&format!("next: calicolab ssh --name {cluster} {node} -- sudo birdc show protocols"));
        }
    }
    Ok(Exit::Done)
}

fn provider_kind(word: &str) -> Result<Option<Kind>, Failure> {
    match word {
        "auto" => Ok(None),
        _ => serde_json::from_value(word.into()).map(Some).map_err(|_| {
            Failure::new(Exit::Usage, "usage.provider", "choose where machines run")
                .because_text(format!("there is no provider `{word}`"))
                .hint("--provider auto, --provider qemu, --provider incus or --provider vagrant")
        }),
    }
}

/// The provider that other servers have; a failure if another was named.
fn serves_remotes(named: Option<Kind>) -> Result<Kind, Failure> {
    match named {
        None => Ok(Kind::Incus),
        Some(kind) if kind.serves_remotes() => Ok(kind),
        Some(other) => Err(Failure::new(Exit::Usage, "usage.remote", "choose where machines run")
            .because_text(format!("`--remote` is a name of Incus or LXD, and {other} runs machines on this host alone"))
            .hint("--provider incus")),
    }
}
