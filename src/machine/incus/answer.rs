//! What the daemon answers, as values: instances, networks, profiles, images, pools; pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Deserializer};

use super::settings::{LABEL, NODE};
use crate::lab::name::NodeName;
use crate::machine::{Names, Power};

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
    #[serde(default, deserialize_with = "or_nothing")]
    pub config: Config,
}

/// One of `/1.0/profiles?recursion=1`.
#[derive(Debug, Deserialize)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// What was set on it.
    #[serde(default, deserialize_with = "or_nothing")]
    pub config: Config,
    /// Its devices by name.
    #[serde(default, deserialize_with = "or_nothing")]
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

/// Go writes a map without entries as `null`.
fn or_nothing<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(given: D) -> Result<T, D::Error> {
    Option::deserialize(given).map(Option::unwrap_or_default)
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
    let root =
        roots.filter(|device| device.get("path").is_some_and(|path| path == "/")).find_map(|root| root.get("pool"));
    root.and_then(|name| pools.iter().find(|pool| pool.name == *name)).or_else(|| pools.first())
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::Value;

    use super::*;

    /// What LXD 5.0.2 of Debian 12 answered while a lab of two nodes ran.
    const LXD: &str = include_str!("samples/lxd-5.0.2.json");
    /// What Incus answers by its documentation and source: its daemon was not asked.
    const INCUS: &str = include_str!("samples/incus.json");

    fn part<T: DeserializeOwned>(sample: &str, key: &str) -> T {
        let all: Value = serde_json::from_str(sample).expect("JSON");
        serde_json::from_value(all[key].clone()).unwrap_or_else(|error| panic!("{key}: {error}"))
    }

    fn names() -> Names {
        Names::of("calicolab/00000000/demo")
    }

    #[test]
    fn nodes_are_known_by_label_and_name() {
        for (sample, powers) in [(LXD, [Power::Running; 2]), (INCUS, [Power::Running, Power::Off])] {
            let instances: Vec<Instance> = part(sample, "instances");
            assert_eq!(instances.len(), 3);
            let nodes: Vec<_> =
                instances.iter().filter_map(|one| Some((one.node(&names())?.to_string(), one.power()))).collect();
            assert_eq!(nodes, [("calico-01".to_owned(), powers[0]), ("calico-02".to_owned(), powers[1])]);
            // Another cluster's label makes them strangers.
            let other = Names::of("calicolab/00000000/other");
            assert!(instances.iter().all(|one| one.node(&other).is_none()));
        }
    }

    #[test]
    fn networks_tell_whose_they_are_and_where_the_host_is() {
        for (sample, ours) in [(LXD, 2), (INCUS, 1)] {
            let networks: Vec<Network> = part(sample, "networks");
            let own: Vec<&Network> =
                networks.iter().filter(|one| one.managed && is_ours(&names(), &one.config)).collect();
            assert_eq!(own.len(), ours);
            let nat = own.iter().find(|one| one.name == names().nat()).expect("the way outside");
            assert!(matches!(nat.host(), Some((host, 24)) if host.octets()[3] == 1));
            let lab = own.iter().find(|one| one.name == names().lab());
            assert!(lab.is_none_or(|lab| lab.host().is_none()));
        }
    }

    #[test]
    fn the_pool_is_the_default_profiles() {
        for (sample, wanted, version) in [(LXD, "lab", "5.0.2"), (INCUS, "fast", "6.0.3")] {
            let (pools, profiles): (Vec<Pool>, Vec<Profile>) =
                (part(sample, "storage-pools"), part(sample, "profiles"));
            assert_eq!(pool(&pools, &profiles).map(|pool| pool.name.as_str()), Some(wanted));
            assert_eq!(pool(&pools, &[]).map(|pool| &pool.name), pools.first().map(|pool| &pool.name));
            assert!(pool(&[], &profiles).is_none());
            let space = part::<PoolResources>(sample, "resources").space;
            assert!(space.total > space.used && space.used > 0);
            assert_eq!(part::<Server>(sample, "server").environment.server_version, version);
            let _: Vec<Image> = part(sample, "images");
        }
    }
}
