//! Calico by its upstream's manifests: what the cluster holds before they come, and they themselves.
//!
//! Names and fields of the objects: Calico's `libcalico-go`, `backend/k8s/resources`, the same from 3.0 to today.

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
const REFLECTOR_CLUSTER: &str = "244.0.0.1";

/// Why a plan's Calico would not come up, if it would not; `None` also without one.
pub(super) fn refusal(plan: &Plan) -> Option<String> {
    let calico = plan.calico.as_ref()?;
    let why = if calico.datastore == Datastore::Etcd {
        "it gives `calico` no etcd to keep its data in"
    } else if calico.install == Install::Operator {
        "it does not wait for an operator"
    } else if !calico.version.since(3, 3) {
        "it does not know where so old a `calico` keeps its data in Kubernetes"
    } else {
        return None;
    };
    Some(why.to_owned())
}

/// What the master applies, in the order of the names: the kinds that Calico brings, then what is ours of these kinds,
/// then all that the upstream's files say. Nothing without a Calico.
pub(super) fn files(kit: &Kit<'_>) -> Vec<Upload> {
    if kit.plan.calico.is_none() {
        return Vec::new();
    }
    let kinds = kit.manifests.iter().flat_map(|file| &file.objects);
    let kinds = kinds.filter(|object| object.object.kind == "CustomResourceDefinition");
    let kinds: String = kinds.flat_map(|object| ["---\n", object.after.as_str()]).collect();
    let list = |items: Vec<Value>| json!({"apiVersion": "v1", "kind": "List", "items": items});
    let mut files = vec![
        applied::text("05-kinds.yaml", kinds),
        applied::object("06-bgp.json", 0o644, &list(bgp(kit.plan))),
        // From its first packet on Calico writes into these: they are made once, and never put back.
        applied::object("07-blocks.once.json", 0o644, &list(blocks(kit.plan))),
    ];
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

/// Who peers with whom.
fn bgp(plan: &Plan) -> Vec<Value> {
    let mut all = vec![object(
        "BGPConfiguration",
        "default",
        &json!({"nodeToNodeMeshEnabled": plan.bgp.mesh, "asNumber": plan.bgp.asn, "logSeverityScreen": "Info"}),
    )];
    if !plan.bgp.reflectors.is_empty() {
        let spec = json!({"nodeSelector": "all()", "peerSelector": "has(route-reflector)"});
        all.push(object("BGPPeer", "peer-with-route-reflectors", &spec));
    }
    all
}

/// Say in a node's metadata that it is a reflector, where it is one.
pub(super) fn mark(plan: &Plan, node: &NodeName, metadata: &mut Value) {
    if plan.calico.is_some() && plan.bgp.reflectors.contains(node) {
        metadata["labels"]["route-reflector"] = "true".into();
        metadata["annotations"]["projectcalico.org/RouteReflectorClusterID"] = REFLECTOR_CLUSTER.into();
    }
}

/// Each node's planned block as its own, empty: Calico's address management takes it before it would draw another.
fn blocks(plan: &Plan) -> Vec<Value> {
    let claim = |(node, part): (&NodeName, &crate::lab::plan::NodePlan)| {
        let cidr = part.block;
        let name = cidr.to_string().replace(['.', '/'], "-");
        let addresses: Vec<u32> = (0..1 << (32 - cidr.prefix_len())).collect();
        let affinity = json!({"state": "confirmed", "node": node, "cidr": cidr, "deleted": "false"});
        let block = json!({"cidr": cidr, "affinity": format!("host:{node}"), "strictAffinity": false, "deleted": false,
            "allocations": vec![Value::Null; addresses.len()], "unallocated": addresses, "attributes": []});
        [object("BlockAffinity", &format!("{node}-{name}"), &affinity), object("IPAMBlock", &name, &block)]
    };
    plan.nodes.iter().flat_map(claim).collect()
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
    }

    #[test]
    fn reflectors_are_nodes_that_say_so_and_everybody_peers_with_them() {
        let plan = example::planned(
            &example::carried_lab("calico-3.21-kdd", &["bgp.mesh=off", "bgp.reflectors=calico-01"]),
            "demo",
        );
        let all = bgp(&plan);
        assert_eq!(all[0]["spec"]["nodeToNodeMeshEnabled"], false);
        assert_eq!(all[1]["kind"], "BGPPeer");
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
        assert!(refused("calico-3.21-etcd", &[]).is_some_and(|why| why.contains("no etcd")));
        assert!(refused("calico-3.32", &["calico.install=operator"]).is_some_and(|why| why.contains("operator")));
    }
}
