//! QEMU without root or daemon.

pub mod accel;
pub mod args;
mod end;
mod files;
mod host;
mod layer;
mod node;
pub mod process;
pub mod qmp;
mod save;
mod still;
mod stream;
#[cfg(test)]
pub(crate) mod support;
mod sweep;
mod template;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OnceCell;

pub(super) use self::host::available_mib;

use self::accel::{Accelerator, QEMU};
use self::args::{Begins, Spec};
use self::end::Limits;
use self::files::Files;
use self::node::{Record, Run};
use super::ability::{Pause, Save, Saved, Slot, Warm};
use super::sweep::{Leaving, Sweep};
use super::{
    Estimate, Found, Image, Kind, Lack, Machine, Order, Place, Power, Provider, ProviderError, Seed, Target, failed,
};
use crate::command::{self, Argv};
use crate::lab::name::{ClusterName, NodeName, PerNode};
use crate::lab::placement::Away;
use crate::lab::plan::{NodePlan, Plan};

/// QEMU's word for a machine whose processors run.
const RUNNING: &str = "running";

/// How long a QEMU may take to make its machine; a tenth of a second where nothing else runs.
const SETTLED: Duration = Duration::from_secs(60);

/// The provider of the product: a QEMU process a node, owned by the user who started it, living on after us.
#[derive(Debug)]
pub struct Qemu {
    home: PathBuf,
    cache: PathBuf,
    limits: Limits,
    accelerator: OnceCell<Accelerator>,
    /// The processes started by this one, by `LABEL/NODE`: their ends are known with status.
    runs: Mutex<HashMap<String, Run>>,
}

impl Qemu {
    /// A provider that looks for free space where state and cache are.
    pub fn new(home: impl Into<PathBuf>, cache: impl Into<PathBuf>) -> Self {
        Self {
            home: home.into(),
            cache: cache.into(),
            limits: Limits::default(),
            accelerator: OnceCell::new(),
            runs: Mutex::default(),
        }
    }

    /// Found out once, then remembered: the answer costs up to two seconds.
    async fn accelerator(&self) -> &Accelerator {
        self.accelerator.get_or_init(accel::probe).await
    }

    /// Start a node's process, tell of it, and write down which it is. Its files are laid.
    async fn start(
        &self,
        order: &Order<'_>,
        node: &NodeName,
        begins: Begins,
        tell: &(impl Fn(&NodeName, &Machine) + Sync),
    ) -> Result<(Machine, Run), ProviderError> {
        let &Order { place, plan, leased, image, seeds } = order;
        let (files, seed, ssh_port) = (Files::of(place, node), &seeds[node], leased.ssh_ports[node]);
        let accel = self.accelerator().await.accel;
        let name = format!("{}/{node}", place.label);
        let spec = Spec {
            name: &name,
            node: &plan.nodes[node],
            accel,
            image,
            payload: seed.payload.as_deref(),
            ssh_port,
            api_port: leased.api_port.filter(|_| *node == plan.master),
            wire: leased.wire,
            files: &files,
            begins,
        };
        let started = node::start(&spec)?;
        let machine = machine(started.pid, ssh_port, image, seed, &files);
        self.runs().insert(name.clone(), started.run.clone());
        tell(node, &machine);
        Ok((machine, started.remember(&files)?))
    }

    fn runs(&self) -> std::sync::MutexGuard<'_, HashMap<String, Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Provider for Qemu {
    fn kind(&self) -> Kind {
        Kind::Qemu
    }

    async fn describe(&self, _away: Option<&Away>) -> String {
        let Some(version) = version().await else { return "QEMU, which is not installed".into() };
        let Accelerator { accel, why } = self.accelerator().await;
        let how = match accel {
            accel::Accel::Kvm => "hardware acceleration",
            accel::Accel::Tcg => "software emulation",
        };
        format!("QEMU {version}, {how}: {why}")
    }

    async fn emulates(&self) -> bool {
        self.accelerator().await.accel == accel::Accel::Tcg
    }

    async fn lacks(&self, plan: &Plan) -> Vec<Lack> {
        let host = host::Host::look(&self.home, &self.cache);
        host::lacks(&host, plan, self.accelerator().await.accel)
    }

