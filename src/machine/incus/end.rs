//! Ends instances, and takes away what a cluster has in Incus or LXD.

use std::fs;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::answer::{Instance, Network, Profile, is_ours};
use super::client::Client;
use super::instance;
use super::names::Names;
use super::project;
use super::record;
use super::words::ALL;
use crate::machine::{Place, Power, ProviderError, failed};
use crate::wait::{self, Asked, Patience};

/// How long instances may take to power off by themselves.
const POWER_OFF: Patience = Patience { limit: Duration::from_secs(15), pause: Duration::from_millis(200) };

/// How long it may take until all can be removed: one that is just being made cannot.
const REMOVED: Patience = Patience { limit: Duration::from_secs(60), pause: Duration::from_millis(500) };

/// Wait for what was asked to power off, and end what did not.
pub async fn stop(place: &Place) -> Result<(), ProviderError> {
    let Some(asked) = record::asked(place).await? else { return Ok(()) };
    let client = asked.client;
    let names = Names::of(&place.label);
    let off = wait::until(POWER_OFF, async || match running(&client, &names).await {
        Ok(running) if running.is_empty() => Asked::Yes(()),
        Ok(_) => Asked::NotYet("some still run".into()),
        Err(error) => Asked::NotYet(error.to_string()),
    });
    if off.await.is_ok() {
        return Ok(());
    }
    let running = running(&client, &names).await?;
    place.events.warn(format!("not every container powered off in {} s; they are ended", POWER_OFF.limit.as_secs()));
    let ended = running.iter().filter_map(|one| Some((one, one.node(&names)?))).map(|(one, node)| {
        let client = &client;
        async move { instance::end(client, &one.name, &node).await }
    });
    ProviderError::gathered(futures::future::join_all(ended).await)
}

async fn running(client: &Client, names: &Names) -> Result<Vec<Instance>, ProviderError> {
    let mut all = instance::all(client).await?;
    all.retain(|one| one.node(names).is_some() && one.power() == Power::Running);
    Ok(all)
}

/// Take everything away that carries the cluster's label. What fails is told after all was tried.
pub async fn destroy(place: &Place) -> Result<(), ProviderError> {
    let names = Names::of(&place.label);
    let spreads = record::spreads(place)?;
    let clients = match record::asked(place).await? {
        Some(asked) => vec![asked.client],
        // Nothing is remembered: all that answer are asked.
        None => ALL.into_iter().filter_map(|dialect| Client::of(dialect).ok()).collect(),
    };
    for client in clients {
        clear(&client, &names, spreads).await?;
    }
    let mut errors = Vec::new();
    for folder in [place.folder.join("vm"), place.sockets.clone()] {
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                errors.push(Err(failed("removing", &folder)(error)));
            }
            _ => {}
        }
    }
    ProviderError::gathered(errors)
}

/// Again and again until nothing of the cluster is left, since what a killed run began may still be on its way. `spreads`
/// is whether networks of its names that bear no label yet are its own.
pub async fn clear(client: &Client, names: &Names, spreads: bool) -> Result<(), ProviderError> {
    let last = Mutex::new(None);
    let cleared = wait::until(REMOVED, async || {
        let (left, errors) = round(client, names, spreads).await;
        match ProviderError::gathered(errors) {
            Ok(()) if left == 0 => Asked::Yes(()),
            Ok(()) => Asked::NotYet("some were there just now".into()),
            Err(error) => {
                let why = error.to_string();
                *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Asked::NotYet(why)
            }
        }
    });
    match cleared.await {
        Ok(()) => Ok(()),
        Err(error) => {
            let last = last.into_inner().unwrap_or_else(PoisonError::into_inner);
            Err(last.unwrap_or(ProviderError::Silent { why: error.to_string() }))
        }
    }
}

/// One attempt at everything: how much was found, and how each removal went.
async fn round(client: &Client, names: &Names, spreads: bool) -> (usize, Vec<Result<(), ProviderError>>) {
    let outside = client.in_project(None);
    // In a project that is gone, or never was, there is nothing; a daemon need not say so.
    let inside = match project::is_there(client, names).await {
        Ok(inside) => inside,
        Err(error) => return (0, vec![Err(error)]),
    };
    let found = tokio::try_join!(
        async { if inside { instance::all(client).await } else { Ok(Vec::new()) } },
        outside.get::<Vec<Network>>("/1.0/networks?recursion=1"),
        async { if inside { client.get::<Vec<Profile>>("/1.0/profiles?recursion=1").await } else { Ok(Vec::new()) } },
    );
    let (instances, networks, profiles) = match found {
        Ok(found) => found,
        Err(error) => return (0, vec![Err(error)]),
    };
    let remove = async |client: &Client, words: &[&str], name: &str| {
        let thing = client.thing(name);
        let words = [words, &[&thing]].concat();
        client.verb(&words, String::new(), format!("removing {name}")).await
    };
    let instances: Vec<&str> =
        instances.iter().filter(|one| one.node(names).is_some()).map(|one| one.name.as_str()).collect();
    let removed = instances.iter().map(|name| remove(client, &["delete", "--force", "--quiet"], name));
    let mut done = futures::future::join_all(removed).await;
    let mut left = instances.len();
    for network in networks.iter().filter(|one| one.is_of(names, spreads)) {
        left += 1;
        done.push(remove(&outside, &["network", "delete", "--quiet"], &network.name).await);
    }
    for profile in profiles.iter().filter(|one| is_ours(names, &one.config)) {
        left += 1;
        done.push(remove(client, &["profile", "delete", "--quiet"], &profile.name).await);
    }
    if inside && client.project() == Some(names.project()) {
        left += 1;
        done.push(project::remove(client, names).await);
    }
    (left, done)
}
