//! Containers held still, kept as they are on disk, and brought back.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use async_trait::async_trait;
use serde_json::json;

use super::answer::{Instance, Server, Snapshot};
use super::client::Client;
use super::names::Names;
use super::{Incus, instance, record};
use crate::lab::name::{NodeName, PerNode};
use crate::machine::ability::{Pause, Save, Saved, Slot};
use crate::machine::{Found, Machine, Order, Place, Power, Provider as _, ProviderError};

/// What names of our snapshots begin with; the point's id follows.
const PREFIX: &str = "calicolab-";

/// What a snapshot of a container is not.
const LOST: &str = "memory is not kept: every process starts anew";

/// A cluster's containers, and the way to them.
struct Held {
    client: Client,
    all: Vec<(NodeName, Instance)>,
}

impl Held {
    async fn of(place: &Place) -> Result<Option<Self>, ProviderError> {
        let Some(client) = record::client(place)? else { return Ok(None) };
        let names = Names::of(&place.label);
        let all = instance::all(&client).await?;
        let all = all.into_iter().filter_map(|one| Some((one.node(&names)?, one))).collect();
        Ok(Some(Self { client, all }))
    }

    /// Ask all of these for `action` at once; how each ended.
    async fn change(&self, which: &[&(NodeName, Instance)], action: &str) -> Vec<Result<(), ProviderError>> {
        let body = json!({"action": action, "timeout": 30});
        let asked = which.iter().map(|(node, one)| {
            let (body, path) = (&body, format!("/1.0/instances/{}/state", one.name));
            async move { self.client.change("PUT", &path, Some(body), format!("asking {node} to {action}")).await }
        });
        futures::future::join_all(asked).await
    }

    async fn freeze(&self) -> Result<(), ProviderError> {
        if let Some((node, _)) = self.all.iter().find(|(_, one)| one.power() == Power::Off) {
            return Err(ProviderError::Control { node: node.clone(), what: "it does not run".into() });
        }
        let moving: Vec<_> = self.all.iter().filter(|(_, one)| !one.is_frozen()).collect();
        let frozen = self.change(&moving, "freeze").await;
        if frozen.iter().all(Result::is_ok) {
            return Ok(());
        }
        let held: Vec<_> = moving.iter().zip(&frozen).filter(|(_, held)| held.is_ok()).map(|(one, _)| *one).collect();
        let mut all = self.change(&held, "unfreeze").await;
        all.extend(frozen);
        ProviderError::gathered(all)
    }

    /// The verb of the client for a node's snapshot.
    async fn verb(&self, node: &NodeName, words: &[&str], doing: &str) -> Result<(), ProviderError> {
        self.client.verb(words, String::new(), format!("{doing} {node}")).await
    }
}

#[async_trait]
impl Pause for Incus {
    async fn pause(&self, place: &Place) -> Result<(), ProviderError> {
        match Held::of(place).await? {
            Some(held) => held.freeze().await,
            None => Ok(()),
        }
    }

    async fn resume(&self, place: &Place) -> Result<(), ProviderError> {
        let Some(held) = Held::of(place).await? else { return Ok(()) };
        let frozen: Vec<_> = held.all.iter().filter(|(_, one)| one.is_frozen()).collect();
        ProviderError::gathered(held.change(&frozen, "unfreeze").await)
    }
}

#[async_trait]
impl Save for Incus {
    async fn fit(&self) -> BTreeMap<String, String> {
        let Ok(client) = Client::any() else { return BTreeMap::new() };
        let version = client.get::<Server>("/1.0").await.map(|server| server.environment.server_version);
        version.into_iter().map(|version| (client.dialect.name.to_owned(), version)).collect()
    }

    async fn save(&self, place: &Place, nodes: &[NodeName], slot: &Slot<'_>) -> Result<Saved, ProviderError> {
        let held = Held::of(place).await?;
        let known = |node: &&NodeName| held.as_ref().is_some_and(|held| held.all.iter().any(|(own, _)| own == *node));
        let (Some(held), None) = (&held, nodes.iter().find(|node| !known(node))) else {
            let node = nodes.iter().find(|node| !known(node)).or(nodes.first()).cloned();
            let node = node.ok_or_else(|| ProviderError::Silent { why: "there is nothing to save".into() })?;
            return Err(ProviderError::Control { node, what: "it has no instance".into() });
        };
        let began = Instant::now();
        held.freeze().await?;
        let spread = began.elapsed();
        let name = format!("{PREFIX}{}", slot.id);
        let taken = held.all.iter().map(|(node, one)| {
            let (instance, name) = (held.client.thing(&one.name), &name);
            async move { held.verb(node, &["snapshot", &instance, name, "--quiet"], "keeping").await }
        });
        let mut done = futures::future::join_all(taken).await;
        done.push(self.resume(place).await);
        ProviderError::gathered(done)?;
        let lost = vec![LOST.into()];
        Ok(Saved { id: slot.id.into(), paused: began.elapsed(), spread, parts: Vec::new(), lost })
    }

    async fn restore(
        &self,
        order: &Order<'_>,
        saved: &Saved,
        _slot: &Slot<'_>,
        found: &mut Found<'_>,
    ) -> Result<PerNode<Machine>, ProviderError> {
        let held = Held::of(order.place).await?;
        let name = format!("{PREFIX}{}", saved.id);
        for node in order.plan.nodes.names() {
            let Some((held, (_, one))) =
                held.as_ref().and_then(|held| Some((held, held.all.iter().find(|(own, _)| own == node)?)))
            else {
                let what = "it has no instance, and what was saved went with it".into();
                return Err(ProviderError::Control { node: node.clone(), what });
            };
            if one.power() == Power::Running {
                instance::end(&held.client, &one.name, node).await?;
            }
            let instance = held.client.thing(&one.name);
            held.verb(node, &["restore", &instance, &name, "--quiet"], "bringing back").await?;
        }
        self.boot(order, found).await
    }

    async fn tidy(&self, place: &Place, _shared: &Path, kept: &[Saved]) -> Result<(), ProviderError> {
        let Some(held) = Held::of(place).await? else { return Ok(()) };
        let mut done = Vec::new();
        for (node, one) in &held.all {
            let path = format!("/1.0/instances/{}/snapshots?recursion=1", one.name);
            for Snapshot { name } in held.client.get::<Vec<Snapshot>>(&path).await? {
                let Some(id) = name.strip_prefix(PREFIX) else { continue };
                if !kept.iter().any(|saved| saved.id == id) {
                    let path = format!("/1.0/instances/{}/snapshots/{name}", one.name);
                    let doing = format!("forgetting what was kept of {node}");
                    done.push(held.client.change("DELETE", &path, None, doing).await);
                }
            }
        }
        ProviderError::gathered(done)
    }
}
