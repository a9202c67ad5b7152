//! Machines as booted systemd-nspawn containers over the product's own image, for tests alone.
//!
//! The host needs nothing but root: the program lies under `target/programs`. A node is a container in a network
//! namespace of its own with the two cards that a plan gives it; it finds its seed where cloud-init looks for it,
//! and everything after that is the product's.

mod cgroup;
mod end;
pub mod forward;
pub mod names;
mod programs;
pub mod start;
mod upper;
pub mod wire;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use calicolab::lab::name::{NodeName, PerNode};
use calicolab::lab::placement::Away;
use calicolab::lab::plan::Plan;
use calicolab::machine::{
    Found, ImageForm, Kind, Lack, Machine, Order, Place, Power, Provider, ProviderError, Target, console_tail,
};

use self::names::{Names, Role};
use self::upper::Files;

/// The provider of the tests.
#[derive(Debug)]
pub struct Nspawn;

#[async_trait]
impl Provider for Nspawn {
    fn kind(&self) -> Kind {
        Kind::Nspawn
    }

    fn image_form(&self, _: &Plan) -> ImageForm {
        ImageForm::Tree
    }

    async fn describe(&self, _away: Option<&Away>) -> String {
        "systemd-nspawn containers over the image's tree".into()
    }

    async fn lacks(&self, _plan: &Plan) -> Vec<Lack> {
        let mut lacks = programs::lacks();
        if lacks.is_empty()
            && let Some(what) = start::unfit().await
        {
            let remedy = "rm -r target/programs && scripts/test-programs.sh".into();
            lacks.push(Lack { id: "nspawn.unfit".into(), what, remedy, bearable: false });
        }
        lacks
    }

    async fn boot(&self, order: &Order<'_>, found: &mut Found<'_>) -> Result<PerNode<Machine>, ProviderError> {
        let &Order { place, plan, leased, image, seeds } = order;
        let no_tree = || io::Error::other("this image was not built here and has no tree");
        let tar = image.tree.as_ref().ok_or_else(no_tree).map_err(failed("using", &image.disk))?;
        let tree = programs::tree(&tar.path).await?;
        let names = Names::of(&place.label);
        let running = names.processes().map_err(end::proc())?;
        let runs = |node: &NodeName, role| running.iter().any(|one| &one.node == node && one.role == role);
        if !plan.nodes.names().any(|node| runs(node, Role::Machine)) {
            wire::lan(&names).await?;
        }
        let found = Mutex::new(found);
        let boot = async |node: &NodeName, sizes| {
            let (files, port) = (Files::of(place, node), leased.ssh_ports[node]);
            let machine = Machine {
                handle: format!("container {}", names.node(node)),
                target: Target {
                    addr: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
                    user: image.user.clone(),
                    host_key: seeds[node].host_key.clone(),
                },
                console: Some(files.console.clone()),
                payload_attached: false,
            };
            let lives = runs(node, Role::Machine);
            if !lives {
                // What forwarded to the one before may hold another port.
                end::processes(running.iter().filter(|one| &one.node == node)).await?;
                files.lay(&seeds[node]).map_err(failed("laying", &files.folder))?;
                wire::node(&names, node, sizes).await?;
                start::start(&names, node, &files, &tree).map_err(failed("starting", &files.folder))?;
            }
            (found.lock().unwrap_or_else(PoisonError::into_inner))(node, &machine);
            if !(lives && runs(node, Role::Forward)) {
                let doing = format!("forwarding 127.0.0.1:{port} to");
                forward::start(&names, node, port).map_err(failed(&doing, Path::new(node.as_str())))?;
            }
            Ok(machine)
        };
        plan.nodes.try_join(boot).await
    }

    async fn machines(&self, place: &Place) -> Result<Vec<(NodeName, Power)>, ProviderError> {
        let mut all: BTreeMap<NodeName, Power> = laid(place)?.into_iter().map(|node| (node, Power::Off)).collect();
        let running = end::machines(&Names::of(&place.label))?;
        all.extend(running.into_iter().map(|process| (process.node, Power::Running)));
        Ok(all.into_iter().collect())
    }

    async fn obituary(&self, place: &Place, node: &NodeName) -> Option<String> {
        // What cannot be looked at is not dead for that.
        let running = end::machines(&Names::of(&place.label)).ok()?;
        if running.iter().any(|process| &process.node == node) {
            return None;
        }
        let words = console_tail(Some(&Files::of(place, node).console), 6);
        let how = "its container no longer runs";
        Some(if words.is_empty() { how.into() } else { format!("{how}; its last words:\n{words}") })
    }

    async fn stop(&self, place: &Place) -> Result<(), ProviderError> {
        end::stop(place).await
    }

    async fn destroy(&self, place: &Place) -> Result<(), ProviderError> {
        end::destroy(place).await
    }
}

/// The nodes that have a folder.
fn laid(place: &Place) -> Result<Vec<NodeName>, ProviderError> {
    let folder = place.folder.join("vm");
    match fs::read_dir(&folder) {
        Ok(entries) => Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed("listing", &folder)(error)),
    }
}

fn failed(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> ProviderError + use<> {
    let doing = format!("{doing} {}", path.display());
    move |source| ProviderError::Io { doing, source }
}
