//! Kubernetes out of its own binaries: each program under a unit of its own, and what the cluster begins with.

use std::time::Duration;

use serde_json::{Value, json};

use super::pki::Pair;
use super::{InstallError, Kit, LIMIT, secret};
use crate::command::Argv;
use crate::guest::Machine;
use crate::lab::file::On;
use crate::lab::kubernetes::Etcd;
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::node::kube;
use crate::ssh::{Content, Remote, Upload};
use crate::wait::{self, Asked, Patience};

/// What follows when everything is there.
const START: &str = include_str!("binaries.sh");
/// The series whose flags the units in `cloud-config/binaries` have.
const SERIES: (u16, u16) = (1, 20);
/// The etcd that those units are: one on the master, asked by TLS.
const ETCD: Etcd = Etcd { on: On::Master, tls: true };
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
    let version = plan.kubernetes.as_ref().map(|kubernetes| kubernetes.version);
    let etcd = plan.kubernetes.as_ref().and_then(|kubernetes| kubernetes.etcd);
    let why = match version {
        None => "the plan names no Kubernetes".to_owned(),
        Some(version) if version.series() != SERIES => {
            let (major, minor) = SERIES;
            format!("its units have the flags of Kubernetes {major}.{minor}.x, the lab has {version}")
        }
        Some(_) if etcd != Some(ETCD) => "its units have one etcd, on the master, with TLS".to_owned(),
        // Such a lab would come up without the Calico that it names.
        Some(_) if plan.calico.is_some() => "it does not apply the manifests of `calico`".to_owned(),
        Some(_) => return None,
    };
    Some(format!("this calicolab cannot install such `binaries` labs yet: {why}"))
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
    use crate::lab::file::Installer;
    use crate::lab::kubernetes::Kubernetes;

    fn plan(version: &str, etcd: Etcd) -> Plan {
        let mut lab = example::lab(&["one", "two"]);
        lab.installer = Installer::Binaries;
        lab.kubernetes = Some(Kubernetes { version: version.parse().expect("a release"), etcd: Some(etcd) });
        example::planned(&lab, "demo")
    }

    #[test]
    fn only_what_the_units_are_made_for_is_installed() {
        let told = |plan: &Plan| refusal(plan).expect("refused");
        assert_eq!(refusal(&plan("1.20.2", ETCD)), None);
        assert!(told(&plan("1.7.16", ETCD)).contains("1.20.x, the lab has 1.7.16"));
        assert!(refusal(&plan("1.2.0", ETCD)).is_some());
        assert!(told(&plan("1.20.2", Etcd { on: On::All, ..ETCD })).contains("one etcd"));
        assert!(told(&plan("1.20.2", Etcd { tls: false, ..ETCD })).contains("one etcd"));
        let calico = example::carried_lab("calico-3.21-etcd", &[]).calico;
        assert!(told(&Plan { calico, ..plan("1.20.2", ETCD) }).contains("manifests of `calico`"));
        assert!(told(&Plan { kubernetes: None, ..plan("1.20.2", ETCD) }).contains("no Kubernetes"));
    }

    #[test]
    fn each_node_is_given_its_planned_block() {
        insta::assert_snapshot!(format!("{:#}", nodes(&plan("1.20.2", ETCD))));
    }
}
