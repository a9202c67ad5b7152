//! The sections of `lab.yaml` on machines, addresses, routing and patience, and what must hold between them.

use ipnet::Ipv4Net;

use super::{Bgp, Network, Nodes, ProofPlan, Timers};
use crate::lab::addressing::{LAB_POOL, NAT, overlap};
use crate::lab::name::NodeName;
use crate::lab::problem::{Place, Problem};
use crate::lab::scalar::{self, Found};
use crate::lab::tree::{Fields, Node, Value};

/// How many nodes a lab may have: BGP needs two, and addresses, like names, count with one digit.
pub(in crate::lab) const NODE_COUNT: std::ops::RangeInclusive<usize> = 2..=9;

/// Lengths a node's block may have: more than 32 addresses would leave none for probes, more than 4096 is no block.
pub(in crate::lab) const BLOCK: std::ops::RangeInclusive<u8> = 20..=27;

/// What a lab does not say.
pub(in crate::lab) mod default {
    pub const PREFIX: &str = "calico-";
    pub const CPUS: u16 = 1;
    pub const MEMORY_MIB: u64 = 512;
    pub const DISK_MIB: u64 = 4096;
    pub const FIRST: u8 = 11;
    pub const PODS: &str = "10.244.0.0/16";
    pub const BLOCK: u8 = 26;
    pub const SERVICES: &str = "10.96.0.0/16";
    pub const DOMAIN: &str = "cluster.local";
    pub const MTU: u16 = 1500;
    pub const AS: u32 = 64512;
    pub const STABILITY_S: u64 = 5;
    pub const UP_S: u64 = 300;
    pub const VERIFY_S: u64 = 25;
}

/// A section as its keys; one that is not there has none.
fn section<'f>(top: &'f mut Fields<'_>, key: &'static str) -> Fields<'f> {
    let node = top.optional(key).unwrap_or_else(|| Node { at: top.at().clone(), value: Value::Null });
    Fields::of(node, key, top.problems())
}

pub(super) fn nodes(top: &mut Fields<'_>) -> Option<Nodes> {
    let mut fields = section(top, "nodes");
    let names = node_names(&mut fields);
    let cpus = fields.get("cpus", scalar::number(1..=64u16)).map_or(default::CPUS, |found| found.value);
    let memory = fields.get("memory", scalar::mebibytes(256..=1 << 20));
    let disk = fields.get("disk", scalar::mebibytes(2048..=4 << 20));
    fields.end();
    Some(Nodes {
        names: names?,
        cpus,
        memory_mib: memory.map_or(default::MEMORY_MIB, |found| found.value),
        disk_mib: disk.map_or(default::DISK_MIB, |found| found.value),
    })
}

fn node_names(fields: &mut Fields<'_>) -> Option<Vec<NodeName>> {
    let at = fields.at().clone();
    // Read before anything is decided, so that a lab which says too much is told of each wrong value too.
    let has = |node: Option<&Node>| node.map(|node| node.at.clone());
    let count_node = fields.optional("count");
    let count_at = has(count_node.as_ref());
    let count = count_node.and_then(|node| noted(fields, scalar::number(2..=9u8)(&node, "nodes.count")));
    let prefix = fields.get("prefix", scalar::text);
    let listed = fields.each("names", scalar::parsed::<NodeName>);
    match (listed, count_at) {
        (Some(listed), None) => Some(distinct_names(fields, &listed, prefix.map(|found| found.at))),
        (Some(listed), Some(count_at)) => {
            let place = if matches!(count_at, Place::Flag { .. }) { count_at } else { listed.at };
            fields.problem(
                Problem::new(&place, "`nodes.names` and `nodes.count` exclude each other")
                    .remedy("name the nodes, or count them, as in `--set nodes.names=a,b,c`"),
            );
            None
        }
        (None, Some(_)) => counted_names(fields, count?, prefix),
        (None, None) => {
            fields.problem(
                Problem::new(&at, "`nodes` says neither `count` nor `names`").remedy("write for example `count: 3`"),
            );
            None
        }
    }
}

fn noted<T>(fields: &mut Fields<'_>, read: Result<T, Problem>) -> Option<T> {
    read.map_err(|problem| fields.problem(problem)).ok()
}

fn counted_names(fields: &mut Fields<'_>, count: u8, prefix: Option<Found<String>>) -> Option<Vec<NodeName>> {
    let (prefix, at) = match prefix {
        Some(found) => (found.value, found.at),
        None => (default::PREFIX.into(), fields.at().clone()),
    };
    let names: Result<Vec<NodeName>, _> = (1..=count).map(|number| format!("{prefix}{number:02}").parse()).collect();
    noted(fields, names.map_err(|error| Problem::new(&at, error.to_string()).remedy("change `nodes.prefix`")))
}

