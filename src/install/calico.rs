//! Calico by its upstream's manifests: what the cluster holds before they come, and they themselves.
//!
//! Names and fields of the objects: Calico's `libcalico-go`, `backend/k8s/resources`, the same from 3.0 to today.

use ipnet::Ipv4Net;
use serde_json::{Value, json};

use super::manifest::Edited;
use super::{Kit, applied};
use crate::lab::kubernetes::{Datastore, Install};
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::ssh::Upload;

/// What Calico's own objects are of.
const GROUP: &str = "crd.projectcalico.org/v1";
/// Where one reflector's client tells another's routes apart; the value Calico's own pages use.
pub(super) const REFLECTOR_CLUSTER: &str = "244.0.0.1";

/// The label of a node that reflects routes.
pub(super) const REFLECTOR: &str = "route-reflector";

/// Why a plan's Calico would not come up, if it would not; `None` also without one.
pub(super) fn refusal(plan: &Plan) -> Option<String> {
    let calico = plan.calico.as_ref()?;
    let etcd = calico.datastore == Datastore::Etcd;
    let why = if calico.install == Install::Operator {
        "it does not wait for an operator"
    } else if !etcd && !calico.version.since(3, 3) {
        "it does not know where so old a `calico` keeps its data in Kubernetes"
    } else if !plan.bgp.reflectors.is_empty() && !calico.version.since(3, 3) {
        "reflectors of so old a `calico` are containers of their own, which it does not run"
    } else if etcd && !has_etcdctl(plan) {
        "the master has no `etcdctl`, by which it writes into Calico's etcd"
    } else {
        return None;
    };
    Some(why.to_owned())
}

/// Whether the master is brought etcd's client, as far as the lock says.
fn has_etcdctl(plan: &Plan) -> bool {
    let mut files = plan.artifacts.iter().flat_map(|placed| &placed.files);
    !plan.missing.is_empty() || files.any(|taken| taken.to.ends_with("/etcdctl"))
}

