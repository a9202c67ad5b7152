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

/// For which labs something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// For all.
    Any,
    /// Where etcd, BIRD and services are units of the nodes' own.
    Primer,
    /// Where Kubernetes runs as binaries or kubeadm bring it up.
    Kubernetes,
    /// The same, where each of its programs is a unit of its own.
    Binaries,
}

impl For {
    /// Whether a lab that is built so is among them.
    pub fn fits(self, installer: Installer) -> bool {
        match self {
            Self::Any => true,
            Self::Primer => installer == Installer::Primer,
            Self::Kubernetes => matches!(installer, Installer::Binaries | Installer::Kubeadm),
            Self::Binaries => installer == Installer::Binaries,
        }
    }
}

/// What keeps the pods of different namespaces apart, where Calico's plugin of 2016 is told so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Nothing: every pod may speak to every other.
    #[default]
    None,
    /// Each namespace is on its own, but for what annotations of its pods allow.
    K8sAnnotations,
}

/// The policies by the words that files call them.
pub(in crate::lab) const POLICIES: [(&str, Policy); 2] =
    [("none", Policy::None), ("k8s-annotations", Policy::K8sAnnotations)];

impl Policy {
    /// Whether nothing isolates.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

impl fmt::Display for Installer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, _) = INSTALLERS.iter().find(|(_, installer)| installer == self).expect("every installer has a word");
        f.pad(word)
    }
}
