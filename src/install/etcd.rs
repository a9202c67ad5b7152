//! The lab's own etcd beside Kubernetes: what its members, and those who ask it, have of certificates on each node.

use super::pki::Pair;
use super::{Kit, cluster, secret};
use crate::lab::name::NodeName;
use crate::node::etcd::FOLDER;
use crate::ssh::Upload;

/// The certificates of `node`; none where the etcd wants none.
pub(super) fn files(kit: &Kit<'_>, node: &NodeName) -> Vec<Upload> {
    let Some(clients) = &kit.pki.clients else { return Vec::new() };
    let put = |name: String, pair: &Pair| {
        [secret(&format!("{name}.crt"), &pair.certificate), secret(&format!("{name}.key"), &pair.key)]
    };
    let mut files = Vec::new();
    if let Some(member) = &kit.pki.members[node] {
        files.extend(put(format!("{FOLDER}/member"), member));
    }
    if let Some(calico) = &clients.calico {
        files.extend(put(format!("{FOLDER}/calico"), calico));
    }
    if !files.is_empty() {
        files.push(secret(&format!("{FOLDER}/ca.crt"), &kit.pki.authority));
    }
    if *node == kit.plan.master {
        files.extend(put(format!("{}/etcd-client", cluster::PKI), &clients.api));
    }
    files
}
