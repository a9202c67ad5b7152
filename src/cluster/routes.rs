//! The networks this host already speaks to, read from its routing tables without rights and without programs.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::lab::addressing::overlap;

/// Shorter prefixes than this stand for "everything else": default routes, and the halves and quarters into which
/// VPNs cut them. They say nothing about who uses an address.
const SHORTEST: u8 = 8;

/// What reaches the host's own addresses.
const OWN: &str = "this host";

/// A network or address of this host's tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destination.
    pub net: Ipv4Net,
    /// By what: `eth0`, or `table 52` where only the table is known, or `this host` for its own addresses.
    pub by: String,
}

/// The networks of this host, those of policy tables too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes(Vec<Route>);

/// A range of a lab that this host uses otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// What the lab calls the range (`pods`).
    pub name: String,
    /// The range.
    pub range: Ipv4Net,
    /// What the host does with it.
    pub route: Route,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, range, route } = self;
        write!(f, "the lab's {name} have addresses of {range}, and this host reaches {} by {}", route.net, route.by)?;
        f.write_str("; the nodes are not troubled by that, and the host has no route to them")
    }
}

impl Routes {
    /// Read them from the kernel.
    pub fn read() -> io::Result<Self> {
        let main = std::fs::read_to_string("/proc/net/route")?;
        match std::fs::read_to_string("/proc/net/fib_trie") {
            Ok(all) => Ok(Self::parse(&main, &all)),
            // Some sandboxes show the main table only.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::parse(&main, "")),
            Err(error) => Err(error),
        }
    }

    /// From the text of `/proc/net/route` (main table, with devices) and `/proc/net/fib_trie` (all tables, without).
    pub fn parse(main: &str, all: &str) -> Self {
        let mut routes: Vec<Route> = main.lines().skip(1).filter_map(main_route).collect();
        for route in table_routes(all) {
            if !routes.iter().any(|known| known.net == route.net) {
                routes.push(route);
            }
        }
        routes.retain(|route| route.net.prefix_len() >= SHORTEST);
        Self(routes)
    }

