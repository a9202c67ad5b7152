//! Which file of a bundle is what: the layouts of calicoctl's two commands, from 0.15 on.

use std::collections::BTreeMap;

use super::{File, Papers};

/// What a file tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Paper {
    Hostname,
    Addresses,
    Links,
    Routes,
    Rules,
    Neighbours,
    Netstat,
    Sockets,
    Iptables,
    Nftables,
    Queues,
    /// The logs of BIRD and of what starts it, one after the other.
    Log,
    /// `kubectl describe` of the node's own pod.
    Described,
    /// etcd's keys, as 0.15 dumps them.
    Keys,
}

/// What one node said; a paper may come in several files.
pub(super) type Node<'a> = BTreeMap<Paper, Vec<&'a str>>;

/// The files of a whole bundle.
pub(super) struct Sorted<'a> {
    pub nodes: Papers<'a>,
    /// Objects of Kubernetes by their kind's word (`nodes`, `blockaffinities`).
    pub objects: BTreeMap<&'static str, &'a str>,
}

/// The objects that say what is to be.
const OBJECTS: [(&str, &str); 5] = [
    ("kubernetes/nodes.yaml", "nodes"),
    ("crd/blockaffinities.crd.projectcalico.org.yaml", "affinities"),
    ("crd/bgpconfigurations.crd.projectcalico.org.yaml", "bgp"),
    ("crd/bgppeers.crd.projectcalico.org.yaml", "peers"),
    ("crd/caliconodestatuses.projectcalico.org.yaml", "status"),
];

/// The names in `diagnostics/` of one node: those of 1.0 to 3.32, then those of 0.15.
const ONE_NODE: [(&str, Paper); 16] = [
    ("hostname", Paper::Hostname),
    ("netstat", Paper::Netstat),
    ("ss", Paper::Sockets),
    ("ipv4_route", Paper::Routes),
    ("ipv4_addr", Paper::Addresses),
    ("ipv4_tables", Paper::Iptables),
    ("journalctl_calico_node", Paper::Log),
    ("netstat_--all_--numeric", Paper::Netstat),
    ("ip_-4_route", Paper::Routes),
    ("ip_-4_addr", Paper::Addresses),
    ("iptables-save", Paper::Iptables),
    ("journalctl_-u_calico-nodeservice_--no-pager", Paper::Log),
    ("etcd_calico", Paper::Keys),
    ("logs/bird/current", Paper::Log),
    ("logs/confd/current", Paper::Log),
    ("logs/bird/@", Paper::Log),
];

/// The names in `nodes/NODE/` of a cluster.
const OF_CLUSTER: [(&str, Paper); 9] = [
    ("ip-addr.txt", Paper::Addresses),
    ("ip-link.txt", Paper::Links),
    ("ip-route.txt", Paper::Routes),
    ("ip-rule.txt", Paper::Rules),
    ("ip-neigh.txt", Paper::Neighbours),
    ("iptables-legacy-save.txt", Paper::Iptables),
    ("iptables-nft-save.txt", Paper::Iptables),
    ("nft-ruleset.txt", Paper::Nftables),
    ("tc-qdisc.txt", Paper::Queues),
];

enum Place<'a> {
    /// In `diagnostics/` of the archive that begins with this path.
    One(&'a str, Paper),
    Cluster(&'a str, Paper),
    Object(&'static str),
}

/// Whether a file of somebody's archive is read at all.
pub fn wanted(path: &str) -> bool {
    place(path).is_some()
}

fn place(path: &str) -> Option<Place<'_>> {
    if let Some((before, name)) = path.split_once("diagnostics/") {
        let known = ONE_NODE.iter().find(|(own, _)| name == *own || (own.ends_with('@') && name.starts_with(own)));
        let paper = known.map(|(_, paper)| *paper);
        // Containers' logs bear the containers' names; those of the hosted installs are `k8s_calico-node_…`.
        let log = name.starts_with("logs/") && name.contains("calico-node") && ending(name) == Some("log");
        return Some(Place::One(before, paper.or(log.then_some(Paper::Log))?));
    }
    let (_, inside) = path.split_once('/')?;
    if let Some((node, name)) = inside.strip_prefix("nodes/").and_then(|rest| rest.split_once('/')) {
        let of_pod = name.rsplit('/').next().filter(|last| last.starts_with("calico-node-") && name.contains('/'));
        let of_pod = of_pod.and_then(|last| match ending(last)? {
            "log" => Some(Paper::Log),
            "txt" => Some(Paper::Described),
            _ => None,
        });
        let known = OF_CLUSTER.iter().find(|(own, _)| name == *own).map(|(_, paper)| *paper);
        return Some(Place::Cluster(node, known.or(of_pod)?));
    }
    let object = inside.strip_prefix("cluster/")?;
    let known = |(path, _): &&(&str, &str)| same_object(path, object);
    OBJECTS.iter().find(known).map(|(_, word)| Place::Object(word))
}

fn ending(name: &str) -> Option<&str> {
    name.rsplit_once('.').map(|(_, end)| end)
}

/// The group of Calico's kinds is written with and without `crd.`, by release.
fn same_object(known: &str, path: &str) -> bool {
    known == path || known.replace(".crd.", ".") == path.replace(".crd.", ".")
}

/// Sort the files; nothing if none is where these programs put it. A node's own name comes from its bundle.
pub(super) fn sorted(files: &[File]) -> Option<Sorted<'_>> {
    let mut sorted = Sorted { nodes: BTreeMap::new(), objects: BTreeMap::new() };
    let mut single: BTreeMap<&str, Node<'_>> = BTreeMap::new();
    for (path, text) in files {
        let (node, paper) = match place(path) {
            Some(Place::One(before, paper)) => (single.entry(before).or_default(), paper),
            Some(Place::Cluster(node, paper)) => (sorted.nodes.entry(node.to_owned()).or_default(), paper),
            Some(Place::Object(word)) => {
                sorted.objects.insert(word, text);
                continue;
            }
            None => continue,
        };
        node.entry(paper).or_default().push(text);
    }
    for papers in single.into_values() {
        let name = papers.get(&Paper::Hostname).and_then(|texts| texts.first()).map_or("", |name| name.trim());
        let name = if name.is_empty() { "this-node" } else { name };
        sorted.nodes.insert(name.to_owned(), papers);
    }
    (!sorted.nodes.is_empty() || !sorted.objects.is_empty()).then_some(sorted)
}
