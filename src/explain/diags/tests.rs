//! Bundles in the layouts that calicoctl writes, healthy and broken in one way each.

use super::*;
use crate::explain::Outcome;

const ADDRESSES: [&str; 3] = ["172.18.18.101", "172.18.18.102", "172.18.18.103"];

fn addr(index: usize) -> String {
    format!(
        "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN\n    inet 127.0.0.1/8 scope host lo\n2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc pfifo_fast state UP qlen 1000\n    inet 10.0.2.15/24 brd 10.0.2.255 scope global dynamic eth0\n3: eth1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc pfifo_fast state UP qlen 1000\n    inet {}/24 brd 172.18.18.255 scope global eth1\n5: tunl0@NONE: <NOARP,UP,LOWER_UP> mtu 1440 qdisc noqueue state UNKNOWN\n    inet 192.168.{index}.1/32 scope global tunl0\n",
        ADDRESSES[index]
    )
}

fn lines(of: impl Iterator<Item = usize>, line: impl Fn(usize) -> String) -> String {
    of.map(line).collect()
}

fn routes(index: usize) -> String {
    let others = (0..3).filter(|other| *other != index);
    let routes =
        lines(others, |other| format!("192.168.{other}.0/26 via {} dev tunl0 proto bird onlink \n", ADDRESSES[other]));
    format!(
        "default via 10.0.2.2 dev eth0 proto dhcp metric 1024 \n10.0.2.0/24 dev eth0 proto kernel scope link src 10.0.2.15 \n172.18.18.0/24 dev eth1 proto kernel scope link src {} \nblackhole 192.168.{index}.0/26 proto bird \n{routes}192.168.{index}.2 dev cali0ef24ba1c2d scope link \n",
        ADDRESSES[index]
    )
}

fn netstat(index: usize) -> String {
    let others = (0..3).filter(|other| *other != index);
    let all = lines(others, |other| {
        format!("tcp        0      0 {}:179       {}:43210      ESTABLISHED\n", ADDRESSES[index], ADDRESSES[other])
    });
    format!(
        "Active Internet connections (servers and established)\nProto Recv-Q Send-Q Local Address           Foreign Address         State\ntcp        0      0 0.0.0.0:179             0.0.0.0:*               LISTEN\ntcp        0      0 0.0.0.0:22              0.0.0.0:*               LISTEN\n{all}"
    )
}

const TABLES: &str = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:cali-tw-cali0ef24ba1c2d - [0:0]\n[1:60] -A INPUT -m comment --comment \"cali:x\" -j cali-INPUT\n[9:9] -A cali-tw-cali0ef24ba1c2d -m comment --comment \"cali:y\" -j DROP\nCOMMIT\n";

/// `calicoctl node diags` on the first node.
fn one_node(old: bool) -> Vec<File> {
    let names = if old {
        ["netstat_--all_--numeric", "ip_-4_route", "ip_-4_addr", "iptables-save"]
    } else {
        ["netstat", "ipv4_route", "ipv4_addr", "ipv4_tables"]
    };
    let texts = [netstat(0), routes(0), addr(0), TABLES.to_owned()];
    let log = "2017-08-24_10:11:12.52341 bird: Mesh_172_18_18_102: State changed to start\n2017-08-24_10:11:15.1 bird: Mesh_172_18_18_102: State changed to up\n2017-08-24_10:11:15.2 bird: Mesh_172_18_18_103: State changed to up\n";
    let mut files = vec![
        ("diagnostics/hostname".to_owned(), "calico-01\n".to_owned()),
        ("diagnostics/logs/bird/current".to_owned(), log.to_owned()),
    ];
    files.extend(names.into_iter().zip(texts).map(|(name, text)| (format!("diagnostics/{name}"), text)));
    files
}

/// `calicoctl cluster diags` of three nodes, of which the third has no pod that was collected.
fn cluster() -> Vec<File> {
    let top = "calico-diagnostics-20250101_101112";
    let nodes = lines(0..3, |index| {
        format!(
            "- apiVersion: v1\n  kind: Node\n  metadata:\n    annotations:\n      projectcalico.org/IPv4Address: {}/24\n    name: node{index}.example\n  status:\n    addresses:\n    - address: {}\n      type: InternalIP\n    - address: node{index}\n      type: Hostname\n",
            ADDRESSES[index], ADDRESSES[index]
        )
    });
    let claims = lines(0..3, |index| {
        format!(
            "- kind: BlockAffinity\n  spec:\n    cidr: 192.168.{index}.0/26\n    node: node{index}.example\n    state: confirmed\n"
        )
    });
    let mut files = vec![
        (format!("{top}/cluster/kubernetes/nodes.yaml"), format!("apiVersion: v1\nitems:\n{nodes}kind: List\n")),
        (
            format!("{top}/cluster/crd/blockaffinities.crd.projectcalico.org.yaml"),
            format!("apiVersion: v1\nitems:\n{claims}kind: List\n"),
        ),
    ];
    for index in 0..2 {
        let others = (0..3).filter(|other| *other != index);
        let near = lines(others, |other| {
            format!("{} dev eth1 lladdr 08:00:27:00:00:0{other} REACHABLE \r\n", ADDRESSES[other])
        });
        for (name, text) in [
            ("ip-addr.txt", addr(index)),
            ("ip-route.txt", routes(index)),
            (
                "ip-rule.txt",
                "0:\tfrom all lookup local\r\n32766:\tfrom all lookup main\r\n32767:\tfrom all lookup default\r\n"
                    .into(),
            ),
            ("ip-neigh.txt", near),
            ("iptables-legacy-save.txt", TABLES.into()),
            ("nft-ruleset.txt", String::new()),
            ("tc-qdisc.txt", "qdisc noqueue 0: dev lo root refcnt 2\r\n".into()),
            ("calico-system/calico-node-abcde.log", "bird: Mesh_172_18_18_103: State changed to up\n".into()),
            (
                "calico-system/calico-node-abcde.txt",
                "Name:  calico-node-abcde\nConditions:\n  Type    Status\n  Ready   True \n".into(),
            ),
            ("kube-system/coredns-x.log", "not read".into()),
        ] {
            files.push((format!("{top}/nodes/node{index}.example/{name}"), text));
        }
    }
    files
}