    /// This host's own addresses but those of its loopback.
    pub fn own(&self) -> Vec<Ipv4Addr> {
        let own = |route: &&Route| route.by == OWN && route.net.prefix_len() == 32 && !route.net.addr().is_loopback();
        let mut all: Vec<Ipv4Addr> = self.0.iter().filter(own).map(|route| route.net.addr()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The most telling route that shares an address with `net`: the widest, which is a network and no single address.
    pub fn overlapping(&self, net: Ipv4Net) -> Option<&Route> {
        self.0.iter().filter(|route| overlap(route.net, net)).min_by_key(|route| route.net.prefix_len())
    }

    /// Which of these named ranges the host uses otherwise.
    pub fn conflicts(&self, ranges: &[(&str, Ipv4Net)]) -> Vec<Conflict> {
        ranges
            .iter()
            .filter_map(|&(name, range)| {
                let route = self.overlapping(range)?.clone();
                Some(Conflict { name: name.into(), range, route })
            })
            .collect()
    }
}

/// One line of `/proc/net/route`; the addresses are hex in the host's byte order.
fn main_route(line: &str) -> Option<Route> {
    let mut words = line.split_whitespace();
    let device = words.next()?;
    let address = hex_address(words.next()?)?;
    let mask = hex_address(words.nth(5)?)?;
    let net = Ipv4Net::with_netmask(address, mask).ok()?;
    // Unreachable and blackhole routes have no device.
    let by = if device == "*" { "a route that drops".into() } else { device.into() };
    Some(Route { net, by })
}

fn hex_address(hex: &str) -> Option<Ipv4Addr> {
    u32::from_str_radix(hex, 16).ok().map(|number| Ipv4Addr::from(number.to_ne_bytes()))
}

/// The leaves of `/proc/net/fib_trie`: a table's title, then an address (`|-- a.b.c.d`), then its `/len scope type` lines.
fn table_routes(text: &str) -> Vec<Route> {
    let mut routes = Vec::new();
    let (mut table, mut address) = ("", None);
    for line in text.lines() {
        let word = line.trim_start();
        if let Some(leaf) = word.strip_prefix("|-- ") {
            address = leaf.parse::<Ipv4Addr>().ok();
        } else if let (Some(rest), Some(at)) = (word.strip_prefix('/'), address) {
            let mut words = rest.split_whitespace();
            let length = words.next().and_then(|length| length.parse().ok());
            let Some(net) = length.and_then(|length| Ipv4Net::new(at, length).ok()) else { continue };
            let by = match words.nth(1) {
                Some("BROADCAST" | "MULTICAST" | "ANYCAST") => continue,
                Some("LOCAL") => OWN.into(),
                _ => match table.strip_prefix("Id ") {
                    Some(id) => format!("table {id}"),
                    None => OWN.into(),
                },
            };
            routes.push(Route { net, by });
        } else if line == word {
            (table, address) = (line.trim_end_matches(':'), None);
        }
    }
    routes
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
tun0\t00000000\t0000080A\t0001\t0\t0\t0\t00000080\t0\t0\t0
tun0\t0000000A\t0000080A\t0001\t0\t0\t50\t000000FF\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
*\t000012C6\t00000000\t0201\t0\t0\t0\t00FFFFFF\t0\t0\t0
wlan0\t0001A8C0\t00000000\t0001\t0\t0\t600\t00FFFFFF\t0\t0\t0
";

    const ALL: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
        /1 universe UNICAST
     |-- 10.0.0.0
        /8 universe UNICAST
     |-- 172.17.0.0
        /16 link UNICAST
Local:
  +-- 0.0.0.0/0 3 0 5
     |-- 127.0.0.0
        /8 host LOCAL
     +-- 192.168.1.0/24 2 0 2
        |-- 192.168.1.7
           /32 host LOCAL
        |-- 192.168.1.255
           /32 link BROADCAST
        |-- 198.19.255.255
           /32 link BROADCAST
Id 52:
     |-- 100.64.0.0
        /10 universe UNICAST
";

    fn net(text: &str) -> Ipv4Net {
        text.parse().expect("a network")
    }

    fn by(routes: &Routes, text: &str) -> Option<String> {
        routes.overlapping(net(text)).map(|route| format!("{} {}", route.net, route.by))
    }

    #[test]
    fn a_network_in_any_table_is_found_with_its_device() {
        let routes = Routes::parse(MAIN, ALL);
        assert_eq!(by(&routes, "10.244.0.0/16").as_deref(), Some("10.0.0.0/8 tun0"));
        assert_eq!(by(&routes, "172.16.0.0/12").as_deref(), Some("172.17.0.0/16 docker0"));
        assert_eq!(by(&routes, "192.168.1.0/24").as_deref(), Some("192.168.1.0/24 wlan0"));
        assert_eq!(by(&routes, "198.18.0.0/24").as_deref(), Some("198.18.0.0/24 a route that drops"));
        assert_eq!(by(&routes, "100.100.0.0/24").as_deref(), Some("100.64.0.0/10 table 52"));
        assert_eq!(by(&routes, "127.0.0.0/24").as_deref(), Some("127.0.0.0/8 this host"));
    }

    #[test]
    fn default_routes_and_broadcasts_are_nobodys_network() {
        let routes = Routes::parse(MAIN, ALL);
        assert_eq!(by(&routes, "198.19.255.0/24"), None);
        assert_eq!(by(&routes, "11.0.0.0/24"), None);
    }

    #[test]
    fn conflicts_name_the_range() {
        let found =
            Routes::parse(MAIN, ALL).conflicts(&[("pods", net("10.244.0.0/16")), ("lab", net("198.18.7.0/24"))]);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].route.by.as_str()), ("pods", "tun0"));
    }

    #[test]
    fn this_host_has_at_least_its_loopback_network() {
        let routes = Routes::read().expect("the kernel tells its routes");
        assert!(routes.overlapping(net("127.0.0.0/24")).is_some());
    }

    #[test]
    fn an_address_on_a_link_of_a_namespace_is_seen() {
        let script =
            "ip link set lo up && ip link add lab type dummy 2>/dev/null || ip link add lab type veth peer name bal
            ip addr add 198.18.9.1/24 dev lab && ip link set lab up &&
            cat /proc/net/route && echo -- && cat /proc/net/fib_trie";
        let out = std::process::Command::new("unshare")
            .args(["-Urn", "sh", "-c", script])
            .output()
            .expect("`unshare` and `ip` are part of this test: apt install util-linux iproute2");
        let text = String::from_utf8_lossy(&out.stdout);
        let (main, all) = text.split_once("--\n").unwrap_or_else(|| panic!("{out:?}"));
        assert_eq!(by(&Routes::parse(main, all), "198.18.9.0/24").as_deref(), Some("198.18.9.0/24 lab"));
        assert_eq!(by(&Routes::parse("", all), "198.18.9.0/24").as_deref(), Some("198.18.9.0/24 this host"));
    }
}
