//! The node's address, its lab device, and whether others on the link answer.

use super::super::facts::{Facts, found, not, side};
use super::super::{Clear, Judged};
use crate::lab::name::NodeName;

pub(in super::super) fn link_down(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let device = facts.device(node);
    let link = facts.lab_link(node)?;
    let saw = match &link {
        Some(link) if link.up() => return Err(not(format!("{device} of {node} is up"))),
        Some(link) => format!("{device} is not up: {}", link.flags.join(" ")),
        None => format!("there is no device {device}"),
    };
    let others = facts.plan.nodes.names().filter(|other| *other != node).map(|other| {
        let address = facts.part(node).address;
        let lost = facts.neighbours(other).unwrap_or_default().iter().any(|one| one.address == address && one.failed());
        side(other, if lost { format!("{address} does not answer ARP") } else { facts.half_text(other, node) })
    });
    let sides = std::iter::once(side(node, saw)).chain(others).collect();
    // Its routes go with a device, and come back with the card's own script only.
    let remedy = facts.on(node, &format!("sh -c 'ip link set {device} up; ip -force -batch /run/network.batch'"));
    Ok(found(format!("{device} of {node} is down"), sides, remedy))
}

pub(in super::super) fn missing(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let (address, device) = (facts.part(node).address, facts.device(node));
    let Some(link) = facts.lab_link(node)? else { return Err(not(format!("there is no {device} on {node}"))) };
    if link.addresses.iter().any(|own| own.local == address) {
        return Err(not(format!("{device} of {node} has {address}")));
    }
    let has: Vec<String> = link.addresses.iter().map(|own| own.local.to_string()).collect();
    let has = if has.is_empty() { "no address".to_owned() } else { has.join(", ") };
    // BIRD gives up a socket that it could not bind, until it is started again.
    let remedy = facts.on(node, "sh -c 'ip -force -batch /run/network.batch; systemctl restart bird'");
    Ok(found(format!("{device} of {node} has {has}, planned is {address}"), vec![side(node, has)], remedy))
}

pub(in super::super) fn twice(facts: &Facts<'_>, a: &NodeName, b: &NodeName) -> Judged {
    let has = |node: &NodeName, address| -> Result<Option<String>, Clear> {
        let links = facts.links(node)?;
        let holds = |link: &&crate::node::link::Link| link.addresses.iter().any(|own| own.local == address);
        Ok(links.iter().find(holds).map(|link| link.name.clone()))
    };
    for (owner, other) in [(a, b), (b, a)] {
        let address = facts.part(owner).address;
        if let Some(device) = has(other, address)? {
            let mut sides = vec![
                side(owner, format!("{address} is planned here")),
                side(other, format!("{address} is on {device} too")),
            ];
            for third in facts.plan.nodes.names().filter(|one| *one != a && *one != b) {
                let neighbours = facts.neighbours(third).unwrap_or_default();
                if let Some(mac) = neighbours.iter().find(|one| one.address == address).and_then(|one| one.mac.clone())
                {
                    let whose = if mac.eq_ignore_ascii_case(&facts.part(owner).lab_mac) { owner } else { other };
                    sides.push(side(third, format!("{address} answers with {mac}, the card of {whose}")));
                }
            }
            let prefix = facts.plan.network.lab.prefix_len();
            let remedy = facts.on(other, &format!("ip address del {address}/{prefix} dev {device}"));
            return Ok(found(format!("{owner} and {other} both have {address}"), sides, remedy));
        }
    }
    Err(not(format!("{a} and {b} have different addresses")))
}

pub(in super::super) fn mtu(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let (device, planned) = (facts.device(node), facts.plan.network.mtu);
    let Some(link) = facts.lab_link(node)? else { return Err(not(format!("there is no {device} on {node}"))) };
    if link.mtu == u32::from(planned) {
        return Err(not(format!("{device} of {node} takes {planned} bytes")));
    }
    let says = format!("{device} of {node} takes {} bytes, planned is {planned}", link.mtu);
    let remedy = facts.on(node, &format!("ip link set {device} mtu {planned}"));
    Ok(found(says, vec![side(node, format!("the MTU of {device} is {}", link.mtu))], remedy))
}

/// The peer does not answer ARP though its own device is up and has the address: what lies between is cut.
pub(in super::super) fn no_neighbour(facts: &Facts<'_>, from: &NodeName, to: &NodeName) -> Judged {
    let address = facts.part(to).address;
    let neighbours = facts.neighbours(from)?;
    let Some(lost) = neighbours.iter().find(|one| one.address == address).filter(|one| one.failed()) else {
        return Err(not(format!("{address} answers {from}'s ARP")));
    };
    let link = facts.lab_link(to)?;
    let silent = link.as_ref().is_some_and(|link| link.flags.iter().any(|flag| flag == "NOARP"));
    let stands = link.is_some_and(|link| link.up() && link.addresses.iter().any(|own| own.local == address));
    if !stands || facts.unasked(to).is_some() {
        return Err(not(format!("{to} itself has no such address on a device that is up")));
    }
    let says = format!("{to} does not answer the ARP of {from}, though its device is up and has {address}");
    let sides = vec![
        side(from, format!("{address} is {} on {}", lost.state.join(" "), lost.device)),
        side(
            to,
            format!("{address} stands on a device that is up{}", if silent { ", with ARP switched off" } else { "" }),
        ),
    ];
    let device = facts.device(to);
    let remedy = if silent {
        facts.on(to, &format!("ip link set {device} arp on"))
    } else {
        format!(
            "calicolab stop --name {0} && calicolab start --name {0} (plugs the lab network in again)",
            facts.plan.cluster
        )
    };
    Ok(found(says, sides, remedy))
}

/// The peer's address is kept with a MAC that no node has, and nobody asks again.
pub(in super::super) fn wrong_neighbour(facts: &Facts<'_>, from: &NodeName, to: &NodeName) -> Judged {
    let address = facts.part(to).address;
    let neighbours = facts.neighbours(from)?;
    let kept = neighbours.iter().find(|one| one.address == address);
    let Some((kept, mac)) = kept.and_then(|one| Some((one, one.mac.as_deref()?))) else {
        return Err(not(format!("{from} keeps no MAC of {address}")));
    };
    for node in facts.plan.nodes.names() {
        if facts.links(node)?.iter().any(|link| link.mac.eq_ignore_ascii_case(mac)) {
            return Err(not(format!("{from} knows {address} by a card of {node}")));
        }
    }
    let own = facts.lab_link(to)?.map_or_else(|| "no card".to_owned(), |link| link.mac);
    let says = format!("{from} sends what is for {to} to the MAC {mac}, which no node has");
    let sides = vec![
        side(from, format!("{address} is at {mac} on {}, {}", kept.device, kept.state.join(" "))),
        side(to, format!("its card is {own}")),
    ];
    Ok(found(says, sides, facts.on(from, &format!("ip neigh del {address} dev {}", kept.device))))
}
