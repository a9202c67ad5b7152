//! Judges of machines, their addresses, the lab network between them, and what they read in the datastore.

use super::{Judged, Place, Probe, Scene, Verdict};
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::node::etcd::{self, Answer};
use crate::node::identity::{self, Identity};
use crate::node::link::{self, Link};
use crate::node::reach;

/// How far apart clocks may be: TLS, logs and the ages of sessions bear no more.
const CLOCKS_MS: i64 = 2000;

/// An echo request as small as ping's own, in bytes of IP.
pub(super) const SMALL: u16 = 84;

/// How many of [`reach::ECHOES`] packets may not be lost: 20 % would already starve TCP.
const LOSS: u32 = 2;

/// Milliseconds that no packet of a lab network takes.
const DELAY_MS: f64 = 100.0;

fn on(node: &NodeName, argv: crate::command::Argv) -> Probe {
    Probe { node: node.clone(), place: Place::Node, argv }
}

/// Who is it?
pub(super) fn identity(node: &NodeName) -> Probe {
    on(node, identity::ask())
}

/// Which devices and addresses does it have?
pub(super) fn links(node: &NodeName) -> Probe {
    on(node, link::ask())
}

/// Does the other answer on the lab network to a full packet, or at least to a small one?
pub(super) fn ping(plan: &Plan, from: &NodeName, to: &NodeName) -> Probe {
    let (target, network) = (plan.nodes[to].address, &plan.network);
    on(from, reach::ping_from_node(target, &network.lab_device, network.mtu, SMALL))
}

/// What does it read of itself in the datastore: at the master's own address, and at the service's?
pub(super) fn datastore(plan: &Plan, node: &NodeName) -> Probe {
    let keys = [etcd::node_key(node.as_str()), etcd::block_key(node.as_str(), plan.nodes[node].block)];
    let endpoints = [format!("{}:2379", plan.master_node().address), format!("{}:443", plan.network.api)];
    on(node, etcd::ask_keys(&endpoints, &keys))
}

fn read_identity(scene: &Scene<'_>, node: &NodeName) -> Result<Identity, Verdict> {
    let output = scene.heard(&identity(node))?;
    Identity::parse(&output.stdout).ok_or_else(|| {
        Verdict::not_yet(format!("{node} did not tell its host name and machine-id: {}", output.tail(2)))
    })
}

pub(super) fn judge_identity(scene: &Scene<'_>, node: &NodeName) -> Judged {
    let own = read_identity(scene, node)?;
    if own.hostname != node.as_str() {
        return Err(Verdict::never(format!("the machine reached as {node} calls itself {}", own.hostname)));
    }
    Ok(format!("answers, machine-id {}…", &own.machine_id[..8]))
}

pub(super) fn judge_ids(scene: &Scene<'_>) -> Judged {
    let mut seen: Vec<(&NodeName, Identity)> = Vec::new();
    for node in scene.plan.nodes.names() {
        let own = read_identity(scene, node)?;
        if let Some((twin, _)) = seen.iter().find(|(_, other)| other.machine_id == own.machine_id) {
            return Err(Verdict::never(format!("{twin} and {node} have the same machine-id {}", own.machine_id)));
        }
        seen.push((node, own));
    }
    Ok(format!("{} different machine-ids", seen.len()))
}

pub(super) fn judge_clocks(scene: &Scene<'_>) -> Judged {
    let mut known = Vec::new();
    for node in scene.plan.nodes.names() {
        read_identity(scene, node)?;
        let clock = scene.readings.clocks.get(node);
        let clock = clock.ok_or_else(|| Verdict::not_yet(format!("{node} did not tell its clock")))?;
        known.push((node, clock.ahead_ms()));
    }
    let earliest = known.iter().min_by_key(|(_, (_, most))| most);
    let latest = known.iter().max_by_key(|(_, (least, _))| least);
    let (Some((behind, (_, most))), Some((ahead, (least, _)))) = (earliest, latest) else {
        return Err(Verdict::not_yet("no clock was read"));
    };
    let apart = least - most;
    if apart > CLOCKS_MS {
        return Err(Verdict::not_yet(format!("the clock of {ahead} is {} ahead of that of {behind}", seconds(apart))));
    }
    let bound = known.iter().map(|(_, (_, most))| most).max().zip(known.iter().map(|(_, (least, _))| least).min());
    Ok(bound.map_or_else(String::new, |(most, least)| format!("at most {} apart", seconds(most - least))))
}

fn seconds(ms: i64) -> String {
    format!("{}.{} s", ms / 1000, ms.rem_euclid(1000) / 100)
}

fn read_links(scene: &Scene<'_>, node: &NodeName) -> Result<Vec<Link>, Verdict> {
    let output = scene.heard(&links(node))?;
    Link::parse(&output.stdout)
        .map_err(|_| Verdict::not_yet(format!("{node} did not list its devices: {}", output.tail(2))))
}

