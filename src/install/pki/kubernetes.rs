//! Which certificates a cluster of Kubernetes has: whom each names, and under which names its owner is reached.

use super::{BOTH, CLIENT, Certificate, of_node};
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;

/// kube-proxy's.
pub(super) const PROXY: &str = "kube-proxy";
/// The key pair that signs service accounts' tokens.
pub(super) const SERVICE_ACCOUNTS: &str = "service-accounts";
/// Those that only the master has.
pub(super) const MASTER: [&str; 5] =
    ["kube-apiserver", "kubelet-client", "admin", "kube-controller-manager", "kube-scheduler"];

/// The group whose members may do everything.
const MASTERS: Option<&str> = Some("system:masters");
/// The group that the node authorizer knows.
const NODES: Option<&str> = Some("system:nodes");

/// All of them but the authority's own.
pub(super) fn certificates(plan: &Plan) -> Vec<Certificate> {
    let client = |file: &str, common_name: &str, group| Certificate {
        file: file.into(),
        common_name: common_name.into(),
        group,
        names: Vec::new(),
        purposes: CLIENT,
    };
    let mut all = vec![
        Certificate {
            file: "kube-apiserver".into(),
            common_name: "kube-apiserver".into(),
            group: None,
            names: api_names(plan),
            purposes: BOTH,
        },
        client("kubelet-client", "kube-apiserver-kubelet-client", MASTERS),
        client("admin", "kubernetes-admin", MASTERS),
        client("kube-controller-manager", "system:kube-controller-manager", None),
        client("kube-scheduler", "system:kube-scheduler", None),
        client(PROXY, "system:kube-proxy", None),
    ];
    all.extend(plan.nodes.iter().map(|(node, part)| kubelet(plan, node, part.address.to_string())));
    all
}

/// A kubelet's, by which it asks the API server and answers it.
fn kubelet(plan: &Plan, node: &NodeName, address: String) -> Certificate {
    Certificate {
        file: of_node(plan, node),
        common_name: format!("system:node:{node}"),
        group: NODES,
        names: vec![node.to_string(), address],
        purposes: BOTH,
    }
}

/// Under what the API server is reached: from pods by its service, from nodes by the master, and from this host, where
/// its port may be forwarded to.
fn api_names(plan: &Plan) -> Vec<String> {
    let network = &plan.network;
    let mut names: Vec<String> =
        ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"].map(str::to_owned).into();
    names.extend([network.api_name.clone(), plan.master.to_string()]);
    names.extend([network.api, plan.master_node().address].map(|address| address.to_string()));
    names.push("127.0.0.1".into());
    names
}
