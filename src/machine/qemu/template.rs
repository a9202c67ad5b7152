//! A machine booted to where it waits for its seed, and saved there; and others begun from it, each with its own disk and seed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UnixListener;

use super::args::{Begins, Spec, text};
use super::files::Files;
use super::node::{self, Run, said};
use super::process::Identity;
use super::qmp::{Qmp, Stream};
use super::still::{self, Held};
use super::{Qemu, RUNNING, SETTLED, end, files_ready, save, stream};
use crate::command::Argv;
use crate::durable;
use crate::lab::name::{NodeName, PerNode};
use crate::machine::{Found, Machine, Order, ProviderError, Seed, failed};
use crate::wait::{Asked, Patience, until};

/// What the machine that becomes a template is called where nodes have their names.
const NAME: &str = "template";

/// What stands at the beginning of the disk where the seed is to be; `one-stage.py` in the image waits for another.
const WAITS: &[u8] = b"calicolab: a machine that waits for its seed\n";

/// What it says on its console then.
const SAID: &str = "CALICOLAB-WAITS";

/// A template's memory, made shorter or not.
const MEMORY: &str = "memory";

/// Boot a machine like that of `node` to where it waits for its seed, and save it into `folder`, where memory and disk
/// are all that is left. Nothing of it runs when this returns, or is dropped.
pub async fn make(
    qemu: &Qemu,
    order: &Order<'_>,
    node: &NodeName,
    folder: &Path,
    limit: Duration,
) -> Result<(), ProviderError> {
    let &Order { place, plan, leased, image, seeds } = order;
    let own: NodeName = NAME.parse().map_err(|_| control(node, format!("`{NAME}` is no name")))?;
    files_ready(place)?;
    end::kill_one(place, &own, qemu.limits).await?;
    let (files, sizes, seed) = (Files::at(folder.to_owned(), place, &own), &plan.nodes[node], &seeds[node]);
    node::overlay(&files, image, sizes.disk_mib).await?;
    let blank = blank(seed).and_then(|disk| durable::write(&files.seed, &disk, 0o600));
    blank.map_err(failed("writing", &files.seed))?;
    let spec = Spec {
        name: &format!("{}/{own}", place.label),
        node: sizes,
        accel: qemu.accelerator().await.accel,
        image,
        payload: seed.payload.as_deref(),
        ssh_port: leased.ssh_ports[node],
        api_port: None,
        wire: leased.wire,
        files: &files,
        begins: Begins::Booting,
    };
    let started = node::start(&spec)?;
    let process = Own::of(started.pid)?;
    let run = started.remember(&files)?;
    node::settled(&own, &files, run.clone(), RUNNING, SETTLED.min(limit)).await?;
    waits(&own, &files, run, limit).await?;
    let memory = folder.join(MEMORY);
    sent(&own, &files, &memory).await?;
    process.ended(&own, SETTLED).await?;
    let plain = memory.clone();
    let shorter = tokio::task::spawn_blocking(move || stream::shorten(&plain)).await;
    shorter.map_err(std::io::Error::other).flatten().map_err(failed("making shorter", &memory))?;
    for file in [&files.seed, &files.console, &files.log, &files.argv, &files.record] {
        fs::remove_file(file).map_err(failed("removing", file))?;
    }
    Ok(())
}

/// As long as the seed will be: a machine does not see its disks grow.
fn blank(seed: &Seed) -> std::io::Result<Vec<u8>> {
    let mut disk = vec![0; seed.disk()?.len()];
    disk[..WAITS.len()].copy_from_slice(WAITS);
    Ok(disk)
}

fn control(node: &NodeName, what: String) -> ProviderError {
    ProviderError::Control { node: node.clone(), what }
}

/// A process that ends with us, whatever happens: nobody else knows what it is good for.
struct Own(Option<Identity>);

impl Own {
    fn of(pid: u32) -> Result<Self, ProviderError> {
        let looked = Identity::of(pid);
        looked.map(Self).map_err(|source| ProviderError::Io { doing: format!("looking at process {pid}"), source })
    }

