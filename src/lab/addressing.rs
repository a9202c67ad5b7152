//! Addresses by arithmetic: nodes, blocks, services, MACs; and whether ranges overlap.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// The lab network chosen for one cluster: the only thing of a plan that the host decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabNet(pub Ipv4Net);

/// The range from which lab networks are taken where a lab names none: set aside for benchmarks, so it is on no
/// home or office network (RFC 2544).
pub const LAB_POOL: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15);

/// The network between a machine's first NIC and its host, the same in every machine: QEMU's and VirtualBox's own.
pub const NAT: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 2, 0), 24);

/// The address of node `index` (from 0), where that of the first has this number in the lab network.
pub fn node_address(net: LabNet, first: u8, index: usize) -> Ipv4Addr {
    nth(net.0, usize::from(first) + index)
}

/// The `index`-th block of `prefix` bits out of `pods`.
pub fn block(pods: Ipv4Net, prefix: u8, index: usize) -> Ipv4Net {
    let size = 1usize << (32 - prefix);
    Ipv4Net::new_assert(nth(pods, index * size), prefix)
}

/// The fixed address of the DNS server in a node's block; the addresses below `.16` of a block are not given to
/// other pods.
pub fn dns_pod(block: Ipv4Net) -> Ipv4Addr {
    nth(block, 10)
}

/// The first address of a block that probe pods may get.
pub fn first_free_pod(block: Ipv4Net) -> Ipv4Addr {
    nth(block, 16)
}

/// The last address of a block that probe pods may get.
pub fn last_free_pod(block: Ipv4Net) -> Ipv4Addr {
    nth(block, (1usize << (32 - block.prefix_len())) - 3)
}

/// An address of the block that nobody gets: the last usable one.
pub fn unused_pod(block: Ipv4Net) -> Ipv4Addr {
    nth(block, (1usize << (32 - block.prefix_len())) - 2)
}

/// The first, middle and last usable address of a block.
pub fn samples(block: Ipv4Net) -> [Ipv4Addr; 3] {
    let size = 1usize << (32 - block.prefix_len());
    [nth(block, 1), nth(block, size / 2), nth(block, size - 2)]
}

/// The `index`-th service address.
pub fn service(services: Ipv4Net, index: usize) -> Ipv4Addr {
    nth(services, index)
}

/// A locally administered MAC that is the same for the same lab network, node and NIC.
pub fn mac(net: LabNet, index: usize, nic: u8) -> String {
    let [_, b, c, _] = net.0.network().octets();
    format!("52:54:{nic:02x}:{b:02x}:{c:02x}:{:02x}", 11 + index)
}

/// Whether two ranges share an address.
pub fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b) || b.contains(&a)
}

fn nth(net: Ipv4Net, n: usize) -> Ipv4Addr {
    let n = u32::try_from(n).expect("a network has at most 2^32 addresses");
    Ipv4Addr::from(u32::from(net.network()) + n)
}
