//! `plan LAB`: what `up` would make, for people and as JSON.

mod difference;
pub mod manifests;

use std::fmt::Write as _;

use super::table::{columns, size};
use crate::lab::file::{Installer, On, Policy, Timers};
use crate::lab::kernel::Need;
use crate::lab::kubernetes::{Calico, Datastore, Edge, Encapsulation, Kubernetes, ManifestFile};
use crate::lab::name::NodeName;
use crate::lab::pin::Source;
use crate::lab::placement::Placement;
use crate::lab::plan::{NodePlan, Peer, PeerKind, Placed, Plan};
use crate::machine::Estimate;

pub use difference::differences;

#[cfg(test)]
mod tests;

/// The plan as JSON that ends with a line break.
pub fn json(plan: &Plan) -> String {
    let mut text = serde_json::to_string_pretty(plan).expect("a plan is plain data");
    text.push('\n');
    text
}

/// Seconds that Kubernetes takes on machines that are there, until it is proven: 46 to 150 in all were measured for labs
/// of three containers on two processors.
const KUBERNETES_S: u64 = 90;

/// An estimate of booting with what follows it.
pub fn with_install(boot: Estimate, plan: &Plan) -> Estimate {
    if !plan.installer.has_kubernetes() {
        return boot;
    }
    let why = format!(
        "{}; {KUBERNETES_S} s of it for Kubernetes, as in containers, and in emulated machines much more",
        boot.why
    );
    Estimate { seconds: boot.seconds + KUBERNETES_S, why }
}

/// The plan for people. `checks` are what the proof will look at, one a line; `first` is what comes before the
/// machines.
pub fn text(plan: &Plan, checks: &[String], estimate: Option<&Estimate>, first: Option<&str>) -> String {
    let sections = [
        head(plan),
        columns(
            &["NODE", "ROLE", "ADDRESS", "BLOCK", "CPUS", "MEMORY", "DISK", "PEERS"],
            plan.nodes.iter().map(|(name, node)| node_row(plan, name, node)),
        ),
        addresses(plan),
        artifacts(plan),
        listed("checks", checks),
        needs(plan, estimate, first),
    ];
    sections.into_iter().filter(|section| !section.is_empty()).collect::<Vec<_>>().join("\n")
}

fn head(plan: &Plan) -> String {
    let Plan { cluster, lab, image, installer, .. } = plan;
    format!("cluster {cluster} from lab {lab}: {} nodes of {image}, installer {installer}\n", plan.nodes.len())
}

fn node_row(plan: &Plan, name: &NodeName, node: &NodePlan) -> Vec<String> {
    let peers: Vec<String> = node.peers.iter().map(|peer| peer_word(plan, peer)).collect();
    vec![
        name.to_string(),
        if *name == plan.master { "master".into() } else { "node".into() },
        node.address.to_string(),
        // Calico's own address management gives blocks to nodes as they ask.
        if plan.blocks_are_drawn() { "-".into() } else { node.block.to_string() },
        node.cpus.to_string(),
        size(node.memory_mib),
        size(node.disk_mib),
        peers.join(", "),
    ]
}

/// In a mesh all peers are alike, so that only a name is news.
fn peer_word(plan: &Plan, peer: &Peer) -> String {
    let kind = match peer.kind {
        PeerKind::Mesh if plan.bgp.mesh => return peer.node.to_string(),
        PeerKind::Mesh => "both reflect",
        PeerKind::Client => "client",
        PeerKind::Reflector => "reflector",
    };
    format!("{} ({kind})", peer.node)
}

fn addresses(plan: &Plan) -> String {
    let net = &plan.network;
    let servers: Vec<String> = plan.dns_servers().map(|(node, address)| format!("{address} on {node}")).collect();
    let servers = if servers.is_empty() { "pods of the cluster's choice".into() } else { servers.join(" and ") };
    let timers = match plan.bgp.timers {
        Timers::Quick => "quick timers",
        Timers::Calico => "Calico's timers",
    };
    let placed = match (&plan.away, plan.placement) {
        (None, _) => "this host".into(),
        (Some(away), placement) => {
            let how = match placement {
                Placement::Spread => "spread over",
                Placement::Pack => "packed on as few as have room of",
            };
            let which = if away.targets.is_empty() { "its members".into() } else { away.targets.join(", ") };
            format!("`{}`, {how} {which} where it is a cluster", away.remote)
        }
    };
    let routing = if plan.bgp.mesh {
        "full mesh".into()
    } else {
        let names: Vec<&str> = plan.bgp.reflectors.iter().map(NodeName::as_str).collect();
        format!("routes reflected by {}", names.join(", "))
    };
    let halves: usize = plan.nodes.values().map(|node| node.peers.len()).sum();
    let mut facts = vec![
        (
            "lab",
            format!("{} on {} (NAT on {}), packets up to {} bytes", net.lab, net.lab_device, net.nat_device, net.mtu),
        ),
        ("machines", placed),
        ("pods", net.pods.to_string()),
    ];
    facts.extend(net.edge.map(|edge| ("edge", edge_fact(edge))));
    facts.extend([
        ("services", net.services.to_string()),
        ("api", format!("{} ({})", net.api, net.api_name)),
        ("dns", format!("{} for {}, answered by {}", net.dns, net.domain, servers)),
        ("bgp", format!("AS {}, {routing}, {timers}, {halves} half-sessions", plan.bgp.asn)),
    ]);
    facts.extend(plan.kubernetes.as_ref().map(|kubernetes| ("kubernetes", kubernetes_fact(plan, kubernetes))));
    facts.extend(plan.calico.as_ref().map(|calico| ("calico", calico_fact(plan, calico))));
    if plan.policy == Policy::K8sAnnotations {
        facts.push(("policy", "each namespace on its own, but for what annotations allow".into()));
    } else if plan.installer == Installer::Coreos {
        facts.push(("policy", "nothing isolates: its CNI file has no `policy` (--set policy=k8s-annotations)".into()));
    } else if plan.installer.has_kubernetes() && plan.calico.is_none() {
        facts.push(("policy", "enforced by nobody: the lab has no Calico of its own".into()));
    }
    facts.extend(kernel(plan));
    let width = facts.iter().map(|(what, _)| what.len()).max().unwrap_or_default().max(9);
    facts.into_iter().fold(String::new(), |text, (what, fact)| text + &format!("{what:<width$} {fact}\n"))
}

