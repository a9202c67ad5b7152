//! Lab + lock + cluster name + lab network -> plan: everything `up` does and `verify` judges by, as one value.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

pub use super::addressing::LabNet;
use super::artifact::{Artifact, On, Taken};
pub use super::file::ProofPlan;
use super::file::{Lab, Timers};
use super::installer::{Installer, Policy};
use super::kernel::{Cgroups, Module, Need};
use super::kubernetes::{Calico, Edge, Kubernetes, Runtime};
use super::name::{ClusterName, LabName, NodeName, PerNode};
use super::pin::{Arch, Lock, Pin, Wanted};
use super::placement;
pub use super::placement::{Away, Placement};

/// Version of `plan.json`.
pub const PLAN_SCHEMA: u32 = 1;

/// What is to be, whole: made before anything is touched, saved as `plan.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// [`PLAN_SCHEMA`].
    pub schema: u32,
    /// The cluster.
    pub cluster: ClusterName,
    /// The lab it is made from.
    pub lab: LabName,
    /// Key of the OS image in `images.yaml`.
    pub image: String,
    /// The image's control groups; none where they are the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroups: Option<Cgroups>,
    /// How the cluster is built on the machines.
    pub installer: Installer,
    /// The node that holds etcd: the first one.
    pub master: NodeName,
    /// Every node.
    pub nodes: PerNode<NodePlan>,
    /// What not every provider of machines gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Need>,
    /// Modules that the nodes' kernel must have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<Module>,
    /// Whether virtual machines were asked for where a provider would make containers.
    #[serde(default, rename = "virtual", skip_serializing_if = "std::ops::Not::not")]
    pub vm: bool,
    /// Addresses shared by all.
    pub network: NetworkPlan,
    /// How nodes are put on the members of a cluster of servers.
    #[serde(default)]
    pub placement: Placement,
    /// The servers on which the machines are, where that is not this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away: Option<Away>,
    /// The routing that is wanted.
    pub bgp: BgpPlan,
    /// Which Kubernetes, where the lab says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<Kubernetes>,
    /// Which Calico, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calico: Option<Calico>,
    /// What isolates pods, where the lab says so.
    #[serde(default, skip_serializing_if = "Policy::is_none")]
    pub policy: Policy,
    /// Pinned files and where they go.
    pub artifacts: Vec<Placed>,
    /// Artifacts for which the lock has no digest: `up` refuses while there are any.
    pub missing: Vec<Wanted>,
    /// How long proving may take.
    pub proof: ProofPlan,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePlan {
    /// Place in the plan, from 0; the master is 0.
    pub index: usize,
    /// Its address on the lab network, which is also its BGP address and router id.
    pub address: Ipv4Addr,
    /// MAC of the first NIC (NAT), `52:54:…`.
    pub nat_mac: String,
    /// MAC of the second NIC (lab network).
    pub lab_mac: String,
    /// Its block of pod addresses.
    pub block: Ipv4Net,
    /// Processors.
    pub cpus: u16,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Disk in MiB, as the guest sees it.
    pub disk_mib: u64,
    /// The peers it must have, no more and no fewer.
    pub peers: Vec<Peer>,
    /// The pod address of the DNS server on it, if it has one.
    pub dns_pod: Option<Ipv4Addr>,
}

/// One expected half of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The other node.
    pub node: NodeName,
    /// Its BGP address.
    pub address: Ipv4Addr,
    /// Why they peer.
    pub kind: PeerKind,
    /// Whether this end waits for the other to call: the lower address does, as in Calico since 3.5.
    pub passive: bool,
}

/// Why two nodes peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerKind {
    /// Node-to-node mesh.
    Mesh,
    /// This end reflects routes for the other.
    Client,
    /// The other end reflects routes for this one.
    Reflector,
}

/// Addresses shared by all nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPlan {
    /// The lab network.
    pub lab: Ipv4Net,
    /// The pool of pod addresses.
    pub pods: Ipv4Net,
    /// The range of service addresses.
    pub services: Ipv4Net,
    /// The first service address: the master's etcd (or API server) answers there.
    pub api: Ipv4Addr,
    /// The DNS service's address.
    pub dns: Ipv4Addr,
    /// The cluster's DNS domain, without a dot at its end.
    pub domain: String,
    /// The full name that DNS must answer with `api`, without a dot at its end.
    pub api_name: String,
    /// Largest packet on the lab network, in bytes of IP.
    pub mtu: u16,
    /// Name of the first NIC inside the nodes.
    pub nat_device: String,
    /// Name of the second NIC inside the nodes.
    pub lab_device: String,
    /// What the pods' network does where it ends; none where nobody knows, and nobody looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<Edge>,
}

/// The routing that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BgpPlan {
    /// The AS of every node.
    pub asn: u32,
    /// Whether every node peers with every other.
    pub mesh: bool,
    /// The nodes that reflect routes; empty with a mesh.
    pub reflectors: Vec<NodeName>,
    /// The timers' set.
    pub timers: Timers,
}

