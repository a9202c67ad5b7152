//! A node as an instance: the lab's profile, what is asked of the daemon for one node, and its verbs.

use serde_json::{Value, json};

use super::answer::{Instance, Profile, is_ours};
use super::client::Client;
use super::image::{META_DATA, RESOLVER, UPLINK, USER_DATA};
use super::settings::{LABEL, NODE};

use crate::lab::name::NodeName;
use crate::lab::plan::{NetworkPlan, NodePlan};
use crate::machine::{Names, ProviderError, Seed, Uplink};

/// Where a node finds the artifacts: the installer looks there.
const PAYLOAD: &str = "/opt/calicolab-payload.tar";

/// What all nodes of a lab are allowed.
///
/// Unprivileged: root in a node is nobody on the host.
fn profile(names: &Names, pool: &str) -> Value {
    json!({"name": names.base(), "description": "nodes of a calicolab cluster", "config": {
        LABEL: names.label(),
        // runc mounts a /proc of its own for each container, which the kernel allows only where an unmasked one is.
        "security.nesting": "true",
        // A lab comes up by `calicolab start`, not with the host.
        "boot.autostart": "false",
    }, "devices": {"root": {"type": "disk", "path": "/", "pool": pool}}})
}

/// One node before its first start.
fn instance(
    names: &Names,
    node: &NodeName,
    sizes: &NodePlan,
    network: &NetworkPlan,
    uplink: Uplink,
    seed: &Seed,
) -> Value {
    let card = |device: &str, network: &str, mac: &str| json!({"type": "nic", "network": network, "name": device, "hwaddr": mac});
    let (nat, lab) = (&network.nat_device, &network.lab_device);
    let mut asked = json!({
        "profiles": [names.base()],
        "config": {
            LABEL: names.label(),
            NODE: node,
            "limits.cpu": sizes.cpus.to_string(),
            "limits.memory": format!("{}MiB", sizes.memory_mib),
            META_DATA: seed.meta_data,
            USER_DATA: seed.user_data,
            UPLINK: format!("{}/{} {}\n", uplink.address(sizes.index), uplink.prefix, uplink.gateway),
            RESOLVER: format!("nameserver {}\n", uplink.gateway),
        },
        "devices": {
            nat: card(nat, &names.nat(), &sizes.nat_mac),
            lab: card(lab, &names.lab(), &sizes.lab_mac),
        },
    });
    if let Some(payload) = &seed.payload {
        // It is needed once: a cache that was cleared since must not keep a node from starting.
        asked["devices"]["payload"] = json!({
            "type": "disk", "source": payload, "path": PAYLOAD, "readonly": "true", "required": "false",
        });
    }
    asked
}

/// Make the profile unless it is there.
pub async fn ensure_profile(client: &Client, names: &Names, pool: &str) -> Result<(), ProviderError> {
    let there: Vec<Profile> = client.get("/1.0/profiles?recursion=1").await?;
    match there.iter().find(|profile| profile.name == names.base()) {
        Some(profile) if is_ours(names, &profile.config) => Ok(()),
        Some(_) => Err(ProviderError::Taken { what: format!("a profile with the name {}", names.base()) }),
        None => client.post("/1.0/profiles", &profile(names, pool), "making the nodes' profile").await,
    }
}

/// Every instance there is.
pub async fn all(client: &Client) -> Result<Vec<Instance>, ProviderError> {
    client.get("/1.0/instances?recursion=1").await
}

/// What one node is made from.
pub struct Making<'a> {
    /// The cluster's names.
    pub names: &'a Names,
    /// The image.
    pub fingerprint: &'a str,
    /// The cards' names.
    pub network: &'a NetworkPlan,
    /// The way outside.
    pub uplink: Uplink,
}

impl Making<'_> {
    /// Make a node that does not run yet. Its settings hold a private key, so they go by standard input.
    pub async fn make(
        &self,
        client: &Client,
        node: &NodeName,
        sizes: &NodePlan,
        seed: &Seed,
    ) -> Result<(), ProviderError> {
        let body = instance(self.names, node, sizes, self.network, self.uplink, seed);
        let (image, name) = (format!("local:{}", self.fingerprint), format!("local:{}", self.names.instance(node)));
        let words = [client.dialect.create, &image, &name, "--quiet"];
        client.verb(&words, body.to_string(), format!("making {node}")).await
    }
}

/// Start it.
pub async fn start(client: &Client, name: &str, node: &NodeName) -> Result<(), ProviderError> {
    client.verb(&["start", &format!("local:{name}"), "--quiet"], String::new(), format!("starting {node}")).await
}

/// End it without asking.
pub async fn end(client: &Client, name: &str, node: &NodeName) -> Result<(), ProviderError> {
    client
        .verb(&["stop", &format!("local:{name}"), "--force", "--quiet"], String::new(), format!("ending {node}"))
        .await
}

/// What its console said since its last start, as far as the daemon kept it; empty where it kept nothing.
pub async fn console(client: &Client, name: &str) -> String {
    let said = client.text(&["console", &format!("local:{name}"), "--show-log"]).await.unwrap_or_default();
    // The client sets a title above it.
    said.split_once("Console log:").map_or(said.as_str(), |(_, log)| log).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::qemu::support::small_plan;

    #[test]
    fn what_is_asked_of_the_daemon() {
        let (names, plan) = (Names::of("calicolab/00000000/demo"), small_plan(2));
        let uplink = Uplink { gateway: [10, 64, 3, 1].into(), prefix: 24 };
        let seed = Seed {
            meta_data: "instance-id: one\n".into(),
            user_data: "#cloud-config\n".into(),
            host_key: "ssh-ed25519 AAAA".into(),
            payload: Some("/cache/payload.tar".into()),
        };
        let (node, sizes) = plan.nodes.iter().nth(1).expect("a second node");
        let asked = instance(&names, node, sizes, &plan.network, uplink, &seed);
        insta::assert_snapshot!(format!("{:#}\n{asked:#}", profile(&names, "default")));
    }
}
