//! What all installers of Kubernetes share: images taken in, nodes with their blocks, the wait for the API server, manifests.

use std::time::Duration;

use serde_json::{Value, json};

use super::{InstallError, LIMIT, applied, calico};
use crate::command::Argv;
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::node::kube;
use crate::ssh::{Remote, Upload};
use crate::wait::{self, Asked, Patience};

/// What follows on a node when everything is there: its images are taken in, and its units started.
pub(super) const START: &str = include_str!("cluster.sh");
/// Certificates and keys on the nodes.
pub(super) const PKI: &str = "/etc/kubernetes/pki";
/// The series whose flags and configuration stand in `cloud-config/binaries` and `cloud-config/kubeadm`.
const SERIES: (u16, u16) = (1, 20);
/// The API server's first start makes its own objects; emulated machines take minutes for it.
const API: Patience = Patience { limit: Duration::from_secs(600), pause: Duration::from_millis(500) };
/// Once it answers, the namespaces that it makes itself follow within seconds.
const APPLY: Patience = Patience { limit: Duration::from_secs(120), pause: Duration::from_secs(1) };

/// Why no installer of Kubernetes would do for a plan, if none would; `of` is what its templates have of [`SERIES`].
pub(super) fn refusal(plan: &Plan, of: &str) -> Option<String> {
    let version = plan.kubernetes.as_ref().map(|kubernetes| kubernetes.version);
    match version {
        None => Some("the plan names no Kubernetes".to_owned()),
        Some(version) if version.series() != SERIES => {
            let (major, minor) = SERIES;
            Some(format!("{of} of Kubernetes {major}.{minor}.x, the lab has {version}"))
        }
        Some(_) => calico::refusal(plan),
    }
}

/// The nodes as the API server shall know them whether their kubelets came or not: each with its planned block. What
/// the kubelets know better they add.
pub(super) fn nodes(plan: &Plan) -> Upload {
    applied::object("00-nodes.json", 0o644, &listed(plan))
}

fn listed(plan: &Plan) -> Value {
    let node = |name: &NodeName, block: &ipnet::Ipv4Net| {
        let labels = json!({"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"});
        let mut named = json!({"name": name, "labels": labels});
        calico::mark(plan, name, &mut named);
        json!({"apiVersion": "v1", "kind": "Node", "metadata": named,
            "spec": {"podCIDR": block, "podCIDRs": [block]},
            // A kubelet of 1.20 that finds itself without any ends in a panic,
            // and with none for pods refuses its own for good.
            "status": {"capacity": {"pods": "110"}, "allocatable": {"pods": "110"}}})
    };
    let all: Vec<Value> = plan.nodes.iter().map(|(name, part)| node(name, &part.block)).collect();
    json!({"apiVersion": "v1", "kind": "List", "items": all})
}

/// Wait for the API server, then apply what the cluster begins with. If it never answers, `units` are what stands
/// before it.
pub(super) async fn begin(node: &NodeName, remote: &Remote, units: &[&str]) -> Result<(), InstallError> {
    let asked = async |argv: Argv| match remote.run(&argv.sudo(), LIMIT).await {
        Ok(output) if output.ok() => Asked::Yes(()),
        Ok(output) => Asked::NotYet(output.tail(4)),
        Err(error) => Asked::Never(error.to_string()),
    };
    if let Err(error) = wait::until(API, async || asked(kube::ask_ready()).await).await {
        let units = remote.run(&kube::ask_units(units).sudo(), LIMIT).await;
        let said = units.map_or_else(|_| error.to_string(), |units| format!("{error}\n{}", units.tail(24)));
        return Err(InstallError::Failed { node: node.clone(), doing: "waiting for the API server", said });
    }
    let applied = wait::until(APPLY, async || asked(kube::apply(applied::FOLDER)).await).await;
    applied.map_err(|error| InstallError::Failed {
        node: node.clone(),
        doing: "giving the API server what the cluster begins with",
        said: error.to_string(),
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::example;

    #[test]
    fn each_node_is_given_its_planned_block() {
        let plan = example::planned(&example::lab(&["one", "two"]), "demo");
        insta::assert_snapshot!(format!("{:#}", listed(&plan)));
    }
}
