//! What is asked of libvirt beside the machines: ids that say whose a thing is, networks, the pool; pure.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::lab::plan::Plan;
use crate::machine::{Names, Uplink};

/// The id of the thing `name` of the cluster with this label: no other cluster's and nobody else's has it.
pub fn uuid(label: &str, name: &str) -> String {
    let mut id: [u8; 16] = Sha256::digest(format!("{label} {name}"))[..16].try_into().expect("a digest is longer");
    // Version 8, made by a rule of one's own.
    id[6] = 0x80 | id[6] & 0x0f;
    id[8] = 0x80 | id[8] & 0x3f;
    let mut text = String::new();
    for (i, byte) in id.iter().enumerate() {
        let dash = if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" };
        // Writing into a String cannot fail.
        let _ = write!(text, "{dash}{byte:02x}");
    }
    text
}

/// Where libvirt keeps this cluster's disks.
pub fn pool_path(names: &Names) -> String {
    format!("/var/lib/libvirt/images/{}", names.base())
}

/// A folder of its own for the cluster's disks: whatever lies in it is the cluster's.
pub fn pool(names: &Names) -> String {
    let (name, path) = (names.base(), pool_path(names));
    let id = uuid(names.label(), name);
    format!(
        "<pool type='dir'><name>{name}</name><uuid>{id}</uuid>\
        <target><path>{path}</path><permissions><mode>0711</mode></permissions></target></pool>\n"
    )
}

/// A bridge that nobody but the nodes is on.
pub fn lab(names: &Names, mtu: u16) -> String {
    let name = names.lab();
    let id = uuid(names.label(), &name);
    format!(
        "<network><name>{name}</name><uuid>{id}</uuid>\
        <bridge name='{name}' stp='off' delay='0'/><mtu size='{mtu}'/></network>\n"
    )
}

/// A bridge with the host on it, which rewrites what goes further and gives each node its own address for good.
pub fn nat(names: &Names, plan: &Plan, uplink: Uplink) -> String {
    let name = names.nat();
    let id = uuid(names.label(), &name);
    let Uplink { gateway, prefix } = uplink;
    let mut hosts = String::new();
    for node in plan.nodes.values() {
        let (mac, address) = (&node.nat_mac, uplink.address(node.index));
        let _ = write!(hosts, "<host mac='{mac}' ip='{address}'><lease expiry='0'/></host>");
    }
    format!(
        "<network><name>{name}</name><uuid>{id}</uuid><forward mode='nat'/>\
        <bridge name='{name}' stp='off' delay='0'/>\
        <ip address='{gateway}' prefix='{prefix}'><dhcp>{hosts}</dhcp></ip></network>\n"
    )
}

/// Where the way outside begins, by libvirt's own description of the network.
pub fn uplink(described: &str) -> Option<Uplink> {
    let ip = described.split("<ip ").nth(1)?.split('>').next()?;
    let value = |name: &str| Some(ip.split(&format!("{name}='")).nth(1)?.split('\'').next()?.to_owned());
    let prefix = match value("prefix") {
        Some(prefix) => prefix.parse().ok()?,
        None => ipnet::ipv4_mask_to_prefix(value("netmask")?.parse().ok()?).ok()?,
    };
    Some(Uplink { gateway: value("address")?.parse().ok()?, prefix })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::qemu::support::small_plan;

    #[test]
    fn what_is_asked_of_libvirt() {
        let (names, plan) = (Names::of("calicolab/00000000/demo"), small_plan(2));
        let asked = Uplink { gateway: [10, 64, 3, 1].into(), prefix: 24 };
        let nat = nat(&names, &plan, asked);
        assert_eq!(uplink(&nat), Some(asked));
        assert_eq!(uplink(&nat.replace("prefix='24'", "netmask='255.255.255.0'")), Some(asked));
        insta::assert_snapshot!(format!("{}{}{nat}", pool(&names), lab(&names, 1450)));
    }

    #[test]
    fn ids_are_each_clusters_own() {
        let id = uuid("calicolab/00000000/demo", "cl00");
        assert_eq!(id.len(), 36);
        assert_ne!(id, uuid("calicolab/00000000/demo2", "cl00"));
        assert_ne!(id, uuid("calicolab/00000000/demo", "cl00n"));
    }
}
