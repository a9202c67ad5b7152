//! Who the nodes of somebody's cluster are: names, addresses and blocks, as objects say or as what is there implies.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::Value;

use super::layout::{Node, Paper, Sorted};
use super::sessions;
use crate::node::{link, plain, route};

/// One node, named by a bundle or met in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Member {
    /// The address that is registered for BGP.
    pub registered: Option<Ipv4Net>,
    /// The address that Kubernetes knows.
    pub internal: Option<Ipv4Addr>,
    /// Its first block.
    pub block: Option<Ipv4Net>,
}

impl Member {
    /// The address by which others know it.
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.registered.map(|net| net.addr()).or(self.internal)
    }
}

/// All of a bundle, and what it says of BGP.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub all: BTreeMap<String, Member>,
    /// Whether the addresses and blocks are those of a datastore, and not only implied.
    pub told: bool,
    /// Whether every node peers with every other, as far as that is told.
    pub mesh: bool,
    pub asn: Option<u32>,
    /// States of sessions as `CalicoNodeStatus` has them: node, peer's address, state.
    pub states: Vec<(String, Ipv4Addr, String)>,
}

/// Read them.
pub(super) fn members(sorted: &Sorted<'_>) -> Members {
    let mut members = Members { mesh: true, ..Members::default() };
    objects(sorted, &mut members);
    for papers in sorted.nodes.values() {
        keys(papers, &mut members);
    }
    for (name, papers) in &sorted.nodes {
        implied(name, papers, &mut members);
    }
    members
}

/// The items of a list of objects; one that cannot be read has none.
fn items(sorted: &Sorted<'_>, word: &str) -> Vec<Value> {
    let text = sorted.objects.get(word).copied().unwrap_or_default();
    let list: Option<Value> = serde_saphyr::from_str(text).ok();
    list.and_then(|mut list| list["items"].as_array_mut().map(std::mem::take)).unwrap_or_default()
}

fn objects(sorted: &Sorted<'_>, members: &mut Members) {
    for node in items(sorted, "nodes") {
        let Some(name) = node["metadata"]["name"].as_str() else { continue };
        let member = members.all.entry(name.to_owned()).or_default();
        let annotation = node["metadata"]["annotations"]["projectcalico.org/IPv4Address"].as_str();
        member.registered = annotation.and_then(|text| text.parse().ok());
        members.told |= member.registered.is_some();
        let addresses = node["status"]["addresses"].as_array().cloned().unwrap_or_default();
        let internal = addresses.iter().find(|one| one["type"] == "InternalIP");
        member.internal = internal.and_then(|one| one["address"].as_str()?.parse().ok());
    }
    for claim in items(sorted, "affinities") {
        let spec = &claim["spec"];
        let (Some(node), Some(block)) = (spec["node"].as_str(), spec["cidr"].as_str()) else { continue };
        let member = members.all.entry(node.to_owned()).or_default();
        member.block = member.block.or_else(|| block.parse().ok());
    }
    for settings in items(sorted, "bgp").iter().filter(|one| one["metadata"]["name"] == "default") {
        members.mesh = settings["spec"]["nodeToNodeMeshEnabled"].as_bool().unwrap_or(true);
        members.asn = settings["spec"]["asNumber"].as_u64().and_then(|asn| u32::try_from(asn).ok());
    }
    for status in items(sorted, "status") {
        let Some(node) = status["spec"]["node"].as_str() else { continue };
        for peer in status["status"]["bgp"]["peersV4"].as_array().into_iter().flatten() {
            let address = peer["peerIP"].as_str().and_then(|address| address.parse().ok());
            if let (Some(address), Some(state)) = (address, peer["state"].as_str()) {
                members.states.push((node.to_owned(), address, state.to_owned()));
            }
        }
    }
}

/// etcd's keys as 0.15 dumps them: `FILE, KEY, VALUE` a line.
fn keys(papers: &Node<'_>, members: &mut Members) {
    for line in papers.get(&Paper::Keys).into_iter().flatten().flat_map(|text| text.lines()) {
        let Some((key, value)) = line.strip_prefix("FILE, ").and_then(|rest| rest.split_once(", ")) else { continue };
        let words: Vec<&str> = key.trim_start_matches('/').split('/').collect();
        match words.as_slice() {
            ["calico", "bgp", "v1", "host", node, "ip_addr_v4"] => {
                let address = value.trim().parse::<Ipv4Addr>().ok();
                members.all.entry((*node).to_owned()).or_default().registered = address.map(Ipv4Net::from);
                members.told |= address.is_some();
            }
            ["calico", "bgp", "v1", "global", "as_num"] => members.asn = value.trim().parse().ok(),
            ["calico", "bgp", "v1", "global", "node_mesh"] => members.mesh = !value.contains("false"),
            ["calico", "ipam", "v2", "host", node, "ipv4", "block", block] => {
                let member = members.all.entry((*node).to_owned()).or_default();
                member.block = member.block.or_else(|| block.replace('-', "/").parse().ok());
            }
            _ => {}
        }
    }
}

/// Where no datastore says so: own address and block, and the peers, by what the node has and met.
fn implied(name: &str, papers: &Node<'_>, members: &mut Members) {
    let text = |paper| papers.get(&paper).and_then(|texts| texts.first()).copied().unwrap_or_default();
    let routes: Vec<Value> = plain::routes(text(Paper::Routes));
    let routes = route::Routes::parse(&Value::from(routes).to_string(), "").unwrap_or_default().tables;
    let by_bird = |route: &&route::Route| route.protocol.as_deref() == Some("bird");
    let peers: Vec<Ipv4Addr> = {
        let hops = routes.iter().filter(by_bird).filter_map(|route| route.gateway);
        let near = plain::connections(text(Paper::Netstat));
        let bgp = |(own, other): &(String, String)| {
            let end = |end: &str| end.rsplit_once(':').map(|(address, port)| (address.to_owned(), port.to_owned()));
            let ((_, own_port), (address, port)) = (end(own)?, end(other)?);
            (own_port == "179" || port == "179").then(|| address.parse().ok())?
        };
        let logged = papers.get(&Paper::Log).into_iter().flatten().flat_map(|log| sessions::logged(log).into_keys());
        hops.chain(near.iter().filter_map(bgp)).chain(logged).collect()
    };
    let links = link::Link::parse(&plain::links(text(Paper::Addresses))).unwrap_or_default();
    let mut own = links.iter().flat_map(|link| &link.addresses).filter(|own| !own.local.is_loopback());
    let beside = own.find(|own| {
        let net = Ipv4Net::new(own.local, own.prefix);
        net.is_ok_and(|net| own.prefix < 32 && peers.iter().any(|peer| net.contains(peer)))
    });
    let member = members.all.entry(name.to_owned()).or_default();
    if member.address().is_none() {
        member.registered = beside.and_then(|own| Ipv4Net::new(own.local, own.prefix).ok());
    }
    let hole = routes.iter().find(|route| route.kind == "blackhole" && route.to.prefix_len() > 16);
    member.block = member.block.or(hole.map(|route| route.to));
    let known: Vec<Ipv4Addr> = members.all.values().filter_map(Member::address).collect();
    for peer in peers.into_iter().filter(|peer| !known.contains(peer)) {
        let name = format!("node-{}", peer.to_string().replace('.', "-"));
        let to = routes.iter().filter(by_bird).find(|route| route.gateway == Some(peer) && route.to.prefix_len() < 32);
        let member = members.all.entry(name).or_default();
        member.registered = Some(Ipv4Net::from(peer));
        member.block = member.block.or(to.map(|route| route.to));
    }
}
