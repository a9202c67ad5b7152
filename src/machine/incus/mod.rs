//! Incus and LXD: system containers by a daemon of the host, at the host's own speed.

mod answer;
mod away;
mod client;
mod door;
mod end;
mod fit;
mod host;
mod image;
mod instance;
mod kernel;
mod limits;
mod make;
mod member;
mod names;
mod network;
mod project;
mod record;
mod stand;
mod still;
mod sweep;
mod vm;
mod words;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use self::answer::{Instance, Server};
use self::client::Client;
use self::door::Door;
use self::instance::Making;
use self::names::Names;
use self::network::Ground;
use self::stand::Site;
use super::ability::{Pause, Save};
use super::sweep::{Leaving, Sweep};
use super::{
    Estimate, Found, ImageForm, Kind, Lack, Machine, Order, Place, Power, Provider, ProviderError, Target, failed,
};
use crate::lab::name::{ClusterName, NodeName, PerNode};
use crate::lab::placement::Away;
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

    fn image_form(&self, plan: &Plan) -> ImageForm {
        if plan.vm { ImageForm::Disk } else { ImageForm::Tree }
    }

    async fn console(&self, place: &Place, node: &NodeName) -> Option<String> {
        let client = record::client(place).ok()??;
        Some(instance::console(&client, &Names::of(&place.label).instance(node)).await)
    }

    async fn describe(&self, away: Option<&Away>) -> String {
        if let Some(away) = away {
            return fit::describe(away).await;
        }
        let client = match Client::any() {
            Ok(client) => client,
            Err((dialect, silence)) => return silence.lack(dialect).what,
        };
        let server: Result<Server, _> = client.get("/1.0").await;
        let version = server.map_or_else(|_| "of unknown version".into(), |server| server.environment.server_version);
        format!("{} {version}, system containers: its daemon answers", client.dialect.name)
    }

    async fn lacks(&self, plan: &Plan) -> Vec<Lack> {
        match &plan.away {
            Some(away) => fit::lacks(away, plan).await,
            None => host::lacks(plan).await,
        }
    }

    async fn estimate(&self, plan: &Plan) -> Option<Estimate> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Some(host::estimate(cores, plan.nodes.len()))
    }

    async fn boot(&self, order: &Order<'_>, found: &mut Found<'_>) -> Result<PerNode<Machine>, ProviderError> {
        let &Order { place, plan, image, seeds, .. } = order;
        let no_tree = || io::Error::other("this image was not built here and has no tree");
        let tree = if plan.vm {
            image::disk(image).await?
        } else {
            image.tree.clone().ok_or_else(no_tree).map_err(failed("using", &image.disk))?
        };
        let asked = match record::asked(place).await? {
            Some(asked) => asked,
            None => record::begin(place, plan.away.as_ref()).await?,
        };
        let (client, names) = (&asked.client, Names::of(&place.label));
        let pool = host::pool(&client.in_project(None)).await?.ok_or_else(|| host::no_pool(client))?;
        let ((), site) = tokio::try_join!(project::ensure(client, &names), Site::of(&asked, plan.away.as_ref()))?;
        let ground = Ground {
            place,
            client,
            names: &names,
            members: &site.members.all,
            apart: site.apart(),
            taken: site.taken.clone(),
        };
        let (fingerprint, uplink, ()) = tokio::try_join!(
            image::ensure(client, &tree, plan.vm, &place.folder),
            ground.ensure(plan.network.mtu),
            instance::ensure_profile(client, &names, &pool.name, plan.vm),
        )?;
        let there = instance::all(client).await?;
        let there: HashMap<&str, &Instance> = there.iter().map(|one| (one.name.as_str(), one)).collect();
        let known = plan.nodes.map(|node, _| there.get(names.instance(node).as_str()).copied());
        let stands = site.stands(&names, &known, plan.placement, uplink.gateway).await?;
        let (network, pool, vm) = (&plan.network, &pool.name, plan.vm);
        let making = Making { names: &names, fingerprint: &fingerprint, network, uplink, pool, vm };
        let found = Mutex::new(found);
        let boot = async |node: &NodeName, sizes| {
            let (mut seed, stand, name) = (seeds[node].clone(), &stands[node], names.instance(node));
            if plan.away.is_some() {
                // A file of this host is no disk there: it goes by SSH.
                seed.payload = None;
            }
            let on = stand.member.as_ref().map_or_else(String::new, |member| format!(" on {member}"));
            let direct = SocketAddr::new(making.uplink.address(plan.nodes[node].index).into(), SSH);
            let machine = |door: Option<Door>| Machine {
                handle: format!("{} instance {name}{on}", client.dialect.name),
                target: Target {
                    addr: door.map_or(direct, Door::target),
                    user: image.user.clone(),
                    host_key: seed.host_key.clone(),
                },
                console: None,
                // A disk of a virtual machine would have another name in it.
                payload_attached: seed.payload.is_some() && !plan.vm,
            };
            let tell = |door| (found.lock().unwrap_or_else(PoisonError::into_inner))(node, &machine(door));
            let (known, mut door) = (known[node], stand.door);
            if known.is_some_and(|known| known.node(&names).as_ref() != Some(node)) {
                return Err(ProviderError::Taken { what: format!("an instance with the name {name}") });
            }
            if known.is_none() {
                make::make(&making, client, node, sizes, stand, &seed).await?;
            }
            let off = known.is_none_or(|known| known.power() == Power::Off);
            if let (true, Some(drawn)) = (off, door) {
                door = Some(make::settled(client, &names, node, drawn).await?);
            }
            tell(door);
            if off {
                let open = make::start(client, &names, node, door).await?;
                if open != door {
                    tell(open);
                    door = open;
                }
            }
            Ok(machine(door))
        };
        plan.nodes.try_join(boot).await
    }

    async fn machines(&self, place: &Place) -> Result<Vec<(NodeName, Power)>, ProviderError> {
        let Some(asked) = record::asked(place).await? else { return Ok(Vec::new()) };
        let names = Names::of(&place.label);
        if !project::is_there(&asked.client, &names).await? {
            return Ok(Vec::new());
        }
        let all = instance::all(&asked.client).await?;
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

    fn pauses(&self) -> Option<&dyn Pause> {
        Some(self)
    }

    fn saves(&self) -> Option<&dyn Save> {
        Some(self)
    }

    fn sweeps(&self) -> Option<&dyn Sweep> {
        Some(self)
    }
}

#[async_trait]
impl Sweep for Incus {
    async fn leavings(&self, home: &str, remembered: &BTreeSet<ClusterName>) -> Result<Vec<Leaving>, ProviderError> {
        sweep::leavings(home, remembered).await
    }

    async fn leavings_at(
        &self,
        remote: &str,
        home: &str,
        remembered: &BTreeSet<ClusterName>,
    ) -> Result<Vec<Leaving>, ProviderError> {
        sweep::leavings_at(remote, home, remembered).await
    }

    async fn remove(&self, home: &str, leaving: &Leaving) -> Result<(), ProviderError> {
        sweep::remove(home, leaving).await
    }
}
