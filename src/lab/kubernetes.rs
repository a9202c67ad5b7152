//! The Kubernetes and the Calico of a lab, as values.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::artifact::On;
use super::edit::Edit;
use super::installer::{For, Installer};
use super::pin::{Arch, filled};

/// A release of Kubernetes or Calico: `1.20.8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Release {
    /// The first number.
    pub major: u16,
    /// The second: with the first it names a series.
    pub minor: u16,
    /// The third.
    pub patch: u16,
}

impl Release {
    /// Whether it belongs to the series `major.minor`, or to a later one.
    pub fn since(self, major: u16, minor: u16) -> bool {
        self.series() >= (major, minor)
    }

    /// Its first two numbers.
    pub fn series(self) -> (u16, u16) {
        (self.major, self.minor)
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A text that names no release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no release: it has three numbers, as 1.20.8")]
pub struct ReleaseError(String);

impl FromStr for Release {
    type Err = ReleaseError;

    fn from_str(text: &str) -> Result<Self, ReleaseError> {
        let number = |part: &str| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok()).flatten();
        let numbers: Option<Vec<u16>> = text.split('.').map(number).collect();
        match numbers.as_deref() {
            Some(&[major, minor, patch]) => Ok(Self { major, minor, patch }),
            _ => Err(ReleaseError(text.into())),
        }
    }
}

impl TryFrom<String> for Release {
    type Error = ReleaseError;

    fn try_from(text: String) -> Result<Self, ReleaseError> {
        text.parse()
    }
}

impl From<Release> for String {
    fn from(release: Release) -> Self {
        release.to_string()
    }
}

/// The Kubernetes of a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kubernetes {
    /// Its release.
    pub version: Release,
    /// The etcd that the lab runs as a unit of its own; where there is none, kubeadm runs one as a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd: Option<Etcd>,
    /// What a pod network of the lab's own does at its edge; where there is a Calico, that is Calico's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Edge>,
}

/// What the pods' network does where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// Whether what leaves the pool for addresses outside it goes as its node's; else pods are known there as themselves.
    pub nat: bool,
    /// Whether a pod's `hostPort` answers at its node's address.
    pub hostport: bool,
}

impl Edge {
    /// Calico's pools are made with NAT; its plugin publishes ports of nodes since 3.0, where `portmap` follows it in one
    /// list. The kubelet of 2016 tells plugins of no ports, and what its Calico does with a pool of its own making is not
    /// known here.
    pub(in crate::lab) fn of(
        installer: Installer,
        calico: Option<&Calico>,
        kubernetes: Option<&Kubernetes>,
    ) -> Option<Self> {
        if !For::Kubernetes.fits(installer) {
            return None;
        }
        match calico {
            Some(calico) => Some(Self { nat: true, hostport: calico.version.since(3, 0) }),
            None => kubernetes?.network,
        }
    }
}

/// An etcd that the lab runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Etcd {
    /// Which nodes have a member.
    pub on: On,
    /// Whether it is asked by TLS, with certificates at both ends.
    pub tls: bool,
}

/// What runs containers for a kubelet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// By the kubelet's CRI.
    Containerd,
    /// As kubelets up to 1.23 know it themselves.
    Docker,
}

/// The Calico of a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calico {
    /// Its release.
    pub version: Release,
    /// Where it keeps its data.
    pub datastore: Datastore,
    /// How packets between pods of two nodes are wrapped.
    pub encapsulation: Encapsulation,
    /// How a node finds its own address.
    pub detection: Detection,
    /// How it is installed.
    pub install: Install,
    /// The upstream's files for that way, in the order in which they are applied.
    pub manifests: Vec<ManifestFile>,
    /// The names that images in archives are given on the nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageArchive>,
    /// The user's own images, in place of those that the manifests ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub own: Vec<Instead>,
    /// What the lab changes in the manifests beyond what its settings do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<Edit>,
}

/// A file of manifests: one artifact, or a member of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Name of the artifact.
    pub of: String,
    /// The member of the archive; none for the whole file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
}

impl ManifestFile {
    /// The same with `{version}` of its artifact, `{arch}` and `{machine}` filled in.
    #[must_use]
    pub(in crate::lab) fn filled(&self, version: &str, arch: Arch) -> Self {
        Self { of: self.of.clone(), member: self.member.as_ref().map(|member| filled(member, version, arch)) }
    }

