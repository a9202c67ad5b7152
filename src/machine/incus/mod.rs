//! Incus and LXD: system containers by a daemon of the host, at the host's own speed.

mod answer;
mod client;
mod end;
mod host;
mod image;
mod instance;
mod network;
mod record;
mod settings;
mod words;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use self::answer::{Instance, Server};
use self::client::Client;
use self::instance::Making;
use super::{
    Estimate, Found, ImageForm, Kind, Lack, Machine, Names, Order, Place, Power, Provider, ProviderError, Target,
};
use crate::lab::name::{NodeName, PerNode};
use crate::lab::plan::Plan;

/// Where a node's sshd listens.
const SSH: u16 = 22;

/// The provider: one code for both projects. What it makes carries the cluster's label; nothing else is ever removed.
#[derive(Clone, Copy, Debug)]
pub struct Incus;

#[async_trait]
impl Provider for Incus {
    fn kind(&self) -> Kind {
        Kind::Incus
    }

    fn image_form(&self) -> ImageForm {
        ImageForm::Tree
    }

    async fn describe(&self) -> String {
        let client = match Client::any() {
            Ok(client) => client,
            Err((dialect, silence)) => return host::lack(dialect, &silence).what,
        };
        let server: Result<Server, _> = client.get("/1.0").await;
        let version = server.map_or_else(|_| "of unknown version".into(), |server| server.environment.server_version);
        format!("{} {version}, system containers: its daemon answers", client.dialect.name)
    }

    async fn lacks(&self, plan: &Plan) -> Vec<Lack> {
        host::lacks(plan).await
    }

    async fn estimate(&self, plan: &Plan) -> Option<Estimate> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Some(host::estimate(cores, plan.nodes.len()))
    }

    async fn boot(&self, order: &Order<'_>, found: &mut Found<'_>) -> Result<PerNode<Machine>, ProviderError> {
        let &Order { place, plan, image, seeds, .. } = order;
        let no_tree = || io::Error::other("this image was not built here and has no tree");
        let tree = image.tree.as_deref().ok_or_else(no_tree).map_err(failed("using", &image.disk))?;
        let client = match record::client(place)? {
            Some(client) => client,
            None => record::begin(place)?,
        };
        let names = Names::of(&place.label);
        let pool = host::pool(&client).await?.ok_or_else(|| host::no_pool(&client))?;
        let (fingerprint, uplink, ()) = tokio::try_join!(
            image::ensure(&client, tree, &place.folder),
            network::ensure(&client, &names, plan.network.mtu),
            instance::ensure_profile(&client, &names, &pool.name),
        )?;
        let there = instance::all(&client).await?;
        let there: HashMap<&str, &Instance> = there.iter().map(|one| (one.name.as_str(), one)).collect();
        let making = Making { names: &names, fingerprint: &fingerprint, network: &plan.network, uplink };
        let found = Mutex::new(found);
        let boot = async |node: &NodeName, sizes| {
            let (seed, name) = (&seeds[node], names.instance(node));
            let address = making.uplink.address(plan.nodes[node].index);
            let machine = Machine {
                handle: format!("{} instance {name}", client.dialect.name),
                target: Target {
                    addr: SocketAddr::new(IpAddr::V4(address), SSH),
                    user: image.user.clone(),
                    host_key: seed.host_key.clone(),
                },
                console: None,
                payload_attached: seed.payload.is_some(),
            };
            let known = there.get(name.as_str());
            if known.is_some_and(|known| known.node(&names).as_ref() != Some(node)) {
                return Err(ProviderError::Taken { what: format!("an instance with the name {name}") });
            }
            if known.is_none() {
                making.make(&client, node, sizes, seed).await?;
            }
            (found.lock().unwrap_or_else(PoisonError::into_inner))(node, &machine);
            if known.is_none_or(|known| known.power() == Power::Off) {
                instance::start(&client, &name, node).await?;
            }
            Ok(machine)
        };
        plan.nodes.try_join(boot).await
    }

    async fn machines(&self, place: &Place) -> Result<Vec<(NodeName, Power)>, ProviderError> {
        let Some(client) = record::client(place)? else { return Ok(Vec::new()) };
        let names = Names::of(&place.label);
        let all = instance::all(&client).await?;
        Ok(all.iter().filter_map(|one| Some((one.node(&names)?, one.power()))).collect())
    }

    async fn obituary(&self, place: &Place, node: &NodeName) -> Option<String> {
        // What cannot be looked at is not dead for that.
        let client = record::client(place).ok()??;
        let names = Names::of(&place.label);
        let all = instance::all(&client).await.ok()?;
        let Some(known) = all.iter().find(|one| one.node(&names).as_ref() == Some(node)) else {
            return Some("its instance is gone".into());
        };
        if known.power() == Power::Running {
            return None;
        }
        let console = instance::console(&client, &known.name).await;
        let lines: Vec<&str> = console.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        let words = lines[lines.len().saturating_sub(6)..].join("\n");
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

fn failed(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> ProviderError + use<> {
    let doing = format!("{doing} {}", path.display());
    move |source| ProviderError::Io { doing, source }
}