    /// It was told to quit. What does not is killed when this is dropped.
    async fn ended(&self, node: &NodeName, limit: Duration) -> Result<(), ProviderError> {
        let about = |source| ProviderError::Io { doing: format!("taking hold of the process of {node}"), source };
        let held = self.0.as_ref().map(Identity::hold).transpose().map_err(about)?.flatten();
        match held {
            Some(held) if !end::gone(node, &held, limit).await? => Err(control(node, "its QEMU does not quit".into())),
            _ => Ok(()),
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // What cannot be ended now carries the cluster's label, and goes with it.
        if let Some(Ok(Some(held))) = self.0.as_ref().map(Identity::hold) {
            let _ = held.kill();
        }
    }
}

async fn waits(node: &NodeName, files: &Files, run: Run, limit: Duration) -> Result<(), ProviderError> {
    let said = until(Patience { limit, pause: Duration::from_millis(50) }, async || {
        if let Some(ended) = run.borrow().as_ref() {
            return Asked::Never(format!("its QEMU {ended}: {}", files.last_words()));
        }
        let console = fs::read(&files.console).unwrap_or_default();
        if String::from_utf8_lossy(&console).contains(SAID) {
            return Asked::Yes(());
        }
        Asked::NotYet("it has not said that it waits for its seed".into())
    });
    said.await.map_err(|error| control(node, error.to_string()))
}

/// All of its memory, and its devices. The machine stands still from the beginning, and its disk is written out.
async fn sent(node: &NodeName, files: &Files, memory: &Path) -> Result<(), ProviderError> {
    let to = text(&files.ram).map_err(failed("using", &files.ram))?;
    save::remove(&files.ram)?;
    let listener = UnixListener::bind(&files.ram).map_err(failed("listening on", &files.ram))?;
    let file = stream::create(memory).map_err(failed("making", memory))?;
    let mut qmp = Qmp::connect(&files.qmp, SETTLED).await.map_err(Held::failed(node))?;
    qmp.stop().await.map_err(Held::failed(node))?;
    qmp.send(&to).await.map_err(Held::failed(node))?;
    let taking = tokio::spawn(save::take(listener, file));
    let mut one = Held { node: node.clone(), files: files.clone(), qmp, status: String::new() };
    save::reached(&mut one, &Stream::Waiting).await?;
    one.qmp.finish().await.map_err(Held::failed(node))?;
    save::reached(&mut one, &Stream::Ended).await?;
    taking.await.map_err(std::io::Error::other).flatten().map_err(failed("writing", memory))?;
    save::remove(&files.ram)?;
    one.qmp.quit().await.map_err(Held::failed(node))
}

/// All machines of an order from their templates' folders, let run on together.
pub async fn boot(
    qemu: &Qemu,
    order: &Order<'_>,
    templates: &PerNode<PathBuf>,
    found: &mut Found<'_>,
) -> Result<PerNode<Machine>, ProviderError> {
    let place = order.place;
    files_ready(place)?;
    let found = Mutex::new(found);
    let tell = |node: &NodeName, machine: &Machine| {
        (found.lock().unwrap_or_else(PoisonError::into_inner))(node, machine);
    };
    let load = async |node: &NodeName, template: &PathBuf| {
        let files = Files::of(place, node);
        node::lay_beside(&files, &order.seeds[node]).await?;
        copied(node, template, &files, order).await?;
        let short = template.join(MEMORY).with_extension(stream::SHORT);
        let memory = if short.exists() { short } else { template.join(MEMORY) };
        save::load(qemu, order, node, &memory, &tell).await
    };
    let machines = templates.try_join(load).await?;
    still::resume(place).await?;
    Ok(machines)
}

/// The template's disk as a node's own, standing on nothing but the image: a template can go as it likes.
async fn copied(node: &NodeName, template: &Path, files: &Files, order: &Order<'_>) -> Result<(), ProviderError> {
    const LIMIT: Duration = Duration::from_secs(60);
    let part = files.overlay.with_extension("part");
    let from = Files::at(template.to_owned(), order.place, node).overlay;
    let to = part.clone();
    let copying = tokio::task::spawn_blocking(move || {
        fs::copy(from, &to).and_then(|_| fs::set_permissions(&to, fs::Permissions::from_mode(0o600)))
    });
    copying.await.map_err(std::io::Error::other).flatten().map_err(failed("making", &part))?;
    let image = text(&order.image.disk).map_err(failed("using", &order.image.disk))?;
    let argv = Argv::new("qemu-img").args(["rebase", "-q", "-u", "-F", order.image.format, "-b"]).arg(image);
    let argv = argv.arg(text(&part).map_err(failed("using", &part))?);
    said(&argv, LIMIT, || format!("making the disk {}", files.overlay.display())).await?;
    fs::rename(&part, &files.overlay).map_err(failed("making", &files.overlay))
}

#[cfg(test)]
mod tests;