    /// What people know it by.
    pub fn name(&self) -> &str {
        self.member.as_deref().map_or(&self.of, |member| member.rsplit('/').next().unwrap_or(member))
    }
}

/// An image that comes as an archive: release archives have them under names that their own manifests do not use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageArchive {
    /// The archive on the nodes, as one of the lab's files has it in `to`.
    pub file: String,
    /// The whole name, with its tag.
    pub name: String,
}

/// An image in place of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instead {
    /// The one that manifests ask for: the whole name, with its tag.
    pub image: String,
    /// The one that they get.
    pub by: String,
}

/// Where Calico keeps its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Datastore {
    /// As objects of Kubernetes.
    Kubernetes,
    /// In the lab's etcd.
    Etcd,
}

/// How packets between pods of two nodes are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encapsulation {
    /// Not at all.
    None,
    /// In IP.
    Ipip,
    /// In IP, where the nodes are not on one subnet: in a lab never.
    IpipCrossSubnet,
    /// In UDP.
    Vxlan,
    /// In UDP, where the nodes are not on one subnet: in a lab never.
    VxlanCrossSubnet,
}

impl Encapsulation {
    /// What the wrapping adds to each packet, in bytes; pods get packets that are so much smaller, wrapped or not.
    pub fn overhead(self) -> u16 {
        match self {
            Self::None => 0,
            Self::Ipip | Self::IpipCrossSubnet => 20,
            Self::Vxlan | Self::VxlanCrossSubnet => 50,
        }
    }
}

/// How a node finds its own address among several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Detection {
    /// The one inside the lab network; since 3.16.
    Cidr,
    /// The one from which the master is reached.
    CanReach,
    /// The one of the lab's NIC.
    Interface,
}

/// How Calico is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Install {
    /// By manifests that hold all of it.
    Manifest,
    /// By the operator, which makes the rest.
    Operator,
}

/// A word a value has in lab.yaml.
pub(in crate::lab) type Words<T> = &'static [(&'static str, T)];

pub(in crate::lab) const DATASTORES: Words<Datastore> =
    &[("kubernetes", Datastore::Kubernetes), ("etcd", Datastore::Etcd)];
pub(in crate::lab) const ENCAPSULATIONS: Words<Encapsulation> = &[
    ("none", Encapsulation::None),
    ("ipip", Encapsulation::Ipip),
    ("ipip-cross-subnet", Encapsulation::IpipCrossSubnet),
    ("vxlan", Encapsulation::Vxlan),
    ("vxlan-cross-subnet", Encapsulation::VxlanCrossSubnet),
];
pub(in crate::lab) const DETECTIONS: Words<Detection> =
    &[("cidr", Detection::Cidr), ("can-reach", Detection::CanReach), ("interface", Detection::Interface)];
const RUNTIMES: Words<Runtime> = &[("containerd", Runtime::Containerd), ("docker", Runtime::Docker)];
pub(in crate::lab) const INSTALLS: Words<Install> = &[("manifest", Install::Manifest), ("operator", Install::Operator)];

/// Displayed by the word that lab.yaml has for it.
macro_rules! worded {
    ($($of:ty = $words:expr),*) => {$(
        impl fmt::Display for $of {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad($words.iter().find(|(_, value)| value == self).map_or("", |(word, _)| word))
            }
        }
    )*};
}

worded!(
    Datastore = DATASTORES,
    Encapsulation = ENCAPSULATIONS,
    Detection = DETECTIONS,
    Install = INSTALLS,
    Runtime = RUNTIMES
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_has_three_numbers_and_an_order() {
        let release = |text: &str| text.parse::<Release>().expect(text);
        assert!(
            release("3.9.6") < release("3.10.0") && release("3.16.0").since(3, 16) && !release("3.9.6").since(3, 10)
        );
        assert_eq!(release("1.20.8").to_string(), "1.20.8");
        for text in ["", "1.20", "v1.20.8", "1.20.8-rc.1", "1.20.+8", "1.20.8.1", "1.20.99999"] {
            assert!(text.parse::<Release>().is_err(), "{text}");
        }
    }
}
