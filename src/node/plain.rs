//! What iproute2 and netstat print for people, as bundles of other tools hold it, brought into the form that is read here.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::{Value, json};

/// `ip addr`, or `ip link`, as `ip -j addr` would have it.
pub fn links(text: &str) -> String {
    let mut links: Vec<Value> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if line.starts_with(|c: char| c.is_ascii_digit()) {
            let Some(name) = words.get(1).map(|name| name.trim_end_matches(':')) else { continue };
            let name = name.split('@').next().unwrap_or(name);
            let flags = words.get(2).map_or("", |flags| flags.trim_matches(['<', '>']));
            let mtu = after(&words, "mtu").and_then(|mtu| mtu.parse::<u32>().ok()).unwrap_or_default();
            let flags: Vec<&str> = flags.split(',').collect();
            links.push(json!({ "ifname": name, "flags": flags, "mtu": mtu, "addr_info": [] }));
            continue;
        }
        let Some(link) = links.last_mut() else { continue };
        match words.as_slice() {
            [kind, mac, ..] if kind.starts_with("link/") => link["address"] = json!(mac.to_ascii_lowercase()),
            ["inet", own, ..] => {
                let Some(net) = net(own) else { continue };
                let address = json!({ "family": "inet", "local": net.addr(), "prefixlen": net.prefix_len() });
                if let Some(all) = link["addr_info"].as_array_mut() {
                    all.push(address);
                }
            }
            _ => {}
        }
    }
    Value::from(links).to_string()
}

/// `ip route`, of one table or all, as a list of `ip -j route`'s objects. The hops of a route with several are left out.
pub fn routes(text: &str) -> Vec<Value> {
    const KINDS: [&str; 8] =
        ["unicast", "local", "broadcast", "multicast", "blackhole", "unreachable", "prohibit", "throw"];
    let route = |line: &str| {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        let kind = KINDS.iter().find(|kind| words.first() == Some(*kind)).copied();
        if kind.is_some() {
            words.remove(0);
        }
        let to = words.first().filter(|to| **to == "default" || net(to).is_some())?;
        let mut route = json!({ "dst": to });
        for (word, key) in
            [("via", "gateway"), ("dev", "dev"), ("table", "table"), ("proto", "protocol"), ("src", "prefsrc")]
        {
            if let Some(value) = after(&words, word) {
                route[key] = json!(value);
            }
        }
        if let Some(kind) = kind {
            route["type"] = json!(kind);
        }
        Some(route)
    };
    text.lines().filter(|line| !line.starts_with([' ', '\t'])).filter_map(route).collect()
}

/// `ip rule` as `ip -j rule` would have it.
pub fn rules(text: &str) -> String {
    let rule = |line: &str| {
        let (priority, rest) = line.split_once(':')?;
        let words: Vec<&str> = rest.split_whitespace().collect();
        let mut rule = json!({ "priority": priority.trim().parse::<u32>().ok()?, "src": "all" });
        for (word, key, length) in [("from", "src", "srclen"), ("to", "dst", "dstlen")] {
            match after(&words, word).map(|net| net.split_once('/').unwrap_or((net, ""))) {
                Some((net, "")) => rule[key] = json!(net),
                Some((net, bits)) => {
                    rule[key] = json!(net);
                    rule[length] = json!(bits.parse::<u8>().ok()?);
                }
                None => {}
            }
        }
        for (word, key) in [("iif", "iif"), ("oif", "oif"), ("fwmark", "fwmark"), ("lookup", "table")] {
            if let Some(value) = after(&words, word) {
                rule[key] = json!(value);
            }
        }
        let action = ["unreachable", "blackhole", "prohibit"].into_iter().find(|action| words.contains(action));
        if let Some(action) = action {
            rule["action"] = json!(action);
        }
        Some(rule)
    };
    Value::from(text.lines().filter_map(rule).collect::<Vec<_>>()).to_string()
}

/// `ip neigh` as `ip -4 -j neigh` would have it.
pub fn neighbours(text: &str) -> String {
    let neighbour = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let address: Ipv4Addr = words.first()?.parse().ok()?;
        let mut one = json!({ "dst": address, "dev": after(&words, "dev")?, "state": [words.last()?] });
        if let Some(mac) = after(&words, "lladdr") {
            one["lladdr"] = json!(mac);
        }
        Some(one)
    };
    Value::from(text.lines().filter_map(neighbour).collect::<Vec<_>>()).to_string()
}

/// The TCP listeners of `netstat -an` as `ss -4 -H -ltnp` would have them; no program is told.
pub fn listeners(netstat: &str) -> String {
    let all: Vec<String> = sockets(netstat, "LISTEN").map(|(own, _)| format!("LISTEN 0 0 {own} 0.0.0.0:*\n")).collect();
    all.concat()
}

/// The TCP connections of `netstat -an` that stand: own and other address, each with its port.
pub fn connections(netstat: &str) -> Vec<(String, String)> {
    sockets(netstat, "ESTABLISHED").collect()
}

/// The same of `ss -an`.
pub fn listening(ss: &str) -> String {
    let listener = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["tcp", "LISTEN", _, _, own, ..] = words.as_slice() else { return None };
        Some(format!("LISTEN 0 0 {} 0.0.0.0:*\n", own.replace("[::]:", "*:")))
    };
    ss.lines().filter_map(listener).collect()
}

