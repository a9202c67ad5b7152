//! The links of the chain from intent to name, and what to look at where no rule sees which one is broken.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::facts::Facts;
use crate::lab::name::NodeName;
use crate::proof::check::{Check, Layer};

/// One link: each needs those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// The machine itself: it answers, and its clock is right.
    Machine,
    /// What the nodes are told of each other: the datastore.
    Intent,
    /// The node's address.
    Address,
    /// The lab network between two nodes.
    Neighbour,
    /// The node's way to its peer.
    PeerRoute,
    /// TCP 179, both ways.
    Port,
    /// Who listens there.
    Listener,
    /// BGP's state machine and its last error.
    Session,
    /// AS, password, router id.
    Capabilities,
    /// Routes received.
    Received,
    /// The kernel's routes.
    KernelRoute,
    /// Forwarding and firewall.
    Forwarding,
    /// The pod's interface.
    Pod,
    /// Packet size.
    Size,
    /// Service rules.
    Service,
    /// The DNS server.
    Server,
    /// The name.
    Name,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Machine => "machine",
            Self::Intent => "intent",
            Self::Address => "node address",
            Self::Neighbour => "link and neighbour",
            Self::PeerRoute => "route to the peer",
            Self::Port => "TCP 179",
            Self::Listener => "listener",
            Self::Session => "BGP state machine",
            Self::Capabilities => "AS, password, router id",
            Self::Received => "routes received",
            Self::KernelRoute => "kernel route",
            Self::Forwarding => "forwarding and firewall",
            Self::Pod => "pod interface",
            Self::Size => "packet size",
            Self::Service => "service rule",
            Self::Server => "DNS server",
            Self::Name => "name",
        })
    }
}

/// The link at which a layer of the proof begins.
pub(super) fn of_layer(layer: Layer) -> Link {
    match layer {
        Layer::Machine => Link::Machine,
        Layer::Address => Link::Address,
        Layer::Link => Link::Neighbour,
        Layer::Datastore => Link::Intent,
        Layer::Session => Link::Session,
        Layer::Route => Link::KernelRoute,
        Layer::Packet => Link::Forwarding,
        Layer::Service => Link::Service,
        Layer::Name => Link::Name,
    }
}

/// What may be broken where both ends look right, and what would tell.
pub(super) fn unseen(check: &Check, nodes: &[NodeName], facts: &Facts<'_>) -> (&'static str, String) {
    let (plan, layer) = (facts.plan, check.layer());
    let (here, there) = (nodes.first().unwrap_or(&plan.master), nodes.get(1).unwrap_or(&plan.master));
    let device = facts.device(here);
    let logs = |more: &str| {
        if facts.foreign() {
            facts.on(here, "journalctl")
        } else {
            format!("calicolab logs --name {} {here}{more}", plan.cluster)
        }
    };
    let dump = |filter: &str| facts.on(here, &format!("timeout 10 tcpdump -ni {device} {filter} (and on {there})"));
    // Whose rules these are depends on the pods' network; all of them are seen by this.
    let rules = |node: &NodeName| facts.on(node, "iptables-save -t nat");
    match check {
        Check::Nat { .. } => {
            return ("the node rewrites what leaves the pods' pool otherwise than planned", rules(here));
        }
        Check::HostPort { .. } => {
            return ("no rule leads the node's port to the pod, or its packets are lost", rules(there));
        }
        _ => {}
    }
    match layer {
        Layer::Machine => ("the machine is slow or hung", logs(" --console")),
        Layer::Address => ("something changed the device", logs("")),
        Layer::Link => {
            ("what lies between the nodes loses packets; no rule or queue of either does", dump("icmp or arp"))
        }
        Layer::Datastore => ("what lies between the node and the datastore loses packets", dump("tcp port 2379")),
        Layer::Session => (
            "what lies between the nodes loses or answers packets of port 179; no rule of either does",
            dump("tcp port 179"),
        ),
        Layer::Route => ("BIRD keeps or refuses the route", facts.on(here, "birdc show route all")),
        Layer::Packet => ("the packet is lost on its way between pods", dump("icmp")),
        Layer::Service => ("the service's connection is lost on its way", dump("tcp port 2379 or tcp port 2381")),
        Layer::Name => ("the question or its answer is lost on its way", dump("port 53")),
    }
}
