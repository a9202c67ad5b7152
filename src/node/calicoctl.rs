//! calicoctl on the master: the lab's own, told where Calico keeps its data.

pub mod status;

use super::kube;
use crate::command::Argv;
use crate::lab::kubernetes::{Calico, Datastore};

/// What etcd's clients show on the master.
const PKI: &str = "/etc/kubernetes/pki";

/// calicoctl with the words of a user; `etcd` is where the lab's etcd is asked, each as `https://…:2379`.
pub fn words<W: Into<String>>(calico: &Calico, etcd: &[String], words: impl IntoIterator<Item = W>) -> Argv {
    let mut told = Vec::new();
    match calico.datastore {
        Datastore::Kubernetes => {
            told.push("DATASTORE_TYPE=kubernetes".to_owned());
            told.push(format!("KUBECONFIG={}", kube::ADMIN));
        }
        Datastore::Etcd => {
            // Up to 2.6 it asks etcd's old API.
            let kind = if calico.version.since(3, 0) { "etcdv3" } else { "etcdv2" };
            told.push(format!("DATASTORE_TYPE={kind}"));
            told.push(format!("ETCD_ENDPOINTS={}", etcd.join(",")));
            if etcd.iter().any(|one| one.starts_with("https:")) {
                told.push(format!("ETCD_CA_CERT_FILE={PKI}/ca.crt"));
                told.push(format!("ETCD_CERT_FILE={PKI}/etcd-client.crt"));
                told.push(format!("ETCD_KEY_FILE={PKI}/etcd-client.key"));
            }
        }
    }
    Argv::new("env").args(told).arg("calicoctl").args(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::example;

    #[test]
    fn each_release_is_told_its_datastore() {
        let told = |lab: &str, etcd: &[&str]| {
            let calico = example::carried_lab(lab, &[]).calico.expect("a lab with Calico");
            let etcd: Vec<String> = etcd.iter().map(ToString::to_string).collect();
            words(&calico, &etcd, ["get", "nodes"]).words().join(" ")
        };
        assert_eq!(
            told("calico-3.21-kdd", &[]),
            "env DATASTORE_TYPE=kubernetes KUBECONFIG=/etc/kubernetes/admin.conf calicoctl get nodes"
        );
        let old = told("calico-2.4-etcd", &["http://10.0.0.1:2379"]);
        assert_eq!(old, "env DATASTORE_TYPE=etcdv2 ETCD_ENDPOINTS=http://10.0.0.1:2379 calicoctl get nodes");
        let new = told("calico-3.21-etcd", &["https://10.0.0.1:2379", "https://10.0.0.2:2379"]);
        assert!(
            new.contains(
                "DATASTORE_TYPE=etcdv3 ETCD_ENDPOINTS=https://10.0.0.1:2379,https://10.0.0.2:2379 ETCD_CA_CERT_FILE="
            ),
            "{new}"
        );
    }
}
