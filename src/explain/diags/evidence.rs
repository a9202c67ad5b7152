//! The papers of somebody's nodes as evidence: readings in the form the rules know, and what fails by them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ipnet::Ipv4Net;
use serde_json::{Value, json};

use super::Diags;
use super::layout::{Node, Paper, Sorted};
use super::members::{Member, Members};
use super::sessions::{self, Half};
use crate::command::{Ended, Output};
use crate::explain::{Evidence, Origin, SCHEMA, Told, What};
use crate::lab::addressing::{NAT, samples};
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::node::link::Link;
use crate::node::route::{Route, Routes};
use crate::node::{etcd, iptables, plain};
use crate::proof::check::Check;
use crate::proof::{Finding, PROOF_SCHEMA, Proof, Verdict, plan_digest};

/// The bridge that Docker makes on every machine, with the same address.
const DOCKER: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(172, 17, 0, 0), 16);
/// Stands for the block of a node that has none: no address is in it.
const NO_BLOCK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 30);

/// One node whose address is known.
struct Known<'a> {
    node: NodeName,
    raw: &'a str,
    member: &'a Member,
    papers: Option<&'a Node<'a>>,
    links: Vec<Link>,
    halves: BTreeMap<Ipv4Addr, Half>,
    address: Ipv4Addr,
}

pub(super) fn diags(sorted: &Sorted<'_>, members: &Members) -> Option<Diags> {
    let known = known(sorted, members);
    let plan = plan(&known, members)?;
    let findings = findings(&known, &plan, members);
    let told = known.iter().filter(|one| one.papers.is_some());
    let nodes = told.map(|one| (one.node.clone(), Told::Answers(answers(one, &known, &plan, members)))).collect();
    let at = jiff::Timestamp::UNIX_EPOCH;
    let proof = Proof {
        schema: PROOF_SCHEMA,
        cluster: plan.cluster.clone(),
        plan: plan_digest(&plan),
        without_stability: true,
        nonce: String::new(),
        started: at,
        took: Duration::ZERO,
        rounds: 0,
        readings: Vec::new(),
        clocks: BTreeMap::new(),
        findings,
    };
    let blind = blind(&known, members);
    Some(Diags { evidence: Evidence { schema: SCHEMA, origin: Origin::Diags, proof, nodes }, plan, blind })
}

fn known<'a>(sorted: &'a Sorted<'a>, members: &'a Members) -> Vec<Known<'a>> {
    let mut labels = BTreeSet::new();
    let shared = |address: Ipv4Addr| members.all.values().filter(|one| one.address() == Some(address)).count() > 1;
    let members_known = members.all.iter().filter_map(|(raw, member)| Some((raw, member, member.address()?)));
    members_known
        .map(|(raw, member, registered)| {
            let papers = sorted.nodes.get(raw);
            let links = papers.map_or_else(Vec::new, links);
            // An address that cannot be the node's own alone is not what is to be.
            let odd = |address: Ipv4Addr| NAT.contains(&address) || DOCKER.contains(&address) || shared(address);
            let own =
                links.iter().filter(|link| !tunnel(&link.name)).flat_map(|link| &link.addresses).map(|own| own.local);
            let others = member.internal.into_iter().chain(own.filter(|own| !own.is_loopback()));
            let address = [registered].into_iter().chain(others).find(|address| !odd(*address)).unwrap_or(registered);
            let states = members.states.iter().filter(|(node, ..)| node == raw);
            let states = states.map(|(_, peer, state)| (*peer, state.as_str()));
            let halves = papers.map_or_else(BTreeMap::new, |papers| sessions::halves(papers, members.mesh, states));
            Known { node: label(raw, &mut labels), raw, member, papers, links, halves, address }
        })
        .collect()
}

/// A name as nodes of labs have it: without its domain, in small letters, and no other's.
fn label(raw: &str, taken: &mut BTreeSet<NodeName>) -> NodeName {
    let first = raw.split('.').next().unwrap_or(raw).to_ascii_lowercase();
    let plain: String = first.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(56).collect();
    let plain = plain.trim_matches('-');
    let numbered = (2..).map(|number| format!("{plain}-{number}"));
    let mut words = std::iter::once(plain.to_owned()).chain(numbered).filter_map(|word| word.parse::<NodeName>().ok());
    // The numbers never end.
    let name = words.find(|name| !taken.contains(name)).unwrap_or_else(|| unreachable!("a number is a label"));
    taken.insert(name.clone());
    name
}