/// What the master applies, in the order of the names: the kinds that Calico brings, then what is ours of these kinds,
/// then all that the upstream's files say. Nothing without a Calico.
pub(super) fn files(kit: &Kit<'_>) -> Vec<Upload> {
    let Some(calico) = &kit.plan.calico else { return Vec::new() };
    let kinds = kit.manifests.iter().flat_map(|file| &file.objects);
    let kinds = kinds.filter(|object| object.object.kind == "CustomResourceDefinition");
    let kinds: String = kinds.flat_map(|object| ["---\n", object.after.as_str()]).collect();
    let list = |items: Vec<Value>| json!({"apiVersion": "v1", "kind": "List", "items": items});
    let mut files = Vec::new();
    if calico.datastore == Datastore::Kubernetes {
        let settings = bgp(kit.plan).into_iter().map(|(_, kind, name, spec)| object(kind, name, &spec)).collect();
        files.extend([
            applied::text("05-kinds.yaml", kinds),
            applied::object("06-bgp.json", 0o644, &list(settings)),
            // From its first packet on Calico writes into these: they are made once, and never put back.
            applied::object("07-blocks.once.json", 0o644, &list(blocks(kit.plan))),
        ]);
    }
    let named = |(number, file): (usize, &Edited)| {
        let name = file.name.trim_end_matches(".yaml");
        applied::text(&format!("{number:02}-{name}.yaml"), file.text())
    };
    files.extend((10..).zip(kit.manifests).map(named));
    files
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": GROUP, "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// Who peers with whom: objects by plural, kind, name and specification.
pub(super) fn bgp(plan: &Plan) -> Vec<(&'static str, &'static str, &'static str, Value)> {
    let spec = json!({"nodeToNodeMeshEnabled": plan.bgp.mesh, "asNumber": plan.bgp.asn, "logSeverityScreen": "Info"});
    let mut all = vec![("bgpconfigurations", "BGPConfiguration", "default", spec)];
    if !plan.bgp.reflectors.is_empty() {
        let spec = json!({"nodeSelector": "all()", "peerSelector": format!("has({REFLECTOR})")});
        all.push(("bgppeers", "BGPPeer", "peer-with-route-reflectors", spec));
    }
    all
}

/// Say in a node's metadata that it is a reflector, where it is one.
pub(super) fn mark(plan: &Plan, node: &NodeName, metadata: &mut Value) {
    if plan.calico.is_some() && plan.bgp.reflectors.contains(node) {
        metadata["labels"][REFLECTOR] = "true".into();
        metadata["annotations"]["projectcalico.org/RouteReflectorClusterID"] = REFLECTOR_CLUSTER.into();
    }
}

/// Each node's planned block as its own, empty: Calico's address management takes it before it would draw another.
fn blocks(plan: &Plan) -> Vec<Value> {
    let claim = |(node, part): (&NodeName, &crate::lab::plan::NodePlan)| {
        let cidr = part.block;
        let name = cidr.to_string().replace(['.', '/'], "-");
        let mut affinity = json!({"state": "confirmed", "node": node, "cidr": cidr, "deleted": "false"});
        // From 3.31 on affinities are found by labels, which each calico-node makes of this at its start.
        if plan.calico.as_ref().is_some_and(|calico| calico.version.since(3, 31)) {
            affinity["type"] = "host".into();
        }
        let block = block(node, cidr);
        [object("BlockAffinity", &format!("{node}-{name}"), &affinity), object("IPAMBlock", &name, &block)]
    };
    plan.nodes.iter().flat_map(claim).collect()
}

/// A node's own block, of which nobody has an address yet.
pub(super) fn block(node: &NodeName, cidr: Ipv4Net) -> Value {
    let addresses: Vec<u32> = (0..1 << (32 - cidr.prefix_len())).collect();
    json!({"cidr": cidr, "affinity": format!("host:{node}"), "strictAffinity": false, "deleted": false,
        "allocations": vec![Value::Null; addresses.len()], "unallocated": addresses, "attributes": []})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::example;

    #[test]
    fn each_node_owns_its_planned_block_and_no_address_in_it_is_taken() {
        let plan = example::planned(&example::lab(&["one", "two"]), "demo");
        let all = blocks(&plan);
        assert_eq!(all.len(), 4);
        assert_eq!(all[0]["metadata"]["name"], "one-10-244-0-0-26");
        assert_eq!(all[3]["spec"]["affinity"], "host:two");
        let lengths = ["allocations", "unallocated"].map(|key| all[1]["spec"][key].as_array().map(Vec::len));
        assert_eq!(lengths, [Some(64), Some(64)]);
        let kind = |lab: &str| blocks(&example::carried(lab, &[]))[0]["spec"]["type"].clone();
        assert_eq!((kind("calico-3.14-kubeadm"), kind("calico-3.32")), (Value::Null, "host".into()));
    }

    #[test]
    fn reflectors_are_nodes_that_say_so_and_everybody_peers_with_them() {
        let plan = example::planned(
            &example::carried_lab("calico-3.21-kdd", &["bgp.mesh=off", "bgp.reflectors=calico-01"]),
            "demo",
        );
        let all = bgp(&plan);
        assert_eq!(all[0].3["nodeToNodeMeshEnabled"], false);
        assert_eq!(all[1].1, "BGPPeer");
        let marks = plan.nodes.names().map(|node| {
            let mut metadata = json!({"labels": {}});
            mark(&plan, node, &mut metadata);
            metadata["labels"]["route-reflector"] == "true" && metadata["annotations"].is_object()
        });
        assert_eq!(marks.collect::<Vec<_>>(), [true, false, false]);
    }

    #[test]
    fn what_is_not_understood_is_refused_in_words() {
        let refused = |lab: &str, sets: &[&str]| refusal(&example::planned(&example::carried_lab(lab, sets), "demo"));
        assert_eq!(refused("calico-3.21-kdd", &[]), None);
        assert_eq!(refused("calico-3.21-etcd", &[]), None);
        let old = ["bgp.mesh=off", "bgp.reflectors=calico-01"];
        assert!(refused("calico-3.0-etcd", &old).is_some_and(|why| why.contains("containers of their own")));
        assert!(refused("calico-3.32", &["calico.install=operator"]).is_some_and(|why| why.contains("operator")));
    }
}
