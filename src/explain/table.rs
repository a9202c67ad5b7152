//! The rules as data: each cause with its link, from where in the proof it is seen, and who finds it.

use super::Judged;
use super::chain::Link;
use super::facts::Facts;
use super::rules::{address, calico, filter, intent, kernel, kubernetes, machine, names, pods, session};
use crate::lab::installer::For;
use crate::lab::name::NodeName;
use crate::proof::check::Layer;

/// Where a rule looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// At every node.
    Node,
    /// Between every two nodes, once.
    Pair,
    /// From every node to every other.
    Way,
}

/// Looks at one node or two, which are one and the same for [`Scope::Node`].
type Look = fn(&Facts<'_>, &NodeName, &NodeName) -> Judged;

/// One cause.
#[derive(Clone, Copy)]
pub struct Rule {
    /// Its stable word.
    pub id: &'static str,
    /// The link of the chain that it breaks.
    pub link: Link,
    /// The first layer of the proof in which it is seen.
    pub from: Layer,
    /// Whether it is seen in that layer alone.
    pub only: bool,
    /// In which labs it can be.
    pub labs: For,
    /// Where to look.
    pub scope: Scope,
    /// What it is, for people.
    pub title: &'static str,
    look: Look,
}

const fn rule(id: &'static str, link: Link, from: Layer, scope: Scope, title: &'static str, look: Look) -> Rule {
    Rule { id, link, from, only: false, labs: For::Any, scope, title, look }
}

const fn only(rule: Rule) -> Rule {
    Rule { only: true, ..rule }
}

/// Where etcd, BIRD and services are the nodes' own.
const fn primer(rule: Rule) -> Rule {
    Rule { labs: For::Primer, ..rule }
}

/// Where Kubernetes has them, seen at every node.
const fn kube(id: &'static str, link: Link, from: Layer, title: &'static str, look: Look) -> Rule {
    Rule { labs: For::Kubernetes, ..rule(id, link, from, Scope::Node, title, look) }
}

/// All rules, in the order of the chain.
pub const RULES: &[Rule] = &{
    use Link as L;
    use Scope::{Node, Pair, Way};
    [
        rule("unreached", L::Machine, Layer::Machine, Node, "the node cannot be asked", machine::unreached),
        only(rule("clock", L::Machine, Layer::Machine, Node, "a clock is off", machine::clock)),
        kube("kube-etcd", L::Intent, Layer::Datastore, "the API server's datastore does not run", kubernetes::etcd),
        kube("kube-api", L::Intent, Layer::Datastore, "the API server does not run", kubernetes::api),
        kube("runtime-stopped", L::Intent, Layer::Datastore, "nothing runs containers", kubernetes::runtime),
        kube("kubelet-stopped", L::Intent, Layer::Datastore, "the kubelet does not run", kubernetes::kubelet),
        kube("kube-unknown", L::Intent, Layer::Datastore, "the API server does not know the node", kubernetes::unknown),
        kube("kube-address", L::Intent, Layer::Datastore, "a wrong address is registered", kubernetes::address),
        kube("image-missing", L::Intent, Layer::Datastore, "an image cannot be had", kubernetes::image),
        kube("pool-differs", L::Intent, Layer::Datastore, "Calico's pool is not the planned one", calico::pool),
        primer(rule(
            "etcd-stopped",
            L::Intent,
            Layer::Datastore,
            Node,
            "the datastore does not run",
            intent::etcd_stopped,
        )),
        primer(rule(
            "etcd-scheme",
            L::Intent,
            Layer::Datastore,
            Node,
            "the datastore speaks without TLS",
            intent::etcd_scheme,
        )),
        primer(rule(
            "cert-foreign",
            L::Intent,
            Layer::Datastore,
            Node,
            "another authority signed",
            intent::cert_foreign,
        )),
        primer(rule(
            "cert-expired",
            L::Intent,
            Layer::Datastore,
            Node,
            "a certificate is out of date",
            intent::cert_expired,
        )),
        primer(rule(
            "wrong-address",
            L::Intent,
            Layer::Datastore,
            Node,
            "a wrong address is registered",
            intent::wrong_address,
        )),
        primer(rule(
            "node-unknown",
            L::Intent,
            Layer::Datastore,
            Node,
            "the node is not registered",
            intent::node_unknown,
        )),
        primer(rule(
            "block-unclaimed",
            L::Intent,
            Layer::Datastore,
            Node,
            "the block is not claimed",
            intent::block_unclaimed,
        )),
        primer(rule("peer-unplanned", L::Intent, Layer::Session, Node, "a second speaker", intent::peer_unplanned)),
        rule("link-down", L::Address, Layer::Address, Node, "the lab device is down", address::link_down),
        rule("address-missing", L::Address, Layer::Address, Node, "the address is missing", address::missing),
        rule("address-twice", L::Address, Layer::Address, Pair, "two nodes have one address", address::twice),
        rule("mtu", L::Address, Layer::Address, Node, "the device's MTU is not the planned one", address::mtu),
        rule("loss", L::Neighbour, Layer::Link, Node, "packets are lost", filter::loss),
        rule("delay", L::Neighbour, Layer::Link, Node, "packets are late", filter::delay),
        rule("dropped", L::Neighbour, Layer::Link, Node, "a rule drops packets of the lab network", filter::dropped),
        rule("no-neighbour", L::Neighbour, Layer::Link, Way, "the peer does not answer ARP", address::no_neighbour),
        rule(
            "neighbour-wrong",
            L::Neighbour,
            Layer::Link,
            Way,
            "the peer's address is kept with a wrong MAC",
            address::wrong_neighbour,
        ),
        rule(
            "peer-route",
            L::PeerRoute,
            Layer::Link,
            Way,
            "the way to the peer is not the lab device",
            kernel::peer_route,
        ),
        rule("port-rejected", L::Port, Layer::Session, Node, "a rule rejects port 179", filter::port_rejected),
        rule("port-dropped", L::Port, Layer::Session, Node, "a rule drops port 179 both ways", filter::port_dropped),
        rule("port-one-way", L::Port, Layer::Session, Node, "a rule drops port 179 one way", filter::port_one_way),
        primer(rule("bird-stopped", L::Listener, Layer::Session, Node, "BIRD does not run", session::bird_stopped)),
        kube(
            "calico-down",
            L::Listener,
            Layer::Datastore,
            "calico-node does not run, or is not ready",
            kubernetes::calico,
        ),
        rule(
            "bird-hung",
            L::Listener,
            Layer::Session,
            Node,
            "BIRD did not answer in time: busy or hung",
            session::bird_hung,
        ),
        rule("port-taken", L::Listener, Layer::Session, Node, "another program has port 179", session::port_taken),
        rule("not-listening", L::Listener, Layer::Session, Node, "BIRD does not listen", session::not_listening),
        rule("session-disabled", L::Session, Layer::Session, Way, "a session is disabled", session::disabled),
        rule("peer-missing", L::Session, Layer::Session, Way, "a session is not configured", session::peer_missing),
        rule("wrong-as", L::Capabilities, Layer::Session, Node, "an AS is not the planned one", session::wrong_as),
        rule("password", L::Capabilities, Layer::Session, Pair, "the passwords differ", session::password),
        rule("router-id", L::Capabilities, Layer::Session, Pair, "two nodes have one router id", session::router_id),
        rule("no-direct", L::Received, Layer::Route, Node, "next hops cannot be resolved", kernel::no_direct),
        rule("own-block", L::Received, Layer::Route, Node, "a node does not announce its block", kernel::own_block),
        rule("kernel-off", L::KernelRoute, Layer::Route, Node, "BIRD gives the kernel no routes", kernel::kernel_off),
        rule("blackhole", L::KernelRoute, Layer::Route, Way, "a blackhole in a foreign block", kernel::blackhole),
        rule("policy-rule", L::KernelRoute, Layer::Route, Node, "a policy rule hides the route", kernel::policy_rule),
        rule("stray-route", L::KernelRoute, Layer::Route, Way, "a route that nobody planned", kernel::stray_route),
        rule("no-forwarding", L::Forwarding, Layer::Packet, Node, "forwarding is off", pods::no_forwarding),
        rule(
            "forward-dropped",
            L::Forwarding,
            Layer::Packet,
            Node,
            "a rule drops what is forwarded",
            filter::forward_dropped,
        ),
        kube("policy-denies", L::Forwarding, Layer::Packet, "a policy denies what pods ask", calico::policy),
        rule(
            "cni-missing",
            L::Pod,
            Layer::Datastore,
            Node,
            "the container network has no configuration",
            pods::cni_missing,
        ),
        rule("cni-foreign", L::Pod, Layer::Datastore, Node, "another container network comes first", pods::cni_foreign),
        kube("cni-fails", L::Pod, Layer::Packet, "pods are given no network", pods::cni_fails),
        rule("impostor", L::Pod, Layer::Packet, Node, "a node has an address of a pod", pods::impostor),
        rule("mtu-hole", L::Size, Layer::Link, Node, "large packets are lost", filter::mtu_hole),
        kube("kube-proxy", L::Service, Layer::Service, "kube-proxy does not run", kubernetes::proxy),
        primer(rule(
            "services-missing",
            L::Service,
            Layer::Service,
            Node,
            "there are no service rules",
            names::services_missing,
        )),
        primer(only(rule(
            "service-backend",
            L::Service,
            Layer::Service,
            Node,
            "nobody is behind a service",
            names::service_backend,
        ))),
        primer(only(rule(
            "dns-rule",
            L::Service,
            Layer::Name,
            Node,
            "no rule leads to the DNS servers",
            names::dns_rule,
        ))),
        kube("dns-none", L::Server, Layer::Service, "no DNS server is ready", kubernetes::dns_none),
        primer(only(rule(
            "dns-stopped",
            L::Server,
            Layer::Name,
            Node,
            "a DNS server does not run",
            names::dns_stopped,
        ))),
        primer(only(rule(
            "dns-answers-all",
            L::Server,
            Layer::Name,
            Node,
            "a DNS server answers everything",
            names::answers_all,
        ))),
        only(kube("kube-resolver", L::Name, Layer::Name, "kubelets name another DNS server", kubernetes::resolver)),
        primer(only(rule("resolver", L::Name, Layer::Name, Node, "pods ask another name server", names::resolver))),
    ]
};

impl Rule {
    /// What it says at every place of the plan.
    pub(super) fn everywhere(&self, facts: &Facts<'_>) -> Vec<(Vec<NodeName>, Judged)> {
        let names: Vec<&NodeName> = facts.plan.nodes.names().collect();
        if !self.labs.fits(facts.plan.installer) {
            return Vec::new();
        }
        self.places(&names).into_iter().map(|(a, b)| (both(a, b), (self.look)(facts, a, b))).collect()
    }

    /// What it says at, or between, these nodes.
    pub(super) fn at(&self, facts: &Facts<'_>, nodes: &[NodeName]) -> Vec<Judged> {
        if !self.labs.fits(facts.plan.installer) {
            return Vec::new();
        }
        let wanted = |node: &&NodeName| nodes.is_empty() || nodes.contains(node);
        let names: Vec<&NodeName> = facts.plan.nodes.names().filter(wanted).collect();
        self.places(&names).into_iter().map(|(a, b)| (self.look)(facts, a, b)).collect()
    }

    fn places<'n>(&self, names: &[&'n NodeName]) -> Vec<(&'n NodeName, &'n NodeName)> {
        let ways = names.iter().flat_map(|&a| names.iter().filter(move |&&b| b != a).map(move |&b| (a, b)));
        match self.scope {
            Scope::Node => names.iter().map(|&node| (node, node)).collect(),
            Scope::Way => ways.collect(),
            Scope::Pair => ways.filter(|(a, b)| position(names, a) < position(names, b)).collect(),
        }
    }
}

fn position(names: &[&NodeName], node: &NodeName) -> Option<usize> {
    names.iter().position(|one| *one == node)
}

fn both(a: &NodeName, b: &NodeName) -> Vec<NodeName> {
    if a == b { vec![a.clone()] } else { vec![a.clone(), b.clone()] }
}
