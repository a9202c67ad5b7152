//! The ways in which a cluster is built on its machines, by the words that files call them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a cluster is built on its machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Installer {
    /// etcd, BIRD and containers without Kubernetes.
    Primer,
    /// Kubernetes out of its server binaries, each under a unit of its own.
    Binaries,
    /// Kubernetes by kubeadm.
    Kubeadm,
    /// Kubernetes as CoreOS machines were given it in 2016: units and files in cloud-config.
    Coreos,
}

/// The installers by the words that files call them.
pub(in crate::lab) const INSTALLERS: [(&str, Installer); 4] = [
    ("primer", Installer::Primer),
    ("binaries", Installer::Binaries),
    ("kubeadm", Installer::Kubeadm),
    ("coreos", Installer::Coreos),
];

impl Installer {
    /// Whether there is an API server at the first service address; else it is etcd that answers there.
    pub fn has_kubernetes(self) -> bool {
        self != Self::Primer
    }
}

impl fmt::Display for Installer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, _) = INSTALLERS.iter().find(|(_, installer)| installer == self).expect("every installer has a word");
        f.pad(word)
    }
}
