//! `plan LAB --manifests`: what the lab changes in the upstream's manifests, as a diff.

use serde_json::{Value, json};
use similar::TextDiff;

use crate::artifact::FetchError;
use crate::artifact::apt::Archive;
use crate::artifact::store::{Reach, Store};
use crate::cmd::cx::Cx;
use crate::cmd::draft::{Draft, complete};
use crate::cmd::fetch::not_fetched;
use crate::failure::{Exit, Failure};
use crate::install::manifest::{EditError, Edited, as_applied, upstream};
use crate::lab::calico::{EtcdClient, wants_client};
use crate::lab::plan::Plan;

#[cfg(test)]
mod tests;

/// The manifests of a plan with its edits in them, out of the cache alone. What only `up` makes is named in its place.
pub async fn manifests(cx: &Cx<'_>, draft: &Draft, plan: &Plan) -> Result<Vec<Edited>, Failure> {
    let Some(calico) = &plan.calico else {
        let none = Failure::new(Exit::Usage, "plan.manifests", format!("show the manifests of {}", plan.lab));
        return Err(none.because_text("the lab installs no Calico by manifests").hint("calicolab labs matrix"));
    };
    if calico.manifests.iter().any(|file| plan.missing.iter().any(|wanted| wanted.name == file.of)) {
        complete(draft, plan)?;
    }
    let secret = wants_client(plan).then_some(EtcdClient {
        ca: "the lab's own authority, made by up",
        cert: "a client's certificate, made by up",
        key: "its key, made by up",
    });
    made(cx, plan, secret.as_ref()).await
}

/// The same with what only a cluster has: its Calico's certificate and key, where it shows one to an etcd.
pub async fn made(cx: &Cx<'_>, plan: &Plan, client: Option<&EtcdClient<'_>>) -> Result<Vec<Edited>, Failure> {
    let store = Store::new(cx.cache.clone(), plan.lab.clone(), Reach::Offline, Archive::of_host());
    let files = upstream(&store, plan, &cx.events).await.map_err(|error| not_there(&error, plan))?;
    as_applied(plan, &files, client).map_err(|error| not_edited(&error, plan))
}

fn not_there(error: &FetchError, plan: &Plan) -> Failure {
    let FetchError::Offline { names } = error else { return not_fetched(error) };
    Failure::new(Exit::Offline, "offline.missing", format!("show the manifests of {}", plan.lab))
        .because_text(format!("not in the cache: {}", names.join(", ")))
        .hint(format!("calicolab fetch {}", plan.lab))
}

/// A manifest that is not as the lab knows it, in the words of the command line.
pub fn not_edited(error: &EditError, plan: &Plan) -> Failure {
    Failure::new(Exit::LabInvalid, "manifest.edit", format!("edit the manifests of {}", plan.lab)).because(error)
}

/// For people: each object that differs, in one form before and after.
pub fn text(files: &[Edited]) -> String {
    let mut out = String::new();
    for file in files {
        for object in file.objects.iter().filter(|object| object.before != object.after) {
            let (before, after) = (format!("{} {}", file.name, object.object), "as it is applied");
            let diff = TextDiff::from_lines(&object.before, &object.after);
            out.push_str(&diff.unified_diff().context_radius(3).header(&before, after).to_string());
        }
    }
    out
}

/// For programs: every object, before and after.
pub fn json(files: &[Edited]) -> Value {
    let objects = files.iter().flat_map(|file| {
        file.objects
            .iter()
            .map(|one| json!({"file": file.name, "object": one.object, "before": one.before, "after": one.after}))
    });
    objects.collect()
}
