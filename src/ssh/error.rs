//! Why a node could not be reached, spoken to or given a file.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::command::Output;
use crate::lab::name::NodeName;

/// Why a node could not be reached, spoken to or given a file.
///
/// [`HostKey`](Self::HostKey) is the one that stands for danger and not for bad luck; no credential was sent then.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// Nobody answered, or whoever answered did not come as far as showing a host key.
    #[error("{node} did not answer with SSH at {addr}")]
    Connect {
        /// The node.
        node: NodeName,
        /// Where it was sought.
        addr: SocketAddr,
        /// The system's or libssh2's reason.
        source: io::Error,
    },
    /// Another host key was shown than the one made for this node. Nothing was sent after it.
    #[error("{addr} is not {node}: it shows the host key {presented}, {node} has {expected}; no credential was sent")]
    HostKey {
        /// The node that was meant.
        node: NodeName,
        /// Where.
        addr: SocketAddr,
        /// Fingerprint of the node's key (`SHA256:…`).
        expected: String,
        /// Fingerprint of the key that was shown, or `none`.
        presented: String,
    },
    /// Our user key was refused.
    #[error("{node} does not let `{user}` in with this cluster's key")]
    Auth {
        /// The node.
        node: NodeName,
        /// The user.
        user: String,
        /// libssh2's reason.
        source: io::Error,
    },
    /// A key of this host or of the target cannot be read.
    #[error("{what} is no key")]
    BadKey {
        /// Which one.
        what: String,
        /// What is wrong with it.
        source: ssh_key::Error,
    },
    /// A file of this host that was to be sent, or the user key, cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// What was to be sent could not be read to its end; the command was abandoned.
    #[error("the input of `{}` on {node} broke off", brief(doing))]
    Input {
        /// The node.
        node: NodeName,
        /// The command.
        doing: String,
        /// The reader's reason.
        source: io::Error,
    },
    /// The connection was lost, or had been lost before. What the command did is unknown.
    #[error("the connection to {node} was lost during `{}`", brief(doing))]
    Lost {
        /// The node.
        node: NodeName,
        /// The command.
        doing: String,
        /// The system's or libssh2's reason, told to the command that met it.
        #[source]
        source: Option<io::Error>,
    },
    /// It took too long; the command was told to end.
    #[error("{node} did not finish `{}` within {} s", brief(doing), limit.as_secs_f64())]
    TooLong {
        /// The node.
        node: NodeName,
        /// The command, or what else was waited for.
        doing: String,
        /// The limit.
        limit: Duration,
    },
    /// The command said more than is kept; it was abandoned.
    #[error("`{}` on {node} wrote more than {cap} bytes", brief(doing))]
    TooMuchOutput {
        /// The node.
        node: NodeName,
        /// The command.
        doing: String,
        /// The cap on both streams together, in bytes.
        cap: usize,
    },
    /// The node refused to start the command; the connection goes on.
    #[error("{node} refused to start `{}`", brief(doing))]
    Refused {
        /// The node.
        node: NodeName,
        /// The command.
        doing: String,
        /// libssh2's reason.
        source: io::Error,
    },
    /// A path that cannot be put on a node.
    #[error("`{path}` cannot be written on a node: {reason}")]
    BadPath {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Files could not be put in place; no file was replaced by a part of it.
    #[error("{node} could not take {what}: {}", output.tail(6))]
    Put {
        /// The node.
        node: NodeName,
        /// The file or files.
        what: String,
        /// What the node said.
        output: Output,
    },
    /// The bytes on the node are not those that were to be sent; nothing was put in place.
    #[error("{node} received other bytes for {what} than were to be sent: {}", output.tail(6))]
    Altered {
        /// The node.
        node: NodeName,
        /// The file or files.
        what: String,
        /// What the node said.
        output: Output,
    },
}

impl SshError {
    /// Whether somebody else answered in the node's place.
    pub fn is_host_key_mismatch(&self) -> bool {
        matches!(self, Self::HostKey { .. })
    }

    /// Whether the connection is gone: a new one may succeed.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Connect { .. })
    }
}

/// A command as a message can carry it: on one line, and cut where a script goes on for long.
fn brief(doing: &str) -> String {
    let line = doing.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(160) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_script_does_not_flood_the_message() {
        let doing = format!("sh -c 'set -eu\n  echo {}'", "é".repeat(400));
        let node: NodeName = "calico-02".parse().expect("a name");
        let text = SshError::TooLong { node, doing, limit: Duration::from_millis(1500) }.to_string();
        assert!(text.starts_with("calico-02 did not finish `sh -c 'set -eu echo é"), "{text}");
        assert!(text.ends_with("…` within 1.5 s"), "{text}");
    }
}
