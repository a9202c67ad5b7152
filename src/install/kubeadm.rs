//! Kubernetes by kubeadm: the master made, the nodes joined side by side, and what the cluster begins with.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::pki::Made;
use super::{InstallError, Kit, applied, cluster, etcd, secret};
use crate::command::Argv;
use crate::guest::Machine;
use crate::lab::era::KUBEADM;
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::lab::render::Join;
use crate::ssh::{Remote, Upload};

/// Runs on the node: `init` or `join`, unless that is done already.
const SCRIPT: &str = include_str!("kubeadm.sh");
/// A node waits for the master as long as `cloud-config/kubeadm` says, a quarter of an hour, and both take minutes in
/// emulated machines.
const LIMIT: Duration = Duration::from_secs(1500);
/// How long nodes can join after each `up`.
const TOKEN: SignedDuration = SignedDuration::from_hours(24);

/// Why kubeadm would not do for a plan, if it would not.
pub(super) fn refusal(plan: &Plan) -> Option<String> {
    let why = cluster::refusal(plan, "its configuration is that", &KUBEADM.map(|own| own.series))?;
    Some(format!("this calicolab cannot install such `kubeadm` labs yet: {why}"))
}

/// Bring `node` to where it is one of the cluster; on the master wait for the API server, and give it the nodes with
/// their blocks, and the lab's manifests. Safe to repeat.
pub(super) async fn install(
    kit: &Kit<'_>,
    node: &NodeName,
    machine: &Machine,
    remote: &Remote,
) -> Result<(), InstallError> {
    let master = *node == kit.plan.master;
    let mut files = if master { files(kit) } else { Vec::new() };
    files.push(cluster::names(kit.plan));
    files.extend(etcd::files(kit, node));
    kit.place(node, machine, remote, files, cluster::START).await?;
    let (verb, doing) = if master { ("init", "kubeadm init") } else { ("join", "kubeadm join") };
    let output = remote.run(&Argv::script(SCRIPT, [verb]).sudo(), LIMIT).await;
    let output = output.map_err(|source| InstallError::Ssh { node: node.clone(), source: Box::new(source) })?;
    if !output.ok() {
        return Err(InstallError::failed(node, doing, &output));
    }
    if !master {
        return Ok(());
    }
    // What stands before the API server, which is a container of the kubelet's.
    let runtime = kit.plan.runtime().to_string();
    cluster::begin(kit.plan, node, remote, &[&runtime, "kubelet"]).await
}

/// What the master has beside its programs: the authority of all certificates, which kubeadm makes the others of.
fn files(kit: &Kit<'_>) -> Vec<Upload> {
    let mut files = cluster::files(kit);
    if let Made::There(kubeadm) = &kit.pki.made {
        files.push(secret(&format!("{}/ca.crt", cluster::PKI), &kit.pki.authority));
        files.push(secret(&format!("{}/ca.key", cluster::PKI), &kubeadm.authority_key));
        files.push(applied::object("00-token.json", 0o600, &token(&kubeadm.join, Timestamp::now() + TOKEN)));
    }
    files
}

/// The token as the API server keeps it: made anew whenever it expired, so that a node can join on any later day.
fn token(join: &Join, until: Timestamp) -> Value {
    let (id, secret) = join.token.split_once('.').unwrap_or_default();
    let until = until.round(jiff::Unit::Second).unwrap_or(until);
    json!({"apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": format!("bootstrap-token-{id}"), "namespace": "kube-system"},
        "stringData": {"token-id": id, "token-secret": secret, "expiration": until.to_string(),
            "usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true",
            "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token"}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::artifact::On;
    use crate::lab::example;
    use crate::lab::file::Installer;
    use crate::lab::kubernetes::{Etcd, Kubernetes};

    #[test]
    fn only_what_its_configuration_is_made_for_is_installed() {
        let plan = |version: &str, etcd| {
            let mut lab = example::lab(&["one", "two"]);
            lab.installer = Installer::Kubeadm;
            lab.kubernetes = Some(Kubernetes { version: version.parse().expect("a release"), etcd, network: None });
            example::planned(&lab, "demo")
        };
        let told = |plan: &Plan| refusal(plan).expect("refused");
        assert_eq!(refusal(&plan("1.20.2", None)), None);
        assert_eq!([plan("1.17.3", None), plan("1.36.3", None)].map(|plan| refusal(&plan)), [None, None]);
        let known = "of Kubernetes 1.15.x to 1.21.x, 1.31.x to 1.36.x, the lab has 1.25.3";
        assert!(told(&plan("1.25.3", None)).contains(known));
        assert_eq!(refusal(&plan("1.20.2", Some(Etcd { on: On::All, tls: true }))), None);
        let with = |lab: &str| Plan { calico: example::carried_lab(lab, &[]).calico, ..plan("1.20.2", None) };
        assert_eq!(refusal(&with("calico-3.21-kdd")), None);
        for lab in ["calico-3.14-kubeadm", "calico-3.32"] {
            assert_eq!(refusal(&example::carried(lab, &[])), None, "{lab}");
        }
    }

    #[test]
    fn the_token_is_what_kubeadm_would_make_of_it() {
        let join = Join { token: "abcdef.0123456789abcdef".into(), authority: String::new() };
        let until = "2026-01-02T03:04:05.678Z".parse().expect("a time");
        insta::assert_snapshot!(format!("{:#}", token(&join, until)));
    }
}