fn tunnel(device: &str) -> bool {
    crate::explain::facts::TUNNELS.contains(&device) || device.starts_with("docker") || device.starts_with("br-")
}

fn text<'a>(papers: &Node<'a>, paper: Paper) -> Option<&'a str> {
    papers.get(&paper).and_then(|texts| texts.first()).copied()
}

fn links(papers: &Node<'_>) -> Vec<Link> {
    let both = text(papers, Paper::Addresses).or_else(|| text(papers, Paper::Links)).unwrap_or_default();
    Link::parse(&plain::links(both)).unwrap_or_default()
}

fn device_of<'a>(one: &'a Known<'_>) -> Option<&'a Link> {
    one.links.iter().find(|link| link.addresses.iter().any(|own| own.local == one.address))
}

/// What is to be: sessions as told, addresses and blocks as registered, devices as most nodes have them.
fn plan(known: &[Known<'_>], members: &Members) -> Option<Plan> {
    let first = known.first()?;
    let peers = |one: &Known<'_>| -> Vec<Value> {
        let met =
            |other: &&Known<'_>| other.node != one.node && (members.mesh || one.halves.contains_key(&other.address));
        let peer = |other: &Known<'_>| json!({ "node": other.node, "address": other.address, "kind": "mesh", "passive": one.address < other.address });
        known.iter().filter(met).map(peer).collect()
    };
    let node = |(index, one): (usize, &Known<'_>)| {
        let mac = device_of(one).map_or("", |link| link.mac.as_str());
        json!([one.node, {
            "index": index, "address": one.address, "nat_mac": "", "lab_mac": mac,
            "block": one.member.block.unwrap_or(NO_BLOCK), "cpus": 1, "memory_mib": 1, "disk_mib": 1,
            "peers": peers(one), "dns_pod": null,
        }])
    };
    let device =
        usual(known.iter().filter_map(device_of).map(|link| link.name.clone())).unwrap_or_else(|| "eth0".into());
    let mtu = usual(known.iter().filter_map(device_of).map(|link| link.mtu)).unwrap_or(1500);
    let pods =
        usual(known.iter().filter_map(|one| one.member.block).filter_map(|block| Ipv4Net::new(block.addr(), 16).ok()));
    let lab = known.iter().find_map(|one| one.member.registered.filter(|net| net.prefix_len() < 32));
    let plan = json!({
        "schema": 1, "cluster": "elsewhere", "lab": "elsewhere", "image": "", "installer": "primer", "master": first.node,
        "nodes": known.iter().enumerate().map(|(index, one)| node((index, one))).collect::<Vec<_>>(),
        "network": {
            "lab": lab.map_or_else(|| Ipv4Net::from(first.address), |net| net.trunc()), "pods": pods.map_or(NO_BLOCK, |net| net.trunc()),
            "services": NO_BLOCK, "api": "0.0.0.0", "dns": "0.0.0.0", "domain": "cluster.local",
            "api_name": "kubernetes.default.svc.cluster.local", "mtu": u16::try_from(mtu).unwrap_or(u16::MAX),
            "nat_device": "", "lab_device": device,
        },
        "bgp": { "asn": members.asn.unwrap_or(64512), "mesh": members.mesh, "reflectors": [], "timers": "calico" },
        "artifacts": [], "missing": [], "proof": { "stability_s": 0, "up_s": 0, "verify_s": 0 },
    });
    serde_json::from_value(plan).ok()
}

/// What most have.
fn usual<T: Ord + Clone>(all: impl Iterator<Item = T>) -> Option<T> {
    let mut counts: BTreeMap<T, usize> = BTreeMap::new();
    for one in all {
        *counts.entry(one).or_default() += 1;
    }
    let most = counts.values().copied().max()?;
    counts.into_iter().find(|(_, count)| *count == most).map(|(one, _)| one)
}

fn tables(papers: &Node<'_>) -> Option<Vec<Route>> {
    let list = Value::from(plain::routes(text(papers, Paper::Routes)?)).to_string();
    Some(Routes::parse(&list, "").ok()?.tables)
}

/// The way that the main table's longest match leads, if any does.
fn way(tables: &[Route], to: Ipv4Addr) -> Option<&Route> {
    let fits = |route: &&Route| route.table == "main" && route.to.contains(&to);
    tables.iter().filter(fits).max_by_key(|route| route.to.prefix_len()).filter(|route| route.kind == "unicast")
}

