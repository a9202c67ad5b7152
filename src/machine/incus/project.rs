//! A project of the cluster's own on other servers: its instances and its profile are in nobody's way there.

use serde_json::{Value, json};

use super::answer::{Project, is_ours};
use super::client::Client;
use super::names::{LABEL, Names};
use crate::machine::ProviderError;

/// What is asked of the daemon. Images stay the daemon's, so that the next cluster need not send its own again; managed
/// bridges can only be the default project's.
fn project(names: &Names) -> Value {
    json!({"name": names.project(), "description": "a calicolab cluster", "config": {
        LABEL: names.label(),
        "features.profiles": "true", "features.storage.volumes": "true",
        "features.images": "false", "features.networks": "false",
    }})
}

/// Every project there is.
pub async fn all(client: &Client) -> Result<Vec<Project>, ProviderError> {
    client.in_project(None).get("/1.0/projects?recursion=1").await
}

/// The projects in which alone this user may work; none where he may make new ones. Whom the servers keep to some is not
/// told of any other, and the default one is everywhere.
pub async fn confined(client: &Client) -> Result<Option<Vec<String>>, ProviderError> {
    let names: Vec<String> = all(client).await?.into_iter().map(|project| project.name).collect();
    Ok((!names.iter().any(|name| name == "default")).then_some(names))
}

/// Make the project unless it is there, where the client asks for the cluster's own.
pub async fn ensure(client: &Client, names: &Names) -> Result<(), ProviderError> {
    if client.project() != Some(names.project()) {
        return Ok(());
    }
    match all(client).await?.iter().find(|project| project.name == names.project()) {
        Some(there) if is_ours(names, &there.config) => Ok(()),
        Some(_) => Err(ProviderError::Taken { what: format!("a project with the name {}", names.project()) }),
        None => client.in_project(None).post("/1.0/projects", &project(names), "making the cluster's project").await,
    }
}

/// Whether there is what the client asks in: another's project in which it may work, or the cluster's own.
pub async fn is_there(client: &Client, names: &Names) -> Result<bool, ProviderError> {
    match client.project() {
        Some(own) if own == names.project() => {
            Ok(all(client).await?.iter().any(|project| project.name == own && is_ours(names, &project.config)))
        }
        _ => Ok(true),
    }
}

/// Remove it, if it is the cluster's own.
pub async fn remove(client: &Client, names: &Names) -> Result<(), ProviderError> {
    let outside = client.in_project(None);
    let words = ["project", "delete", &outside.thing(names.project()), "--quiet"];
    outside.verb(&words, String::new(), "removing the cluster's project").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_of_the_daemon() {
        insta::assert_snapshot!(format!("{:#}", project(&Names::of("calicolab/00000000/demo"))));
    }
}
