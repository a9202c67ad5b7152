//! What the nodes are told of each other: the datastore, its certificates, and what stands in it.

use super::super::facts::{Facts, found, not, side};
use super::super::{Clear, Judged, Side};
use crate::lab::addressing::NAT;
use crate::lab::name::NodeName;
use crate::node::certificate::Certificate;
use crate::node::etcd;

/// What a node was told when it read the datastore.
fn client(facts: &Facts<'_>, node: &NodeName) -> Side {
    let saw = match facts.store(node) {
        Ok(Ok(_)) => "reads the datastore".into(),
        Ok(Err(why)) => why,
        Err(_) => "was not asked".into(),
    };
    side(node, saw)
}

fn clients(facts: &Facts<'_>) -> Vec<Side> {
    facts.plan.nodes.names().filter(|node| **node != facts.plan.master).map(|node| client(facts, node)).collect()
}

/// Only the master has the datastore.
fn master(facts: &Facts<'_>, node: &NodeName) -> Result<(), Clear> {
    if *node == facts.plan.master { Ok(()) } else { Err(not(String::new())) }
}

pub(in super::super) fn etcd_stopped(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    master(facts, node)?;
    let unit = facts.unit(node, "etcd")?;
    let saw = unit.as_ref().map_or_else(|| "there is no etcd.service".into(), ToString::to_string);
    if unit.is_some_and(|unit| unit.works()) {
        return Err(not(format!("etcd runs on {node}")));
    }
    let sides = std::iter::once(side(node, saw)).chain(clients(facts)).collect();
    Ok(found(format!("the datastore on {node} does not run"), sides, facts.on(node, "systemctl start etcd")))
}

pub(in super::super) fn etcd_scheme(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    master(facts, node)?;
    // Anybody's answer will do, the master's first.
    let asked: Vec<&NodeName> = facts.plan.nodes.names().filter(|one| facts.plain(one).is_ok()).collect();
    let Some(first) = asked.first() else { return Err(facts.plain(node).err().unwrap_or_else(|| not(""))) };
    let Some(plain) = asked.iter().find(|one| facts.plain(one) == Ok(true)) else {
        return Err(not(format!("etcd does not answer {first} without TLS")));
    };
    let mut sides = vec![side(node, "etcd answers plain HTTP on port 2379")];
    sides.extend(clients(facts));
    let says = format!("etcd on {node} speaks plain HTTP ({plain} was answered so), and its clients speak TLS");
    let remedy = facts.on(node, "sh -c 'systemctl revert etcd; systemctl restart etcd'");
    Ok(found(says, sides, remedy))
}

fn bad_certificate(
    facts: &Facts<'_>,
    node: &NodeName,
    bad: fn(&Certificate) -> Option<bool>,
    says: fn(&Certificate) -> String,
) -> Judged {
    let all = facts.certificates(node)?;
    let Some(own) = all.iter().find(|one| bad(one) == Some(true)) else {
        if all.is_empty() || all.iter().any(|one| bad(one).is_none()) {
            return Err(Clear::Open(
                facts.on(node, &format!("openssl verify -CAfile {0}/ca.crt {0}/*.crt", etcd::PKI)),
            ));
        }
        let files: Vec<&str> = all.iter().map(|one| one.file.as_str()).collect();
        return Err(not(format!("not so for {} of {node}", files.join(", "))));
    };
    let saw =
        format!("{}: {}, signed by {}, good from {} to {}", own.file, own.subject, own.issuer, own.from, own.until);
    let mut sides = vec![side(node, saw)];
    sides.extend(facts.plan.nodes.names().filter(|other| *other != node).map(|other| client(facts, other)));
    let remedy = format!("calicolab up --name {} (brings the certificates of the cluster again)", facts.plan.cluster);
    Ok(found(format!("{} of {node} {}", own.file, says(own)), sides, remedy))
}

pub(in super::super) fn cert_foreign(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    bad_certificate(
        facts,
        node,
        |one| one.trusted.map(|trusted| !trusted),
        |one| format!("is signed by `{}`, not by the cluster's authority", one.issuer),
    )
}

pub(in super::super) fn cert_expired(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let bad = |one: &Certificate| Some(one.trusted? && !one.current?);
    bad_certificate(facts, node, bad, |one| format!("is good from {} to {} only", one.from, one.until))
}

/// The object of a node as somebody reads it.
fn object(facts: &Facts<'_>, node: &NodeName) -> Result<(NodeName, Option<String>), Clear> {
    let (reader, answer) = facts.any_store()?;
    Ok((reader, answer.value(&etcd::node_key(node.as_str())).map(str::to_owned)))
}