fn answers(one: &Known<'_>, known: &[Known<'_>], plan: &Plan, members: &Members) -> BTreeMap<What, Output> {
    let mut answers = BTreeMap::new();
    let mut say = |what: What, stdout: String| {
        answers.insert(what, Output { ended: Ended::Exit(0), stdout, stderr: String::new() });
    };
    let Some(papers) = one.papers else { return answers };
    let all = |paper: Paper| papers.get(&paper).map(|texts| texts.join("\n"));
    if let Some(links) = text(papers, Paper::Addresses).or_else(|| text(papers, Paper::Links)) {
        say(What::Links, plain::links(links));
    }
    if let (Some(list), Some(tables)) = (text(papers, Paper::Routes).map(plain::routes), tables(papers)) {
        let others = known.iter().filter(|other| other.node != one.node);
        let wanted = others
            .flat_map(|other| std::iter::once(other.address).chain(other.member.block.into_iter().flat_map(samples)));
        let ways = wanted.filter_map(|to| {
            let way = way(&tables, to)?;
            Some(json!([{ "dst": to, "gateway": way.gateway, "dev": way.device }]).to_string() + "\n")
        });
        let ways: String = ways.collect();
        say(What::Routes, format!("{}\n{ways}", Value::from(list)));
    }
    if let Some(rules) = text(papers, Paper::Rules) {
        say(What::Rules, plain::rules(rules));
    }
    if let Some(near) = text(papers, Paper::Neighbours) {
        say(What::Neighbours, plain::neighbours(near));
    }
    if let Some(netstat) = text(papers, Paper::Netstat) {
        say(What::Listeners, plain::listeners(netstat));
    } else if let Some(sockets) = text(papers, Paper::Sockets) {
        say(What::Listeners, plain::listening(sockets));
    }
    // The same rules may stand in both programs' forms; nftables' own comes first.
    let saved = all(Paper::Iptables).map(|saved| iptables::as_nft(&saved));
    if let Some(rules) = all(Paper::Nftables).map(|rules| iptables::of_the_node(&rules)).or(saved) {
        say(What::Firewall, rules);
    }
    if let Some(queues) = text(papers, Paper::Queues) {
        say(What::Queues, queues.to_owned());
    }
    if let Some(log) = all(Paper::Log) {
        say(What::Journal, log);
    }
    let bird = bird(one, plan);
    if !bird.is_empty() {
        say(What::Bird, bird);
    }
    if members.told {
        say(What::Datastore, datastore(known));
    }
    answers
}

/// The halves as BIRD would tell them.
fn bird(one: &Known<'_>, plan: &Plan) -> String {
    let mut text = String::new();
    for peer in &plan.nodes[&one.node].peers {
        let Some(half) = one.halves.get(&peer.address) else { continue };
        let column = if half.up() {
            "up"
        } else if half.state == "Down" {
            "down"
        } else {
            "start"
        };
        let error = half.error.as_deref().unwrap_or_default();
        let name = format!("Mesh_{}", peer.address.to_string().replace('.', "_"));
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "{name} BGP master {column} 00:00:00 {} {error}\n  BGP state: {} ({})\n    Neighbor address: {}",
            half.state, half.state, half.by, peer.address
        );
        if !error.is_empty() {
            let _ = writeln!(text, "    Last error: {error}");
        }
    }
    if text.is_empty() { text } else { format!("name proto table state since info\n{text}") }
}

