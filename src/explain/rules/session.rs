//! Who listens on port 179, and what BGP's two ends disagree about.

use super::super::facts::{Facts, found, not, side};
use super::super::{Clear, Judged, Side};
use crate::lab::name::NodeName;

/// How a node's sessions look from the other ends.
fn far(facts: &Facts<'_>, node: &NodeName) -> Vec<Side> {
    let peers = facts.part(node).peers.iter();
    peers.map(|peer| side(&peer.node, facts.half_text(&peer.node, node))).collect()
}

fn with_far(facts: &Facts<'_>, node: &NodeName, saw: String) -> Vec<Side> {
    std::iter::once(side(node, saw)).chain(far(facts, node)).collect()
}

pub(in super::super) fn bird_stopped(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let unit = match facts.unit(node, "bird") {
        // Where nobody asked systemd, a node that listens elsewhere and not there says as much.
        Err(_) if facts.foreign() && none_listens(facts, node)? => {
            let says = format!("nothing listens on port 179 of {node}: BIRD does not run there, or has no peers");
            let saw = with_far(facts, node, "other ports are open, and 179 is not".into());
            return Ok(found(says, saw, String::new()));
        }
        unit => unit?,
    };
    let saw = match unit {
        Some(unit) if unit.works() => return Err(not(format!("bird.service runs on {node}"))),
        Some(unit) => unit.to_string(),
        None => "there is no bird.service".into(),
    };
    let listens = facts.listeners(node)?.iter().any(|one| one.port == 179);
    let saw = if listens { saw } else { format!("{saw}; nothing listens on port 179") };
    Ok(found(
        format!("BIRD does not run on {node}"),
        with_far(facts, node, saw),
        facts.on(node, "systemctl start bird"),
    ))
}

/// Whether a node has listeners, and none of BGP.
fn none_listens(facts: &Facts<'_>, node: &NodeName) -> Result<bool, Clear> {
    let all = facts.listeners(node)?;
    Ok(!all.is_empty() && all.iter().all(|one| one.port != 179))
}

/// Silence alone is no cause: a node that is too busy answers too late. A process that was stopped answers nobody.
pub(in super::super) fn bird_hung(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    if facts.bird(node)?.is_some() {
        return Err(not(format!("BIRD answers on {node}")));
    }
    let Some(process) = facts.process(node, "bird")? else {
        return Err(not(format!("BIRD does not run on {node}")));
    };
    if !process.stopped() {
        let again = facts.on(node, "timeout 10 birdc show status");
        let state = facts.on(node, &format!("cat /proc/{}/stat", process.pid));
        return Err(Clear::Open(format!(
            "{again}; if it is silent again, {state} twice: `D`, or no more time used, is hung"
        )));
    }
    let saw = format!("process {} is stopped (state {}), and it does not answer birdc", process.pid, process.state);
    let remedy = facts.on(node, &format!("kill -CONT {}", process.pid));
    Ok(found(format!("BIRD on {node} is stopped and does not answer"), with_far(facts, node, saw), remedy))
}

pub(in super::super) fn port_taken(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let listeners = facts.listeners(node)?;
    let address = facts.part(node).address;
    // A socket whose program was not seen was opened or closed while it was looked for: BIRD does so at each change.
    let named = |program: &&str| *program != "bird";
    let foreign = listeners.iter().filter(|one| one.takes(address, 179));
    let foreign = foreign.filter_map(|one| Some((one.program.as_deref().filter(named)?, one.address)));
    let Some((program, at)) = foreign.into_iter().next() else {
        return Err(not(format!("only BIRD listens on port 179 of {node}")));
    };
    let saw = format!("{program} listens on {at}:179");
    let remedy = facts.on(node, "sh -c 'ss -ltnp sport = :179' (then stop that program and `systemctl restart bird`)");
    Ok(found(format!("port 179 of {node} is taken by {program}"), with_far(facts, node, saw), remedy))
}

pub(in super::super) fn not_listening(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let Some(_) = facts.bird(node)? else { return Err(not(format!("BIRD does not answer on {node}"))) };
    let address = facts.part(node).address;
    let listeners = facts.listeners(node)?;
    if listeners.iter().any(|one| one.takes(address, 179)) {
        return Err(not(format!("port 179 of {node} is open")));
    }
    let elsewhere = listeners.iter().find(|one| one.port == 179);
    let saw = elsewhere.map_or_else(
        || "nothing listens on port 179".to_owned(),
        |one| format!("port 179 is open on {} and not on {address}", one.address),
    );
    let says = format!("BIRD runs on {node} and does not listen on {address}:179");
    Ok(found(says, with_far(facts, node, saw), facts.on(node, "systemctl restart bird")))
}

/// Whether the plan has a session between two nodes.
fn planned(facts: &Facts<'_>, node: &NodeName, peer: &NodeName) -> Result<(), Clear> {
    let peers = &facts.part(node).peers;
    if peers.iter().any(|one| one.node == *peer) { Ok(()) } else { Err(not(String::new())) }
}

pub(in super::super) fn disabled(facts: &Facts<'_>, node: &NodeName, peer: &NodeName) -> Judged {
    planned(facts, node, peer)?;
    let Some((protocol, bgp)) = facts.half(node, peer)? else { return Err(not(String::new())) };
    // What could not bind its port is down too, with a reason.
    if !protocol.state.eq_ignore_ascii_case("down") || bgp.last_error.is_some() {
        return Err(not(format!("{} on {node} is not disabled", protocol.name)));
    }
    let sides = vec![
        side(node, format!("{} is down without an error", protocol.name)),
        side(peer, facts.half_text(peer, node)),
    ];
    let remedy = facts.on(node, &format!("birdc enable {}", protocol.name));
    Ok(found(format!("the session of {node} with {peer} is disabled"), sides, remedy))
}