fn changed(mut files: Vec<File>, name: &str, from: &str, to: &str) -> Vec<File> {
    let file = files.iter_mut().find(|(path, _)| path.ends_with(name)).unwrap_or_else(|| panic!("no {name}"));
    assert!(file.1.contains(from), "{name} has no {from:?}: {}", file.1);
    file.1 = file.1.replace(from, to);
    files
}

fn explained(files: &[File]) -> Diagnosis {
    diagnose(&read(files).expect("it can be read"))
}

#[track_caller]
fn is(files: &[File], id: &str) -> crate::explain::Cause {
    let diagnosis = explained(files);
    let first = diagnosis.first.clone().unwrap_or_else(|| panic!("{id}: {diagnosis:#?}"));
    assert_eq!(first.id, id, "{diagnosis:#?}");
    assert!(!first.remedy.contains("calicolab") && !first.remedy.is_empty(), "{}", first.remedy);
    first
}

#[test]
fn a_healthy_node_has_no_cause_and_what_cannot_be_told_is_said() {
    for files in [one_node(false), one_node(true)] {
        let diagnosis = explained(&files);
        assert_eq!(diagnosis.outcome, Outcome::NothingBroken, "{diagnosis:#?}");
        assert!(diagnosis.warnings.is_empty(), "{diagnosis:#?}");
        let blind = diagnosis.blind.join("\n");
        assert!(blind.contains("nothing was collected on node-172-18-18-102, node-172-18-18-103"), "{blind}");
        assert!(blind.contains("no datastore is in it") && blind.contains("queues"), "{blind}");
    }
    let read = read(&one_node(false)).expect("a bundle");
    let blocks: Vec<String> =
        read.plan.nodes.iter().map(|(node, part)| format!("{node} {} {}", part.address, part.block)).collect();
    assert_eq!(
        blocks,
        [
            "calico-01 172.18.18.101 192.168.0.0/26",
            "node-172-18-18-102 172.18.18.102 192.168.1.0/26",
            "node-172-18-18-103 172.18.18.103 192.168.2.0/26",
        ]
    );
}

#[test]
fn a_node_that_is_broken_is_explained_by_its_own_bundle() {
    let peer = "tcp        0      0 172.18.18.101:179       172.18.18.102:43210      ESTABLISHED\n";
    let lost = || changed(one_node(false), "/netstat", peer, "");
    let dropped =
        changed(lost(), "/ipv4_tables", "COMMIT", "[7:420] -A INPUT -i eth1 -p tcp -m tcp --dport 179 -j DROP\nCOMMIT");
    let cause = is(&dropped, "port-one-way");
    assert!(cause.remedy.starts_with("on calico-01: sudo"), "{}", cause.remedy);
    let stopped = changed(lost(), "/netstat", "0.0.0.0:179", "0.0.0.0:9099");
    is(&stopped, "bird-stopped");
    let down = changed(
        lost(),
        "/ipv4_addr",
        "eth1: <BROADCAST,MULTICAST,UP,LOWER_UP>",
        "eth1: <NO-CARRIER,BROADCAST,MULTICAST,UP>",
    );
    is(&down, "link-down");
    // No rule sees why: both ends' last words and what would decide are told.
    let refused = changed(
        lost(),
        "bird/current",
        "State changed to up\n2017-08-24_10:11:15.2",
        "Received: Bad peer AS: 64513\n2017-08-24_10:11:15.2",
    );
    let diagnosis = explained(&refused);
    assert_eq!(diagnosis.outcome, Outcome::Undecided, "{diagnosis:#?}");
    assert!(diagnosis.open.iter().any(|open| open.decides.contains("Bad peer AS")), "{diagnosis:#?}");
    let hole =
        changed(one_node(false), "/ipv4_route", "192.168.0.2 dev", "blackhole 192.168.1.32/27 \n192.168.0.2 dev");
    is(&hole, "blackhole");
}