    async fn estimate(&self, plan: &Plan) -> Option<Estimate> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Some(host::estimate(self.accelerator().await.accel, cores, plan.nodes.len()))
    }

    async fn boot(&self, order: &Order<'_>, found: &mut Found<'_>) -> Result<PerNode<Machine>, ProviderError> {
        let &Order { place, plan, leased, image, seeds } = order;
        files_ready(place)?;
        let running: HashMap<NodeName, _> = scan(place)?.into_iter().collect();
        let found = Mutex::new(found);
        let tell = |node: &NodeName, machine: &Machine| {
            (found.lock().unwrap_or_else(PoisonError::into_inner))(node, machine);
        };
        let boot = async |node: &NodeName, sizes: &NodePlan| {
            let (files, seed) = (Files::of(place, node), &seeds[node]);
            if running.contains_key(node) && save::is_without_memory(&files).await {
                // A run that was killed while it resumed this one: nothing has run in it yet.
                end::kill_one(place, node, self.limits).await?;
            } else if let Some(process) = running.get(node) {
                let machine = machine(process.pid, leased.ssh_ports[node], image, seed, &files);
                tell(node, &machine);
                return Ok(machine);
            }
            node::lay(&files, seed, image, sizes.disk_mib).await?;
            let (machine, run) = self.start(order, node, Begins::Booting, &tell).await?;
            node::settled(node, &files, run, RUNNING, SETTLED).await?;
            Ok(machine)
        };
        plan.nodes.try_join(boot).await
    }

    async fn machines(&self, place: &Place) -> Result<Vec<(NodeName, Power)>, ProviderError> {
        let mut all: BTreeMap<NodeName, Power> = laid(place)?.into_iter().map(|node| (node, Power::Off)).collect();
        all.extend(scan(place)?.into_iter().map(|(node, _)| (node, Power::Running)));
        Ok(all.into_iter().collect())
    }

    async fn obituary(&self, place: &Place, node: &NodeName) -> Option<String> {
        let files = Files::of(place, node);
        let run = self.runs().get(&format!("{}/{node}", place.label)).cloned();
        let how = if let Some(run) = run {
            format!("{QEMU} {}", run.borrow().as_ref()?)
        } else {
            let process = Record::read(&files).and_then(|record| record.process);
            // What cannot be looked at is not dead for that.
            if process.is_some_and(|process| process.lives().unwrap_or(true)) {
                return None;
            }
            if scan(place).ok()?.iter().any(|(other, _)| other == node) {
                return None;
            }
            format!("its {QEMU} no longer runs")
        };
        let words = files.last_words();
        Some(if words.is_empty() { how } else { format!("{how}: {words}") })
    }

    async fn stop(&self, place: &Place) -> Result<(), ProviderError> {
        end::stop(place, self.limits).await
    }

    async fn destroy(&self, place: &Place) -> Result<(), ProviderError> {
        end::destroy(place, self.limits).await
    }

    fn sweeps(&self) -> Option<&dyn Sweep> {
        Some(self)
    }

    fn pauses(&self) -> Option<&dyn Pause> {
        Some(self)
    }

    fn saves(&self) -> Option<&dyn Save> {
        Some(self)
    }

    fn warms(&self) -> Option<&dyn Warm> {
        Some(self)
    }
}

#[async_trait]
impl Pause for Qemu {
    async fn pause(&self, place: &Place) -> Result<(), ProviderError> {
        still::pause(place).await
    }

    async fn resume(&self, place: &Place) -> Result<(), ProviderError> {
        still::resume(place).await
    }
}

#[async_trait]
impl Save for Qemu {
    async fn fit(&self) -> BTreeMap<String, String> {
        let processor = self.accelerator().await.accel.processor();
        let version = version().await.unwrap_or_else(|| "not installed".into());
        [("QEMU".into(), version), ("processor".into(), processor)].into()
    }

    async fn save(&self, place: &Place, nodes: &[NodeName], slot: &Slot<'_>) -> Result<Saved, ProviderError> {
        save::save(place, nodes, slot).await
    }

    async fn restore(
        &self,
        order: &Order<'_>,
        saved: &Saved,
        slot: &Slot<'_>,
        found: &mut Found<'_>,
    ) -> Result<PerNode<Machine>, ProviderError> {
        save::restore(self, order, saved, slot, found).await
    }

    async fn tidy(&self, place: &Place, shared: &Path, kept: &[Saved]) -> Result<(), ProviderError> {
        let nodes = laid(place)?.into_iter().map(|node| (node.clone(), Files::of(place, &node)));
        layer::tidy(&nodes.collect::<Vec<_>>(), shared, kept).await
    }
}

#[async_trait]
impl Warm for Qemu {
    async fn template(
        &self,
        order: &Order<'_>,
        node: &NodeName,
        folder: &Path,
        limit: Duration,
    ) -> Result<(), ProviderError> {
        template::make(self, order, node, folder, limit).await
    }

    async fn boot_from(
        &self,
        order: &Order<'_>,
        templates: &PerNode<PathBuf>,
        found: &mut Found<'_>,
    ) -> Result<PerNode<Machine>, ProviderError> {
        template::boot(self, order, templates, found).await
    }
}

#[async_trait]
impl Sweep for Qemu {
    async fn leavings(&self, home: &str, remembered: &BTreeSet<ClusterName>) -> Result<Vec<Leaving>, ProviderError> {
        sweep::leavings(home, remembered)
    }
}

fn machine(pid: u32, ssh_port: u16, image: &Image, seed: &Seed, files: &Files) -> Machine {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, ssh_port));
    Machine {
        handle: format!("pid {pid}"),
        target: Target { addr, user: image.user.clone(), host_key: seed.host_key.clone() },
        console: Some(files.console.clone()),
        payload_attached: seed.payload.is_some(),
    }
}

fn files_ready(place: &Place) -> Result<(), ProviderError> {
    crate::durable::private_folder(&place.sockets).map_err(failed("making", &place.sockets))
}

fn scan(place: &Place) -> Result<Vec<(NodeName, process::Identity)>, ProviderError> {
    process::labelled(&place.label).map_err(failed("looking for processes in", Path::new("/proc")))
}

/// The nodes that have a folder.
fn laid(place: &Place) -> Result<Vec<NodeName>, ProviderError> {
    let folder = place.folder.join("vm");
    match fs::read_dir(&folder) {
        Ok(entries) => Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed("listing", &folder)(error)),
    }
}

/// `7.2.22` out of `QEMU emulator version 7.2.22 (Debian …)`.
async fn version() -> Option<String> {
    let argv = Argv::new(QEMU).arg("--version");
    let said = command::run(&argv, Duration::from_secs(10)).await.ok()?.success(&argv).ok()?;
    Some(said.lines().next()?.split_once("version ")?.1.split_ascii_whitespace().next()?.to_owned())
}