pub(in super::super) fn peer_missing(facts: &Facts<'_>, node: &NodeName, peer: &NodeName) -> Judged {
    planned(facts, node, peer)?;
    let Some(bird) = facts.bird(node)? else { return Err(Clear::Open(facts.on(node, "birdc show protocols"))) };
    if facts.half(node, peer)?.is_some() {
        return Err(not(format!("{node} has a session with {peer}")));
    }
    let conf = facts.conf(node)?;
    let address = facts.part(peer).address;
    let configured = conf.neighbors.iter().any(|(own, _)| *own == address);
    let saw = if configured {
        format!("bird.conf names {address}, and BIRD did not take it in")
    } else {
        format!("neither bird.conf nor BIRD's {} protocols name {address}", bird.protocols.len())
    };
    let sides = vec![side(node, saw), side(peer, facts.half_text(peer, node))];
    let remedy = facts.on(node, "sh -c 'rm /etc/bird/bird.conf; systemctl restart calico-confd'");
    Ok(found(format!("{node} has no session with {peer}"), sides, remedy))
}

/// What is not to be read in a configuration that nobody showed: sessions that are up say that its ends agree.
fn agreed(facts: &Facts<'_>, node: &NodeName, peers: &[&NodeName], open: Clear) -> Clear {
    let up = |(one, other): (&NodeName, &NodeName)| {
        facts.half(one, other).is_ok_and(|half| half.is_some_and(|(_, bgp)| bgp.state == "Established"))
    };
    if peers.iter().all(|peer| up((node, peer)) && up((peer, node))) {
        return not(format!("the sessions of {node} are Established"));
    }
    open
}

pub(in super::super) fn wrong_as(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let peers: Vec<&NodeName> = facts.part(node).peers.iter().map(|peer| &peer.node).collect();
    let conf = facts.conf(node).map_err(|open| agreed(facts, node, &peers, open))?;
    let asn = facts.plan.bgp.asn;
    let known = |address| facts.plan.nodes.iter().find(|(_, part)| part.address == address).map(|(name, _)| name);
    let mut wrong = Vec::new();
    if let Some(own) = conf.local_as.filter(|own| *own != asn) {
        wrong.push(format!("calls itself AS {own}"));
    }
    for (address, expected) in conf.neighbors.iter().filter(|(_, expected)| *expected != asn) {
        if let Some(peer) = known(*address) {
            wrong.push(format!("expects AS {expected} of {peer}"));
        }
    }
    if wrong.is_empty() {
        return Err(not(format!("{node} has AS {asn} for itself and its peers")));
    }
    let says = format!("{node} {}, planned is {asn}", wrong.join(" and "));
    let mut sides = with_far(facts, node, format!("bird.conf {}", wrong.join(" and ")));
    for peer in &facts.part(node).peers {
        if let Ok(Some(own)) = facts.conf(&peer.node).map(|conf| conf.local_as) {
            sides.push(side(&peer.node, format!("calls itself AS {own}")));
        }
    }
    let remedy = facts.on(node, "sh -c 'rm /etc/bird/bird.conf; systemctl restart calico-confd'");
    Ok(found(says, sides, remedy))
}

pub(in super::super) fn password(facts: &Facts<'_>, a: &NodeName, b: &NodeName) -> Judged {
    let read = |node: &NodeName| {
        let mut words = facts.conf(node)?.passwords;
        words.sort();
        Ok::<_, Clear>(words)
    };
    let unread = |open| agreed(facts, a, &[b], open);
    let (one, other) = (read(a).map_err(unread)?, read(b).map_err(unread)?);
    if one == other {
        let has = if one.is_empty() { "neither has a password" } else { "both have the same password" };
        return Err(not(format!("{a} and {b}: {has}")));
    }
    let word = |words: &[String]| if words.is_empty() { "has no password" } else { "has a password" };
    let says = if one.is_empty() || other.is_empty() {
        let (with, without) = if one.is_empty() { (b, a) } else { (a, b) };
        format!("{with} has a BGP password and {without} has none")
    } else {
        format!("{a} and {b} have different BGP passwords")
    };
    let sides = [(a, &one, b), (b, &other, a)].map(|(node, words, peer)| {
        side(node, format!("{} in bird.conf; {}", word(words), facts.half_text(node, peer)))
    });
    // Passwords come from the configuration that confd writes.
    let wrong = if one.is_empty() { b } else { a };
    let remedy = facts.on(wrong, "sh -c 'rm /etc/bird/bird.conf; systemctl restart calico-confd'");
    Ok(found(says, sides.into(), remedy))
}

pub(in super::super) fn router_id(facts: &Facts<'_>, a: &NodeName, b: &NodeName) -> Judged {
    let read = |node: &NodeName| -> Result<Option<std::net::Ipv4Addr>, Clear> {
        match facts.bird(node)?.and_then(|bird| bird.router_id) {
            Some(running) => Ok(Some(running)),
            None => Ok(facts.conf(node)?.router_id),
        }
    };
    let (one, other) = (read(a)?, read(b)?);
    if one.is_none() || one != other {
        return Err(not(format!("{a} and {b} have different router ids")));
    }
    let id = one.map(|id| id.to_string()).unwrap_or_default();
    let wrong = if facts.part(a).address.to_string() == id { b } else { a };
    let sides =
        [(a, b), (b, a)].map(|(node, peer)| side(node, format!("router id {id}; {}", facts.half_text(node, peer))));
    let remedy = facts.on(wrong, "sh -c 'rm /etc/bird/bird.conf; systemctl restart calico-confd'");
    Ok(found(format!("{a} and {b} both have the router id {id}"), sides.into(), remedy))
}
