//! What a node's rules and queues do to packets: drop, reject, lose, delay.

use super::super::facts::{Facts, found, not, side};
use super::super::{Clear, Judged, Side};
use crate::lab::name::NodeName;
use crate::node::firewall::{self, Aim, Harm, Rule};

/// The harmful rules of a node with this aim.
fn harmful(facts: &Facts<'_>, node: &NodeName, aim: Aim, harm: Harm) -> Result<Vec<Rule>, Clear> {
    let all = facts.firewall(node)?;
    Ok(all.into_iter().filter(|rule| rule.harm() == Some(harm) && rule.aim() == aim).collect())
}

fn listed(rules: &[Rule]) -> String {
    rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The first table of these rules, as nft deletes it.
fn delete(facts: &Facts<'_>, node: &NodeName, rules: &[Rule]) -> String {
    let table = rules.first().map_or("", |rule| rule.table.as_str());
    facts.on(node, &format!("nft delete table {table}"))
}

/// How the sessions of a node look from the other ends.
fn halves(facts: &Facts<'_>, node: &NodeName) -> Vec<Side> {
    let peers = facts.part(node).peers.iter();
    peers.map(|peer| side(&peer.node, facts.half_text(&peer.node, node))).collect()
}

pub(in super::super) fn port_rejected(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let rules = harmful(facts, node, Aim::Bgp, Harm::Reject)?;
    if rules.is_empty() {
        return Err(not(format!("no rule of {node} rejects port 179")));
    }
    let mut sides = vec![side(node, listed(&rules))];
    sides.extend(halves(facts, node));
    Ok(found(format!("a rule on {node} rejects TCP 179"), sides, delete(facts, node, &rules)))
}

/// The dropping rules of port 179 in those coming in and those going out.
fn both_ways(facts: &Facts<'_>, node: &NodeName) -> Result<(Vec<Rule>, [bool; 2]), Clear> {
    let rules = harmful(facts, node, Aim::Bgp, Harm::Drop)?;
    // A rule that names the source port alone, or the destination port alone, spares the calls in one direction.
    let cuts = |hooks: &[&str]| {
        let of_hook = |rule: &&Rule| rule.hook.as_deref().is_some_and(|hook| hooks.contains(&hook));
        rules.iter().any(|rule| of_hook(&rule))
    };
    let ways = [cuts(&["input", "prerouting", "ingress"]), cuts(&["output", "postrouting", "egress"])];
    Ok((rules, ways))
}

pub(in super::super) fn port_dropped(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let (rules, ways) = both_ways(facts, node)?;
    if rules.is_empty() || ways != [true, true] {
        return Err(not(format!("no rules of {node} drop port 179 both ways")));
    }
    let mut sides = vec![side(node, listed(&rules))];
    sides.extend(halves(facts, node));
    Ok(found(format!("rules on {node} drop TCP 179 in both directions"), sides, delete(facts, node, &rules)))
}

pub(in super::super) fn port_one_way(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let (rules, ways) = both_ways(facts, node)?;
    if rules.is_empty() || ways == [true, true] {
        return Err(not(format!("no rule of {node} drops port 179 in one direction alone")));
    }
    let way = if ways[0] { "that comes in" } else { "that goes out" };
    let mut sides = vec![side(node, listed(&rules))];
    sides.extend(halves(facts, node));
    let says = format!("a rule on {node} drops TCP 179 {way}, and spares the other direction");
    Ok(found(says, sides, delete(facts, node, &rules)))
}

/// How the pings of the proof from and to a node went.
fn pings(facts: &Facts<'_>, node: &NodeName) -> Vec<Side> {
    let others = facts.plan.nodes.names().filter(|other| *other != node);
    let finding = |other: &NodeName| facts.finding(&format!("link.{other}.{node}"));
    others.filter_map(|other| Some(side(other, finding(other)?.verdict.text()))).collect()
}

pub(in super::super) fn loss(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let device = &facts.device(node);
    let rules = harmful(facts, node, Aim::Chance, Harm::Drop)?;
    let queue = firewall::netem(facts.queues(node)?, device).filter(|queue| queue.contains(" loss "));
    let (saw, remedy) = match (rules.as_slice(), queue) {
        ([], None) => return Err(not(format!("no rule or queue of {node} loses packets"))),
        ([], Some(queue)) => (queue.to_owned(), facts.on(node, &format!("tc qdisc del dev {device} root"))),
        (rules, _) => (listed(rules), delete(facts, node, rules)),
    };
    let mut sides = vec![side(node, saw)];
    sides.extend(pings(facts, node));
    Ok(found(format!("{node} loses a part of the packets on {device}"), sides, remedy))
}

pub(in super::super) fn delay(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let device = &facts.device(node);
    let Some(queue) = firewall::netem(facts.queues(node)?, device).filter(|queue| queue.contains(" delay ")) else {
        return Err(not(format!("no queue of {node} delays packets")));
    };
    let mut sides = vec![side(node, queue)];
    sides.extend(pings(facts, node));
    let remedy = facts.on(node, &format!("tc qdisc del dev {device} root"));
    Ok(found(format!("{node} delays the packets on {device}"), sides, remedy))
}

pub(in super::super) fn dropped(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let mut rules = harmful(facts, node, Aim::Other, Harm::Drop)?;
    rules.extend(harmful(facts, node, Aim::Other, Harm::Reject)?);
    if rules.is_empty() {
        return Err(not(format!("no rule of {node} drops or rejects its packets")));
    }
    let mut sides = vec![side(node, listed(&rules))];
    sides.extend(pings(facts, node));
    Ok(found(format!("a rule on {node} drops packets: {}", rules[0]), sides, delete(facts, node, &rules)))
}

pub(in super::super) fn mtu_hole(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let rules = harmful(facts, node, Aim::Size, Harm::Drop)?;
    if rules.is_empty() {
        return Err(not(format!("no rule of {node} drops by size")));
    }
    let mut sides = vec![side(node, listed(&rules))];
    sides.extend(pings(facts, node));
    Ok(found(format!("{node} drops large packets and tells nobody"), sides, delete(facts, node, &rules)))
}

pub(in super::super) fn forward_dropped(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let mut rules = harmful(facts, node, Aim::Forwarded, Harm::Drop)?;
    rules.extend(harmful(facts, node, Aim::Forwarded, Harm::Reject)?);
    if rules.is_empty() {
        return Err(not(format!("no rule of {node} drops what it forwards")));
    }
    let says = format!("a rule on {node} drops what it should forward");
    Ok(found(says, vec![side(node, listed(&rules))], delete(facts, node, &rules)))
}