fn sockets<'a>(netstat: &'a str, state: &'a str) -> impl Iterator<Item = (String, String)> + 'a {
    netstat.lines().filter_map(move |line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [kind, _, _, own, other, own_state, ..] = words.as_slice() else { return None };
        // A socket of IPv6 that is open to all is open to IPv4 too, and its connections carry a prefix.
        let plain = |end: &str| end.replace("::ffff:", "").replacen(":::", "*:", 1);
        (kind.starts_with("tcp") && *own_state == state).then(|| (plain(own), plain(other)))
    })
}

/// A network, or a single address as one.
fn net(text: &str) -> Option<Ipv4Net> {
    text.parse().ok().or_else(|| Some(Ipv4Net::from(text.parse::<Ipv4Addr>().ok()?)))
}

/// The word that follows another one.
fn after<'a>(words: &[&'a str], word: &str) -> Option<&'a str> {
    words.iter().position(|own| *own == word).and_then(|at| words.get(at + 1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::link::{Link, Neighbour};
    use crate::node::route::{PolicyRule, Routes};
    use crate::node::socket::Listener;

    #[test]
    fn devices_as_people_read_them() {
        let text = "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN qlen 1000\r\n    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\r\n    inet 127.0.0.1/8 scope host lo\r\n       valid_lft forever preferred_lft forever\r\n3: eth1: <NO-CARRIER,BROADCAST,MULTICAST,UP> mtu 1450 qdisc fq_codel state DOWN qlen 1000\r\n    link/ether 08:00:27:AA:00:0C brd ff:ff:ff:ff:ff:ff\r\n    inet 172.18.18.102/24 brd 172.18.18.255 scope global eth1\r\n7: cali0ef24ba1c2d@if3: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1440 qdisc noqueue state UP\r\n";
        let links = Link::parse(&links(text)).expect("JSON");
        let seen: Vec<_> = links.iter().map(|link| (link.name.as_str(), link.mtu, link.up())).collect();
        assert_eq!(seen, [("lo", 65536, true), ("eth1", 1450, false), ("cali0ef24ba1c2d", 1440, true)]);
        assert_eq!(links[1].mac, "08:00:27:aa:00:0c");
        assert_eq!(
            (links[1].addresses[0].local.to_string().as_str(), links[1].addresses[0].prefix),
            ("172.18.18.102", 24)
        );
    }

    #[test]
    fn routes_rules_and_neighbours() {
        let text = "default via 10.0.2.2 dev eth0 proto dhcp src 10.0.2.15 metric 1024 \nblackhole 192.168.10.0/26 proto bird \n192.168.10.64/26 via 172.18.18.102 dev tunl0 proto bird onlink \n192.168.10.5 dev cali0ef24ba1c2d scope link \nbroadcast 127.255.255.255 dev lo table local proto kernel scope link src 127.0.0.1 \n\tnexthop via 10.0.0.1 dev eth0 weight 1\n";
        let lists = Value::from(routes(text)).to_string();
        let all = Routes::parse(&lists, "").expect("JSON").tables;
        let shown: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(shown[1], "blackhole 192.168.10.0/26");
        assert_eq!(shown[2], "192.168.10.64/26 via 172.18.18.102 dev tunl0");
        assert_eq!((all.len(), all[2].protocol.as_deref(), all[4].table.as_str()), (5, Some("bird"), "local"));
        let rules = rules(
            "0:\tfrom all lookup local \n99:\tfrom 10.1.0.0/16 to 10.2.0.1 iif eth0 lookup 7 \n100:\tfrom all unreachable\n32766:\tfrom all lookup main \n32767:\tfrom all lookup default \n",
        );
        let rules = PolicyRule::parse(&rules).expect("JSON");
        let own: Vec<&str> = rules.iter().filter(|rule| !rule.usual()).map(|rule| rule.text.as_str()).collect();
        assert_eq!(own, ["from 10.1.0.0/16 to 10.2.0.1 iif eth0 lookup 7", "from all unreachable"]);
        let near = neighbours(
            "172.18.18.102 dev eth1 lladdr 08:00:27:aa:00:0c REACHABLE\n172.18.18.103 dev eth1  FAILED\nfe80::1 dev eth1 lladdr 0a:00:27:00:00:00 router STALE\n",
        );
        let near = Neighbour::parse(&near).expect("JSON");
        assert_eq!((near.len(), near[0].failed(), near[1].failed()), (2, false, true));
    }

    #[test]
    fn sockets_as_netstat_tells_them() {
        let text = "Active Internet connections (servers and established)\nProto Recv-Q Send-Q Local Address           Foreign Address         State      \ntcp        0      0 0.0.0.0:179             0.0.0.0:*               LISTEN     \ntcp6       0      0 :::10250                :::*                    LISTEN     \ntcp        0      0 172.18.18.101:179       172.18.18.102:41234     ESTABLISHED\nudp        0      0 0.0.0.0:68              0.0.0.0:*                          \nActive UNIX domain sockets (servers and established)\nunix  2      [ ACC ]     STREAM     LISTENING     12345    /run/calico/bird.ctl\n";
        let all = Listener::parse(&listeners(text));
        let ports: Vec<u16> = all.iter().map(|one| one.port).collect();
        assert_eq!(ports, [179, 10250]);
        assert_eq!(connections(text), [("172.18.18.101:179".into(), "172.18.18.102:41234".into())]);
    }
}
