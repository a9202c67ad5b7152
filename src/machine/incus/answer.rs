//! What the daemon answers, as values: instances, networks, profiles, images, pools; pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Deserializer};

use super::names::{LABEL, NODE, Names};
use crate::lab::name::NodeName;
use crate::machine::Power;

/// Keys and values that the daemon keeps with a thing.
pub type Config = BTreeMap<String, String>;

/// `/1.0`
#[derive(Clone, Debug, Deserialize)]
pub struct Server {
    /// `trusted`, or what it is instead.
    pub auth: String,
    /// About the daemon; nothing for whom it does not trust.
    #[serde(default)]
    pub environment: Environment,
}

/// About the daemon.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Environment {
    /// `5.0.2`
    pub server_version: String,
    /// The kinds of instances it makes: `lxc`, or `lxc | qemu`.
    #[serde(default)]
    pub driver: String,
    /// What its cluster calls it, or its host.
    pub server_name: String,
    /// Whether it is a member of a cluster.
    #[serde(default)]
    pub server_clustered: bool,
    /// Where it listens: `198.51.100.7:8443`.
    #[serde(default, deserialize_with = "or_nothing")]
    pub addresses: Vec<String>,
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
    /// Its own devices by name.
    #[serde(default, deserialize_with = "or_nothing")]
    pub devices: BTreeMap<String, Config>,
    /// The member of a cluster on which it is; `none` or empty where there is no cluster.
    #[serde(default)]
    pub location: String,
}

/// One of `/1.0/instances/NAME/snapshots?recursion=1`.
#[derive(Debug, Deserialize)]
pub struct Snapshot {
    /// Its name, without the instance's.
    pub name: String,
}

/// `/1.0/instances/NAME/state`, as far as it says what the instance takes.
#[derive(Debug, Default, Deserialize)]
pub struct InstanceState {
    memory: Option<Usage>,
    #[serde(default, deserialize_with = "or_nothing")]
    disk: BTreeMap<String, Usage>,
}

/// Bytes; 0 and less where the daemon does not know.
#[derive(Debug, Deserialize)]
struct Usage {
    usage: i64,
}

impl Usage {
    fn bytes(&self) -> Option<u64> {
        u64::try_from(self.usage).ok().filter(|bytes| *bytes > 0)
    }
}

impl InstanceState {
    /// Bytes of memory.
    pub fn memory(&self) -> Option<u64> {
        self.memory.as_ref().and_then(Usage::bytes)
    }

    /// Bytes of its root disk, where the pool counts them.
    pub fn disk(&self) -> Option<u64> {
        self.disk.get("root").and_then(Usage::bytes)
    }
}

/// One of `/1.0/networks?recursion=1`; links of the host that the daemon does not manage are among them.
#[derive(Debug, Default, Deserialize)]
pub struct Network {
    /// Its name, which is also the bridge's.
    pub name: String,
    /// Whether the daemon made it.
    pub managed: bool,
    /// `Created`, `Pending`, …; empty where the daemon does not manage it.
    #[serde(default)]
    pub status: String,
    /// The members of a cluster that know it.
    #[serde(default, deserialize_with = "or_nothing")]
    pub locations: Vec<String>,
    /// What was set on it.
    #[serde(default, deserialize_with = "or_nothing")]
    pub config: Config,
}

/// `/1.0/networks/NAME/state`
#[derive(Debug, Deserialize)]
pub struct Link {
    /// Its addresses.
    #[serde(default, deserialize_with = "or_nothing")]
    pub addresses: Vec<LinkAddress>,
    /// The largest packet it carries.
    pub mtu: u32,
}

/// An address of a link.
#[derive(Debug, Deserialize)]
pub struct LinkAddress {
    /// The address.
    pub address: std::net::IpAddr,
    /// The length of its network's prefix.
    pub netmask: String,
}

/// One of `/1.0/cluster/members?recursion=1`
#[derive(Debug, Deserialize)]
pub struct ClusterMember {
    /// Its name.
    pub server_name: String,
    /// `https://198.51.100.7:8443`
    pub url: String,
    /// `Online`, `Offline`, `Evacuated`, …
    pub status: String,
}

