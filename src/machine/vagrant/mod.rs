//! Vagrant with libvirt: the user's own programs, driven in the cluster's own folder.

mod boxes;
mod client;
mod disks;
mod domains;
mod end;
mod host;
mod index;
mod plain;
mod said;
mod sheet;
mod things;
mod virsh;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use tokio::sync::OnceCell;

use self::client::Client;
use self::disks::{Disks, Volume};
use self::domains::Made;
use self::said::{What, short};
use self::sheet::Sheet;
use super::qemu::accel::{self, Accel, Accelerator};
use super::{Found, Kind, Lack, Machine, Names, Order, Place, Power, Provider, ProviderError, Target};
use crate::durable;
use crate::event::Step;
use crate::lab::name::{NodeName, PerNode};
use crate::lab::placement::Away;
use crate::lab::plan::Plan;

pub use self::plain::Plain;

const SSH: u16 = 22;

/// The provider. Everything it makes is libvirt's, under names and ids that follow from the cluster's label.
#[derive(Debug, Default)]
pub struct Vagrant {
    accelerator: OnceCell<Accelerator>,
}

impl Vagrant {
    async fn accelerator(&self) -> &Accelerator {
        self.accelerator.get_or_init(accel::probe).await
    }
}

#[async_trait]
impl Provider for Vagrant {
    fn kind(&self) -> Kind {
        Kind::Vagrant
    }

    async fn describe(&self, _away: Option<&Away>) -> String {
        let Some(version) = host::vagrant_version().await else { return "Vagrant, which is not installed".into() };
        let Accelerator { accel, why } = self.accelerator().await;
        let how = match accel {
            Accel::Kvm => "hardware acceleration",
            Accel::Tcg => "software emulation",
        };
        format!("Vagrant {version} with libvirt, {how}: {why}")
    }

    async fn emulates(&self) -> bool {
        self.accelerator().await.accel == Accel::Tcg
    }

    async fn lacks(&self, plan: &Plan) -> Vec<Lack> {
        host::judge(&host::Host::look(self.accelerator().await.accel).await, plan)
    }

    async fn boot(&self, order: &Order<'_>, found: &mut Found<'_>) -> Result<PerNode<Machine>, ProviderError> {
        let &Order { place, plan, image, seeds, .. } = order;
        let (names, folder) = (Names::of(&place.label), home(place));
        durable::private_folder(&folder).map_err(failed("making", &folder))?;
        let mut disks = Disks::ensure(&names, &folder).await?;
        let uplink = domains::networks(&names, plan).await?;
        let machines = plan.nodes.map(|node, sizes| Machine {
            handle: format!("libvirt machine {}", names.instance(node)),
            target: Target {
                addr: SocketAddr::new(IpAddr::V4(uplink.address(sizes.index)), SSH),
                user: image.user.clone(),
                host_key: seeds[node].host_key.clone(),
            },
            console: None,
            payload_attached: seeds[node].payload.is_some(),
        });
        let path = folder.join("Vagrantfile");
        let emulated = self.accelerator().await.accel == Accel::Tcg;
        let sheet = Sheet { plan, image, seeds, names: &names, uplink, emulated };
        durable::write(&path, sheet.driven().as_bytes(), 0o600).map_err(failed("writing", &path))?;

        let running = domains::all(&names).await?;
        let runs = |node: &NodeName| running.contains(&(node.clone(), Power::Running));
        let mut missing = Vec::new();
        let mut wanted = Vec::new();
        for (node, sizes) in plan.nodes.iter() {
            match domains::look(&names, node, sizes, &folder).await? {
                Made::Whole if runs(node) => found(node, &machines[node]),
                Made::Whole => wanted.push(node),
                Made::Not => {
                    missing.push(node);
                    wanted.push(node);
                }
            }
        }
        let client = Client::at(&folder);
        if !missing.is_empty() {
            bring(order, &names, &folder, &client, &mut disks, &missing).await?;
        }
        if !wanted.is_empty() {
            let words: Vec<&str> = ["up", "--machine-readable", "--provider=libvirt", "--parallel"]
                .into_iter()
                .chain(["--no-provision", "--no-destroy-on-error"])
                .chain(wanted.iter().map(|node| node.as_str()))
                .collect();
            let told = |said: &said::Said| {
                let Some((node, machine)) =
                    said.machine.as_ref().and_then(|name| machines.iter().find(|(node, _)| node.as_str() == name))
                else {
                    return;
                };
                match &said.what {
                    What::Begun => found(node, machine),
                    What::Talk(text) => place.events.progress(Step::Boot, node.as_str(), short(text)),
                    What::Failure { .. } | What::Plugin { .. } => {}
                }
            };
            client.follow(&words, "bringing the machines up by Vagrant", told).await?;
        }
        Ok(machines)
    }