pub(super) fn judge_address(scene: &Scene<'_>, node: &NodeName) -> Judged {
    let (part, network) = (&scene.plan.nodes[node], &scene.plan.network);
    let devices = read_links(scene, node)?;
    let Some(device) = devices.iter().find(|link| link.name == network.lab_device) else {
        let names: Vec<&str> = devices.iter().map(|link| link.name.as_str()).collect();
        return Err(Verdict::not_yet(format!(
            "{node} has no device {}, only {}",
            network.lab_device,
            names.join(", ")
        )));
    };
    if !device.mac.eq_ignore_ascii_case(&part.lab_mac) {
        let (name, mac) = (&device.name, &device.mac);
        return Err(Verdict::never(format!("{name} of {node} has the MAC {mac}, planned is {}", part.lab_mac)));
    }
    if !device.up() {
        return Err(Verdict::not_yet(format!("{} of {node} is not up: {}", device.name, device.flags.join(" "))));
    }
    if device.mtu != u32::from(network.mtu) {
        let (name, mtu) = (&device.name, device.mtu);
        return Err(Verdict::not_yet(format!("{name} of {node} has the MTU {mtu}, planned is {}", network.mtu)));
    }
    let right = |address: &link::Address| address.local == part.address && address.prefix == network.lab.prefix_len();
    if !device.addresses.iter().any(right) {
        let has: Vec<String> = device.addresses.iter().map(|own| format!("{}/{}", own.local, own.prefix)).collect();
        let has = if has.is_empty() { "no address".into() } else { has.join(", ") };
        let wanted = format!("{}/{}", part.address, network.lab.prefix_len());
        return Err(Verdict::not_yet(format!("{} of {node} has {has}, planned is {wanted}", device.name)));
    }
    for other in scene.plan.nodes.names().filter(|other| *other != node) {
        // A node that cannot be asked has its own checks to say so.
        let theirs = read_links(scene, other).unwrap_or_default();
        if theirs.iter().flat_map(|link| &link.addresses).any(|address| address.local == part.address) {
            return Err(Verdict::never(format!("{} of {node} is on {other} too", part.address)));
        }
    }
    Ok(format!("{}/{} on {}", part.address, network.lab.prefix_len(), device.name))
}

pub(super) fn judge_link(scene: &Scene<'_>, from: &NodeName, to: &NodeName) -> Judged {
    let output = scene.heard(&ping(scene.plan, from, to))?;
    let (address, mtu) = (scene.plan.nodes[to].address, scene.plan.network.mtu);
    match reach::full_and_small(&output.stdout, mtu) {
        [true, _] => {
            let (answered, least) = reach::full_packets(&output.stdout, mtu).unwrap_or((reach::ECHOES, None));
            let lost = reach::ECHOES.saturating_sub(answered);
            if lost >= LOSS {
                return Err(Verdict::not_yet(format!(
                    "{to} ({address}) answers {from} only {answered} of {} packets",
                    reach::ECHOES
                )));
            }
            if let Some(least) = least.filter(|least| *least >= DELAY_MS) {
                return Err(Verdict::not_yet(format!(
                    "{to} ({address}) answers {from} after {least:.0} ms at the least"
                )));
            }
            Ok(format!("{address} answers {mtu} bytes"))
        }
        [false, true] => Err(Verdict::not_yet(format!(
            "{to} ({address}) answers {from} at {SMALL} bytes and not at {mtu}: {}",
            output.tail(1)
        ))),
        [false, false] => {
            let device = &scene.plan.network.lab_device;
            Err(Verdict::not_yet(format!("{to} ({address}) does not answer {from} on {device}: {}", output.tail(2))))
        }
    }
}

/// What `node` read in the datastore at the master's own address, whatever it was.
pub(super) fn read_datastore(scene: &Scene<'_>, node: &NodeName) -> Result<Answer, Verdict> {
    read_answer(scene, node, 0).map_err(|why| match why {
        Unread::Unheard(verdict) => verdict,
        Unread::Why(why) => Verdict::not_yet(format!("{node} cannot read the datastore: {why}")),
    })
}

/// Why an answer of the datastore is none.
pub(super) enum Unread {
    /// The node did not say anything.
    Unheard(Verdict),
    /// What it got instead.
    Why(String),
}

/// What `node` read at the first (the master's) or second (the service's) address.
pub(super) fn read_answer(scene: &Scene<'_>, node: &NodeName, at: usize) -> Result<Answer, Unread> {
    let output = scene.heard(&datastore(scene.plan, node)).map_err(Unread::Unheard)?;
    let answers = etcd::answers(&output.stdout);
    let answer = answers.into_iter().nth(at);
    let answer = answer.ok_or_else(|| Unread::Why(format!("curl {}: {}", output.ended, output.tail(2))))?;
    answer.map_err(|error| Unread::Why(error.to_string()))
}

pub(super) fn judge_datastore(scene: &Scene<'_>, node: &NodeName) -> Judged {
    let answer = read_datastore(scene, node)?;
    let part = &scene.plan.nodes[node];
    let key = etcd::node_key(node.as_str());
    let object =
        answer.value(&key).ok_or_else(|| Verdict::not_yet(format!("the datastore has no object of {node}")))?;
    let (address, asn) = etcd::node_bgp(object)
        .ok_or_else(|| Verdict::not_yet(format!("the object of {node} has no BGP address: {object}")))?;
    if address.addr() != part.address {
        let planned = part.address;
        return Err(Verdict::not_yet(format!("the datastore has {node} at {}, planned is {planned}", address.addr())));
    }
    if let Some(asn) = asn.filter(|asn| *asn != u64::from(scene.plan.bgp.asn)) {
        return Err(Verdict::not_yet(format!(
            "the datastore has {node} in AS {asn}, planned is {}",
            scene.plan.bgp.asn
        )));
    }
    if answer.value(&etcd::block_key(node.as_str(), part.block)).is_none() {
        return Err(Verdict::not_yet(format!("the datastore has no claim of {} by {node}", part.block)));
    }
    Ok(format!("{address}, block {}", part.block))
}

#[cfg(test)]
mod tests;
