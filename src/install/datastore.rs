//! What Calico's etcd holds before Calico comes: who peers with whom and each node's block, key by key.
//!
//! Keys and values: `libcalico-go`, `lib/backend/model` and `lib/ipam`, at the tags v1.5.3 (etcd's old API), v3.0 and v3.21.2.

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::calico;
use crate::command::Argv;
use crate::lab::kubernetes::Datastore;
use crate::lab::name::NodeName;
use crate::lab::pin;
use crate::lab::plan::Plan;
use crate::node::etcd;
use crate::ssh::{Content, Upload};

/// Where they lie on the master: the key in the first line of each file, the value in the second.
const FOLDER: &str = "/var/lib/calicolab/datastore";
/// Runs on the master.
const SCRIPT: &str = include_str!("datastore.sh");

/// A key of Calico's with its value, and whether Calico changes it from its first packet on: such a one is made once.
struct Entry {
    key: String,
    value: Value,
    once: bool,
}

/// What is put into the plan's etcd; nothing where its Calico keeps its data elsewhere.
pub(super) fn files(plan: &Plan, now: Timestamp) -> Vec<Upload> {
    let named = |(number, Entry { key, value, once }): (usize, Entry)| Upload {
        path: format!("{FOLDER}/{number:03}.{}", if once { "once" } else { "set" }),
        mode: 0o644,
        content: Content::Bytes(format!("{key}\n{value}\n").into_bytes()),
    };
    (0..).zip(keys(plan, now)).map(named).collect()
}

/// Put them there; nothing where there is no such etcd. Safe to repeat.
pub(super) fn fill(plan: &Plan) -> Option<Argv> {
    wanted(plan).then(|| {
        let api = if old(plan) { "2" } else { "3" };
        Argv::script(SCRIPT, [FOLDER, api, &plan.etcd_endpoints().join(","), etcd::FOLDER])
    })
}

fn wanted(plan: &Plan) -> bool {
    plan.calico.as_ref().is_some_and(|calico| calico.datastore == Datastore::Etcd)
}

/// Whether Calico asks etcd's old API, in which keys are files in folders.
fn old(plan: &Plan) -> bool {
    plan.calico.as_ref().is_some_and(|calico| !calico.version.since(3, 0))
}

fn keys(plan: &Plan, now: Timestamp) -> Vec<Entry> {
    if !wanted(plan) {
        return Vec::new();
    }
    let mut all = if old(plan) { global(plan) } else { resources(plan, now) };
    for (node, part) in plan.nodes.iter() {
        let owned = if old(plan) { json!({}) } else { json!({"state": "confirmed", "deleted": false}) };
        let name = part.block.to_string().replace('/', "-");
        let block = format!("/calico/ipam/v2/assignment/ipv4/block/{name}");
        all.push(Entry { key: block, value: calico::block(node, part.block), once: true });
        all.push(Entry { key: etcd::block_key(node.as_str(), part.block), value: owned, once: true });
    }
    all
}

/// Up to 2.6 each setting is a key of its own.
fn global(plan: &Plan) -> Vec<Entry> {
    let set = |name: &str, value: Value| Entry { key: format!("/calico/bgp/v1/global/{name}"), value, once: false };
    vec![set("as_num", plan.bgp.asn.into()), set("node_mesh", json!({"enabled": plan.bgp.mesh}))]
}

/// Since 3.0 there are objects, which cannot be changed later unless they have an id and a time.
fn resources(plan: &Plan, now: Timestamp) -> Vec<Entry> {
    let object = |plural: &str, kind: &str, name: &str, more: Value, once: bool| {
        let key = format!("/calico/resources/v3/projectcalico.org/{plural}/{name}");
        let mut metadata = json!({"name": name, "uid": uid(plan, &key), "creationTimestamp": seconds(now)});
        if let Some(labels) = more.get("labels") {
            metadata["labels"] = labels.clone();
        }
        let value =
            json!({"kind": kind, "apiVersion": "projectcalico.org/v3", "metadata": metadata, "spec": more["spec"]});
        Entry { key, value, once }
    };
    let settings = calico::bgp(plan)
        .into_iter()
        .map(|(plural, kind, name, spec)| object(plural, kind, name, json!({"spec": spec}), false));
    // Before its calico-node comes, a node that has no object of its own is none to Calico's controllers: they would take
    // its block back. From its start on calico-node adds to it what it finds out.
    let node = |node: &NodeName| {
        let mut more = json!({"spec": {"orchRefs": [{"nodeName": node, "orchestrator": "k8s"}]}});
        if plan.bgp.reflectors.contains(node) {
            more["labels"] = json!({calico::REFLECTOR: "true"});
            more["spec"]["bgp"] = json!({"routeReflectorClusterID": calico::REFLECTOR_CLUSTER});
        }
        object("nodes", "Node", node.as_str(), more, true)
    };
    settings.chain(plan.nodes.names().map(node)).collect()
}

/// The same in every run.
fn uid(plan: &Plan, key: &str) -> String {
    let sum = pin::Digest::Sha256(Sha256::digest(format!("{} {key}", plan.cluster)).into()).hex();
    [&sum[..8], &sum[8..12], &sum[12..16], &sum[16..20], &sum[20..32]].join("-")
}

fn seconds(now: Timestamp) -> String {
    now.round(jiff::Unit::Second).unwrap_or(now).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::example;

    fn shown(lab: &str, sets: &[&str]) -> String {
        let plan = example::planned(&example::carried_lab(lab, sets), "demo");
        let lines = keys(&plan, Timestamp::UNIX_EPOCH).into_iter().map(|Entry { key, value, once }| {
            let value = value.to_string();
            // Of a block's sixty-four addresses the first few show its form.
            let value = if value.len() > 330 { format!("{}…", &value[..120]) } else { value };
            format!("{}{key}\n  {value}", if once { "once " } else { "" })
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn each_release_has_its_own_keys() {
        insta::assert_snapshot!("of_2_4", shown("calico-2.4-etcd", &["nodes.count=2"]));
        insta::assert_snapshot!("of_3_0", shown("calico-3.0-etcd", &["nodes.count=2"]));
        let reflected = ["nodes.count=2", "bgp.mesh=off", "bgp.reflectors=calico-01"];
        insta::assert_snapshot!("of_3_21", shown("calico-3.21-etcd", &reflected));
        assert_eq!(shown("calico-3.21-kdd", &[]), "");
    }

    #[test]
    fn the_master_asks_every_member_by_the_release_s_own_api() {
        let told = |lab: &str| {
            let argv = fill(&example::planned(&example::carried_lab(lab, &[]), "demo"));
            argv.map(|argv| argv.to_string().lines().last().map(str::to_owned))
        };
        assert!(told("calico-2.4-etcd").flatten().is_some_and(|said| said.contains(" 2 http://198.18.7.11:2379 ")));
        let three = "https://198.18.7.11:2379,https://198.18.7.12:2379,https://198.18.7.13:2379";
        assert!(told("calico-3.21-etcd").flatten().is_some_and(|said| said.contains(three)));
        assert_eq!(told("calico-3.21-kdd"), None);
    }
}
