//! A node as an instance: the lab's profile, what is asked of the daemon for one node, and its verbs.

use serde_json::{Value, json};

use super::answer::{Instance, Profile, is_ours};
use super::client::Client;
use super::door::{DEVICE, Door};
use super::image::{META_DATA, RESOLVER, UPLINK, USER_DATA};
use super::names::{LABEL, NODE, Names};
use crate::lab::name::NodeName;
use crate::lab::plan::{NetworkPlan, NodePlan, Plan};
use crate::machine::uplink::Uplink;
use crate::machine::{ProviderError, Seed};

/// Where a node finds the artifacts: the installer looks there.
const PAYLOAD: &str = "/opt/calicolab-payload.tar";

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
    /// Where disks lie.
    pub pool: &'a str,
    /// Whether it becomes a virtual machine.
    pub vm: bool,
}

/// What all nodes of a lab are allowed.
///
/// Containers are unprivileged wherever that is enough: root in a node is nobody on the host. It is not for a kubelet,
/// which sets what the kernel keeps once for all (`vm.overcommit_memory`), reads the kernel's log, and gives devices to
/// its pods. A virtual machine has a kernel of its own, and is allowed nothing beside it.
fn profile(names: &Names, pool: &str, plan: &Plan) -> Value {
    let mut profile = json!({"name": names.profile(), "description": "nodes of a calicolab cluster", "config": {
        LABEL: names.label(),
        // A lab comes up by `calicolab start`, not with the host.
        "boot.autostart": "false",
    }, "devices": {"root": {"type": "disk", "path": "/", "pool": pool}}});
    if plan.vm {
        return profile;
    }
    // runc mounts a /proc of its own for each container, which the kernel allows only where an unmasked one is.
    profile["config"]["security.nesting"] = "true".into();
    if plan.installer.has_kubernetes() {
        profile["config"]["security.privileged"] = "true".into();
        profile["config"]["raw.lxc"] = PRIVILEGED.into();
        profile["devices"]["kmsg"] = json!({"type": "unix-char", "source": "/dev/kmsg", "path": "/dev/kmsg"});
    }
    profile
}

/// A writable /proc/sys, and for privileged pods every device and all that root may do.
const PRIVILEGED: &str = "lxc.apparmor.profile=unconfined
lxc.cap.drop=
lxc.cgroup.devices.allow=a
lxc.cgroup2.devices.allow=a
lxc.mount.auto=proc:rw sys:ro cgroup:rw
";

/// One node before its first start.
pub fn container(making: &Making<'_>, node: &NodeName, sizes: &NodePlan, door: Option<Door>, seed: &Seed) -> Value {
    let &Making { names, network, uplink, .. } = making;
    let card = |device: &str, network: &str, mac: &str| json!({"type": "nic", "network": network, "name": device, "hwaddr": mac});
    let (nat, lab) = (&network.nat_device, &network.lab_device);
    let mut asked = json!({
        "profiles": [names.profile()],
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
    if let Some(door) = door {
        asked["devices"][DEVICE] = door.device();
    }
    asked
}

/// Make the profile unless it is there.
pub async fn ensure_profile(client: &Client, names: &Names, pool: &str, plan: &Plan) -> Result<(), ProviderError> {
    let there: Vec<Profile> = client.get("/1.0/profiles?recursion=1").await?;
    match there.iter().find(|profile| profile.name == names.profile()) {
        Some(profile) if is_ours(names, &profile.config) => Ok(()),
        Some(_) => Err(ProviderError::Taken { what: format!("a profile with the name {}", names.profile()) }),
        None => client.post("/1.0/profiles", &profile(names, pool, plan), "making the nodes' profile").await,
    }
}

/// Every instance there is.
pub async fn all(client: &Client) -> Result<Vec<Instance>, ProviderError> {
    client.get("/1.0/instances?recursion=1").await
}

/// The instances of everybody, in all projects.
pub async fn of_everybody(client: &Client) -> Result<Vec<Instance>, ProviderError> {
    client.in_project(None).get("/1.0/instances?recursion=1&all-projects=true").await
}

/// Start it.
pub async fn start(client: &Client, name: &str, node: &NodeName) -> Result<(), ProviderError> {
    client.verb(&["start", &client.thing(name), "--quiet"], String::new(), format!("starting {node}")).await
}

/// End it without asking.
pub async fn end(client: &Client, name: &str, node: &NodeName) -> Result<(), ProviderError> {
    client.verb(&["stop", &client.thing(name), "--force", "--quiet"], String::new(), format!("ending {node}")).await
}

/// What its console said since its last start, as far as the daemon kept it; empty where it kept nothing.
pub async fn console(client: &Client, name: &str) -> String {
    let said = client.text(&["console", &client.thing(name), "--show-log"]).await.unwrap_or_default();
    // The client sets a title above it.
    said.split_once("Console log:").map_or(said.as_str(), |(_, log)| log).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::file::Installer;
    use crate::machine::qemu::support::small_plan;

    #[test]
    fn what_is_asked_of_the_daemon() {
        let (names, plan) = (Names::of("calicolab/00000000/demo"), small_plan(2));
        let uplink = Uplink { gateway: [10, 64, 3, 1].into(), prefix: 24 };
        let seed = crate::machine::seed::example();
        let (node, sizes) = plan.nodes.iter().nth(1).expect("a second node");
        let door = Door { listen: [10, 0, 0, 7].into(), at: [198, 51, 100, 7].into(), port: 20_022 };
        let network = &plan.network;
        let making = Making { names: &names, fingerprint: "f00d", network, uplink, pool: "default", vm: false };
        let asked = container(&making, node, sizes, Some(door), &seed);
        let profile = |plan: &Plan| profile(&names, "default", plan);
        insta::assert_snapshot!(format!(
            "{:#}
{asked:#}",
            profile(&plan)
        ));
        let kubernetes = Plan { installer: Installer::Binaries, ..plan.clone() };
        insta::assert_snapshot!("privileged", format!("{:#}", profile(&kubernetes)));
        // A kubelet in a virtual machine needs nothing of this host's.
        assert_eq!(profile(&Plan { vm: true, ..kubernetes }), profile(&Plan { vm: true, ..plan.clone() }));
    }
}
