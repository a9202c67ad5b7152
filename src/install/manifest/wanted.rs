//! The upstream's manifests that a plan wants, out of verified files, with the plan's edits in them.

use std::collections::BTreeMap;

use super::{EditError, Edited, Upstream, edited};
use crate::artifact::FetchError;
use crate::artifact::store::Store;
use crate::artifact::texts::texts;
use crate::event::Events;
use crate::lab::calico::{self, EtcdClient};
use crate::lab::edit::Object;
use crate::lab::kubernetes::ManifestFile;
use crate::lab::plan::Plan;

/// A file of manifests, as the upstream wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pristine {
    /// What people know it by.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// The files that a plan's Calico is installed by, in the order in which they are applied; none without a Calico.
pub async fn upstream(store: &Store, plan: &Plan, events: &Events) -> Result<Vec<Pristine>, FetchError> {
    let wanted: &[ManifestFile] = plan.calico.as_ref().map_or(&[], |calico| &calico.manifests);
    let mut read: BTreeMap<(&str, Option<&str>), String> = BTreeMap::new();
    let pins: Vec<_> = plan
        .artifacts
        .iter()
        .map(|placed| &placed.pin)
        .filter(|pin| wanted.iter().any(|file| file.of == pin.name))
        .cloned()
        .collect();
    for file in store.ensure_all(&pins, events).await? {
        let of = |wanted: &&ManifestFile| wanted.of == file.pin().name;
        let members: Vec<Option<&str>> = wanted.iter().filter(of).map(|wanted| wanted.member.as_deref()).collect();
        let found = texts(store.cache(), &file, &members, events).await?;
        let name = wanted.iter().find(of).map_or("", |wanted| &wanted.of);
        read.extend(members.into_iter().map(|member| (name, member)).zip(found));
    }
    let whole = wanted.iter().filter_map(|file| {
        let text = read.get(&(file.of.as_str(), file.member.as_deref()))?.clone();
        Some(Pristine { name: file.name().into(), text })
    });
    Ok(whole.collect())
}

/// These files as a plan's cluster gets them; with `client`, whose key is in them then, where its Calico asks an etcd
/// that wants to know who asks.
pub fn as_applied(plan: &Plan, files: &[Pristine], client: Option<&EtcdClient<'_>>) -> Result<Vec<Edited>, EditError> {
    let Some(calico) = &plan.calico else { return Ok(Vec::new()) };
    let own = &calico.own;
    let mut edits = calico::edits(plan, calico);
    edits.extend(client.map(calico::secret).into_iter().flatten());
    let files: Vec<Upstream<'_>> = files.iter().map(|file| Upstream { name: &file.name, text: &file.text }).collect();
    let edited = edited(&files, &edits, &calico::images(plan), own)?;
    accepted(plan, &edited)?;
    Ok(edited)
}

/// Whether these are the objects that the plan's lab is accepted by, no less and no more.
fn accepted(plan: &Plan, files: &[Edited]) -> Result<(), EditError> {
    let Some(accept) = &plan.accept else { return Ok(()) };
    let there: Vec<&Object> = files.iter().flat_map(|file| &file.objects).map(|one| &one.object).collect();
    let (missing, surplus) = accept.differs(&there);
    if missing.is_empty() && surplus.is_empty() {
        return Ok(());
    }
    Err(EditError::Unaccepted {
        files: files.iter().map(|file| format!("`{}`", file.name)).collect(),
        wanted: accept.objects.len(),
        missing: missing.into_iter().cloned().collect(),
        surplus: surplus.into_iter().cloned().collect(),
    })
}