fn distinct_names(
    fields: &mut Fields<'_>,
    listed: &Found<Vec<Found<NodeName>>>,
    prefix_at: Option<Place>,
) -> Vec<NodeName> {
    if let Some(at) = prefix_at {
        fields.problem(Problem::new(&at, "`nodes.prefix` has no meaning beside `nodes.names`").remedy("remove it"));
    }
    for (i, name) in listed.value.iter().enumerate() {
        if listed.value[..i].iter().any(|earlier| earlier.value == name.value) {
            fields.problem(Problem::new(&name.at, format!("two nodes are called `{}`", name.value)));
        }
    }
    if !NODE_COUNT.contains(&listed.value.len()) {
        let (least, most) = (NODE_COUNT.start(), NODE_COUNT.end());
        fields.problem(
            Problem::new(&listed.at, format!("`nodes.names` has {} right names", listed.value.len()))
                .remedy(format!("{least} to {most} are possible")),
        );
    }
    listed.value.iter().map(|name| name.value.clone()).collect()
}

pub(super) fn network(top: &mut Fields<'_>, nodes: Option<&Nodes>) -> Network {
    let mut fields = section(top, "network");
    let lab = fields.get("lab", |node, path| match scalar::text(node, path)?.as_str() {
        "auto" => Ok(None),
        _ => scalar::net(16..=27)(node, path).map(Some),
    });
    let first = fields.get("first", scalar::number(2..=240u8));
    let pods = fields.get("pods", scalar::net(8..=26));
    let block = fields.get("block", scalar::number(BLOCK));
    let services = fields.get("services", scalar::net(8..=27));
    let domain = fields.get("domain", domain);
    // Every host must take 576 bytes, but a full-size packet is to be told from a small one.
    let mtu = fields.get("mtu", scalar::number(1280..=9000u16)).map_or(default::MTU, |found| found.value);
    let at = fields.at().clone();
    let network = Network {
        lab: lab.as_ref().and_then(|found| found.value),
        first: first.as_ref().map_or(default::FIRST, |found| found.value),
        pods: pods.as_ref().map_or_else(|| written(default::PODS), |found| found.value),
        block: block.as_ref().map_or(default::BLOCK, |found| found.value),
        services: services.as_ref().map_or_else(|| written(default::SERVICES), |found| found.value),
        domain: domain.map_or_else(|| default::DOMAIN.into(), |found| found.value),
        mtu,
    };
    let lab_at = lab.map(|found| found.at);
    let pods_at = pods.map(|found| found.at);
    let services_at = services.map(|found| found.at);
    let block_at = block.map(|found| found.at).or_else(|| pods_at.clone()).unwrap_or_else(|| at.clone());
    let ranges = [
        ("the NAT network of every machine", NAT, None),
        if let Some(net) = network.lab {
            ("`network.lab`", net, lab_at)
        } else {
            ("the range from which `network.lab: auto` takes", LAB_POOL, None)
        },
        ("`network.pods`", network.pods, pods_at),
        ("`network.services`", network.services, services_at),
    ];
    no_overlap(&mut fields, &ranges, &at);
    blocks_fit(&mut fields, &network, nodes, &block_at);
    if let Some(first) = first {
        addresses_fit(&mut fields, &network, nodes, &first.at);
    }
    fields.end();
    network
}

fn written(net: &str) -> Ipv4Net {
    net.parse().expect("a range written in this file")
}

fn domain(node: &Node, path: &str) -> Result<String, Problem> {
    let said = scalar::text(node, path)?;
    let bare = said.trim_end_matches('.');
    if bare != said {
        return Err(Problem {
            nearest: Some(bare.into()),
            ..Problem::new(&node.at, format!("`{path}` ends with a dot"))
        });
    }
    if said.len() > 200 {
        return Err(
            Problem::new(&node.at, format!("`{path}` has {} characters", said.len())).remedy("200 are possible")
        );
    }
    match said.split('.').find_map(|label| label.parse::<NodeName>().err()) {
        Some(error) => Err(Problem::new(&node.at, format!("`{path}` is no DNS domain: {error}"))),
        None => Ok(said),
    }
}

fn no_overlap(fields: &mut Fields<'_>, ranges: &[(&str, Ipv4Net, Option<Place>)], section: &Place) {
    for (i, (name, net, at)) in ranges.iter().enumerate() {
        for (earlier, other, other_at) in &ranges[..i] {
            // The NAT network and the pool of lab networks are apart, whatever a lab says.
            if overlap(*net, *other) {
                let place = at.as_ref().or(other_at.as_ref()).unwrap_or(section);
                fields.problem(
                    Problem::new(place, format!("{name} ({net}) shares addresses with {earlier} ({other})"))
                        .remedy("choose ranges that are apart"),
                );
            }
        }
    }
}

fn addresses_fit(fields: &mut Fields<'_>, network: &Network, nodes: Option<&Nodes>, at: &Place) {
    let needed = nodes.map_or(*NODE_COUNT.start(), |nodes| nodes.names.len());
    let Some(net) = network.lab else { return };
    let last = usize::from(network.first) + needed - 1;
    if last >= (1 << (32 - net.prefix_len())) - 1 {
        let message = format!("`network.lab` ({net}) has no address with the number {last}");
        fields.problem(Problem::new(at, message).remedy("begin with a lower number"));
    }
}