#[test]
fn bundles_of_two_nodes_are_two_ends() {
    let mut both: Vec<File> = one_node(false).into_iter().map(|(path, text)| (format!("0/{path}"), text)).collect();
    let second = [
        ("hostname", "calico-02\n".to_owned()),
        ("netstat", netstat(1).replace("0.0.0.0:179 ", "0.0.0.0:9099 ").replace("ESTABLISHED", "TIME_WAIT")),
        ("ipv4_route", routes(1)),
        ("ipv4_addr", addr(1)),
    ];
    both.extend(second.map(|(name, text)| (format!("1/diagnostics/{name}"), text)));
    let both = changed(
        both,
        "0/diagnostics/netstat",
        "172.18.18.102:43210      ESTABLISHED",
        "172.18.18.102:43210      TIME_WAIT",
    );
    let cause = is(&both, "bird-stopped");
    assert!(
        cause.says.contains("calico-02") && cause.evidence.iter().any(|side| side.node.as_str() == "calico-01"),
        "{cause:#?}"
    );
}

#[test]
fn a_cluster_has_its_intent_and_both_ends() {
    let diagnosis = explained(&cluster());
    assert_eq!(diagnosis.outcome, Outcome::NothingBroken, "{diagnosis:#?}");
    assert!(diagnosis.warnings.is_empty() && diagnosis.blind[0].contains("node2.example"), "{diagnosis:#?}");
    let nat = ["IPv4Address: 172.18.18.101/24", "IPv4Address: 172.18.18.102/24"];
    let nat = nat.iter().fold(cluster(), |files, from| changed(files, "nodes.yaml", from, "IPv4Address: 10.0.2.15/24"));
    let cause = is(&nat, "wrong-address");
    assert!(cause.remedy.contains("IP_AUTODETECTION_METHOD"), "{}", cause.remedy);
    let moved = changed(cluster(), "node1.example/ip-addr.txt", "172.18.18.102/24", "172.18.18.202/24");
    is(&moved, "address-missing");
    let unready = "  Ready   False \nEvents:\n  Warning  Unhealthy  kubelet  Readiness probe failed: calico/node is not ready: BIRD is not ready: BGP not established with 172.18.18.102\n";
    let cut = changed(cluster(), "node0.example/calico-system/calico-node-abcde.txt", "  Ready   True \n", unready);
    let silent = changed(
        cut,
        "node0.example/ip-neigh.txt",
        "172.18.18.102 dev eth1 lladdr 08:00:27:00:00:01 REACHABLE",
        "172.18.18.102 dev eth1  FAILED",
    );
    let cause = is(&silent, "no-neighbour");
    assert!(cause.explains.iter().any(|id| id.as_str() == "session.node0.node1"), "{cause:#?}");
    let rule = changed(
        cluster(),
        "node0.example/ip-rule.txt",
        "32766:",
        "100:\tfrom all to 192.168.2.0/26 lookup 7\r\n32766:",
    );
    let rule = changed(
        rule,
        "node0.example/ip-route.txt",
        "192.168.2.0/26 via 172.18.18.103 dev tunl0 proto bird onlink \n",
        "",
    );
    is(&rule, "policy-rule");
}

#[test]
fn what_was_registered_in_old_etcd_is_read() {
    let keys = "dir?, key, value\nDIR,  /calico/bgp,\nFILE, /calico/bgp/v1/global/as_num, 64511\nFILE, /calico/bgp/v1/global/node_mesh, {\"enabled\": true}\nFILE, /calico/bgp/v1/host/calico-01/ip_addr_v4, 172.18.18.101\nFILE, /calico/bgp/v1/host/calico-02/ip_addr_v4, 172.18.18.102\nFILE, /calico/ipam/v2/host/calico-02/ipv4/block/192.168.1.0-26, \n";
    let mut files = one_node(true);
    files.push(("diagnostics/etcd_calico".into(), keys.into()));
    let read = read(&files).expect("a bundle");
    assert_eq!(read.plan.bgp.asn, 64511);
    assert!(read.plan.nodes.names().any(|node| node.as_str() == "calico-02"), "{:?}", read.plan.nodes);
    assert_eq!(diagnose(&read).outcome, Outcome::NothingBroken);
}

#[test]
fn what_is_no_bundle_is_refused_and_nothing_panics() {
    assert_eq!(read(&[]).expect_err("nothing"), NoDiags::Foreign);
    assert_eq!(read(&[("diagnostics/hostname".into(), "a".into())]).expect_err("no address"), NoDiags::NoNodes);
    for path in
        ["etc/passwd", "diagnostics/../../etc/passwd", "x/nodes/n/other.txt", "x/cluster/kubernetes/secrets.yaml"]
    {
        assert!(!wanted(path), "{path}");
    }
    // Cut anywhere, it is still read or refused.
    for files in [one_node(false), cluster()] {
        for (index, share) in (0..files.len()).flat_map(|index| [3, 7, 11].map(|share| (index, share))) {
            let mut cut = files.clone();
            let end = cut[index].1.len() / share;
            cut[index].1.truncate(end);
            let _ = read(&cut).map(|read| diagnose(&read));
        }
    }
}
