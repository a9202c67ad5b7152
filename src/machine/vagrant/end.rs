//! Ends machines, and takes away what a cluster has in libvirt and with Vagrant.

use std::fs;
use std::io;
use std::time::Duration;

use super::virsh::{Sort, VIRSH, Whose, beginning, names as listed, virsh, whose};
use super::{boxes, client, disks, domains, failed, home, index};
use crate::command;
use crate::machine::{Names, Place, Power, ProviderError};
use crate::wait::{self, Asked, Patience};

/// How long machines may take to power off by themselves.
const POWER_OFF: Patience = Patience { limit: Duration::from_secs(30), pause: Duration::from_millis(500) };

/// Wait for what was asked to power off, and end what did not.
pub async fn stop(place: &Place) -> Result<(), ProviderError> {
    if !home(place).exists() {
        return Ok(());
    }
    let names = Names::of(&place.label);
    let off = wait::until(POWER_OFF, async || match running(&names).await {
        Ok(running) if running.is_empty() => Asked::Yes(()),
        Ok(_) => Asked::NotYet("some still run".into()),
        Err(error) => Asked::NotYet(error.to_string()),
    });
    if off.await.is_ok() {
        return Ok(());
    }
    let running = running(&names).await?;
    place.events.warn(format!("not every machine powered off in {} s; they are ended", POWER_OFF.limit.as_secs()));
    let ended = running.iter().map(|name| domains::end(name));
    ProviderError::gathered(futures::future::join_all(ended).await)
}

async fn running(names: &Names) -> Result<Vec<String>, ProviderError> {
    let all = domains::all(names).await?;
    let running = all.into_iter().filter(|(_, power)| *power == Power::Running);
    Ok(running.map(|(node, _)| names.instance(&node)).collect())
}

/// Whether libvirt may have something of the cluster's: where nothing was begun and it is not to be had, it has nothing.
pub fn may_have(place: &Place) -> bool {
    home(place).exists() || command::find(VIRSH).is_some() && super::host::silence().is_none()
}

/// Take everything away that was made for the cluster. What fails is told after all was tried.
pub async fn destroy(place: &Place) -> Result<(), ProviderError> {
    let names = Names::of(&place.label);
    let mut done = Vec::new();
    if may_have(place) {
        done.push(clear(&names).await);
        done.push(forget(place, &names).await);
    }
    for folder in [place.folder.join("vm"), place.sockets.clone()] {
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => done.push(Err(failed("removing", &folder)(error))),
            _ => {}
        }
    }
    ProviderError::gathered(done)
}

/// Machines first, since they hold disks and networks. By libvirt itself: it knows what Vagrant may have forgotten.
async fn clear(names: &Names) -> Result<(), ProviderError> {
    let mut done = Vec::new();
    for (node, _) in domains::all(names).await? {
        done.push(domains::remove(&names.instance(&node)).await);
    }
    done.push(clear_pool(names).await);
    for network in beginning(Sort::Network, names.base()).await? {
        if whose(Sort::Network, &network, names.label()).await? == Whose::Ours {
            done.push(clear_network(&network).await);
        }
    }
    ProviderError::gathered(done)
}

async fn clear_pool(names: &Names) -> Result<(), ProviderError> {
    let pool = names.base();
    if whose(Sort::Pool, pool, names.label()).await? != Whose::Ours {
        return Ok(());
    }
    let active = async || Ok::<_, ProviderError>(listed(&["pool-list", "--name"]).await?.iter().any(|one| one == pool));
    if !active().await? {
        // Closed, it would keep its files; a folder that is gone is made again for that.
        virsh(&["pool-build", pool], "", "making the pool's folder").await?;
        virsh(&["pool-start", pool], "", "opening the pool of disks").await?;
    }
    let mut done = Vec::new();
    for volume in disks::volumes(pool).await? {
        done.push(disks::remove(pool, &volume).await);
    }
    ProviderError::gathered(done)?;
    for verb in ["pool-destroy", "pool-delete", "pool-undefine"] {
        virsh(&[verb, pool], "", "removing the pool of disks").await?;
    }
    Ok(())
}

async fn clear_network(network: &str) -> Result<(), ProviderError> {
    let doing = format!("removing the network {network}");
    if listed(&["net-list", "--name"]).await?.iter().any(|active| active == network) {
        virsh(&["net-destroy", network], "", &doing).await?;
    }
    virsh(&["net-undefine", network], "", &doing).await.map(drop)
}

/// Take out of Vagrant's own lists what is no longer there; also where the cluster's folder was removed by hand.
async fn forget(place: &Place, names: &Names) -> Result<(), ProviderError> {
    let folder = home(place);
    let Some(kept) = client::kept(&folder) else { return Ok(()) };
    if let Err(error) = index::forget(&kept, &folder).await {
        place.events.warn(error.to_string());
    }
    boxes::remove(&kept, &folder, names).await
}
