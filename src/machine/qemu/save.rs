//! Machines kept as they are: memory by QEMU's own stream, disks by a new layer on top; and brought back.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{UnixListener, UnixStream};

use super::args::{Begins, text};
use super::files::Files;
use super::node;
use super::qmp::{Qmp, Stream};
use super::still::{self, Held};
use super::{Qemu, SETTLED, files_ready};
use super::{end, layer, stream};
use crate::lab::name::{NodeName, PerNode};
use crate::machine::ability::{Lies, Part, Role, Saved, Slot};
use crate::machine::{Found, Machine, Order, Place, ProviderError, failed};
use crate::wait::{Asked, Patience, until};

/// How long QEMU may take to come to the end of a stream; some milliseconds where nothing else runs.
const SENT: Patience = Patience { limit: Duration::from_secs(120), pause: Duration::from_millis(3) };

/// The pass from which on little is left to send: the third has what was written while the second was sent, which had
/// what was written while all was.
const LITTLE: u64 = 4;

/// How long the passes may take before the machines are stopped, whatever is left.
const PASSES: Patience = Patience { limit: Duration::from_secs(30), pause: Duration::from_millis(10) };

/// QEMU's words for a machine that waits for its memory, and for one that has it and may run on.
const WAITING: &str = "inmigrate";
const LOADED: &str = "paused";

/// One machine, made ready to be kept while it still runs.
struct Ready {
    next: layer::Next,
    /// Until the stream begins.
    listener: Mutex<Option<UnixListener>>,
    memory: PathBuf,
}

/// Keep these machines. Most of their memory is sent while they run; they stand still for the rest of it, and for the
/// new layers of their disks.
pub async fn save(place: &Place, nodes: &[NodeName], slot: &Slot<'_>) -> Result<Saved, ProviderError> {
    let mut machines = still::running(place, nodes).await?;
    let ready = machines.iter().map(|one| ready(one, slot));
    let ready = futures::future::try_join_all(ready).await?;

    let mut taking = Vec::new();
    let mut pause = None;
    let kept = keep(&mut machines, &ready, &mut taking, &mut pause).await;
    let gone = still::go(&mut machines).await;
    let paused = pause.map_or(Duration::ZERO, |pause: Pause| pause.began.elapsed());

    // Where the disk is full the stream is dropped, and QEMU's own word is only that nobody listens any more.
    let mut results = Vec::new();
    for (taken, Ready { memory, .. }) in futures::future::join_all(taking).await.into_iter().zip(&ready) {
        results.push(taken.map_err(std::io::Error::other).flatten().map_err(failed("writing", memory)));
    }
    results.extend([kept, gone]);
    results.extend(machines.iter().map(|one| remove(&one.files.ram)));
    ProviderError::gathered(results)?;
    let shortened = machines.iter().zip(&ready).map(|(one, ready)| parts(one, ready, slot));
    let parts = futures::future::try_join_all(shortened).await?.into_iter().flatten().collect();
    let spread = pause.map_or(Duration::ZERO, |pause| pause.spread);
    Ok(Saved { id: slot.id.into(), paused, spread, parts, lost: Vec::new() })
}

/// Machines standing still.
#[derive(Clone, Copy)]
struct Pause {
    began: Instant,
    spread: Duration,
}

/// The ends of streams that are being written to files.
type Taking = Vec<tokio::task::JoinHandle<std::io::Result<()>>>;

async fn ready(one: &Held, slot: &Slot<'_>) -> Result<Ready, ProviderError> {
    remove(&one.files.ram)?;
    let listener = UnixListener::bind(&one.files.ram).map_err(failed("listening on", &one.files.ram))?;
    let memory = slot.folder.join(format!("{}.memory", one.node));
    Ok(Ready { next: layer::next(&one.node, &one.files, slot).await?, listener: Mutex::new(Some(listener)), memory })
}

/// Memory and disks of machines that run, as they are in the moment from which on they stand still.
async fn keep(
    machines: &mut [Held],
    ready: &[Ready],
    taking: &mut Taking,
    pause: &mut Option<Pause>,
) -> Result<(), ProviderError> {
    for (one, ready) in machines.iter_mut().zip(ready) {
        let to = text(&one.files.ram).map_err(failed("using", &one.files.ram))?;
        let file = stream::create(&ready.memory).map_err(failed("making", &ready.memory))?;
        one.qmp.send(&to).await.map_err(Held::failed(&one.node))?;
        let listener = ready.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        taking.extend(listener.map(|listener| tokio::spawn(take(listener, file))));
    }
    sent_almost(machines).await?;
    let began = Instant::now();
    still::stop(machines).await?;
    *pause = Some(Pause { began, spread: began.elapsed() });
    let ended = machines.iter_mut().zip(ready).map(|(one, ready)| end_of(one, ready));
    ProviderError::gathered(futures::future::join_all(ended).await)
}

