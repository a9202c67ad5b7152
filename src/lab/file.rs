//! `lab.yaml` -> [`Lab`], with all its problems gathered, each with line, column and the nearest right word.

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::accept::Accept;
pub use super::artifact::{Artifact, On, Taken};
use super::images::Images;
use super::installer::{INSTALLERS, POLICIES};
pub use super::installer::{Installer, Policy};
use super::kernel::{Cgroups, Module, NEEDS, Need};
use super::kubernetes::{Calico, Kubernetes};
use super::name::{LabName, NodeName};
use super::pin::Arch;
use super::placement::{PLACEMENTS, Placement};
use super::problem::Problems;
use super::setting::{self, Setting};
use super::tree::{self, Fields};
use super::{lock_file, scalar};

mod accept;
pub(in crate::lab) mod artifacts;
mod kubernetes;
mod sections;
#[cfg(test)]
pub(in crate::lab) mod tests;

/// Version of `lab.yaml`.
pub const LAB_SCHEMA: u32 = 1;

/// What is wanted, already known to be right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lab {
    /// The folder it lies in.
    pub name: LabName,
    /// One line for people.
    pub about: String,
    /// Key in `images.yaml`.
    pub image: String,
    /// The processor of the image, and so of the nodes.
    pub arch: Arch,
    /// The image's control groups; none where they are the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroups: Option<Cgroups>,
    /// How the cluster is built on the machines.
    pub installer: Installer,
    /// The machines.
    pub nodes: Nodes,
    /// What not every provider of machines gives.
    pub needs: Option<Need>,
    /// Modules that the nodes' kernel must have.
    pub modules: Vec<Module>,
    /// The address ranges.
    pub network: Network,
    /// How nodes are put on the members of a cluster of servers.
    pub placement: Placement,
    /// The routing.
    pub bgp: Bgp,
    /// Which Kubernetes, where the lab says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<Kubernetes>,
    /// Which Calico, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calico: Option<Calico>,
    /// What it is accepted by, where it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept: Option<Accept>,
    /// What isolates pods, of the installer `coreos` alone.
    #[serde(skip_serializing_if = "Policy::is_none")]
    pub policy: Policy,
    /// The files the nodes get.
    pub artifacts: Vec<Artifact>,
    /// How long proving may take.
    pub proof: ProofPlan,
}

impl Lab {
    /// Read the text of `file` as the lab `name`, after applying `sets`; all problems at once.
    ///
    /// `images` are the OS images that a lab may name.
    pub fn read(name: &LabName, text: &str, file: &str, sets: &[Setting], images: &Images) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let mut tree = tree::parse(text, file)?;
        setting::apply(&mut tree, sets, &mut problems);
        let mut top = Fields::of_file(tree, &mut problems)?;
        lock_file::schema(&mut top, LAB_SCHEMA)?;
        let about = top.need("about", "one line for people", scalar::text);
        let installer = top.need("installer", "primer", scalar::choice(&INSTALLERS));
        let image = top.need("image", "debian-12", scalar::text);
        let nodes = sections::nodes(&mut top);
        let needs = top.get("needs", scalar::choice(&NEEDS)).map(|found| found.value);
        let modules = top.each("modules", scalar::parsed::<Module>).map_or_else(Vec::new, |found| found.value);
        let network = sections::network(&mut top, nodes.as_ref());
        let placement =
            top.get("placement", scalar::choice(&PLACEMENTS)).map_or_else(Placement::default, |found| found.value);
        let bgp = sections::bgp(&mut top, nodes.as_ref());
        let artifacts = artifacts::artifacts(&mut top);
        let kubernetes = kubernetes::kubernetes(&mut top, installer.as_ref());
        let calico = kubernetes::calico(&mut top, kubernetes.as_ref(), &network, artifacts.as_deref());
        let accept = accept::accept(&mut top, installer.as_ref(), calico.as_ref());
        let policy = kubernetes::policy(&mut top, installer.as_ref());
        let releases =
            [kubernetes.as_ref().map(|found| found.value.version), calico.as_ref().map(|calico| calico.version)];
        let artifacts = artifacts.map(|artifacts| kubernetes::versioned(&mut top, artifacts, releases));
        let proof = sections::proof(&mut top);
        let fitting = image.as_ref().and_then(|image| {
            match images.fits(&image.value, installer.as_ref().map(|found| found.value)) {
                Ok(fitting) => Some(fitting),
                Err(reason) => {
                    top.problem(reason.at(&image.at));
                    None
                }
            }
        });
        if let (Some(image), Some(fitting)) = (&image, fitting) {
            kubernetes::runs_on(&mut top, kubernetes.as_ref(), installer.as_ref(), (image, fitting));
        }
        top.end();
        let lab = (|| {
            Some(Self {
                name: name.clone(),
                about: about?.value,
                image: image?.value,
                arch: fitting?.arch,
                cgroups: fitting?.cgroups,
                installer: installer?.value,
                nodes: nodes?,
                needs,
                modules: modules.into_iter().map(|found| found.value).collect(),
                network,
                placement,
                bgp,
                kubernetes: kubernetes.map(|found| found.value),
                calico,
                accept,
                policy,
                artifacts: artifacts?,
                proof,
            })
        })();
        Problems::none_or(problems)?;
        Ok(lab.expect("whatever is missing has been noted as a problem"))
    }
}

impl Lab {
    /// The artifact called `name`.
    pub fn artifact(&self, name: &str) -> Option<&Artifact> {
        self.artifacts.iter().find(|artifact| artifact.name == name)
    }
}

/// The machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Nodes {
    /// Distinct; the first is the master.
    pub names: Vec<NodeName>,
    /// Processors of each.
    pub cpus: u16,
    /// Memory of each in MiB.
    pub memory_mib: u64,
    /// Disk of each in MiB.
    pub disk_mib: u64,
}

/// The address ranges, which do not overlap and are large enough for the nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Network {
    /// The lab network, where the lab insists on one; else one is leased out of [`super::addressing::LAB_POOL`].
    pub lab: Option<Ipv4Net>,
    /// The number of the first node's address in the lab network; the others follow it.
    pub first: u8,
    /// The pool of pod addresses.
    pub pods: Ipv4Net,
    /// Length of a node's block, in bits of prefix.
    pub block: u8,
    /// The range of service addresses.
    pub services: Ipv4Net,
    /// The cluster's DNS domain.
    pub domain: String,
    /// Largest packet on the lab network.
    pub mtu: u16,
}

/// The routing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bgp {
    /// AS of every node.
    pub asn: u32,
    /// Full mesh, or not.
    pub mesh: bool,
    /// Route reflectors: at least one without a mesh, none with one.
    pub reflectors: Vec<NodeName>,
    /// The timers' set.
    pub timers: Timers,
}

/// A set of BGP timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Timers {
    /// Hold 12 s, keepalive 4 s, short retries, graceful restart off: a cut link shows within seconds.
    Quick,
    /// The field's own: hold 240 s, keepalive 80 s, graceful restart on.
    Calico,
}

/// How long proving may take, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofPlan {
    /// Age a session must have before it counts as stable.
    pub stability_s: u64,
    /// Patience of `up` and `start`.
    pub up_s: u64,
    /// Patience of `verify`.
    pub verify_s: u64,
}
