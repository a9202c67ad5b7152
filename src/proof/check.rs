//! The kinds of claims a plan makes, as plain data: what each is called, what it asks, who judges it.

use std::fmt;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::{CheckId, Probe, Scene, Verdict};
use super::{accept, calico, dns, edge, etcd, kubernetes, machine, packet, route, service, session};
use crate::lab::name::NodeName;

/// One claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Check {
    /// The machine answers under its planned name.
    Machine {
        /// Which.
        node: NodeName,
    },
    /// No two machines have one machine-id.
    MachineIds,
    /// The nodes' clocks agree.
    Clocks,
    /// The lab device has the planned MAC and address, and nobody else has that address.
    Address {
        /// Whose.
        node: NodeName,
    },
    /// A node reaches another on the lab network, by a small and by a full packet.
    Link {
        /// Who asks.
        from: NodeName,
        /// Who answers.
        to: NodeName,
    },
    /// A node reads its own object and block with its own certificate.
    Datastore {
        /// Which.
        node: NodeName,
    },
    /// A member of an etcd beside Kubernetes answers a node.
    Etcd {
        /// Which node asks.
        node: NodeName,
        /// Where the member is.
        member: NodeName,
    },
    /// The API server knows a node by its planned address and block, and it is ready.
    Registered {
        /// Which.
        node: NodeName,
    },
    /// Every daemon set has all its pods.
    DaemonSets,
    /// The pool in Calico's datastore is the planned one.
    Pool,
    /// A node has exactly the planned peers.
    Peers {
        /// Which.
        node: NodeName,
    },
    /// A node's peers by the words of `calicoctl status`.
    Calicoctl {
        /// Which.
        node: NodeName,
    },
    /// A node's half of a session is up and stable.
    Session {
        /// Whose half.
        node: NodeName,
        /// With whom.
        peer: NodeName,
    },
    /// A node holds its own block.
    OwnBlock {
        /// Which.
        node: NodeName,
        /// Its block.
        block: Ipv4Net,
    },
    /// A node's way into another's block.
    Route {
        /// Whose way.
        node: NodeName,
        /// Where to.
        block: Ipv4Net,
        /// Whose block it is.
        owner: NodeName,
    },
    /// A container reaches another node's container, and nothing else answers for it.
    Packet {
        /// On which node it asks.
        from: NodeName,
        /// On which node the other one is.
        to: NodeName,
    },
    /// What a container sends to another node's own address leaves as planned: as its node's, or as its own.
    Nat {
        /// On which node it asks.
        from: NodeName,
        /// Which node tells as whom it came.
        to: NodeName,
    },
    /// A port that a container has of its node answers another node.
    HostPort {
        /// Which asks.
        from: NodeName,
        /// On which node the container is.
        to: NodeName,
    },
    /// Policies deny and allow what they say, and nothing is left of them.
    Policy,
    /// The first service address answers to a container.
    ServicePod {
        /// On which node.
        node: NodeName,
    },
    /// The first service address answers to a node itself.
    ServiceNode {
        /// Which.
        node: NodeName,
    },
    /// Logs and programs of a pod are passed on by its node's kubelet.
    Kubelet {
        /// Which.
        node: NodeName,
    },
    /// Every deployment has all its pods.
    Deployments,
    /// Every pod of the add-ons has all its containers.
    Pods,
    /// The pods that run are those by which the lab is accepted.
    Accepted,
    /// A full name is resolved in a container.
    Dns {
        /// On which node.
        node: NodeName,
    },
    /// A name that nobody has is refused.
    DnsAbsent {
        /// On which node it is asked.
        node: NodeName,
    },
    /// The same name over TCP.
    DnsTcp {
        /// On which node.
        node: NodeName,
    },
    /// A short name is completed by the search list.
    DnsShort {
        /// On which node.
        node: NodeName,
    },
    /// A DNS server, asked directly, says on which node it is.
    DnsServer {
        /// On which node it is asked.
        node: NodeName,
        /// Where the server is.
        server: NodeName,
    },
}

/// The links of the chain, in the order in which one needs the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// Machines.
    Machine,
    /// Addresses.
    Address,
    /// The lab network.
    Link,
    /// What nodes know of each other.
    Datastore,
    /// BGP.
    Session,
    /// The kernel's routes.
    Route,
    /// Packets between containers.
    Packet,
    /// Service addresses.
    Service,
    /// DNS.
    Name,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Machine => "machine",
            Self::Address => "address",
            Self::Link => "link",
            Self::Datastore => "datastore",
            Self::Session => "session",
            Self::Route => "route",
            Self::Packet => "packet",
            Self::Service => "service",
            Self::Name => "name",
        })
    }
}

