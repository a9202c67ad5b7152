//! What all installers of Kubernetes share: images taken in, nodes with their blocks, the wait for the API server, manifests.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{InstallError, Kit, LIMIT, applied, calico, datastore};
use crate::command::{Argv, Output};
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::node::kube;
use crate::ssh::{Content, Remote, Upload};
use crate::wait::{self, Asked, Patience, WaitError};

/// Which archives have other names than the manifests that call for their images: each with its own.
const NAMES: &str = "/etc/calicolab/images";
/// What follows on a node when everything is there: its images are taken in, and its units started.
pub(super) const START: &str = include_str!("cluster.sh");
/// Certificates and keys on the nodes.
pub(super) const PKI: &str = "/etc/kubernetes/pki";
/// The API server's first start makes its own objects; emulated machines take minutes for it.
const API: Patience = Patience { limit: Duration::from_secs(600), pause: Duration::from_millis(500) };
/// Once it answers, the namespaces that it makes itself follow within seconds.
const APPLY: Patience = Patience { limit: Duration::from_secs(120), pause: Duration::from_secs(1) };

/// Why no installer of Kubernetes would do for a plan, if none would; `of` is what its templates have of each of `series`
/// of Kubernetes 1, the first and the last of each row.
pub(super) fn refusal(plan: &Plan, of: &str, series: &[(u16, u16)]) -> Option<String> {
    let version = plan.kubernetes.as_ref().map(|kubernetes| kubernetes.version);
    match version {
        None => Some("the plan names no Kubernetes".to_owned()),
        Some(version) if version.major != 1 || !series.iter().any(|row| (row.0..=row.1).contains(&version.minor)) => {
            let known: Vec<String> = series.iter().copied().map(row).collect();
            Some(format!("{of} of Kubernetes {}, the lab has {version}", known.join(", ")))
        }
        Some(_) => calico::refusal(plan),
    }
}

fn row((first, last): (u16, u16)) -> String {
    if first == last { format!("1.{first}.x") } else { format!("1.{first}.x to 1.{last}.x") }
}

/// The nodes as the API server shall know them whether their kubelets came or not: each with its planned block. What
/// the kubelets know better they add.
fn nodes(plan: &Plan) -> Upload {
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

/// What every node has beside its certificates.
pub(super) fn names(plan: &Plan) -> Upload {
    let images = plan.calico.iter().flat_map(|calico| &calico.images);
    let lines = images.fold(String::new(), |lines, image| lines + "/" + &image.file + " " + &image.name + "\n");
    Upload { path: NAMES.into(), mode: 0o644, content: Content::Bytes(lines.into_bytes()) }
}

/// What the master has of what the cluster begins with, where a Calico keeps its data elsewhere too.
pub(super) fn files(kit: &Kit<'_>) -> Vec<Upload> {
    let mut files = vec![nodes(kit.plan)];
    files.extend(datastore::files(kit.plan, Timestamp::now()));
    files.extend(calico::files(kit));
    files
}

/// Wait for the API server, then apply what the cluster begins with. If it never answers, `units` are what stands
/// before it.
pub(super) async fn begin(plan: &Plan, node: &NodeName, remote: &Remote, units: &[&str]) -> Result<(), InstallError> {
    let readyz = plan.kubernetes.as_ref().is_some_and(|own| own.version.since(1, 16));
    begin_by(plan, node, remote, units, (kube::ask_ready(readyz), kube::apply(applied::FOLDER))).await
}

/// The same in other words: how it is asked whether it is ready, and told to apply.
pub(super) async fn begin_by(
    plan: &Plan,
    node: &NodeName,
    remote: &Remote,
    units: &[&str],
    (ready, apply): (Argv, Argv),
) -> Result<(), InstallError> {
    let asked = async |argv: &Argv| match remote.run(&argv.clone().sudo(), LIMIT).await {
        Ok(output) if output.ok() => Asked::Yes(()),
        Ok(output) => {
            super::log(node, "asking the API server", &output);
            Asked::NotYet(kube::first_causes(&output.tail(4)))
        }
        Err(error) => Asked::Never(error.to_string()),
    };
    if let Err(error) = wait::until(API, async || asked(&ready).await).await {
        let units = remote.run(&kube::ask_units(units).sudo(), LIMIT).await;
        return Err(silent(node, &error, units.ok().as_ref()));
    }
    let given = async |argv: Argv, doing: &'static str| {
        let given = wait::until(APPLY, async || asked(&argv).await).await;
        given.map_err(|error| InstallError::Failed { node: node.clone(), doing, said: error.to_string() })
    };
    if let Some(argv) = datastore::fill(plan) {
        given(argv, "giving etcd what Calico begins with").await?;
    }
    given(apply, "giving the API server what the cluster begins with").await
}

/// An API server that never answers, with the last words of what stands before it.
fn silent(node: &NodeName, error: &WaitError, units: Option<&Output>) -> InstallError {
    if let Some(units) = units {
        super::log(node, "looking at what stands before the API server", units);
    }
    let said = units.map_or_else(|| error.to_string(), |units| format!("{error}\n{}", units.tail(24)));
    InstallError::Failed { node: node.clone(), doing: "waiting for the API server", said }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::example;

    #[tokio::test]
    async fn an_api_server_that_never_answers_is_told_with_its_unit_and_its_last_words() {
        let patience = Patience { limit: Duration::ZERO, pause: Duration::ZERO };
        let refused = "The connection to the server 198.18.7.11:6443 was refused";
        let asked = wait::until(patience, async || Asked::<()>::NotYet(refused.into())).await;
        let units = Output {
            ended: crate::command::Ended::Exit(0),
            stdout: "etcd is activating\nrafthttp: failed to dial 5f0e\nkube-apiserver is inactive\n".into(),
            stderr: String::new(),
        };
        let node = "one".parse().expect("a name");
        let told = silent(&node, &asked.expect_err("never"), Some(&units)).to_string();
        assert!(told.starts_with("waiting for the API server on one failed"), "{told}");
        for word in [refused, "etcd is activating", "failed to dial 5f0e", "kube-apiserver is inactive"] {
            assert!(told.contains(word), "{word}: {told}");
        }
    }

    #[test]
    fn each_node_is_given_its_planned_block() {
        let plan = example::planned(&example::lab(&["one", "two"]), "demo");
        insta::assert_snapshot!(format!("{:#}", listed(&plan)));
    }
}
