//! QEMU without root or daemon.

pub mod accel;
pub mod args;
mod end;
mod host;
mod node;
pub mod process;
pub mod qmp;
#[cfg(test)]
pub(crate) mod support;
mod sweep;
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

use self::accel::Accelerator;
use self::args::{QEMU, Spec};
use self::end::Limits;
use self::node::{Files, Record, Run, failed};
use super::sweep::{Leaving, Sweep};
use super::{Estimate, Found, Image, Kind, Lack, Machine, Order, Place, Power, Provider, ProviderError, Seed, Target};
use crate::command::{self, Argv};
use crate::lab::name::{ClusterName, NodeName, PerNode};
use crate::lab::plan::Plan;

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

    fn runs(&self) -> std::sync::MutexGuard<'_, HashMap<String, Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Provider for Qemu {
    fn kind(&self) -> Kind {
        Kind::Qemu
    }

    async fn describe(&self) -> String {
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
        let accel = self.accelerator().await.accel;
        files_ready(place)?;
        let running: HashMap<NodeName, _> = scan(place)?.into_iter().collect();
        let found = Mutex::new(found);
        let tell = |node: &NodeName, machine: &Machine| {
            (found.lock().unwrap_or_else(PoisonError::into_inner))(node, machine);
        };
        let boot = async |node: &NodeName, sizes| {
            let (files, seed, ssh_port) = (Files::of(place, node), &seeds[node], leased.ssh_ports[node]);
            let machine = |pid| machine(pid, ssh_port, image, seed, &files);
            if let Some(process) = running.get(node) {
                let machine = machine(process.pid);
                tell(node, &machine);
                return Ok(machine);
            }
            let name = format!("{}/{node}", place.label);
            let payload = seed.payload.as_deref();
            let wire = leased.wire;
            let spec = Spec { name: &name, node: sizes, accel, image, payload, ssh_port, wire, files: &files };
            node::lay(&files, seed, image, sizes.disk_mib).await?;
            let started = node::start(&spec)?;
            let machine = machine(started.pid);
            self.runs().insert(name.clone(), started.run.clone());
            tell(node, &machine);
            let run = started.remember(&files)?;
            node::settled(node, &files, run, SETTLED).await?;
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
