//! Bytes and secrets onto the nodes, daemons started: straight code over SSH.

pub mod manifest;
pub mod pki;
pub mod primer;

use crate::lab::name::NodeName;
use crate::ssh::SshError;

/// Why a node was not installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The way to it failed.
    #[error("{node} could not be installed")]
    Ssh {
        /// The node.
        node: NodeName,
        /// How.
        source: Box<SshError>,
    },
    /// It holds other bytes than those that were packed.
    #[error("{node} has other bytes than those that were packed: {which}")]
    Altered {
        /// The node.
        node: NodeName,
        /// What the node's own check said.
        which: String,
    },
    /// A command of ours failed there.
    #[error("{doing} on {node} failed: {said}")]
    Failed {
        /// The node.
        node: NodeName,
        /// What was being done.
        doing: &'static str,
        /// The last lines it said.
        said: String,
    },
}
