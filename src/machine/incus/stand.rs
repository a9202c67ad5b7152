//! Where each node of a cluster stands, on this host or another, and how it is reached from here.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::Ipv4Net;

use super::answer::{Instance, Link, Network, Server};
use super::away::is_here;
use super::client::Client;
use super::door::{self, Door};
use super::instance;
use super::member::{self, Member, Members};
use super::names::Names;
use super::record::Asked;
use crate::lab::name::PerNode;
use crate::lab::placement::Away;
use crate::lab::plan::Plan;
use crate::machine::ProviderError;
use crate::machine::uplink;

/// The servers that a cluster's nodes may stand on.
pub struct Site {
    /// The members of the servers' cluster; none where there is no cluster.
    pub members: Members,
    /// The networks that are in use there.
    pub taken: Vec<Ipv4Net>,
    /// What the one that answers says of itself.
    pub server: Server,
    /// The address by which the one that answers is reached from here; none of a socket of this host.
    address: Option<IpAddr>,
    /// The instances of everybody there.
    pub instances: Vec<Instance>,
}

/// Where a node stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stand {
    /// The member of the servers' cluster; none where there is no cluster.
    pub member: Option<String>,
    /// The way in, where this host has none to the node's own address.
    pub door: Option<Door>,
}

impl Site {
    /// Look at the servers behind `asked`.
    pub async fn of(asked: &Asked, away: Option<&Away>) -> Result<Self, ProviderError> {
        let server = asked.server().await?;
        let outside = asked.client.in_project(None);
        let clustered = server.environment.server_clustered;
        if away.is_none() && !clustered {
            let taken = uplink::of_this_host();
            return Ok(Self { members: Members::default(), taken, server, address: None, instances: Vec::new() });
        }
        let instances = instance::of_everybody(&outside).await?;
        // Without a word of other servers it is this one that is meant.
        let own = [server.environment.server_name.clone()];
        let targets = away.map_or(&own[..], |away| &away.targets);
        let members = if clustered { member::ask(&outside, targets, &instances).await? } else { Members::default() };
        let taken = match away {
            None => uplink::of_this_host(),
            Some(_) => links(&outside, &members).await?.iter().flat_map(networks).collect(),
        };
        let address = asked.answering.as_ref().and_then(|answering| answering.address);
        Ok(Self { members, taken, server, address, instances })
    }

    /// Whether there is a cluster of servers and more than one of them may be used.
    pub fn apart(&self) -> bool {
        self.members.usable.len() > 1
    }

    /// Where each node of `plan` stands or will stand; `known` are those that are there, `gateway` the server's own address on
    /// the way outside.
    pub async fn stands(
        &self,
        names: &Names,
        known: &PerNode<Option<&Instance>>,
        plan: &Plan,
        gateway: Ipv4Addr,
    ) -> Result<PerNode<Stand>, ProviderError> {
        let places = known.map(|_, known| known.map(|known| known.location.as_str()));
        let on = if self.members.all.is_empty() {
            known.map(|_, _| None)
        } else {
            let nowhere = || ProviderError::Silent { why: "no member of the servers' cluster may be used".into() };
            member::place(&places, &self.members.usable, plan).ok_or_else(nowhere)?.map(|_, on| Some(*on))
        };
        let mut taken = door::ports(&self.instances);
        let mut stands = Vec::new();
        for (node, known) in known.iter() {
            let door = match (known, self.way(on[node], gateway)) {
                (_, None) => None,
                (Some(known), Some((listen, at))) => door::port_of(known).map(|port| Door { listen, at, port }),
                (None, Some((listen, at))) => Some(self.door(names, listen, at, &mut taken).await?),
            };
            stands.push((node.clone(), Stand { member: on[node].map(|member| member.name.clone()), door }));
        }
        let mut stands: std::collections::HashMap<_, _> = stands.into_iter().collect();
        Ok(known.map(|node, _| stands.remove(node).unwrap_or_default()))
    }

    /// The addresses at which ways in will be found from here; none where this host may hold the bridges itself.
    pub fn doors(&self) -> Vec<IpAddr> {
        let all: Vec<IpAddr> = match self.members.usable.as_slice() {
            [] => self.address.into_iter().collect(),
            usable => usable.iter().filter_map(|member| member.address).collect(),
        };
        all.into_iter().filter(|at| !is_here(*at)).collect()
    }

    async fn door(
        &self,
        names: &Names,
        listen: IpAddr,
        at: IpAddr,
        taken: &mut BTreeSet<u16>,
    ) -> Result<Door, ProviderError> {
        let port = door::free(door::candidates(names.number()), at, taken).await;
        let full = || ProviderError::Taken { what: format!("every port at {at} that may lead to a node") };
        Ok(Door { listen, at, port: port.ok_or_else(full)? })
    }

    /// The address at which a way in has to listen, and the same from here; none where this host holds the bridge that
    /// the node is on.
    fn way(&self, on: Option<&Member>, gateway: Ipv4Addr) -> Option<(IpAddr, IpAddr)> {
        let at = match on {
            Some(member) => member.address?,
            None => self.address?,
        };
        if is_here(at) && is_here(gateway.into()) {
            return None;
        }
        let own: Vec<IpAddr> = self
            .server
            .environment
            .addresses
            .iter()
            .filter_map(|at| at.parse().ok())
            .map(|at: SocketAddr| at.ip())
            .collect();
        let listen = if on.is_some() || own.contains(&at) { at } else { own.first().copied().unwrap_or(at) };
        Some((listen, at))
    }
}

/// The links of the servers, by the names that the one which answers has for its own.
pub async fn links(client: &Client, members: &Members) -> Result<Vec<Link>, ProviderError> {
    let there: Vec<Network> = client.get("/1.0/networks?recursion=1").await?;
    let targets: Vec<String> = match members.usable.as_slice() {
        [] => vec![String::new()],
        usable => usable.iter().map(|member| format!("?target={}", member.name)).collect(),
    };
    let mut asked = Vec::new();
    for network in there.iter().filter(|network| !network.managed) {
        asked.extend(targets.iter().map(|target| format!("/1.0/networks/{}/state{target}", network.name)));
    }
    // A member need not have a link that another has.
    let found = futures::future::join_all(asked.iter().map(|path| client.get::<Link>(path))).await;
    Ok(found.into_iter().filter_map(Result::ok).collect())
}

fn networks(link: &Link) -> Vec<Ipv4Net> {
    let net = |address: &super::answer::LinkAddress| match address.address {
        IpAddr::V4(at) => Some(Ipv4Net::new(at, address.netmask.parse().ok()?).ok()?.trunc()),
        IpAddr::V6(_) => None,
    };
    link.addresses.iter().filter_map(net).collect()
}
