//! Kubernetes out of its own binaries: each program under a unit of its own, and what the cluster begins with.

use super::cluster::{self, PKI};
use super::pki::{Made, Pair};
use super::{InstallError, Kit, calico, secret};
use crate::guest::Machine;
use crate::lab::file::On;
use crate::lab::kubernetes::Etcd;
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::ssh::{Remote, Upload};

/// The etcd that the units in `cloud-config/binaries` are: one on the master, asked by TLS.
const ETCD: Etcd = Etcd { on: On::Master, tls: true };
/// The units that must run before the API server answers.
const UNITS: [&str; 3] = ["etcd", "kube-apiserver", "containerd"];

/// Why the units would not do for a plan, if they would not.
pub(super) fn refusal(plan: &Plan) -> Option<String> {
    let why = cluster::refusal(plan, "its units have the flags").or_else(|| {
        let etcd = plan.kubernetes.as_ref().and_then(|kubernetes| kubernetes.etcd);
        (etcd != Some(ETCD)).then(|| "its units have one etcd, on the master, with TLS".to_owned())
    })?;
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
    kit.place(node, machine, remote, files(kit, node), cluster::START).await?;
    if *node == kit.plan.master { cluster::begin(node, remote, &UNITS).await } else { Ok(()) }
}

fn files(kit: &Kit<'_>, node: &NodeName) -> Vec<Upload> {
    let pair = |name: &str, pair: &Pair, public: &str| {
        [secret(&format!("{PKI}/{name}.{public}"), &pair.certificate), secret(&format!("{PKI}/{name}.key"), &pair.key)]
    };
    let mut files = vec![secret(&format!("{PKI}/ca.crt"), &kit.pki.authority)];
    let Made::Here(issued) = &kit.pki.made else { return files };
    files.extend(pair("kubelet", &issued.nodes[node], "crt"));
    let Some(kubernetes) = &issued.kubernetes else { return files };
    files.extend(pair("kube-proxy", &kubernetes.proxy, "crt"));
    if *node == kit.plan.master {
        files.extend(pair("etcd", &issued.etcd, "crt"));
        files.extend(kubernetes.master.iter().flat_map(|(name, own)| pair(name, own, "crt")));
        files.extend(pair("service-accounts", &kubernetes.service_accounts, "pub"));
        files.push(cluster::nodes(kit.plan));
        files.extend(calico::files(kit));
    }
    files
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
        assert!(told(&Plan { calico, ..plan("1.20.2", ETCD) }).contains("no etcd"));
        assert!(told(&Plan { kubernetes: None, ..plan("1.20.2", ETCD) }).contains("no Kubernetes"));
    }
}
