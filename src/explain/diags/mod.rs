//! Bundles of others: what `calicoctl node diags` and `calicoctl cluster diags` collect, as evidence for the same rules.

mod evidence;
mod layout;
mod members;
mod sessions;

use std::collections::BTreeMap;

use super::{Diagnosis, Evidence, explain};
use crate::lab::plan::Plan;

pub use layout::wanted;

/// A file of a bundle: its path in the archive, and its text.
pub type File = (String, String);

/// Somebody's bundle, read.
#[derive(Clone, Debug)]
pub struct Diags {
    /// What is to be, as far as the bundle says or what is there implies.
    pub plan: Plan,
    /// What its nodes said.
    pub evidence: Evidence,
    /// What it cannot tell, for people.
    pub blind: Vec<String>,
}

/// Why files are no such bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoDiags {
    /// Nothing in it is where these programs put it.
    #[error("it holds neither a bundle of calicolab nor diagnostics of calicoctl")]
    Foreign,
    /// It is one, and no node in it has an address.
    #[error("it holds diagnostics of calicoctl, and no address of any node can be read in them")]
    NoNodes,
}

/// Read the files of a bundle, or of several of the same cluster.
pub fn read(files: &[File]) -> Result<Diags, NoDiags> {
    let sorted = layout::sorted(files).ok_or(NoDiags::Foreign)?;
    let members = members::members(&sorted);
    evidence::diags(&sorted, &members).ok_or(NoDiags::NoNodes)
}

/// Name the first broken link, with repairs for a cluster that calicolab did not make.
pub fn diagnose(diags: &Diags) -> Diagnosis {
    let mut diagnosis = explain(&diags.evidence, &diags.plan);
    let causes = diagnosis.first.iter_mut().chain(&mut diagnosis.also).chain(&mut diagnosis.warnings);
    for cause in causes {
        let node = cause.evidence.first().map_or("that node", |side| side.node.as_str()).to_owned();
        if let Some(repair) = repair(&cause.id, &node) {
            cause.remedy = repair;
        }
    }
    diagnosis.blind.clone_from(&diags.blind);
    diagnosis
}

/// Where the usual repair is a lab's own.
fn repair(id: &str, node: &str) -> Option<String> {
    Some(match id {
        "wrong-address" => "kubectl -n kube-system set env daemonset/calico-node IP_AUTODETECTION_METHOD=cidr=YOUR-NODES-NETWORK (with the \
             operator: spec.calicoNetwork.nodeAddressAutodetectionV4 of the Installation)"
            .to_owned(),
        "address-missing" => format!("restart calico-node on {node}: it registers the address that the node has now"),
        "bird-stopped" | "not-listening" => format!("restart calico-node on {node}, and read its log if that does not help"),
        "no-neighbour" => {
            format!("look at what lies between {node} and the others (switch, security group, adapter of the machine)")
        }
        "port-taken" => format!("on {node}: sudo ss -ltnp 'sport = :179' (then stop that program and restart calico-node)"),
        _ => return None,
    })
}

/// Papers of nodes by the names that the nodes have.
type Papers<'a> = BTreeMap<String, layout::Node<'a>>;

#[cfg(test)]
mod tests;
