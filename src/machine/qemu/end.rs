//! Ends machines: gently after a power-off that did not come, at once when everything is to go.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::files::Files;
use super::process::{Held, Identity, labelled};
use super::qmp::Qmp;
use crate::lab::name::NodeName;
use crate::machine::{Place, ProviderError, failed};

/// How long each way of ending may take before the next, rougher one.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The guest's own power-off, asked for before; three emulated machines on two cores take some ten seconds.
    pub power_off: Duration,
    /// The power button.
    pub button: Duration,
    /// QEMU told to quit.
    pub quit: Duration,
    /// The kernel told to end it.
    pub kill: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            power_off: Duration::from_secs(30),
            button: Duration::from_secs(10),
            quit: Duration::from_secs(5),
            kill: Duration::from_secs(10),
        }
    }
}

/// End every machine of the cluster that was asked to power off.
pub async fn stop(place: &Place, limits: Limits) -> Result<(), ProviderError> {
    let running = running(place)?;
    let ended = running.iter().map(|(node, process)| gently(place, node, process, limits));
    ProviderError::gathered(futures::future::join_all(ended).await)
}

/// End every machine of the cluster and remove what it had on disk.
///
/// The processes first: the files are what they are found by as much as their label, and stay if one does not end.
pub async fn destroy(place: &Place, limits: Limits) -> Result<(), ProviderError> {
    kill_all(place, limits).await?;
    let removed = [place.folder.join("vm"), place.sockets.clone()].map(|folder| remove(&folder));
    ProviderError::gathered(removed.into())
}

/// End every machine of the cluster at once; its files stay.
pub async fn kill_all(place: &Place, limits: Limits) -> Result<(), ProviderError> {
    // A start that was cut off just now may show its process only in the next look.
    loop {
        let running = running(place)?;
        if running.is_empty() {
            return Ok(());
        }
        let ended = running.iter().map(|(node, process)| at_once(node, process, limits.kill));
        ProviderError::gathered(futures::future::join_all(ended).await)?;
    }
}

/// End one machine of the cluster at once, if it runs.
pub async fn kill_one(place: &Place, node: &NodeName, limits: Limits) -> Result<(), ProviderError> {
    let running = running(place)?;
    let ended = running.iter().filter(|(own, _)| own == node).map(|(_, process)| at_once(node, process, limits.kill));
    ProviderError::gathered(futures::future::join_all(ended).await)
}

fn running(place: &Place) -> Result<Vec<(NodeName, Identity)>, ProviderError> {
    labelled(&place.label).map_err(failed("looking for processes in", Path::new("/proc")))
}

async fn gently(place: &Place, node: &NodeName, process: &Identity, limits: Limits) -> Result<(), ProviderError> {
    let Some(held) = hold(node, process)? else { return Ok(()) };
    if gone(node, &held, limits.power_off).await? {
        return Ok(());
    }
    let socket = Files::of(place, node).qmp;
    let pressed = match Qmp::connect(&socket, limits.quit).await {
        Ok(mut qmp) => qmp.system_powerdown().await,
        Err(error) => Err(error),
    };
    if pressed.is_ok() && gone(node, &held, limits.button).await? {
        return Ok(());
    }
    place.events.warn(format!("{node} did not power off in {} s and is ended", limits.power_off.as_secs()));
    let quit = match Qmp::connect(&socket, limits.quit).await {
        Ok(qmp) => qmp.quit().await,
        Err(error) => Err(error),
    };
    if quit.is_ok() && gone(node, &held, limits.quit).await? {
        return Ok(());
    }
    kill(node, process, &held, limits.kill).await
}

async fn at_once(node: &NodeName, process: &Identity, limit: Duration) -> Result<(), ProviderError> {
    match hold(node, process)? {
        Some(held) => kill(node, process, &held, limit).await,
        None => Ok(()),
    }
}

async fn kill(node: &NodeName, process: &Identity, held: &Held, limit: Duration) -> Result<(), ProviderError> {
    held.kill().map_err(about(node, "ending"))?;
    if gone(node, held, limit).await? {
        return Ok(());
    }
    let what = format!("process {} does not end, {} s after it was killed", process.pid, limit.as_secs());
    Err(ProviderError::Control { node: node.clone(), what })
}

fn hold(node: &NodeName, process: &Identity) -> Result<Option<Held>, ProviderError> {
    process.hold().map_err(about(node, "taking hold of"))
}

/// Whether a process ends by itself in this time.
pub async fn gone(node: &NodeName, held: &Held, limit: Duration) -> Result<bool, ProviderError> {
    held.gone_within(limit).await.map_err(about(node, "waiting for the end of"))
}

fn about(node: &NodeName, doing: &str) -> impl FnOnce(io::Error) -> ProviderError {
    let doing = format!("{doing} the process of {node}");
    move |source| ProviderError::Io { doing, source }
}

fn remove(folder: &Path) -> Result<(), ProviderError> {
    let mut tries = 3;
    loop {
        tries -= 1;
        match fs::remove_dir_all(folder) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // The disk maker of a killed run may just have made its file between the listing and the removal.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && tries > 0 => {}
            Err(error) => return Err(failed("removing", folder)(error)),
        }
    }
}