impl Check {
    /// Its stable id.
    pub fn id(&self) -> CheckId {
        let mut id = self.kind().to_owned();
        let block = match self {
            Self::OwnBlock { block, .. } | Self::Route { block, .. } => Some(block),
            _ => None,
        };
        let nodes = self.nodes();
        let shown = if block.is_some() { &nodes[..1] } else { &nodes[..] };
        for node in shown {
            id.push('.');
            id.push_str(node.as_str());
        }
        if let Some(block) = block {
            id.extend([".", &block.addr().to_string(), "-", &block.prefix_len().to_string()]);
        }
        CheckId(id)
    }

    /// The first word of its id.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Machine { .. } => "machine",
            Self::MachineIds => "machine-ids",
            Self::Clocks => "clocks",
            Self::Address { .. } => "address",
            Self::Link { .. } => "link",
            Self::Datastore { .. } => "datastore",
            Self::Etcd { .. } => "etcd",
            Self::Registered { .. } => "registered",
            Self::DaemonSets => "daemonsets",
            Self::Pool => "pool",
            Self::Policy => "policy",
            Self::Nat { .. } => "nat",
            Self::HostPort { .. } => "hostport",
            Self::Peers { .. } => "peers",
            Self::Calicoctl { .. } => "calicoctl",
            Self::Session { .. } => "session",
            Self::OwnBlock { .. } | Self::Route { .. } => "route",
            Self::Packet { .. } => "packet",
            Self::ServicePod { .. } => "service-pod",
            Self::ServiceNode { .. } => "service-node",
            Self::Kubelet { .. } => "kubelet",
            Self::Deployments => "deployments",
            Self::Pods => "pods",
            Self::Accepted => "accepted",
            Self::Dns { .. } => "dns",
            Self::DnsAbsent { .. } => "dns-absent",
            Self::DnsTcp { .. } => "dns-tcp",
            Self::DnsShort { .. } => "dns-short",
            Self::DnsServer { .. } => "dns-server",
        }
    }

    /// Its place in the chain.
    pub fn layer(&self) -> Layer {
        match self {
            Self::Machine { .. } | Self::MachineIds | Self::Clocks => Layer::Machine,
            Self::Address { .. } => Layer::Address,
            Self::Link { .. } => Layer::Link,
            Self::Datastore { .. } | Self::Etcd { .. } | Self::Registered { .. } | Self::DaemonSets | Self::Pool => {
                Layer::Datastore
            }
            Self::Peers { .. } | Self::Calicoctl { .. } | Self::Session { .. } => Layer::Session,
            Self::OwnBlock { .. } | Self::Route { .. } => Layer::Route,
            Self::Packet { .. } | Self::Policy | Self::Nat { .. } => Layer::Packet,
            Self::HostPort { .. }
            | Self::ServicePod { .. }
            | Self::ServiceNode { .. }
            | Self::Kubelet { .. }
            | Self::Deployments
            | Self::Pods
            | Self::Accepted => Layer::Service,
            Self::Dns { .. }
            | Self::DnsAbsent { .. }
            | Self::DnsTcp { .. }
            | Self::DnsShort { .. }
            | Self::DnsServer { .. } => Layer::Name,
        }
    }

    /// The nodes it is about, the asking one first; none if it is about all.
    pub fn nodes(&self) -> Vec<&NodeName> {
        match self {
            Self::MachineIds
            | Self::Clocks
            | Self::DaemonSets
            | Self::Deployments
            | Self::Pods
            | Self::Accepted
            | Self::Pool
            | Self::Policy => vec![],
            Self::Machine { node }
            | Self::Address { node }
            | Self::Datastore { node }
            | Self::Registered { node }
            | Self::Kubelet { node }
            | Self::Peers { node }
            | Self::Calicoctl { node }
            | Self::OwnBlock { node, .. }
            | Self::ServicePod { node }
            | Self::ServiceNode { node }
            | Self::Dns { node }
            | Self::DnsAbsent { node }
            | Self::DnsTcp { node }
            | Self::DnsShort { node } => vec![node],
            Self::Etcd { node, member: other }
            | Self::Session { node, peer: other }
            | Self::Route { node, owner: other, .. }
            | Self::DnsServer { node, server: other }
            | Self::Link { from: node, to: other }
            | Self::Packet { from: node, to: other }
            | Self::Nat { from: node, to: other }
            | Self::HostPort { from: node, to: other } => vec![node, other],
        }
    }

    /// What must be asked to judge it, as far as that is known from what was read so far.
    pub fn probes(&self, scene: &Scene<'_>) -> Vec<Probe> {
        match self {
            Self::Machine { node } => vec![machine::identity(node)],
            Self::MachineIds | Self::Clocks => scene.plan.nodes.names().map(machine::identity).collect(),
            Self::Address { .. } => scene.plan.nodes.names().map(machine::links).collect(),
            Self::Link { from, to } => vec![machine::ping(scene.plan, from, to)],
            Self::Datastore { node } => vec![machine::datastore(scene.plan, node)],
            Self::Etcd { node, .. } => vec![etcd::health(scene.plan, node)],
            Self::Registered { .. } => vec![kubernetes::nodes(scene.plan)],
            Self::DaemonSets | Self::Deployments => vec![kubernetes::workloads(scene.plan, self.kind())],
            Self::Kubelet { node } => kubernetes::kubelet_probes(scene, node),
            Self::Pool => vec![calico::pool(scene.plan)],
            Self::Policy => vec![calico::policy(scene)],
            Self::Peers { node } => vec![session::bird(node)],
            Self::Calicoctl { node } => vec![session::calicoctl(node)],
            Self::Pods | Self::Accepted => vec![kubernetes::pods(scene.plan)],
            Self::Session { node, .. } => session::probes(scene.plan, node),
            Self::OwnBlock { node, .. } | Self::Route { node, .. } => vec![route::routes(scene.plan, node)],
            Self::Packet { from, to } => packet::probes(scene, from, to),
            Self::Nat { from, to } => edge::nat_probes(scene, from, to),
            Self::HostPort { from, to } => edge::hostport_probes(scene, from, to),
            Self::ServicePod { node } => service::pod_probes(scene, node),
            Self::ServiceNode { node } => service::node_probes(scene.plan, node),
            Self::Dns { node } => packet::in_pod(scene, node, dns::name(scene.plan)),
            Self::DnsAbsent { node } => packet::in_pod(scene, node, dns::absent(scene)),
            Self::DnsTcp { node } => packet::in_pod(scene, node, dns::by_tcp(scene.plan)),
            Self::DnsShort { node } => packet::in_pod(scene, node, dns::short(scene.plan)),
            Self::DnsServer { node, server } => match dns::whoami(scene.plan, server) {
                Some(argv) => packet::in_pod(scene, node, argv),
                None => vec![],
            },
        }
    }

    /// How it stands by what was read. Pure.
    pub fn judge(&self, scene: &Scene<'_>) -> Verdict {
        let judged = match self {
            Self::Machine { node } => machine::judge_identity(scene, node),
            Self::MachineIds => machine::judge_ids(scene),
            Self::Clocks => machine::judge_clocks(scene),
            Self::Address { node } => machine::judge_address(scene, node),
            Self::Link { from, to } => machine::judge_link(scene, from, to),
            Self::Datastore { node } => machine::judge_datastore(scene, node),
            Self::Etcd { node, member } => etcd::judge(scene, node, member),
            Self::Registered { node } => kubernetes::judge_registered(scene, node),
            Self::DaemonSets | Self::Deployments => kubernetes::judge_workloads(scene, self.kind()),
            Self::Kubelet { node } => kubernetes::judge_kubelet(scene, node),
            Self::Pool => calico::judge_pool(scene),
            Self::Policy => calico::judge_policy(scene),
            Self::Peers { node } => session::judge_peers(scene, node),
            Self::Calicoctl { node } => session::judge_calicoctl(scene, node),
            Self::Pods => kubernetes::judge_pods(scene),
            Self::Accepted => accept::judge(scene),
            Self::Session { node, peer } => session::judge_session(scene, node, peer),
            Self::OwnBlock { node, block } => route::judge_own(scene, node, *block),
            Self::Route { node, block, owner } => route::judge_foreign(scene, node, *block, owner),
            Self::Packet { from, to } => packet::judge(scene, from, to),
            Self::Nat { from, to } => edge::judge_nat(scene, from, to),
            Self::HostPort { from, to } => edge::judge_hostport(scene, from, to),
            Self::ServicePod { node } => service::judge_pod(scene, node),
            Self::ServiceNode { node } => service::judge_node(scene, node),
            Self::Dns { node } => dns::judge_name(scene, node),
            Self::DnsAbsent { node } => dns::judge_absent(scene, node),
            Self::DnsTcp { node } => dns::judge_tcp(scene, node),
            Self::DnsShort { node } => dns::judge_short(scene, node),
            Self::DnsServer { node, server } => dns::judge_server(scene, node, server),
        };
        match judged {
            Ok(seen) => Verdict::Pass { seen },
            Err(verdict) => verdict,
        }
    }
}
