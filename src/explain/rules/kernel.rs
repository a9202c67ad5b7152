//! Routes: what BIRD received, what it gave to the kernel, and what the kernel really does.

use super::super::facts::{Facts, TUNNELS, found, not, side};
use super::super::{Clear, Judged};
use crate::lab::name::NodeName;
use crate::node::route::{Route, Way};

/// The way to the peer's own address must be the lab device, directly.
pub(in super::super) fn peer_route(facts: &Facts<'_>, from: &NodeName, to: &NodeName) -> Judged {
    let (address, device) = (facts.part(to).address, facts.device(from));
    let routes = facts.routes(from)?;
    // Nodes of somebody else may be in different networks.
    let direct = |way: &Way| way.gateway.is_none() && way.device.as_ref() == Some(&device);
    let right = routes.way(address).is_some_and(|way| facts.foreign() || direct(way));
    if right {
        return Err(not(format!("{from} reaches {address} directly by {device}")));
    }
    // A device that is down, an address on the wrong node or a policy rule has its own name.
    let local = facts.links(from)?.iter().flat_map(|link| &link.addresses).any(|own| own.local == address);
    let up = facts.lab_link(from)?.is_some_and(|link| link.up() && !link.addresses.is_empty());
    if local || !up || facts.rules(from)?.iter().any(|rule| !rule.usual()) {
        return Err(not(format!("the way of {from} to {address} follows from something earlier")));
    }
    let saw = match routes.way(address) {
        Some(way) => {
            let via = way.gateway.map_or_else(String::new, |gateway| format!(" via {gateway}"));
            format!("{address} goes{via} by {}", way.device.as_deref().unwrap_or("no device"))
        }
        None => format!("there is no way to {address}"),
    };
    let stray = routes.tables.iter().find(|route| route.to.prefix_len() == 32 && route.to.addr() == address);
    let remedy = match stray {
        Some(stray) => facts.on(from, &format!("ip route del {stray}")),
        None => facts.on(from, "ip -force -batch /run/network.batch"),
    };
    let sides = vec![side(from, saw), side(to, facts.half_text(to, from))];
    Ok(found(format!("{from} does not reach {to} by {device}"), sides, remedy))
}

/// Without its kernel protocol BIRD knows all routes, and nobody goes by them.
pub(in super::super) fn kernel_off(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let Some(bird) = facts.bird(node)? else { return Err(not(format!("BIRD does not answer on {node}"))) };
    let Some(off) = bird.of_kind("Kernel").filter(|one| one.state.eq_ignore_ascii_case("down")) else {
        return Err(not(format!("BIRD on {node} gives its routes to the kernel")));
    };
    let says = format!("BIRD on {node} does not give its routes to the kernel: {} is down", off.name);
    let saw = format!("{} is {}", off.name, off.state);
    Ok(found(says, vec![side(node, saw)], facts.on(node, &format!("birdc enable {}", off.name))))
}

/// iBGP's next hops are resolved by the routes of devices: without them all is Established and nothing goes.
pub(in super::super) fn no_direct(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let Some(bird) = facts.bird(node)? else { return Err(not(format!("BIRD does not answer on {node}"))) };
    let direct = bird.of_kind("Direct");
    if direct.is_some_and(|one| one.state.eq_ignore_ascii_case("up")) {
        return Err(not(format!("BIRD on {node} knows the routes of its devices")));
    }
    let unreachable: Vec<&str> =
        facts.bird_routes(node)?.lines().filter(|line| line.contains(" unreachable ")).map(str::trim).collect();
    let saw = format!("BIRD has no protocol `direct` that is up; {} of its routes are unreachable", unreachable.len());
    let far = facts.part(node).peers.iter().map(|peer| side(&peer.node, facts.half_text(&peer.node, node)));
    let sides = std::iter::once(side(node, saw)).chain(far).collect();
    let remedy = match direct {
        Some(direct) => facts.on(node, &format!("birdc enable {}", direct.name)),
        None => facts.on(node, "sh -c 'rm /etc/bird/bird.conf; systemctl restart calico-confd'"),
    };
    Ok(found(
        format!("BIRD on {node} cannot resolve next hops: it does not know the routes of its devices"),
        sides,
        remedy,
    ))
}

