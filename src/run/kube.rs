//! The verbs about the cluster that a lab runs, from their words to what is shown.

use serde_json::json;

use super::{Stream, shown};
use crate::cli::kube::{Kube, KubeconfigVerb};
use crate::cli::{Format, Which};
use crate::cmd::cx::Cx;
use crate::cmd::{kube, kubeconfig, load};
use crate::failure::{Exit, Failure};
use crate::report;

pub(super) async fn story(cx: &Cx<'_>, verb: &Kube, quiet: Stream<'_>) -> Result<Exit, Failure> {
    match verb {
        Kube::Kubectl { which, words } => {
            kube::kubectl(cx, &cx.which(which.name.as_deref())?, words, report::is_terminal())
        }
        Kube::Calicoctl { which, words } => {
            kube::calicoctl(cx, &cx.which(which.name.as_deref())?, words, report::is_terminal())
        }
        Kube::Kubeconfig { which, form, verb } => {
            config(cx, which, verb.unwrap_or(KubeconfigVerb::Print), form.output, quiet).await
        }
        Kube::Load { file, which, form } => {
            let loaded = load::load(cx, &cx.which(which.name.as_deref())?, file).await?;
            shown(form.output, quiet, || load::table(&loaded), || json!(loaded));
            Ok(Exit::Done)
        }
    }
}

async fn config(
    cx: &Cx<'_>,
    which: &Which,
    verb: KubeconfigVerb,
    output: Format,
    quiet: Stream<'_>,
) -> Result<Exit, Failure> {
    let cluster = cx.which(which.name.as_deref())?;
    match verb {
        KubeconfigVerb::Print => {
            let config = kubeconfig::alone(cx, &cluster).await?;
            shown(output, quiet, || kubeconfig::yaml(&config), || config.clone());
        }
        KubeconfigVerb::Merge { use_context } => {
            let done = kubeconfig::merge(cx, &cluster, use_context).await?;
            cx.events.note(format!("{} leads to {} as {}", done.file.display(), done.server, done.context));
            let word = if done.current { String::new() } else { format!(" --context {}", done.context) };
            shown(output, quiet, || format!("next: kubectl{word} get nodes"), || json!(done));
        }
        KubeconfigVerb::Unmerge => {
            let file = kubeconfig::unmerge(cx, &cluster).await?;
            match &file {
                Some(file) => cx.events.note(format!("`{cluster}` is taken out of {}", file.display())),
                None => cx.events.note(format!("`{cluster}` is in no kubeconfig")),
            }
            shown(output, quiet, String::new, || json!({"file": file}));
        }
    }
    Ok(Exit::Done)
}
