//! Which certificates an etcd of the lab's own has: each member's, and those of who may ask it.

use super::{BOTH, CLIENT, Certificate};
use crate::lab::calico;
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;

/// The API server's.
pub(super) const CLIENT_FILE: &str = "etcd-client";
/// Calico's, where it keeps its data there.
pub(super) const CALICO_FILE: &str = "etcd-calico";
/// The authority of all is one: etcd lets in whom this name is given, and nobody else.
const ALLOWED: &str = "kube-apiserver-etcd-client";

/// Whether the lab's Kubernetes has an etcd beside it that wants to know who asks.
pub(super) fn wanted(plan: &Plan) -> bool {
    plan.kubernetes.as_ref().and_then(|kubernetes| kubernetes.etcd).is_some_and(|etcd| etcd.tls)
}

/// The name of a member's files.
pub(super) fn of_member(plan: &Plan, node: &NodeName) -> String {
    if *node == plan.master { "etcd".into() } else { format!("etcd.{node}") }
}

/// All of them; none where there is no such etcd.
pub(super) fn certificates(plan: &Plan) -> Vec<Certificate> {
    if !wanted(plan) {
        return Vec::new();
    }
    let member = |node: &NodeName| Certificate {
        file: of_member(plan, node),
        // What members know each other by.
        common_name: "etcd".into(),
        group: None,
        // By the last name its own gateway of JSON asks it.
        names: [node.as_str(), "localhost", &plan.nodes[node].address.to_string(), "127.0.0.1", ALLOWED]
            .map(str::to_owned)
            .into(),
        purposes: BOTH,
    };
    let client = |file: &str, common_name: &str| Certificate {
        file: file.into(),
        common_name: common_name.into(),
        group: None,
        names: vec![ALLOWED.into()],
        purposes: CLIENT,
    };
    let mut all: Vec<Certificate> = plan.etcd_members().map(member).collect();
    all.push(client(CLIENT_FILE, "kube-apiserver-etcd-client"));
    if calico::wants_client(plan) {
        all.push(client(CALICO_FILE, "calico"));
    }
    all
}
