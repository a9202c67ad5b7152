//! What the daemon answers, as values: instances, networks, profiles, images, pools; pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::Deserialize;

use super::names::{LABEL, NODE, Names};
use crate::lab::name::NodeName;
use crate::machine::Power;

/// Keys and values that the daemon keeps with a thing.
pub type Config = BTreeMap<String, String>;

/// `/1.0`
#[derive(Debug, Deserialize)]
pub struct Server {
    /// About the daemon.
    pub environment: Environment,
}

/// About the daemon.
#[derive(Debug, Deserialize)]
pub struct Environment {
    /// `5.0.2`
    pub server_version: String,
}

/// One of `/1.0/instances?recursion=1`.
#[derive(Debug, Deserialize)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// `Running`, `Stopped`, …: the daemon's own words, the same in both projects.
    pub status: String,
    /// What was set on it.
    pub config: Config,
}

/// One of `/1.0/networks?recursion=1`; links of the host that the daemon does not manage are among them.
#[derive(Debug, Deserialize)]
pub struct Network {
    /// Its name, which is also the bridge's.
    pub name: String,
    /// Whether the daemon made it.
    pub managed: bool,
    /// What was set on it.
    #[serde(default)]
    pub config: Config,
}

/// One of `/1.0/profiles?recursion=1`.
#[derive(Debug, Deserialize)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// What was set on it.
    #[serde(default)]
    pub config: Config,
    /// Its devices by name.
    #[serde(default)]
    pub devices: BTreeMap<String, Config>,
}

/// One of `/1.0/images?recursion=1`.
#[derive(Debug, Deserialize)]
pub struct Image {
    /// SHA-256 over metadata and tree, in hex.
    pub fingerprint: String,
}

/// One of `/1.0/storage-pools?recursion=1`.
#[derive(Debug, Deserialize)]
pub struct Pool {
    /// Its name.
    pub name: String,
}

/// `/1.0/storage-pools/NAME/resources`
#[derive(Debug, Deserialize)]
pub struct PoolResources {
    /// Bytes.
    pub space: Space,
}

/// Bytes of a pool.
#[derive(Debug, Deserialize)]
pub struct Space {
    /// In all; 0 where the daemon does not know.
    #[serde(default)]
    pub total: u64,
    /// Of these in use.
    #[serde(default)]
    pub used: u64,
}

impl Instance {
    /// The node it is, if it is one of the cluster's: by label *and* name, since a copy that somebody made of one
    /// carries the label too.
    pub fn node(&self, names: &Names) -> Option<NodeName> {
        let node: NodeName = self.config.get(NODE)?.parse().ok()?;
        (self.config.get(LABEL)? == names.label() && self.name == names.instance(&node)).then_some(node)
    }

    /// Whether it runs. One that is frozen or on its way up or down does.
    pub fn power(&self) -> Power {
        match self.status.as_str() {
            "Stopped" | "Error" => Power::Off,
            _ => Power::Running,
        }
    }
}

impl Network {
    /// The host's address on it, with the prefix of the network.
    pub fn host(&self) -> Option<(Ipv4Addr, u8)> {
        let net: Ipv4Net = self.config.get("ipv4.address")?.parse().ok()?;
        Some((net.addr(), net.prefix_len()))
    }
}

/// Whether a thing of this name and these settings is the cluster's.
pub fn is_ours(names: &Names, config: &Config) -> bool {
    config.get(LABEL).is_some_and(|label| label == names.label())
}

/// The pool in which instances are made: the default profile's, else the first.
pub fn pool<'a>(pools: &'a [Pool], profiles: &[Profile]) -> Option<&'a Pool> {
    let default = profiles.iter().find(|profile| profile.name == "default");
    let roots = default.into_iter().flat_map(|profile| profile.devices.values());
    let root = roots.filter(|device| device.get("path").is_some_and(|path| path == "/")).find_map(|root| root.get("pool"));
    root.and_then(|name| pools.iter().find(|pool| pool.name == *name)).or_else(|| pools.first())
}
