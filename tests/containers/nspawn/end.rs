//! Ends containers, and takes away what a cluster has on this host.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use calicolab::machine::qemu::process::Held;
use calicolab::machine::{Place, ProviderError};

use super::names::{Names, Process, Role};
use super::{cgroup, failed, wire};

/// How long a container may take to power off by itself.
const POWER_OFF: Duration = Duration::from_secs(30);

/// How long what was killed may take to be gone.
const KILLED: Duration = Duration::from_secs(20);

/// Where nspawn leaves an empty folder for each container that was killed.
const PROPAGATE: &str = "/run/systemd/nspawn/propagate";

/// Power off: wait for what was asked to end, end what did not, and take away what does not outlive a power-off.
pub async fn stop(place: &Place) -> Result<(), ProviderError> {
    let names = Names::of(&place.label);
    let running = machines(&names)?;
    let gone = running.iter().map(async |process| match process.identity.hold() {
        Ok(Some(held)) => held.gone_within(POWER_OFF).await.unwrap_or(false),
        _ => true,
    });
    if futures::future::join_all(gone).await.contains(&false) {
        place.events.warn(format!("not every container powered off in {} s; they are ended", POWER_OFF.as_secs()));
    }
    clear(&names).await
}

/// Take everything away. What fails is told after all was tried.
pub async fn destroy(place: &Place) -> Result<(), ProviderError> {
    let mut errors: Vec<_> = clear(&Names::of(&place.label)).await.err().into_iter().collect();
    for folder in [place.folder.join("vm"), place.sockets.clone()] {
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => errors.push(failed("removing", &folder)(error)),
            _ => {}
        }
    }
    match errors.len() {
        0 => Ok(()),
        _ => Err(ProviderError::Several(errors)),
    }
}

/// Processes, control groups, namespaces, nspawn's own folders: in this order, for each is held by the one before.
async fn clear(names: &Names) -> Result<(), ProviderError> {
    // A start that was cut off just now may show its process only in the next look.
    loop {
        let processes = names.processes().map_err(proc())?;
        if processes.is_empty() {
            break;
        }
        self::processes(&processes).await?;
    }
    let groups = cgroup::all(names).map_err(failed("listing", Path::new("/sys/fs/cgroup")))?;
    cgroup::remove(groups, KILLED).await.map_err(failed("removing the groups in", Path::new("/sys/fs/cgroup")))?;
    wire::clear(names).await?;
    for entry in fs::read_dir(PROPAGATE).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| names.owns(name)) {
            fs::remove_dir(entry.path()).map_err(failed("removing", &entry.path()))?;
        }
    }
    Ok(())
}

/// End these, all at once.
pub async fn processes(all: impl IntoIterator<Item = &Process>) -> Result<(), ProviderError> {
    futures::future::try_join_all(all.into_iter().map(end)).await.map(drop)
}

async fn end(process: &Process) -> Result<(), ProviderError> {
    let about = || failed("ending a process of", Path::new(process.node.as_str()));
    let Some(held) = process.identity.hold().map_err(about())? else { return Ok(()) };
    let killed = async |held: &Held| {
        held.kill()?;
        held.gone_within(KILLED).await
    };
    if killed(&held).await.map_err(about())? {
        return Ok(());
    }
    let what = format!("process {} does not end, {} s after it was killed", process.identity.pid, KILLED.as_secs());
    Err(ProviderError::Control { node: process.node.clone(), what })
}

/// The containers that run.
pub fn machines(names: &Names) -> Result<Vec<Process>, ProviderError> {
    let mut all = names.processes().map_err(proc())?;
    all.retain(|process| process.role == Role::Machine);
    Ok(all)
}

/// A look at the processes that failed.
pub fn proc() -> impl FnOnce(io::Error) -> ProviderError {
    failed("looking for processes in", Path::new("/proc"))
}
