//! Machines kept as they are: memory by QEMU's own stream, disks by a new layer on top; and brought back.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{UnixListener, UnixStream};

use super::args::{Begins, text};
use super::node::{self, Files, failed};
use super::qmp::Qmp;
use super::still::{self, Held};
use super::{Qemu, SETTLED, files_ready};
use super::{end, layer, stream};
use crate::lab::name::{NodeName, PerNode};
use crate::machine::ability::{Lies, Part, Role, Saved, Slot};
use crate::machine::{Found, Machine, Order, Place, ProviderError};
use crate::wait::{Asked, Patience, until};

/// How long QEMU may take to send a machine's memory; a second where nothing else runs.
const SENT: Patience = Patience { limit: Duration::from_secs(120), pause: Duration::from_millis(5) };

/// QEMU's words for a machine that waits for its memory, and for one that has it and may run on.
const WAITING: &str = "inmigrate";
const LOADED: &str = "paused";

/// One machine, made ready to be kept while it still runs.
struct Ready {
    next: layer::Next,
    listener: UnixListener,
    memory: PathBuf,
}

/// Keep these machines. They stand still from the first `stop` to the last `cont`; all that can be done before or
/// after is.
pub async fn save(place: &Place, nodes: &[NodeName], slot: &Slot<'_>) -> Result<Saved, ProviderError> {
    let mut machines = still::running(place, nodes).await?;
    let ready = machines.iter().map(|one| ready(one, slot));
    let ready = futures::future::try_join_all(ready).await?;

    let began = Instant::now();
    let stopped = still::stop(&mut machines).await;
    let spread = began.elapsed();
    let kept = match stopped {
        Ok(()) => {
            let kept = machines.iter_mut().zip(&ready).map(|(one, ready)| keep(one, ready));
            futures::future::join_all(kept).await
        }
        Err(error) => vec![Err(error)],
    };
    let gone = still::go(&mut machines).await;
    let paused = began.elapsed();

    let sockets = machines.iter().map(|one| remove(&one.files.ram));
    let sockets = sockets.collect::<Vec<_>>();
    ProviderError::gathered(kept.into_iter().chain([gone]).chain(sockets).collect())?;
    let mut parts = Vec::new();
    for (one, Ready { memory, .. }) in machines.iter().zip(&ready) {
        let plain = memory.clone();
        let kept = tokio::task::spawn_blocking(move || stream::shorten(&plain)).await;
        let kept = kept.map_err(std::io::Error::other).flatten().map_err(failed("making shorter", memory))?;
        let file = kept.file_name().map(PathBuf::from).unwrap_or_default();
        parts.push(Part { node: one.node.clone(), role: Role::Memory, lies: Lies::Own, file });
        parts.extend(layer::below(&one.node, &one.files, slot.shared).await?);
    }
    Ok(Saved { id: slot.id.into(), paused, spread, parts, lost: Vec::new() })
}

async fn ready(one: &Held, slot: &Slot<'_>) -> Result<Ready, ProviderError> {
    remove(&one.files.ram)?;
    let listener = UnixListener::bind(&one.files.ram).map_err(failed("listening on", &one.files.ram))?;
    let memory = slot.folder.join(format!("{}.memory", one.node));
    Ok(Ready { next: layer::next(&one.node, &one.files, slot).await?, listener, memory })
}

/// Disk and memory of a machine that stands still.
async fn keep(one: &mut Held, ready: &Ready) -> Result<(), ProviderError> {
    ready.next.begin(&one.node, &one.files, &mut one.qmp).await?;
    let to = text(&one.files.ram).map_err(failed("using", &one.files.ram))?;
    let file = stream::create(&ready.memory).map_err(failed("making", &ready.memory))?;
    one.qmp.send(&to).await.map_err(Held::failed(&one.node))?;
    // Where the disk is full the stream is dropped, and QEMU's own word is only that nobody listens any more.
    let taken = take(&ready.listener, file).await.map_err(failed("writing", &ready.memory));
    let sent = sent(one).await;
    taken.and(sent)
}

async fn take(listener: &UnixListener, mut file: fs::File) -> std::io::Result<()> {
    let (stream, _) = tokio::time::timeout(SENT.limit, listener.accept()).await.map_err(std::io::Error::other)??;
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    let taking = tokio::task::spawn_blocking(move || stream::take(&stream, &mut file).map(drop));
    taking.await.map_err(std::io::Error::other)?
}

async fn sent(one: &mut Held) -> Result<(), ProviderError> {
    let qmp = tokio::sync::Mutex::new(&mut one.qmp);
    let sent = until(SENT, async || match qmp.lock().await.sent().await {
        Ok(true) => Asked::Yes(()),
        Ok(false) => Asked::NotYet("its memory is being sent".into()),
        Err(error) => Asked::Never(error.to_string()),
    });
    sent.await.map_err(|error| ProviderError::Control { node: one.node.clone(), what: error.to_string() })
}

/// End what runs, and bring the machines back as they were saved.
pub async fn restore(
    qemu: &Qemu,
    order: &Order<'_>,
    saved: &Saved,
    slot: &Slot<'_>,
    found: &mut Found<'_>,
) -> Result<PerNode<Machine>, ProviderError> {
    let place = order.place;
    files_ready(place)?;
    end::kill_all(place, qemu.limits).await?;
    let found = Mutex::new(found);
    let tell = |node: &NodeName, machine: &Machine| {
        (found.lock().unwrap_or_else(PoisonError::into_inner))(node, machine);
    };
    let load = async |node, _| {
        let files = Files::of(place, node);
        let part = |role| {
            let of = |part: &&Part| part.node == *node && part.role == role;
            saved.parts.iter().find(of).map(|part| &part.file).ok_or_else(|| ProviderError::Control {
                node: node.clone(),
                what: "the point holds no part of its machine".into(),
            })
        };
        let (memory, disk) = (slot.folder.join(part(Role::Memory)?), part(Role::Disk)?);
        node::lay_beside(&files, &order.seeds[node]).await?;
        layer::fresh(&files, disk, slot.shared).await?;
        let (machine, run) = qemu.start(order, node, Begins::Waiting, &tell).await?;
        node::settled(node, &files, run.clone(), WAITING, SETTLED).await?;
        let given = give(node, &files, &memory).await;
        // Why a machine does not take its memory is in its own last words.
        node::settled(node, &files, run, LOADED, SETTLED).await.and(given)?;
        Ok::<_, ProviderError>(machine)
    };
    let machines = order.plan.nodes.try_join(load).await?;
    still::resume(place).await?;
    Ok(machines)
}

async fn give(node: &NodeName, files: &Files, memory: &Path) -> Result<(), ProviderError> {
    let from = text(&files.ram).map_err(failed("using", &files.ram))?;
    remove(&files.ram)?;
    let mut qmp = Qmp::connect(&files.qmp, SETTLED).await.map_err(Held::failed(node))?;
    qmp.receive(&from).await.map_err(Held::failed(node))?;
    drop(qmp);
    let giving = async {
        let stream = UnixStream::connect(&files.ram).await?.into_std()?;
        stream.set_nonblocking(false)?;
        let memory = memory.to_owned();
        let giving = tokio::task::spawn_blocking(move || stream::give(&memory, &stream));
        giving.await.map_err(std::io::Error::other)?
    };
    giving.await.map_err(failed("reading", memory))
}

fn remove(socket: &Path) -> Result<(), ProviderError> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("removing", socket)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