/// Wait until little is left to send of any machine, or one stands still already; not for ever.
async fn sent_almost(machines: &mut [Held]) -> Result<(), ProviderError> {
    let machines = tokio::sync::Mutex::new(machines);
    let sent = until(PASSES, async || {
        let mut least = u64::MAX;
        for one in machines.lock().await.iter_mut() {
            match one.qmp.stream().await {
                Ok(Stream::Going { pass }) => least = least.min(pass),
                Ok(Stream::Waiting | Stream::Ended) => return Asked::Yes(Ok(())),
                Ok(Stream::Failed { why }) => {
                    return Asked::Yes(Err(ProviderError::Control { node: one.node.clone(), what: why }));
                }
                Err(error) => return Asked::Yes(Err(Held::failed(&one.node)(error))),
            }
        }
        if least >= LITTLE { Asked::Yes(Ok(())) } else { Asked::NotYet(format!("pass {least}")) }
    });
    sent.await.unwrap_or(Ok(()))
}

/// The rest of the memory of a machine that stands still, the new layer of its disk, and its devices.
async fn end_of(one: &mut Held, ready: &Ready) -> Result<(), ProviderError> {
    reached(one, &Stream::Waiting).await?;
    ready.next.begin(&one.node, &one.files, &mut one.qmp).await?;
    one.qmp.finish().await.map_err(Held::failed(&one.node))?;
    reached(one, &Stream::Ended).await
}

/// Wait until a stream stands so.
pub async fn reached(one: &mut Held, wanted: &Stream) -> Result<(), ProviderError> {
    let qmp = tokio::sync::Mutex::new(&mut one.qmp);
    let reached = until(SENT, async || match qmp.lock().await.stream().await {
        Ok(stream) if stream == *wanted => Asked::Yes(()),
        Ok(Stream::Failed { why }) => Asked::Never(why),
        Ok(stream) => Asked::NotYet(format!("its stream of memory is {stream:?}")),
        Err(error) => Asked::Never(error.to_string()),
    });
    reached.await.map_err(|error| ProviderError::Control { node: one.node.clone(), what: error.to_string() })
}

/// Write what comes to this listener to a file.
pub async fn take(listener: UnixListener, mut file: fs::File) -> std::io::Result<()> {
    let (stream, _) = tokio::time::timeout(SENT.limit, listener.accept()).await.map_err(std::io::Error::other)??;
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    let taking = tokio::task::spawn_blocking(move || stream::take(&stream, &mut file).map(drop));
    taking.await.map_err(std::io::Error::other)?
}

/// What was kept of a machine, its memory made shorter.
async fn parts(one: &Held, ready: &Ready, slot: &Slot<'_>) -> Result<Vec<Part>, ProviderError> {
    let plain = ready.memory.clone();
    let kept = tokio::task::spawn_blocking(move || stream::shorten(&plain)).await;
    let kept = kept.map_err(std::io::Error::other).flatten().map_err(failed("making shorter", &ready.memory))?;
    let file = kept.file_name().map(PathBuf::from).unwrap_or_default();
    let memory = Part { node: one.node.clone(), role: Role::Memory, lies: Lies::Own, file };
    let disks = layer::below(&one.node, &one.files, slot.shared).await?;
    Ok([memory].into_iter().chain(disks).collect())
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
    let back = async |node, _| {
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
        load(qemu, order, node, &memory, &tell).await
    };
    let machines = order.plan.nodes.try_join(back).await?;
    still::resume(place).await?;
    Ok(machines)
}

/// A machine whose disks are laid and whose memory is this; it stands still.
pub async fn load(
    qemu: &Qemu,
    order: &Order<'_>,
    node: &NodeName,
    memory: &Path,
    tell: &(impl Fn(&NodeName, &Machine) + Sync),
) -> Result<Machine, ProviderError> {
    let files = Files::of(order.place, node);
    let (machine, run) = qemu.start(order, node, Begins::Waiting, tell).await?;
    node::settled(node, &files, run.clone(), WAITING, SETTLED).await?;
    let given = give(node, &files, memory).await;
    // Why a machine does not take its memory is in its own last words.
    node::settled(node, &files, run, LOADED, SETTLED).await.and(given)?;
    Ok(machine)
}

/// Whether a process waits for a memory that nobody will give it any more.
pub async fn is_without_memory(files: &Files) -> bool {
    match Qmp::connect(&files.qmp, SETTLED).await {
        Ok(mut qmp) => qmp.status().await.is_ok_and(|status| status == WAITING),
        Err(_) => false,
    }
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

/// Remove a socket, if it is there.
pub fn remove(socket: &Path) -> Result<(), ProviderError> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("removing", socket)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