    async fn machines(&self, place: &Place) -> Result<Vec<(NodeName, Power)>, ProviderError> {
        if !end::may_have(place) {
            return Ok(Vec::new());
        }
        domains::all(&Names::of(&place.label)).await
    }

    async fn obituary(&self, place: &Place, node: &NodeName) -> Option<String> {
        // What cannot be looked at is not dead for that.
        let runs = domains::runs(&Names::of(&place.label).instance(node)).await.unwrap_or(true);
        (!runs).then(|| "its machine no longer runs".into())
    }

    async fn stop(&self, place: &Place) -> Result<(), ProviderError> {
        end::stop(place).await
    }

    async fn destroy(&self, place: &Place) -> Result<(), ProviderError> {
        end::destroy(place).await
    }
}

/// Vagrant's folder: the cluster's own, so no Vagrantfile of the user's is read or changed.
fn home(place: &Place) -> PathBuf {
    place.folder.join("vm").join("vagrant")
}

// What disks are called in the pool.
const KERNEL: &str = "vmlinuz";
const INITRD: &str = "initrd";
const PAYLOAD: &str = "payload.tar";

fn seed_volume(node: &NodeName) -> String {
    format!("{node}-seed.img")
}

/// Bring everything into libvirt and Vagrant that machines are made from.
async fn bring(
    order: &Order<'_>,
    names: &Names,
    folder: &Path,
    client: &Client,
    disks: &mut Disks<'_>,
    missing: &[&NodeName],
) -> Result<(), ProviderError> {
    let &Order { place, plan, image, seeds, .. } = order;
    let events = &place.events;
    let length = |path: &Path| std::fs::metadata(path).map(|file| file.len()).map_err(failed("reading", path));
    events.progress(Step::Boot, "box", "making it of the image");
    let (disk, size) = boxes::disk(image, folder).await?;
    boxes::add(client, names, &disk, size).await?;
    if missing.len() == plan.nodes.len() {
        // No machine is made of it yet: what there is of it may be what a killed run left.
        for volume in disks.list().await?.iter().filter(|volume| boxes::is_disk(names, volume)) {
            disks.remove(volume).await?;
        }
    }
    events.progress(Step::Boot, "box", "bringing disks to libvirt");
    let raw = |name: &str, from: &Path, bytes| Volume { name: name.into(), from: from.into(), bytes };
    let mut volumes = Vec::new();
    if let Some(boot) = &image.boot {
        volumes.push(raw(KERNEL, &boot.kernel, length(&boot.kernel)?));
        volumes.push(raw(INITRD, &boot.initrd, length(&boot.initrd)?));
    }
    if let Some(payload) = seeds.values().find_map(|seed| seed.payload.as_deref()) {
        volumes.push(raw(PAYLOAD, payload, length(payload)?));
    }
    for &node in missing {
        // Whatever a machine that is not there has left.
        disks.remove(&format!("{}.img", names.instance(node))).await?;
        disks.remove(&seed_volume(node)).await?;
        let path = place.vm(node).join("seed.img");
        durable::private_folder(&place.vm(node)).map_err(failed("making", &path))?;
        seeds[node].write_disk(&path).map_err(failed("writing", &path))?;
        volumes.push(raw(&seed_volume(node), &path, length(&path)?));
    }
    for volume in &volumes {
        disks.bring(volume).await?;
    }
    events.subject_done(Step::Boot, "box", "there, with all disks");
    Ok(())
}

fn failed(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> ProviderError + use<> {
    let doing = format!("{doing} {}", path.display());
    move |source| ProviderError::Io { doing, source }
}
