//! A machine as plain data: who makes it, what the host leased to it, how it is reached.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::lab::name::PerNode;

/// The port of every lab's API server, on its master.
pub const API_PORT: u16 = 6443;

/// A machine that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// How the provider calls it, for people (`pid 4711`).
    pub handle: String,
    /// How it is reached.
    pub target: Target,
    /// The file its console is written to, where there is one.
    pub console: Option<PathBuf>,
    /// Whether the payload of its seed is attached as a disk.
    pub payload_attached: bool,
}

/// How a machine is reached. There is no connection without a known key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Where its sshd answers.
    pub addr: SocketAddr,
    /// The user to log in as.
    pub user: String,
    /// The host key it must present, in OpenSSH's public form.
    pub host_key: String,
}

/// Which provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// QEMU, rootless, no daemon.
    Qemu,
    /// Incus or LXD, by their daemon.
    Incus,
    /// Vagrant with libvirt.
    Vagrant,
    /// systemd-nspawn containers: made for the tests, no part of the product.
    Nspawn,
}

impl Kind {
    /// Whether its machines may run on other servers than this host.
    pub fn serves_remotes(self) -> bool {
        self == Self::Incus
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Qemu => "qemu",
            Self::Incus => "incus",
            Self::Vagrant => "vagrant",
            Self::Nspawn => "nspawn",
        })
    }
}

/// What the host leased to the cluster before anything was made: ports of 127.0.0.1 and the lab network's wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leased {
    /// For each node the port of 127.0.0.1 that leads to its SSH.
    pub ssh_ports: PerNode<u16>,
    /// The port of 127.0.0.1 that leads to the master's API server, in labs with Kubernetes, where machines are behind
    /// ports of this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_port: Option<u16>,
    /// Multicast group and port on loopback that are the lab network's wire.
    pub wire: SocketAddr,
}