/// What is wanted of the kernel, where anything is.
fn kernel(plan: &Plan) -> Vec<(&'static str, String)> {
    let modules: Vec<String> = plan.modules.iter().map(ToString::to_string).collect();
    let words = [
        plan.needs.map(|Need::Kernel| "each node has its own".to_owned()),
        plan.vm.then(|| "virtual machines, as asked".to_owned()),
        (!modules.is_empty()).then(|| format!("with {}", modules.join(", "))),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    if words.is_empty() { Vec::new() } else { vec![("kernel", words.join("; "))] }
}

fn edge_fact(edge: Edge) -> String {
    let seen = if edge.nat { "as their nodes" } else { "as themselves" };
    let ports = if edge.hostport { "a port of its node leads to a pod that asks for one" } else { "no ports of nodes" };
    format!("outside their range pods are seen {seen}; {ports}")
}

fn kubernetes_fact(plan: &Plan, kubernetes: &Kubernetes) -> String {
    match plan.etcd_endpoints().as_slice() {
        [] => format!("{}, with an etcd of kubeadm's", kubernetes.version),
        [one] => format!("{}, with an etcd at {one}", kubernetes.version),
        members => format!("{}, with an etcd of {} members: {}", kubernetes.version, members.len(), members.join(" ")),
    }
}

fn calico_fact(plan: &Plan, calico: &Calico) -> String {
    let Calico { version, encapsulation, detection, install, .. } = calico;
    let datastore = match calico.datastore {
        Datastore::Kubernetes => "Kubernetes' own objects",
        Datastore::Etcd => "the lab's etcd",
    };
    let wrapping = match encapsulation {
        Encapsulation::None => "packets not wrapped".into(),
        wrapped => format!("packets wrapped by {wrapped}"),
    };
    let files: Vec<&str> = calico.manifests.iter().map(ManifestFile::name).collect();
    format!(
        "{version} in {datastore}, {wrapping} and up to {} bytes long, addresses by {detection}; {install} {}",
        plan.pod_mtu(),
        files.join(" ")
    )
}

fn artifacts(plan: &Plan) -> String {
    let mut out = String::new();
    if !plan.artifacts.is_empty() {
        out =
            columns(&["ARTIFACT", "VERSION", "ON", "FROM", "DIGEST", "FILES"], plan.artifacts.iter().map(artifact_row));
    }
    for wanted in &plan.missing {
        let _ = writeln!(out, "missing: {} from {}: {}", wanted.name, source(&wanted.source), wanted.why);
    }
    if !plan.missing.is_empty() {
        let _ = writeln!(
            out,
            "`calicolab lock {}` (with the same --set, if any) finds what is missing; until then `up` refuses",
            plan.lab
        );
    }
    out
}

fn artifact_row(placed: &Placed) -> Vec<String> {
    let on = match placed.on {
        On::All => "all",
        On::Master => "master",
    };
    let pin = &placed.pin;
    vec![
        pin.name.clone(),
        pin.version.clone(),
        on.into(),
        source(&pin.source),
        pin.digest.to_string(),
        placed.files.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    ]
}

fn source(source: &Source) -> String {
    match source {
        Source::Apt { package, suite } => format!("apt {package}/{suite}"),
        Source::Url { urls, .. } => urls.first().cloned().unwrap_or_default(),
        Source::Oci { reference } => reference.clone(),
    }
}

fn listed(what: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = lines.iter().map(|line| format!("  {line}\n")).collect();
    format!("{} {what}:\n{}", lines.len(), lines.concat())
}

fn needs(plan: &Plan, estimate: Option<&Estimate>, first: Option<&str>) -> String {
    let total = |part: fn(&NodePlan) -> u64| size(plan.nodes.values().map(part).sum());
    let (memory, disk) = (total(|node| node.memory_mib), total(|node| node.disk_mib));
    let mut text = format!("needs     {memory} of memory and at most {disk} of disk for the machines\n");
    if let Some(first) = first {
        let _ = writeln!(text, "first     {first}");
    }
    if let Some(Estimate { seconds, why }) = estimate {
        let time = jiff::SignedDuration::from_secs(i64::try_from(*seconds).unwrap_or(i64::MAX));
        let _ = writeln!(text, "takes     about {time:#}: {why}");
    }
    text
}
