//! A node as a virtual machine: what is asked of the daemon, and how the guest learns what it is without an agent.

use serde_json::{Value, json};

use super::door::{DEVICE, Door};
use super::image::{META_DATA, NETWORK_CONFIG, USER_DATA};
use super::instance::Making;
use super::names::{LABEL, NODE};
use crate::lab::name::NodeName;
use crate::lab::plan::NodePlan;
use crate::machine::Seed;
use crate::machine::uplink::Uplink;

/// One node before its first start.
pub fn instance(making: &Making<'_>, node: &NodeName, sizes: &NodePlan, door: Option<Door>, seed: &Seed) -> Value {
    let names = making.names;
    // Names of cards mean nothing to a guest without an agent: it knows them by their addresses.
    let card = |network: &str, mac: &str| json!({"type": "nic", "network": network, "hwaddr": mac});
    let mut asked = json!({
        "profiles": [names.profile()],
        "config": {
            LABEL: names.label(),
            NODE: node,
            "limits.cpu": sizes.cpus.to_string(),
            "limits.memory": format!("{}MiB", sizes.memory_mib),
            // A lab may start any kernel; the firmware would start signed ones only.
            "security.secureboot": "false",
            META_DATA: seed.meta_data,
            USER_DATA: seed.user_data,
            "cloud-init.vendor-data": vendor_data(making.uplink, sizes.index),
        },
        "devices": {
            "root": {"type": "disk", "path": "/", "pool": making.pool, "size": format!("{}MiB", sizes.disk_mib)},
            // The daemon makes a NoCloud disk of the settings above.
            "seed": {"type": "disk", "source": "cloud-init:config"},
            making.network.nat_device.as_str(): card(&names.nat(), &sizes.nat_mac),
            making.network.lab_device.as_str(): card(&names.lab(), &sizes.lab_mac),
        },
    });
    if let Some(text) = &seed.network_config {
        asked["config"][NETWORK_CONFIG] = text.as_str().into();
    }
    if let Some(door) = door {
        let guest = making.uplink.address(sizes.index);
        asked["devices"][DEVICE] = door.device_of_guest(guest);
        asked["devices"][making.network.nat_device.as_str()]["ipv4.address"] = guest.to_string().into();
    }
    asked
}

/// What containers find in files that the daemon writes: the address on the way outside, and who answers names. Written
/// before anything of the seed is, which has no `bootcmd` of its own.
fn vendor_data(uplink: Uplink, index: usize) -> String {
    let own = format!("{}/{} {}", uplink.address(index), uplink.prefix, uplink.gateway);
    let script = format!(
        "mkdir -p /etc/calicolab; echo {own} >/etc/calicolab/uplink; rm -f /etc/resolv.conf; \
         echo nameserver {} >/etc/resolv.conf",
        uplink.gateway
    );
    format!("#cloud-config\n{}\n", json!({"bootcmd": [["sh", "-c", script]]}))
}

#[cfg(test)]
mod tests {
    use super::super::names::Names;
    use super::*;
    use crate::lab::builtin::{Existing, Library};
    use crate::machine::qemu::support::small_plan;

    #[test]
    fn what_is_asked_of_the_daemon() {
        let (names, plan) = (Names::of("calicolab/00000000/demo"), small_plan(2));
        let uplink = Uplink { gateway: [10, 64, 3, 1].into(), prefix: 24 };
        let making =
            Making { names: &names, fingerprint: "f00d", network: &plan.network, uplink, pool: "default", vm: true };
        let seed = Seed { network_config: Some("version: 2\n".into()), ..crate::machine::seed::example() };
        let (node, sizes) = plan.nodes.iter().nth(1).expect("a second node");
        let asked = instance(&making, node, sizes, None, &seed);
        insta::assert_snapshot!(format!("{asked:#}"));
        // No seed of ours uses the key that vendor data uses: cloud-init would take the seed's alone.
        let folder = tempfile::tempdir().expect("a folder");
        Library::export(folder.path(), Existing::Keep).expect("written");
        let paths = ["primer", "binaries"]
            .map(|name| ["master", "node"].map(|role| format!("cloud-config/{name}/{role}.yaml")));
        for path in paths.as_flattened() {
            let text = std::fs::read_to_string(folder.path().join(path)).expect("a template");
            assert!(!text.contains("bootcmd"), "{path}");
        }
    }
}
