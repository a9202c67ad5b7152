//! Plan -> checks, in the order of the chain: machine, address, link, datastore, session, route, packet, service, name.

use super::Check;
use super::calico::has_pool;
use crate::lab::file::Installer;
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;

/// Every claim of the plan, for any number of nodes, mesh or reflectors.
pub fn expect(plan: &Plan) -> Vec<Check> {
    let kubernetes = plan.installer.has_kubernetes();
    let coreos = plan.installer == Installer::Coreos;
    let names: Vec<&NodeName> = plan.nodes.names().collect();
    let pairs: Vec<(&NodeName, &NodeName)> =
        names.iter().flat_map(|&from| names.iter().filter(move |&&to| to != from).map(move |&to| (from, to))).collect();
    let each = |make: fn(NodeName) -> Check| names.iter().map(move |&node| make(node.clone()));

    let mut checks: Vec<Check> = each(|node| Check::Machine { node }).collect();
    checks.extend([Check::MachineIds, Check::Clocks]);
    checks.extend(each(|node| Check::Address { node }));
    checks.extend(pairs.iter().map(|&(from, to)| Check::Link { from: from.clone(), to: to.clone() }));
    if kubernetes {
        let members =
            |node: &NodeName| plan.etcd_members().map(|member| (node.clone(), member.clone())).collect::<Vec<_>>();
        let asked = names.iter().flat_map(|node| members(node));
        checks.extend(asked.map(|(node, member)| Check::Etcd { node, member }));
        checks.extend(each(|node| Check::Registered { node }));
        checks.extend((!coreos).then_some(Check::DaemonSets));
        if has_pool(plan) {
            checks.push(Check::Pool);
        }
    } else {
        checks.extend(each(|node| Check::Datastore { node }));
    }
    checks.extend(each(|node| Check::Peers { node }));
    if coreos {
        checks.extend(each(|node| Check::Calicoctl { node }));
    }
    for (node, part) in plan.nodes.iter() {
        checks.extend(part.peers.iter().map(|peer| Check::Session { node: node.clone(), peer: peer.node.clone() }));
    }
    for (node, part) in plan.nodes.iter() {
        checks.push(Check::OwnBlock { node: node.clone(), block: part.block });
        checks.extend(plan.nodes.iter().filter(|(owner, _)| *owner != node).map(|(owner, other)| Check::Route {
            node: node.clone(),
            block: other.block,
            owner: owner.clone(),
        }));
    }
    checks.extend(pairs.iter().map(|&(from, to)| Check::Packet { from: from.clone(), to: to.clone() }));
    // Nothing else enforces what policies say.
    if plan.calico.is_some() {
        checks.push(Check::Policy);
    }
    // Each node once at either end: the rules are each node's own.
    let ring = names.iter().zip(names.iter().cycle().skip(1)).map(|(&from, &to)| (from.clone(), to.clone()));
    if let Some(edge) = plan.network.edge {
        checks.extend(ring.clone().map(|(from, to)| Check::Nat { from, to }));
        checks.extend(ring.filter(|_| edge.hostport).map(|(from, to)| Check::HostPort { from, to }));
    }
    checks.extend(each(|node| Check::ServicePod { node }));
    checks.extend(each(|node| Check::ServiceNode { node }));
    if kubernetes {
        checks.extend(each(|node| Check::Kubelet { node }));
        checks.push(if coreos { Check::Pods } else { Check::Deployments });
        let counted = plan.accept.as_ref().is_some_and(|accept| !accept.pods.is_empty());
        checks.extend(counted.then_some(Check::Accepted));
    }
    checks.extend(each(|node| Check::Dns { node }));
    checks.extend(each(|node| Check::DnsAbsent { node }));
    checks.extend(each(|node| Check::DnsTcp { node }));
    checks.extend(each(|node| Check::DnsShort { node }));
    for &node in &names {
        let servers = plan.dns_servers();
        checks.extend(servers.map(|(server, _)| Check::DnsServer { node: node.clone(), server: server.clone() }));
    }
    checks
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::proof::samples;

    #[test]
    fn three_nodes_in_a_mesh() {
        let checks = expect(&samples::plan(3));
        let ids: Vec<String> = checks.iter().map(|check| check.id().to_string()).collect();
        for id in [
            "machine.calico-01",
            "machine-ids",
            "clocks",
            "address.calico-02",
            "link.calico-01.calico-03",
            "datastore.calico-03",
            "peers.calico-02",
            "session.calico-01.calico-02",
            "route.calico-01.10.244.0.0-26",
            "route.calico-01.10.244.0.64-26",
            "packet.calico-03.calico-01",
            "service-pod.calico-01",
            "service-node.calico-01",
            "dns.calico-02",
            "dns-absent.calico-02",
            "dns-tcp.calico-02",
            "dns-short.calico-02",
            "dns-server.calico-01.calico-03",
        ] {
            assert!(ids.iter().any(|own| own == id), "{id} is missing in {ids:#?}");
        }
        let count = |kind: &str| checks.iter().filter(|check| check.kind() == kind).count();
        assert_eq!((count("session"), count("route"), count("packet"), count("dns-server")), (6, 9, 6, 6));
    }

    #[test]
    fn with_kubernetes_it_is_asked_in_place_of_etcd() {
        let mut plan = samples::plan(3);
        plan.installer = crate::lab::file::Installer::Binaries;
        let checks = expect(&plan);
        let count = |kind: &str| checks.iter().filter(|check| check.kind() == kind).count();
        assert_eq!(["datastore", "registered", "daemonsets", "kubelet", "deployments"].map(count), [0, 3, 1, 3, 1]);
        assert!(checks.is_sorted_by_key(Check::layer));
    }

    #[test]
    fn the_edge_is_looked_at_where_the_plan_knows_it() {
        use crate::lab::example::carried;
        let of = |plan: &Plan| {
            let ids = expect(plan).iter().map(|check| check.id().to_string()).collect::<Vec<_>>();
            ids.into_iter()
                .filter(|id| ["nat.", "hostport."].iter().any(|kind| id.starts_with(kind)))
                .collect::<Vec<_>>()
        };
        let ring = ["01.kube-02", "02.kube-03", "03.kube-01"];
        let [nat, hostport] = ["nat", "hostport"].map(|kind| ring.map(|pair| format!("{kind}.kube-{pair}")));
        let mut plan = carried("calico-3.21-kdd", &["nodes.count=3", "nodes.prefix=kube-"]);
        assert_eq!(of(&plan), [nat.clone(), hostport].concat());
        assert!(expect(&plan).is_sorted_by_key(Check::layer));
        plan.network.edge = None;
        assert!(of(&plan).is_empty(), "of a cluster from before it was asked");
        // Its plugin stands in a list with no other.
        assert_eq!(of(&carried("calico-2.4-etcd", &["nodes.count=3", "nodes.prefix=kube-"])), nat);
        for lab in ["coreos-0.15", "primer"] {
            assert!(of(&carried(lab, &[])).is_empty());
        }
    }

    #[test]
    fn a_lab_that_says_which_pods_it_is_accepted_by_has_them_counted() {
        let count = |lab: &str| {
            let checks = expect(&crate::lab::example::carried(lab, &[]));
            assert!(checks.is_sorted_by_key(Check::layer));
            checks.iter().filter(|check| check.kind() == "accepted").count()
        };
        assert_eq!(["calico-3.14-kubeadm", "calico-3.21-kdd"].map(count), [1, 0]);
    }

    #[test]
    fn with_coreos_calicoctl_is_asked_and_pods_in_place_of_sets() {
        let checks = expect(&crate::lab::example::carried("coreos-0.15", &[]));
        let count = |kind: &str| checks.iter().filter(|check| check.kind() == kind).count();
        assert_eq!(["registered", "calicoctl", "pods", "daemonsets", "deployments"].map(count), [3, 3, 1, 0, 0]);
        assert_eq!(["session", "route", "dns", "dns-absent", "dns-server"].map(count), [6, 9, 3, 3, 0]);
        assert!(checks.is_sorted_by_key(Check::layer));
    }

    #[test]
    fn any_number_of_nodes_has_distinct_ids_in_the_order_of_the_chain() {
        for nodes in 2..=9 {
            let checks = expect(&samples::plan(nodes));
            let ids: BTreeSet<_> = checks.iter().map(Check::id).collect();
            assert_eq!(ids.len(), checks.len());
            assert!(checks.is_sorted_by_key(Check::layer));
            assert_eq!(checks.iter().filter(|check| check.kind() == "session").count(), nodes * (nodes - 1));
        }
    }

    #[test]
    fn reflectors_have_clients_and_clients_have_reflectors() {
        let checks = expect(&samples::reflected(4));
        let ids: Vec<String> =
            checks.iter().filter(|check| check.kind() == "session").map(|check| check.id().to_string()).collect();
        let star = ["01.calico-02", "01.calico-03", "01.calico-04", "02.calico-01", "03.calico-01", "04.calico-01"];
        assert_eq!(ids, star.map(|pair| format!("session.calico-{pair}")));
        assert_eq!(checks.iter().filter(|check| check.kind() == "route").count(), 16, "routes stay those of all pairs");
    }
}