fn blocks_fit(fields: &mut Fields<'_>, network: &Network, nodes: Option<&Nodes>, at: &Place) {
    let (pods, block) = (network.pods, network.block);
    let needed = nodes.map_or(*NODE_COUNT.start(), |nodes| nodes.names.len());
    let there = block.checked_sub(pods.prefix_len()).map_or(0, |bits| 1usize << bits);
    if there < needed {
        let message =
            format!("`network.pods` ({pods}) has room for {there} blocks of /{block}, but there are {needed} nodes");
        fields.problem(Problem::new(at, message).remedy("make the range larger, or the blocks smaller"));
    }
}

pub(super) fn bgp(top: &mut Fields<'_>, nodes: Option<&Nodes>) -> Bgp {
    let mut fields = section(top, "bgp");
    let asn = fields.get("as", as_number).map_or(default::AS, |found| found.value);
    let mesh = fields.get("mesh", scalar::switch);
    let reflectors = fields.each("reflectors", scalar::parsed::<NodeName>);
    let words = [("quick", Timers::Quick), ("calico", Timers::Calico)];
    let timers = fields.get("timers", scalar::choice(&words)).map_or(Timers::Quick, |found| found.value);
    let on = mesh.as_ref().is_none_or(|found| found.value);
    match &reflectors {
        Some(reflectors) if on && !reflectors.value.is_empty() => fields.problem(
            Problem::new(&reflectors.at, "`bgp.reflectors` are named while `bgp.mesh` is on")
                .remedy("switch the mesh off (`mesh: off`), or name none"),
        ),
        Some(reflectors) => known_reflectors(&mut fields, &reflectors.value, nodes),
        None => {}
    }
    if let Some(mesh) = mesh.filter(|_| !on)
        && reflectors.as_ref().is_none_or(|found| found.value.is_empty())
    {
        let first = nodes.map_or("calico-01", |nodes| nodes.names[0].as_str());
        fields.problem(
            Problem::new(&mesh.at, "`bgp.mesh` is off and no node reflects routes: nobody would peer")
                .remedy(format!("name one, as in `--set bgp.reflectors={first}`")),
        );
    }
    fields.end();
    let reflectors = reflectors.map_or_else(Vec::new, |found| found.value.into_iter().map(|node| node.value).collect());
    Bgp { asn, mesh: on, reflectors, timers }
}

fn as_number(node: &Node, path: &str) -> Result<u32, Problem> {
    let asn = scalar::number(1..=u32::MAX - 1)(node, path)?;
    // Set aside by RFC 6793 and RFC 7300: a session under them would not come up, or not as what it claims.
    match asn {
        23456 | 65535 => Err(Problem::new(&node.at, format!("`{path}` is {asn}, which is set aside"))
            .remedy("64512 to 65534 are private")),
        _ => Ok(asn),
    }
}

fn known_reflectors(fields: &mut Fields<'_>, reflectors: &[Found<NodeName>], nodes: Option<&Nodes>) {
    for (i, reflector) in reflectors.iter().enumerate() {
        if let Some(nodes) = nodes.filter(|nodes| !nodes.names.contains(&reflector.value)) {
            let names: Vec<&str> = nodes.names.iter().map(NodeName::as_str).collect();
            let problem = Problem::new(&reflector.at, format!("reflector `{}` is no node", reflector.value));
            fields.problem(problem.remedy(format!("the nodes are {}", names.join(", "))));
        }
        if reflectors[..i].iter().any(|earlier| earlier.value == reflector.value) {
            fields.problem(Problem::new(&reflector.at, format!("reflector `{}` stands twice", reflector.value)));
        }
    }
}

pub(super) fn proof(top: &mut Fields<'_>) -> ProofPlan {
    let mut fields = section(top, "proof");
    let stability = fields.get("stability", scalar::seconds(1..=600));
    let up = fields.get("up", scalar::seconds(10..=7200));
    let verify = fields.get("verify", scalar::seconds(5..=7200));
    let stability_s = stability.as_ref().map_or(default::STABILITY_S, |found| found.value);
    let up_s = up.as_ref().map_or(default::UP_S, |found| found.value);
    let verify_s = verify.as_ref().map_or(default::VERIFY_S, |found| found.value);
    for (key, patience, found) in [("up", up_s, &up), ("verify", verify_s, &verify)] {
        if patience <= stability_s {
            let at =
                found.as_ref().or(stability.as_ref()).map_or_else(|| fields.at().clone(), |found| found.at.clone());
            let message = format!("`proof.{key}` ({patience}s) ends before a session is stable ({stability_s}s)");
            fields.problem(Problem::new(&at, message).remedy("give it more time than `proof.stability`"));
        }
    }
    fields.end();
    ProofPlan { stability_s, up_s, verify_s }
}
