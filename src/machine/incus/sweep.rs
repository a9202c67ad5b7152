//! What lies with the daemons of Incus and LXD and no remembered cluster owns; images that no instance is made from.

use std::collections::BTreeSet;

use super::answer::{Config, InstanceState, Network, Profile};
use super::client::{Client, Silence};
use super::names::{IMAGE, LABEL, NODE};
use super::words::{ALL, Dialect};
use super::{image, instance};
use crate::lab::name::ClusterName;
use crate::machine::ProviderError;
use crate::machine::sweep::{Leaving, cluster_of, down};

/// The setting in which both projects note what an instance was made from.
const MADE_FROM: &str = "volatile.base_image";

/// Everything of this home whose cluster is not remembered, with all daemons of this host that answer.
pub async fn leavings(home: &str, remembered: &BTreeSet<ClusterName>) -> Result<Vec<Leaving>, ProviderError> {
    let mut found = Vec::new();
    for dialect in ALL {
        match Client::of(dialect) {
            Ok(client) => found.extend(with(&client, home, remembered).await?),
            Err(Silence::NoClient) => {}
            Err(silence) => return Err(ProviderError::Silent { why: silence.lack(dialect).what }),
        }
    }
    Ok(found)
}

/// Remove an image.
pub async fn remove(leaving: &Leaving) -> Result<(), ProviderError> {
    for dialect in ALL.into_iter().filter(|dialect| leaving.command == delete(dialect, &leaving.name)) {
        if let Ok(client) = Client::of(dialect) {
            let words = ["image", "delete", &format!("local:{}", leaving.name)];
            client.verb(&words, String::new(), format!("removing image {}", leaving.name)).await?;
        }
    }
    Ok(())
}

fn delete(dialect: &Dialect, fingerprint: &str) -> String {
    format!("{} image delete {fingerprint}", dialect.client)
}

async fn with(client: &Client, home: &str, remembered: &BTreeSet<ClusterName>) -> Result<Vec<Leaving>, ProviderError> {
    let (instances, networks, profiles, images) = tokio::try_join!(
        instance::all(client),
        client.get::<Vec<Network>>("/1.0/networks?recursion=1"),
        client.get::<Vec<Profile>>("/1.0/profiles?recursion=1"),
        image::all(client),
    )?;
    let orphaned = |config: &Config| {
        let cluster = cluster_of(config.get(LABEL)?, home)?;
        (!remembered.contains(&cluster)).then_some(cluster)
    };
    let thing = |kind, name: &str, cluster: ClusterName| Leaving {
        kind,
        name: name.into(),
        command: down(&cluster),
        cluster: Some(cluster),
        memory: None,
        disk: None,
    };
    let mut found = Vec::new();
    for one in instances.iter().filter(|one| one.config.contains_key(NODE)) {
        let Some(cluster) = orphaned(&one.config) else { continue };
        // What it takes is worth knowing, and no reason to fail.
        let state =
            client.get::<InstanceState>(&format!("/1.0/instances/{}/state", one.name)).await.unwrap_or_default();
        let (memory, disk) = (state.memory(), state.disk());
        found.push(Leaving { memory, disk, ..thing("machine", &one.name, cluster) });
    }
    let networks = networks.iter().filter(|one| one.managed).map(|one| ("network", &one.name, &one.config));
    let profiles = profiles.iter().map(|one| ("profile", &one.name, &one.config));
    for (kind, name, config) in networks.chain(profiles) {
        found.extend(orphaned(config).map(|cluster| thing(kind, name, cluster)));
    }
    let used: BTreeSet<&String> = instances.iter().filter_map(|one| one.config.get(MADE_FROM)).collect();
    let unused = |one: &&super::answer::Image| one.properties.contains_key(IMAGE) && !used.contains(&one.fingerprint);
    found.extend(images.iter().filter(unused).map(|one| Leaving {
        kind: "image",
        name: one.fingerprint.clone(),
        cluster: None,
        memory: None,
        disk: Some(one.size),
        command: delete(client.dialect, &one.fingerprint),
    }));
    Ok(found)
}