pub(in super::super) fn node_unknown(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let (reader, object) = object(facts, node)?;
    if object.as_deref().and_then(etcd::node_bgp).is_some() {
        return Err(not(format!("{node} is registered")));
    }
    let says = format!("the datastore has no BGP address of {node}");
    let remedy = format!("calicolab down {0} && calicolab up {1} --name {0}", facts.plan.cluster, facts.plan.lab);
    Ok(found(says, vec![side(&reader, "reads no object of that node"), client(facts, node)], remedy))
}

pub(in super::super) fn wrong_address(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let (reader, object) = object(facts, node)?;
    let part = facts.part(node);
    let Some((address, _)) = object.as_deref().and_then(etcd::node_bgp) else {
        return Err(not(format!("no address of {node} is registered")));
    };
    if address.addr() == part.address {
        return Err(not(format!("{node} is registered with its own {address}")));
    }
    let card = facts.links(node).ok().and_then(|links| {
        links
            .into_iter()
            .find(|link| link.addresses.iter().any(|own| own.local == address.addr()))
            .map(|link| link.name)
    });
    let whose = match &card {
        Some(card) if NAT.contains(&address.addr()) => {
            format!("{} is on {card}, the NAT card, where every machine has the same address", address.addr())
        }
        Some(card) => format!("{} is on {card}", address.addr()),
        None => format!("{} is on none of its devices", address.addr()),
    };
    let says = format!("{node} is registered with {address}, planned is {}", part.address);
    let sides = vec![side(&reader, format!("reads {address} for {node} in the datastore")), side(node, whose)];
    let value = object.unwrap_or_default().replace(&address.addr().to_string(), &part.address.to_string());
    let key = etcd::node_key(node.as_str());
    let remedy = facts.on(&facts.plan.master, &format!("{} put {key} '{value}'", etcd::CTL));
    Ok(found(says, sides, remedy))
}

pub(in super::super) fn block_unclaimed(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let (reader, answer) = facts.any_store()?;
    let block = facts.part(node).block;
    let key = etcd::block_key(node.as_str(), block);
    if answer.value(&key).is_some() {
        return Err(not(format!("{block} is claimed by {node}")));
    }
    let held = facts.conf(node).is_ok_and(|conf| conf.blocks.contains(&block));
    let held = if held { "its bird.conf still holds the block" } else { "its bird.conf does not hold the block" };
    let says = format!("the datastore has no claim of {block} by {node}");
    let put = format!("{} put {key} '{{\"state\":\"confirmed\"}}'", etcd::CTL);
    Ok(found(
        says,
        vec![side(&reader, format!("reads no {key}")), side(node, held)],
        facts.on(&facts.plan.master, &put),
    ))
}

pub(in super::super) fn peer_unplanned(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let Some(bird) = facts.bird(node)? else { return Err(Clear::Open(facts.on(node, "birdc show protocols"))) };
    let planned = |address| facts.plan.nodes.iter().any(|(_, part)| Some(part.address) == address);
    let Some((protocol, bgp)) = bird.sessions().find(|(_, bgp)| !planned(bgp.neighbor)) else {
        return Err(not(format!("{node} has no session with a stranger")));
    };
    // A node registered with a wrong address is a stranger only by that.
    let (_, answer) = facts.any_store()?;
    let registered = facts.plan.nodes.names().any(|other| {
        let object = answer.value(&etcd::node_key(other.as_str()));
        object.and_then(etcd::node_bgp).is_some_and(|(address, _)| Some(address.addr()) == bgp.neighbor)
    });
    if registered {
        return Err(not(format!("the stranger of {node} is a node registered with a wrong address")));
    }
    let address = bgp.neighbor.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
    let neighbours = facts.neighbours(node).unwrap_or_default();
    let mac = neighbours.iter().find(|one| one.address.to_string() == address).and_then(|one| one.mac.clone());
    let holder = facts.plan.nodes.names().find(|other| {
        let links = facts.links(other).unwrap_or_default();
        links.iter().flat_map(|link| &link.addresses).any(|own| own.local.to_string() == address)
    });
    let mut sides = vec![side(node, format!("{} with {address} is {}", protocol.name, bgp.state))];
    match (holder, mac) {
        (Some(holder), _) => sides.push(side(holder, format!("has {address}"))),
        (None, Some(mac)) => {
            sides.push(side(node, format!("{address} answers with the MAC {mac}, which is no node's")));
        }
        (None, None) => {}
    }
    let says = format!("{node} has a session with {address}, which is no node of this lab");
    let list = format!("{} get --prefix /calico/resources/v3/projectcalico.org/bgppeers/", etcd::CTL);
    Ok(found(says, sides, facts.on(&facts.plan.master, &format!("{list} (then delete the one with {address})"))))
}
