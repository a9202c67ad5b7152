//! Kubernetes out of its own binaries: each program under a unit of its own, and what the cluster begins with.

use super::cluster::{self, PKI};
use super::pki::{Made, Pair};
use super::{InstallError, Kit, applied, etcd, secret};
use crate::guest::Machine;
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::lab::render::AddOn;
use crate::ssh::{Remote, Upload};

/// The units that must run before the API server answers.
const UNITS: [&str; 2] = ["etcd", "kube-apiserver"];
/// The series whose flags stand in `cloud-config/binaries`: each as its own `--help` has them.
const SERIES: [(u16, u16); 3] = [(7, 7), (9, 9), (20, 20)];

/// Why the units would not do for a plan, if they would not.
pub(super) fn refusal(plan: &Plan) -> Option<String> {
    let why = cluster::refusal(plan, "its units have the flags", &SERIES)?;
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
    if *node == kit.plan.master { cluster::begin(kit.plan, node, remote, &UNITS).await } else { Ok(()) }
}

fn files(kit: &Kit<'_>, node: &NodeName) -> Vec<Upload> {
    let pair = |name: &str, pair: &Pair, public: &str| {
        [secret(&format!("{PKI}/{name}.{public}"), &pair.certificate), secret(&format!("{PKI}/{name}.key"), &pair.key)]
    };
    let mut files = vec![secret(&format!("{PKI}/ca.crt"), &kit.pki.authority)];
    files.push(cluster::names(kit.plan));
    files.extend(etcd::files(kit, node));
    let Made::Here(issued) = &kit.pki.made else { return files };
    files.extend(pair("kubelet", &issued.nodes[node], "crt"));
    let Some(kubernetes) = &issued.kubernetes else { return files };
    files.extend(pair("kube-proxy", &kubernetes.proxy, "crt"));
    if *node == kit.plan.master {
        files.extend(kubernetes.master.iter().flat_map(|(name, own)| pair(name, own, "crt")));
        files.extend(pair("service-accounts", &kubernetes.service_accounts, "pub"));
        files.extend(cluster::files(kit));
        let own = |(add_on, text): &(AddOn, String)| applied::text(&format!("80-{}.yaml", add_on.name()), text.clone());
        files.extend(kit.add_ons.iter().map(own));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::artifact::On;
    use crate::lab::example;
    use crate::lab::file::Installer;
    use crate::lab::kubernetes::{Etcd, Kubernetes};

    fn plan(version: &str) -> Plan {
        let mut lab = example::lab(&["one", "two"]);
        lab.installer = Installer::Binaries;
        let etcd = Some(Etcd { on: On::Master, tls: true });
        lab.kubernetes = Some(Kubernetes { version: version.parse().expect("a release"), etcd, network: None });
        example::planned(&lab, "demo")
    }

    #[test]
    fn only_what_the_units_are_made_for_is_installed() {
        let told = |plan: &Plan| refusal(plan).expect("refused");
        assert_eq!(refusal(&plan("1.20.2")), None);
        assert!(told(&plan("1.17.3")).contains("1.7.x, 1.9.x, 1.20.x, the lab has 1.17.3"));
        assert_eq!(refusal(&plan("1.7.16")), None);
        assert!(told(&Plan { kubernetes: None, ..plan("1.20.2") }).contains("no Kubernetes"));
    }
}
