//! `lab.yaml` -> [`Lab`], with all its problems gathered, each with line, column and the nearest right word.

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::name::{LabName, NodeName};
use super::pin::Source;
use super::plan::ProofPlan;

/// What is wanted, already known to be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lab {
    /// The folder it lies in.
    pub name: LabName,
    /// One line for people.
    pub about: String,
    /// Key in `images.yaml`.
    pub image: String,
    /// How the cluster is built on the machines.
    pub installer: Installer,
    /// The machines.
    pub nodes: Nodes,
    /// The address ranges.
    pub network: Network,
    /// The routing.
    pub bgp: Bgp,
    /// The files the nodes get.
    pub artifacts: Vec<Artifact>,
    /// How long proving may take.
    pub proof: ProofPlan,
}

/// The machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nodes {
    /// Distinct; the first is the master.
    pub names: Vec<NodeName>,
    /// Processors of each.
    pub cpus: u16,
    /// Memory of each in MiB.
    pub memory_mib: u64,
    /// Disk of each in MiB.
    pub disk_mib: u64,
}

/// The address ranges, which do not overlap and are large enough for the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The lab network, where the lab insists on one; else one is leased out of [`super::addressing::LAB_POOL`].
    pub lab: Option<Ipv4Net>,
    /// The pool of pod addresses.
    pub pods: Ipv4Net,
    /// Length of a node's block, in bits of prefix.
    pub block: u8,
    /// The range of service addresses.
    pub services: Ipv4Net,
    /// The cluster's DNS domain.
    pub domain: String,
    /// Largest packet on the lab network.
    pub mtu: u16,
}

/// The routing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bgp {
    /// AS of every node.
    pub asn: u32,
    /// Full mesh, or not.
    pub mesh: bool,
    /// Route reflectors: at least one without a mesh, none with one.
    pub reflectors: Vec<NodeName>,
    /// The timers' set.
    pub timers: Timers,
}

/// A set of BGP timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Timers {
    /// Hold 12 s, keepalive 4 s, short retries, graceful restart off: a cut link shows within seconds.
    Quick,
    /// The field's own: hold 240 s, keepalive 80 s, graceful restart on.
    Calico,
}

/// How a cluster is built on its machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Installer {
    /// etcd, BIRD and containers without Kubernetes.
    Primer,
}

/// Which nodes get something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum On {
    /// Every node.
    All,
    /// The master alone.
    Master,
}

/// A file the nodes get, by the name under which the lock pins it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Name of the pin.
    pub name: String,
    /// Where it comes from.
    pub source: Source,
    /// Which nodes get it.
    pub on: On,
    /// Members that are used, as root-relative paths.
    pub files: Vec<String>,
}