/// A pinned file and what of it goes where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// The bytes.
    pub pin: Pin,
    /// Which nodes get it.
    pub on: On,
    /// What of it goes where on the nodes.
    pub files: Vec<Taken>,
}

impl Plan {
    /// The same plan for machines on other servers. A packet of the lab may have to go from one to another through a
    /// tunnel, so it is smaller from the beginning, everywhere: bridge, nodes, pods and the proof go by one number.
    #[must_use]
    pub fn away(mut self, away: Away) -> Self {
        self.network.mtu = self.network.mtu.min(placement::LONGEST);
        Self { away: Some(away), ..self }
    }

    /// The DNS servers: node and pod address.
    pub fn dns_servers(&self) -> impl Iterator<Item = (&NodeName, Ipv4Addr)> {
        self.nodes.iter().filter_map(|(name, node)| node.dns_pod.map(|address| (name, address)))
    }

    /// Whether nodes may come to hold other blocks than the planned ones. The primer's and those of 2016 are written down
    /// for them; what else has Kubernetes is not shown before its proof.
    pub fn blocks_are_drawn(&self) -> bool {
        !matches!(self.installer, Installer::Primer | Installer::Coreos)
    }

    /// The master's part.
    pub fn master_node(&self) -> &NodePlan {
        &self.nodes[&self.master]
    }

    /// Length of every node's blocks, in bits of prefix.
    pub fn block_len(&self) -> u8 {
        self.master_node().block.prefix_len()
    }

    /// Largest packet of a pod, in bytes of IP: what the wrapping leaves of the lab network's.
    pub fn pod_mtu(&self) -> u16 {
        self.network.mtu - self.calico.as_ref().map_or(0, |calico| calico.encapsulation.overhead())
    }

    /// What runs the containers of a Kubernetes: Docker where the lab brings it.
    pub fn runtime(&self) -> Runtime {
        let named = |name: &str| name == Runtime::Docker.to_string();
        let brought = self.artifacts.iter().any(|placed| named(&placed.pin.name));
        let docker = brought || self.missing.iter().any(|wanted| named(&wanted.name));
        if docker { Runtime::Docker } else { Runtime::Containerd }
    }

    /// By what kubelet and containers make control groups: by systemd where it is known to rule the only hierarchy, else
    /// themselves, as was tried in containers of Incus and LXD.
    pub fn cgroup_driver(&self) -> &'static str {
        if self.cgroups == Some(Cgroups::V2) { "systemd" } else { "cgroupfs" }
    }

    /// Where the lab's own etcd answers its clients, a URL a member; none where it runs none.
    pub fn etcd_endpoints(&self) -> Vec<String> {
        let Some(etcd) = self.kubernetes.as_ref().and_then(|kubernetes| kubernetes.etcd) else { return Vec::new() };
        let scheme = if etcd.tls { "https" } else { "http" };
        self.etcd_members().map(|name| format!("{scheme}://{}:2379", self.nodes[name].address)).collect()
    }

    /// The nodes that have a member of the lab's own etcd; none where it runs none.
    pub fn etcd_members(&self) -> impl Iterator<Item = &NodeName> {
        let on = self.kubernetes.as_ref().and_then(|kubernetes| kubernetes.etcd).map(|etcd| etcd.on);
        self.nodes.names().filter(move |name| on == Some(On::All) || on.is_some() && **name == self.master)
    }
}

/// Make the plan. Pure and total: a [`Lab`] cannot be wrong, and what the lock lacks becomes [`Plan::missing`].
pub fn plan(lab: &Lab, lock: &Lock, cluster: &ClusterName, net: LabNet) -> Plan {
    let numbered: Vec<(NodeName, usize)> = lab.nodes.names.iter().cloned().zip(0..).collect();
    let nodes = PerNode::first(numbered);
    let address = |index: usize| super::addressing::node_address(net, lab.network.first, index);
    // Kubernetes gives its DNS pods nodes and addresses of its own choice.
    let dns_on = if lab.installer.has_kubernetes() { 0..0 } else { dns_nodes(nodes.len()) };
    let parts = nodes.map(|name, &index| {
        let block = super::addressing::block(lab.network.pods, lab.network.block, index);
        NodePlan {
            index,
            address: address(index),
            nat_mac: super::addressing::mac(net, index, 0),
            lab_mac: super::addressing::mac(net, index, 1),
            block,
            cpus: lab.nodes.cpus,
            memory_mib: lab.nodes.memory_mib,
            disk_mib: lab.nodes.disk_mib,
            peers: peers(lab, &nodes, name, index, address),
            dns_pod: dns_on.contains(&index).then(|| super::addressing::dns_pod(block)),
        }
    });
    let (artifacts, missing) = placed(lab, lock);
    let calico = lab.calico.clone().map(|calico| filled(calico, lab, &artifacts));
    Plan {
        schema: PLAN_SCHEMA,
        cluster: cluster.clone(),
        lab: lab.name.clone(),
        image: lab.image.clone(),
        cgroups: lab.cgroups,
        installer: lab.installer,
        master: lab.nodes.names[0].clone(),
        nodes: parts,
        needs: lab.needs,
        modules: lab.modules.clone(),
        vm: false,
        network: NetworkPlan {
            lab: net.0,
            pods: lab.network.pods,
            services: lab.network.services,
            api: super::addressing::service(lab.network.services, 1),
            dns: super::addressing::service(lab.network.services, 10),
            domain: lab.network.domain.clone(),
            api_name: format!(
                "{}.default.svc.{}",
                if lab.installer.has_kubernetes() { "kubernetes" } else { "etcd" },
                lab.network.domain
            ),
            mtu: lab.network.mtu,
            nat_device: "nat0".into(),
            lab_device: "lab0".into(),
            edge: Edge::of(lab.installer, lab.calico.as_ref(), lab.kubernetes.as_ref()),
        },
        placement: lab.placement,
        away: None,
        bgp: BgpPlan {
            asn: lab.bgp.asn,
            mesh: lab.bgp.mesh,
            reflectors: lab.bgp.reflectors.clone(),
            timers: lab.bgp.timers,
        },
        kubernetes: lab.kubernetes.clone(),
        calico,
        policy: lab.policy,
        artifacts,
        missing,
        proof: lab.proof,
    }
}