/// The registered nodes as etcd's gateway would tell them.
fn datastore(known: &[Known<'_>]) -> String {
    let pair = |key: String, value: String| json!({ "response_range": { "kvs": [{ "key": BASE64.encode(key), "value": BASE64.encode(value) }] } });
    let pairs = known.iter().flat_map(|one| {
        let registered = one.member.registered.unwrap_or_else(|| Ipv4Net::from(one.address));
        let object = json!({ "spec": { "bgp": { "ipv4Address": registered.to_string() } } });
        let block = one.member.block.unwrap_or(NO_BLOCK);
        [
            pair(etcd::node_key(one.node.as_str()), object.to_string()),
            pair(etcd::block_key(one.node.as_str(), block), "{}".into()),
        ]
    });
    let answer = json!({ "header": { "cluster_id": 1, "member_id": 1 }, "responses": pairs.collect::<Vec<_>>() });
    format!("{answer}\ncurl: (0) \n")
}

/// Every check that the papers can judge.
fn findings(known: &[Known<'_>], plan: &Plan, members: &Members) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut judge = |check: Check, verdict: Verdict| {
        findings.push(Finding {
            id: check.id(),
            check,
            verdict,
            evidence: Vec::new(),
            took: Duration::ZERO,
            rounds: 0,
        });
    };
    let verdict = |holds: bool, text: String| if holds { Verdict::Pass { seen: text } } else { Verdict::not_yet(text) };
    for one in known.iter().filter(|one| !one.links.is_empty()) {
        let device = device_of(one);
        let up = device.is_some_and(Link::up);
        let seen = device.map_or_else(
            || "on no device".into(),
            |link| format!("on {}, which is {}", link.name, if up { "up" } else { "not up" }),
        );
        judge(Check::Address { node: one.node.clone() }, verdict(up, format!("{} is {seen}", one.address)));
    }
    for one in known {
        let near =
            one.papers.and_then(|papers| text(papers, Paper::Neighbours)).map(plain::neighbours).unwrap_or_default();
        let near = crate::node::link::Neighbour::parse(&near).unwrap_or_default();
        for other in known.iter().filter(|other| other.node != one.node) {
            if near.iter().any(|near| near.address == other.address && near.failed()) {
                let check = Check::Link { from: one.node.clone(), to: other.node.clone() };
                judge(check, Verdict::not_yet(format!("{} does not answer ARP", other.address)));
            }
        }
    }
    for one in known.iter().filter(|_| members.told) {
        let registered = one.member.address();
        let right = registered == Some(one.address);
        let shown = registered.map_or_else(String::new, |address| address.to_string());
        judge(Check::Datastore { node: one.node.clone() }, verdict(right, format!("registered with {shown}")));
    }
    for one in known {
        for peer in &plan.nodes[&one.node].peers {
            let Some(half) = one.halves.get(&peer.address) else { continue };
            let error = half.error.as_ref().map(|error| format!(", {error}")).unwrap_or_default();
            let check = Check::Session { node: one.node.clone(), peer: peer.node.clone() };
            judge(check, verdict(half.up(), format!("{}{error} (by {})", half.state, half.by)));
        }
    }
    for one in known {
        let Some(tables) = one.papers.and_then(tables) else { continue };
        for other in known.iter().filter(|other| other.node != one.node) {
            let Some(block) = other.member.block else { continue };
            let ways = samples(block).map(|to| way(&tables, to));
            let right =
                |way: Option<&Route>| way.is_some_and(|way| way.to.prefix_len() > 0 && !NAT.contains(&way.to.addr()));
            let right = ways.into_iter().all(right);
            let text = if right { format!("{block} has a route") } else { format!("no route leads to all of {block}") };
            let (node, owner) = (one.node.clone(), other.node.clone());
            judge(Check::Route { node, block, owner }, verdict(right, text));
        }
    }
    findings
}

/// What such a bundle cannot tell, and what this one lacks.
fn blind(known: &[Known<'_>], members: &Members) -> Vec<String> {
    let mut blind = Vec::new();
    let (told, silent): (Vec<&Known<'_>>, Vec<&Known<'_>>) = known.iter().partition(|one| one.papers.is_some());
    if !silent.is_empty() {
        let names: Vec<&str> = silent.iter().map(|one| one.raw).collect();
        blind.push(format!("nothing was collected on {}", names.join(", ")));
    }
    let papers = [
        (&[Paper::Addresses, Paper::Links][..], "devices and addresses"),
        (&[Paper::Routes], "routes"),
        (&[Paper::Rules], "rules of policy routing"),
        (&[Paper::Neighbours], "neighbours on the link"),
        (&[Paper::Netstat, Paper::Sockets], "who listens on port 179"),
        (&[Paper::Iptables, Paper::Nftables], "firewall rules"),
        (&[Paper::Queues], "queues that lose or delay"),
        (&[Paper::Log], "the log of BIRD"),
    ];
    for (any, what) in papers {
        let lacks = |one: &&&Known<'_>| {
            !any.iter().any(|paper| {
                one.papers.is_some_and(|papers| text(papers, *paper).is_some_and(|text| !text.trim().is_empty()))
            })
        };
        let names: Vec<&str> = told.iter().filter(lacks).map(|one| one.raw).collect();
        if !names.is_empty() {
            blind.push(format!("{what}: not collected on {}", names.join(", ")));
        }
    }
    if !members.told {
        blind.push(
            "what is registered: no datastore is in it, so addresses, blocks and peers are those that were met".into(),
        );
    }
    if members.states.is_empty() {
        blind.push("how BIRD stands: it is not asked for such bundles; sessions are judged by logs, probes, connections and routes".into());
    }
    blind.push("bird.cfg (AS, passwords, router ids), certificates, clocks: not collected".into());
    blind.push("ping, packets between pods, services and names: nobody tried".into());
    blind
}