/// `/1.0/resources`
#[derive(Debug, Deserialize)]
pub struct Resources {
    /// Bytes of memory.
    pub memory: Space,
}

/// One of `/1.0/projects?recursion=1`
#[derive(Debug, Deserialize)]
pub struct Project {
    /// Its name.
    pub name: String,
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
    /// What it was marked with.
    #[serde(default, deserialize_with = "or_nothing")]
    pub properties: Config,
    /// Bytes it takes in the daemon.
    #[serde(default)]
    pub size: u64,
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

    /// Whether it is held still.
    pub fn is_frozen(&self) -> bool {
        self.status == "Frozen"
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
    /// Whether it is the cluster's: by its label; or, where `spreads` says that the cluster began one, while it cannot
    /// bear one yet and has one of the cluster's names.
    pub fn is_of(&self, names: &Names, spreads: bool) -> bool {
        let unnamed = || spreads && !self.is_made() && [names.lab(), names.nat()].contains(&self.name);
        self.managed && (is_ours(names, &self.config) || unnamed())
    }

    /// Whether it is more than announced to the members of a cluster.
    pub fn is_made(&self) -> bool {
        self.status != "Pending"
    }

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
    fn what_an_instance_takes_is_told_where_the_daemon_knows() {
        let state = |text| serde_json::from_str::<InstanceState>(text).expect("a state");
        let lxd = state(r#"{"status": "Running", "disk": {"root": {"usage": 0}}, "memory": {"usage": 83886080}}"#);
        assert_eq!((lxd.memory(), lxd.disk()), (Some(80 << 20), None));
        let incus = state(
            r#"{"status": "Stopped", "disk": {"root": {"usage": 502239232, "total": 0}}, "memory": {"usage": 0}}"#,
        );
        assert_eq!((incus.memory(), incus.disk()), (None, Some(502_239_232)));
        let none = state(r#"{"status": "Error", "disk": null, "memory": null}"#);
        assert_eq!((none.memory(), none.disk()), (None, None));
    }

    #[test]
    fn a_daemon_that_does_not_trust_one_says_little() {
        // What LXD 5.0.2 answers, without its list of extensions.
        let told = r#"{"api_status": "stable", "api_version": "1.0", "auth": "untrusted", "auth_methods": ["tls"], "config": null, "public": false}"#;
        let server: Server = serde_json::from_str(told).expect("JSON");
        assert_eq!((server.auth.as_str(), server.environment.server_clustered), ("untrusted", false));
    }

    #[test]
    fn networks_that_are_only_announced_are_known_by_name() {
        let announced =
            |name: &str| Network { name: name.into(), managed: true, status: "Pending".into(), ..Network::default() };
        let (own, other) = (announced(&names().lab()), announced("lxdbr0"));
        // Only where the cluster wrote down that it began some.
        assert_eq!(
            [own.is_of(&names(), true), own.is_of(&names(), false), other.is_of(&names(), true)],
            [true, false, false]
        );
        let made = Network { status: "Created".into(), ..own };
        assert!(!made.is_of(&names(), true), "a network of that name that is whole and bears no label is somebody's");
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
        for (sample, wanted, version, drivers) in [(LXD, "lab", "5.0.2", "lxc"), (INCUS, "fast", "6.0.3", "lxc | qemu")]
        {
            let (pools, profiles): (Vec<Pool>, Vec<Profile>) =
                (part(sample, "storage-pools"), part(sample, "profiles"));
            assert_eq!(pool(&pools, &profiles).map(|pool| pool.name.as_str()), Some(wanted));
            assert_eq!(pool(&pools, &[]).map(|pool| &pool.name), pools.first().map(|pool| &pool.name));
            assert!(pool(&[], &profiles).is_none());
            let space = part::<PoolResources>(sample, "resources").space;
            assert!(space.total > space.used && space.used > 0);
            let environment = part::<Server>(sample, "server").environment;
            assert_eq!((environment.server_version.as_str(), environment.driver.as_str()), (version, drivers));
            let _: Vec<Image> = part(sample, "images");
        }
    }
}