/// DNS servers stand on two nodes, so that an answer crosses BGP; not on the master where there are enough others.
fn dns_nodes(count: usize) -> std::ops::Range<usize> {
    if count >= 3 { 1..3 } else { 0..count }
}

fn peers(
    lab: &Lab,
    nodes: &PerNode<usize>,
    name: &NodeName,
    index: usize,
    address: impl Fn(usize) -> Ipv4Addr,
) -> Vec<Peer> {
    let reflects = |node: &NodeName| lab.bgp.reflectors.contains(node);
    nodes
        .iter()
        .filter(|(other, _)| *other != name)
        .filter_map(|(other, &at)| {
            let kind = match (lab.bgp.mesh, reflects(name), reflects(other)) {
                (true, _, _) | (false, true, true) => PeerKind::Mesh,
                (false, true, false) => PeerKind::Client,
                (false, false, true) => PeerKind::Reflector,
                (false, false, false) => return None,
            };
            Some(Peer { node: other.clone(), address: address(at), kind, passive: address(index) < address(at) })
        })
        .collect()
}

/// The same with the versions of its artifacts in the names of their members and images.
fn filled(calico: Calico, lab: &Lab, placed: &[Placed]) -> Calico {
    let version = |name: &str| {
        let pinned = placed.iter().find(|placed| placed.pin.name == name).map(|placed| placed.pin.version.as_str());
        pinned.or_else(|| lab.artifact(name)?.version.as_deref()).unwrap_or_default().to_owned()
    };
    let manifests = calico.manifests.iter().map(|file| file.filled(&version(&file.of), lab.arch)).collect();
    Calico { manifests, ..calico }
}

fn placed(lab: &Lab, lock: &Lock) -> (Vec<Placed>, Vec<Wanted>) {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for artifact in &lab.artifacts {
        match pinned(artifact, lock, lab.arch) {
            Ok(pin) => {
                let files = artifact.files.iter().map(|taken| taken.filled(&pin.version, lab.arch)).collect();
                found.push(Placed { pin: pin.clone(), on: artifact.on, files });
            }
            Err(wanted) => missing.push(*wanted),
        }
    }
    (found, missing)
}

/// Whether a pin is of the version and the source that the lab says, for one processor.
pub fn meant(Artifact { version, source, .. }: &Artifact, pin: &Pin, arch: Arch) -> bool {
    version.as_ref().is_none_or(|version| *version == pin.version) && source.filled(&pin.version, arch) == pin.source
}

/// The pin of an artifact for one processor, or what the lock lacks. A digest of other bytes than the lab means now
/// is none.
pub fn pinned<'a>(artifact: &Artifact, lock: &'a Lock, arch: Arch) -> Result<&'a Pin, Box<Wanted>> {
    let Artifact { name, version, source, .. } = artifact;
    let why = match lock.pin(name, arch) {
        Some(pin) if meant(artifact, pin, arch) => return Ok(pin),
        Some(_) => "the lock pins another version or source".into(),
        None => lock
            .missing
            .iter()
            .find(|wanted| wanted.name == *name && (wanted.arch == arch || wanted.arch == Arch::All))
            .map_or_else(|| "the lock has no digest for it".into(), |wanted| wanted.why.clone()),
    };
    let filled = source.filled(version.as_deref().unwrap_or_default(), arch);
    Err(Box::new(Wanted { name: name.clone(), version: version.clone(), arch, source: filled, why }))
}

#[cfg(test)]
mod tests;
