//! Kubernetes out of its own binaries: each program under a unit of its own, and what the cluster begins with.

use std::time::Duration;

use serde_json::{Value, json};

use super::pki::Pair;
use super::{InstallError, Kit, LIMIT, secret};
use crate::command::Argv;
use crate::guest::Machine;
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::node::kube;
use crate::ssh::{Content, Remote, Upload};
use crate::wait::{self, Asked, Patience};

/// What follows when everything is there.
const START: &str = include_str!("binaries.sh");
/// The versions whose flags the units in `cloud-config/binaries` have.
const MINOR: &str = "1.20.";
/// The artifact whose version is that of Kubernetes.
const NAMED: &str = "kubernetes-server";
/// The units that must run before the API server answers.
const UNITS: [&str; 3] = ["etcd", "kube-apiserver", "containerd"];
/// Certificates and keys on the nodes.
const PKI: &str = "/etc/kubernetes/pki";
/// What is applied to the cluster, in the order of the names.
const MANIFESTS: &str = "/var/lib/calicolab/manifests";
/// The API server's first start makes its own objects; emulated machines take minutes for it.
const API: Patience = Patience { limit: Duration::from_secs(600), pause: Duration::from_millis(500) };
/// Once it answers, the namespaces that it makes itself follow within seconds.
const APPLY: Patience = Patience { limit: Duration::from_secs(120), pause: Duration::from_secs(1) };

/// Why the units would not do for a plan, if they would not.
pub(super) fn refusal(plan: &Plan) -> Option<String> {
    let version = plan.artifacts.iter().find(|placed| placed.pin.name == NAMED).map(|placed| &placed.pin.version);
    match version {
        Some(version) if version.starts_with(MINOR) => None,
        Some(version) => Some(format!(
            "this calicolab cannot install such `binaries` labs yet: its units have the flags of Kubernetes {MINOR}x, the lab has {version}"
        )),
        None => Some(format!("a lab with the installer `binaries` needs the artifact `{NAMED}`")),
    }
}

/// Bring `node` to where its units start by themselves; on the master wait for the API server, and give it the nodes
/// with their blocks, and the lab's manifests. Safe to repeat.
pub(super) async fn install(
    kit: &Kit<'_>,
    node: &NodeName,
    machine: &Machine,
    remote: &Remote,
) -> Result<(), InstallError> {
    kit.place(node, machine, remote, files(kit, node), START).await?;
    if *node == kit.plan.master { begin(node, remote).await } else { Ok(()) }
}

fn files(kit: &Kit<'_>, node: &NodeName) -> Vec<Upload> {
    let pair = |name: &str, pair: &Pair, public: &str| {
        [secret(&format!("{PKI}/{name}.{public}"), &pair.certificate), secret(&format!("{PKI}/{name}.key"), &pair.key)]
    };
    let mut files = vec![secret(&format!("{PKI}/ca.crt"), &kit.pki.authority)];
    files.extend(pair("kubelet", &kit.pki.nodes[node], "crt"));
    let Some(kubernetes) = &kit.pki.kubernetes else { return files };
    files.extend(pair("kube-proxy", &kubernetes.proxy, "crt"));
    if *node == kit.plan.master {
        files.extend(pair("etcd", &kit.pki.etcd, "crt"));
        files.extend(kubernetes.master.iter().flat_map(|(name, own)| pair(name, own, "crt")));
        files.extend(pair("service-accounts", &kubernetes.service_accounts, "pub"));
        let nodes = nodes(kit.plan).to_string().into_bytes();
        files.push(Upload { path: format!("{MANIFESTS}/00-nodes.json"), mode: 0o644, content: Content::Bytes(nodes) });
    }
    files
}

/// The nodes as the API server shall know them before their kubelets come: each with its planned block. What the
/// kubelets know better they add.
fn nodes(plan: &Plan) -> Value {
    let node = |name: &NodeName, block: &ipnet::Ipv4Net| {
        json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
            "spec": {"podCIDR": block, "podCIDRs": [block]}})
    };
    let all: Vec<Value> = plan.nodes.iter().map(|(name, part)| node(name, &part.block)).collect();
    json!({"apiVersion": "v1", "kind": "List", "items": all})
}

/// Wait for the API server, then apply what the cluster begins with.
async fn begin(node: &NodeName, remote: &Remote) -> Result<(), InstallError> {
    let asked = async |argv: Argv| match remote.run(&argv.sudo(), LIMIT).await {
        Ok(output) if output.ok() => Asked::Yes(()),
        Ok(output) => Asked::NotYet(output.tail(4)),
        Err(error) => Asked::Never(error.to_string()),
    };
    if let Err(error) = wait::until(API, async || asked(kube::ask_ready()).await).await {
        let units = remote.run(&kube::ask_units(&UNITS).sudo(), LIMIT).await;
        let said = units.map_or_else(|_| error.to_string(), |units| format!("{error}\n{}", units.tail(24)));
        return Err(InstallError::Failed { node: node.clone(), doing: "waiting for the API server", said });
    }
    let applied = wait::until(APPLY, async || asked(kube::apply(MANIFESTS)).await).await;
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
    use crate::lab::file::{Installer, On};
    use crate::lab::pin::{Arch, Digest, Pin, Source, Trust};
    use crate::lab::plan::Placed;

    fn plan(version: Option<&str>) -> Plan {
        let mut lab = example::lab(&["one", "two"]);
        lab.installer = Installer::Binaries;
        let mut plan = example::planned(&lab, "demo");
        plan.artifacts.extend(version.map(|version| Placed {
            pin: Pin {
                name: NAMED.into(),
                version: version.into(),
                arch: Arch::Amd64,
                source: Source::Url { urls: Vec::new(), sums: None },
                digest: Digest::Sha256([0; 32]),
                bytes: None,
                trust: Trust::Published,
                found: String::new(),
            },
            on: On::Master,
            files: Vec::new(),
        }));
        plan
    }

    #[test]
    fn only_the_version_of_the_units_is_installed() {
        assert_eq!(refusal(&plan(Some("1.20.2"))), None);
        assert!(refusal(&plan(Some("1.7.16"))).is_some_and(|why| why.contains("1.20.x, the lab has 1.7.16")));
        assert!(refusal(&plan(Some("1.2.0"))).is_some());
        assert!(refusal(&plan(None)).is_some_and(|why| why.contains("`kubernetes-server`")));
    }

    #[test]
    fn each_node_is_given_its_planned_block() {
        insta::assert_snapshot!(format!("{:#}", nodes(&plan(None))));
    }
}