pub(in super::super) fn own_block(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let block = facts.part(node).block;
    let Some(bird) = facts.bird(node)? else { return Err(not(format!("BIRD does not answer on {node}"))) };
    let holds = facts.bird_routes(node)?.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some(block.to_string().as_str()) && words.next() == Some("blackhole")
    });
    if holds {
        return Err(not(format!("BIRD on {node} holds {block}")));
    }
    let fixed = bird.of_kind("Static");
    let saw = match fixed {
        Some(fixed) if !fixed.state.eq_ignore_ascii_case("up") => format!("protocol {} is {}", fixed.name, fixed.state),
        Some(fixed) => format!("protocol {} is up and has no route {block}", fixed.name),
        None => "BIRD has no static protocol".into(),
    };
    let others = facts.plan.nodes.names().filter(|other| *other != node).map(|other| {
        let has = facts.bird_routes(other).is_ok_and(|text| text.contains(&block.to_string()));
        side(other, if has { format!("still has {block}") } else { format!("receives no {block}") })
    });
    let sides = std::iter::once(side(node, saw)).chain(others).collect();
    let remedy = match fixed.filter(|fixed| !fixed.state.eq_ignore_ascii_case("up")) {
        Some(fixed) => facts.on(node, &format!("birdc enable {}", fixed.name)),
        None => facts.on(node, "sh -c 'rm /etc/bird/bird.conf; systemctl restart calico-confd'"),
    };
    Ok(found(format!("{node} does not hold and announce its own block {block}"), sides, remedy))
}

/// Routes inside another node's block that BIRD did not make.
fn foreign(facts: &Facts<'_>, from: &NodeName, to: &NodeName) -> Result<Vec<Route>, Clear> {
    let block = facts.part(to).block;
    let routes = facts.routes(from)?;
    Ok(routes.within(block).filter(|route| !by_calico(route)).cloned().collect())
}

/// Made by BIRD, by Felix (whose protocol is 80), for a tunnel of Calico, or for a pod that borrows an address.
fn by_calico(route: &Route) -> bool {
    let device = route.device.as_deref().unwrap_or_default();
    matches!(route.protocol.as_deref(), Some("bird" | "80")) || TUNNELS.contains(&device) || device.starts_with("cali")
}

fn is_hole(route: &Route) -> bool {
    ["blackhole", "unreachable", "prohibit", "throw"].contains(&route.kind.as_str())
}

pub(in super::super) fn blackhole(facts: &Facts<'_>, from: &NodeName, to: &NodeName) -> Judged {
    let block = facts.part(to).block;
    let Some(hole) = foreign(facts, from, to)?.into_iter().find(is_hole) else {
        return Err(not(format!("{from} has no hole in {block}")));
    };
    let part = if hole.to == block { "the whole" } else { "a part" };
    let sides = vec![side(from, format!("`{hole}`")), side(to, format!("{block} is its block"))];
    let says = format!("{from} throws {part} of {to}'s block away: {hole}");
    Ok(found(says, sides, facts.on(from, &format!("ip route del {hole}"))))
}

pub(in super::super) fn stray_route(facts: &Facts<'_>, from: &NodeName, to: &NodeName) -> Judged {
    let block = facts.part(to).block;
    let Some(stray) = foreign(facts, from, to)?.into_iter().find(|route| !is_hole(route) && route.table == "main")
    else {
        return Err(not(format!("{from} has only BIRD's routes in {block}")));
    };
    let sides = vec![side(from, format!("`{stray}`")), side(to, format!("{block} is its block"))];
    let says = format!("{from} has a route in {to}'s block that BIRD did not make: {stray}");
    Ok(found(says, sides, facts.on(from, &format!("ip route del {stray}"))))
}

pub(in super::super) fn policy_rule(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let rules = facts.rules(node)?;
    let Some(own) = rules.iter().find(|rule| !rule.usual()) else {
        return Err(not(format!("{node} has only the kernel's own three rules")));
    };
    let routes = facts.routes(node)?;
    let table = own.text.split_once(" lookup ").map(|(_, table)| table);
    let inside = table.map(|table| {
        let shown: Vec<String> =
            routes.tables.iter().filter(|route| route.table == table).map(|route| format!("`{route}`")).collect();
        format!("; in that table: {}", if shown.is_empty() { "nothing".into() } else { shown.join(", ") })
    });
    let saw = format!("rule {}: {}{}", own.priority, own.text, inside.unwrap_or_default());
    let says = format!("a policy rule on {node} is asked before the main table: {}", own.text);
    Ok(found(says, vec![side(node, saw)], facts.on(node, &format!("ip rule del priority {}", own.priority))))
}
