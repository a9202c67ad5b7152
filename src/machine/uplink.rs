//! The network between a cluster's machines and the host, for providers whose machines share one.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{Names, ProviderError};

/// Where the way outside begins: the host's own address there, and the network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// The host.
    pub gateway: Ipv4Addr,
    /// The prefix.
    pub prefix: u8,
}

impl Uplink {
    /// The first that nobody has a use for, where these are `taken`.
    pub fn free(names: &Names, taken: &[Ipv4Net]) -> Result<Self, ProviderError> {
        let full = || ProviderError::Taken { what: "all of 10.64.0.0/10".into() };
        let net = free(names, taken).ok_or_else(full)?;
        Ok(Self { gateway: Ipv4Addr::from(u32::from(net.network()) + 1), prefix: net.prefix_len() })
    }

    /// The whole network.
    pub fn network(self) -> Ipv4Net {
        Ipv4Net::new_assert(self.gateway, self.prefix).trunc()
    }

    /// The address of the node with this place in the plan.
    pub fn address(self, index: usize) -> Ipv4Addr {
        let index = u32::try_from(index).expect("a plan has few nodes");
        Ipv4Addr::from(u32::from(self.gateway) + 10 + index)
    }
}

/// The networks that this host has a use for.
pub fn of_this_host() -> Vec<Ipv4Net> {
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    routes.lines().skip(1).filter_map(route).collect()
}

fn free(names: &Names, taken: &[Ipv4Net]) -> Option<Ipv4Net> {
    let free = |net: &Ipv4Net| !taken.iter().any(|taken| taken.contains(net) || net.contains(taken));
    (0..1 << 14).map(|number| names.nat_network(number)).find(free)
}

/// A line of `/proc/net/route`, whose numbers are hex in the host's byte order; a default route uses no address.
fn route(line: &str) -> Option<Ipv4Net> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let number = |word: &str| u32::from_str_radix(word, 16).ok().map(|number| Ipv4Addr::from(number.to_ne_bytes()));
    let destination = number(words.next()?)?;
    let net = Ipv4Net::with_netmask(destination, number(words.nth(5)?)?).ok()?;
    (net.prefix_len() > 0).then_some(net)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
tun0\t0000400A\t00000000\t0001\t0\t0\t0\t0000C0FF\t0\t0\t0
";

    #[test]
    fn a_network_in_use_is_passed_over() {
        let names = Names::of("calicolab/00000000/demo");
        let first = names.nat_network(0);
        assert_eq!(free(&names, &[]), Some(first));
        assert_eq!(free(&names, &[first]), Some(names.nat_network(1)));
        // 10.64.0.0/10 is a tunnel's.
        let routes: Vec<Ipv4Net> = ROUTES.lines().skip(1).filter_map(route).collect();
        assert_eq!(free(&names, &routes), None);
    }

    #[test]
    fn nodes_follow_each_other() {
        let uplink = Uplink { gateway: [10, 64, 3, 1].into(), prefix: 24 };
        assert_eq!(uplink.address(2), Ipv4Addr::new(10, 64, 3, 13));
        assert_eq!(uplink.network().to_string(), "10.64.3.0/24");
    }

    #[test]
    fn routes_are_read_as_the_kernel_writes_them() {
        let all: Vec<String> = ROUTES.lines().skip(1).filter_map(route).map(|net| net.to_string()).collect();
        assert_eq!(all, ["192.0.2.0/24", "10.64.0.0/10"]);
    }
}
