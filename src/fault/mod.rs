//! Faults: each with how it is made, how it is undone, what is seen of it, and what explains it.

mod catalogue;
pub mod node;

use serde::{Deserialize, Serialize};

use crate::lab::installer::For;
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::proof::check::Layer;

pub use catalogue::catalogue;

/// One way in which a lab can be broken, as plain data.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Its stable word.
    pub id: &'static str,
    /// What is done.
    pub about: &'static str,
    /// In which labs it can be made.
    pub labs: For,
    /// On which nodes it is made.
    pub made: Made,
    /// Which node it is about, unless one is named.
    pub victim: Victim,
    /// The layer of the earliest check that fails of it; none if it breaks nothing.
    pub symptom: Option<Layer>,
    /// The rule of `explain` that names it, or warns of it.
    pub explained: &'static str,
    /// Where it can be made honestly.
    pub honest: Honest,
    /// What is made on the host for it, and known to its scripts.
    pub needs: Option<Needs>,
    /// What makes it: shell, with the words of [`node`].
    pub inject: &'static str,
    /// What undoes it, as far as it was made.
    pub undo: &'static str,
}

/// On which nodes a fault is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// On the node it is about.
    There,
    /// On the master, where the datastore is.
    AtMaster,
    /// On every node with a DNS server.
    AtServers,
}

/// Which node a fault is about, unless one is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// Any; the second if none is named.
    Any,
    /// The master alone.
    Master,
    /// The last node, which calls all others, alone.
    Last,
    /// A node with a DNS server.
    Server,
}

/// What is made on the host for a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// A certificate of the datastore that ran out, as `$CERTIFICATE`; only the host has the authority's key.
    ExpiredCertificate,
}

/// Where a fault can be made honestly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Honest {
    /// In containers too.
    Anywhere,
    /// Only where a node has a kernel of its own: containers share the host's clock and modules.
    OwnKernel,
}

/// A fault that was made, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    /// Its word.
    pub fault: String,
    /// The node it is about.
    pub node: NodeName,
    /// The nodes it is made on.
    pub on: Vec<NodeName>,
    /// When.
    pub since: jiff::Timestamp,
    /// When the nodes undo it by themselves.
    pub until: jiff::Timestamp,
}

/// Why a fault cannot be about a node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault} cannot be about {node}: {why}")]
pub struct Misplaced {
    /// The fault's word.
    pub fault: &'static str,
    /// The node that was named.
    pub node: NodeName,
    /// Why not.
    pub why: &'static str,
}

impl Fault {
    /// The fault with this word.
    pub fn named(word: &str) -> Option<&'static Self> {
        catalogue().find(|fault| fault.id == word)
    }

    /// The node it is about: the one that was named, if it can be about that one.
    pub fn about(&self, plan: &Plan, named: Option<&NodeName>) -> Result<NodeName, Misplaced> {
        let fits = |node: &&NodeName| match self.victim {
            Victim::Any => true,
            Victim::Master => **node == plan.master,
            Victim::Last => plan.nodes.names().last() == Some(node),
            Victim::Server => plan.nodes[node].dns_pod.is_some(),
        };
        let Some(node) = named else {
            // Not the master where there is a choice: much else hangs on it.
            let usual = plan.nodes.names().skip(1).find(fits).or_else(|| plan.nodes.names().find(fits));
            return Ok(usual.unwrap_or(&plan.master).clone());
        };
        if fits(&node) { Ok(node.clone()) } else { Err(self.misplaced(node)) }
    }

    fn misplaced(&self, node: &NodeName) -> Misplaced {
        let why = match self.victim {
            Victim::Any | Victim::Master => "it is made on the master",
            Victim::Last => "it is made on the node that calls all others",
            Victim::Server => "that node has no DNS server",
        };
        Misplaced { fault: self.id, node: node.clone(), why }
    }

    /// The nodes it is made on.
    pub fn on(&self, plan: &Plan, about: &NodeName) -> Vec<NodeName> {
        match self.made {
            Made::There => vec![about.clone()],
            Made::AtMaster => vec![plan.master.clone()],
            Made::AtServers => plan.dns_servers().map(|(node, _)| node.clone()).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
