//! What lies with the daemons of Incus and LXD and no remembered cluster owns; images that no instance is made from.

use std::collections::BTreeSet;

use super::answer::{Config, Image, InstanceState, Network, Profile};
use super::away;
use super::client::{Client, Silence};
use super::end;
use super::names::{IMAGE, LABEL, NODE, Names};
use super::words::{ALL, Dialect};
use super::{image, instance, project};
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

/// The same on the servers behind a remote, in the cluster's own projects and in the one that the user chose.
pub async fn leavings_at(
    remote: &str,
    home: &str,
    remembered: &BTreeSet<ClusterName>,
) -> Result<Vec<Leaving>, ProviderError> {
    let answering = away::answering(remote, None).await;
    let client = answering.map_err(|(dialect, silence)| silence.error(dialect))?.client;
    let outside = client.in_project(None);
    let mut found = with(&outside, home, remembered).await?;
    let mut inside: Vec<String> = client.project().map(str::to_owned).into_iter().collect();
    for project in project::all(&client).await? {
        let Some(cluster) = orphaned(&project.config, home, remembered) else { continue };
        found.push(thing("project", &project.name, cluster));
        inside.push(project.name);
    }
    for project in inside {
        found.extend(nodes(&client.in_project(Some(&project)), home, remembered).await?);
    }
    let command = |leaving: &Leaving| match &leaving.cluster {
        Some(_) => format!("calicolab gc --remote {remote} --yes"),
        None => delete(client.dialect, &client.thing(&leaving.name)),
    };
    Ok(found
        .into_iter()
        .map(|leaving| Leaving {
            command: command(&leaving),
            name: client.thing(&leaving.name),
            remote: Some(remote.into()),
            ..leaving
        })
        .collect())
}

/// Remove an image, or all that a cluster has on other servers.
pub async fn remove(home: &str, leaving: &Leaving) -> Result<(), ProviderError> {
    let Some(remote) = &leaving.remote else {
        for dialect in ALL.into_iter().filter(|dialect| leaving.command == delete(dialect, &leaving.name)) {
            if let Ok(client) = Client::of(dialect) {
                remove_image(&client, &client.thing(&leaving.name)).await?;
            }
        }
        return Ok(());
    };
    let answering = away::answering(remote, None).await;
    let client = answering.map_err(|(dialect, silence)| silence.error(dialect))?.client;
    let Some(cluster) = &leaving.cluster else {
        return remove_image(&client.in_project(None), &leaving.name).await;
    };
    let names = Names::of(&format!("{home}{cluster}"));
    let own = client.in_project(Some(names.project()));
    let inside = if project::is_there(&own, &names).await? { own } else { client };
    // What was only announced to members of a cluster bears no label, and the name of this one.
    end::clear(&inside, &names, true).await
}

async fn remove_image(client: &Client, thing: &str) -> Result<(), ProviderError> {
    // One daemon may be known by several names.
    if !image::all(client).await?.iter().any(|image| client.thing(&image.fingerprint) == thing) {
        return Ok(());
    }
    client.verb(&["image", "delete", thing], String::new(), format!("removing image {thing}")).await
}

fn delete(dialect: &Dialect, fingerprint: &str) -> String {
    format!("{} image delete {fingerprint}", dialect.client)
}

/// The cluster that is not remembered and whose label these settings have.
fn orphaned(config: &Config, home: &str, remembered: &BTreeSet<ClusterName>) -> Option<ClusterName> {
    let cluster = cluster_of(config.get(LABEL)?, home)?;
    (!remembered.contains(&cluster)).then_some(cluster)
}

fn thing(kind: &'static str, name: &str, cluster: ClusterName) -> Leaving {
    let (name, command) = (name.to_owned(), down(&cluster));
    Leaving { kind, name, remote: None, command, cluster: Some(cluster), memory: None, disk: None }
}

async fn with(client: &Client, home: &str, remembered: &BTreeSet<ClusterName>) -> Result<Vec<Leaving>, ProviderError> {
    let (mut found, networks, images, everybodys) = tokio::try_join!(
        nodes(client, home, remembered),
        client.get::<Vec<Network>>("/1.0/networks?recursion=1"),
        image::all(client),
        instance::of_everybody(client),
    )?;
    for one in networks.iter().filter(|one| one.managed) {
        found.extend(orphaned(&one.config, home, remembered).map(|cluster| thing("network", &one.name, cluster)));
    }
    let used: BTreeSet<&String> = everybodys.iter().filter_map(|one| one.config.get(MADE_FROM)).collect();
    let unused = |one: &&Image| one.properties.contains_key(IMAGE) && !used.contains(&one.fingerprint);
    found.extend(images.iter().filter(unused).map(|one| Leaving {
        kind: "image",
        name: one.fingerprint.clone(),
        remote: None,
        cluster: None,
        memory: None,
        disk: Some(one.size),
        command: delete(client.dialect, &one.fingerprint),
    }));
    Ok(found)
}

/// Instances and profiles of the project that is asked.
async fn nodes(client: &Client, home: &str, remembered: &BTreeSet<ClusterName>) -> Result<Vec<Leaving>, ProviderError> {
    let (instances, profiles) =
        tokio::try_join!(instance::all(client), client.get::<Vec<Profile>>("/1.0/profiles?recursion=1"))?;
    let mut found = Vec::new();
    for one in instances.iter().filter(|one| one.config.contains_key(NODE)) {
        let Some(cluster) = orphaned(&one.config, home, remembered) else { continue };
        // What it takes is worth knowing, and no reason to fail.
        let state =
            client.get::<InstanceState>(&format!("/1.0/instances/{}/state", one.name)).await.unwrap_or_default();
        let (memory, disk) = (state.memory(), state.disk());
        found.push(Leaving { memory, disk, ..thing("machine", &one.name, cluster) });
    }
    for one in &profiles {
        found.extend(orphaned(&one.config, home, remembered).map(|cluster| thing("profile", &one.name, cluster)));
    }
    Ok(found)
}
