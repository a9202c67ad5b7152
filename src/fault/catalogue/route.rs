//! Faults of routes, forwarding and pods' networks.

use super::super::Fault;
use super::{fault, primer};
use crate::proof::check::Layer;

pub(super) const ALL: &[Fault] = &[
    fault(
        "peer-route",
        Layer::Link,
        "the peer is sent for by the NAT card",
        r#"ip route add "$PEER_ADDRESS/32" via 10.0.2.2 dev "$NAT"; anew"#,
        r#"ip route del "$PEER_ADDRESS/32" via 10.0.2.2 dev "$NAT"; anew"#,
    ),
    primer(fault(
        "no-direct",
        Layer::Route,
        "BIRD does not know the routes of devices: Established, and nothing goes",
        "conf '/^protocol direct /d'",
        "unconf",
    )),
    primer(fault(
        "own-block",
        Layer::Route,
        "the node's own block is not announced",
        "birdc disable blocks",
        "birdc enable blocks",
    )),
    Fault {
        explained: "blackhole",
        ..fault(
            "half-blackhole",
            Layer::Route,
            "half of another node's block is thrown away",
            r#"ip route add blackhole "$UPPER_HALF""#,
            r#"ip route del blackhole "$UPPER_HALF""#,
        )
    },
    fault(
        "blackhole",
        Layer::Route,
        "another node's block is thrown away",
        r#"ip route add blackhole "$LOWER_HALF"; ip route add blackhole "$UPPER_HALF""#,
        r#"ip route del blackhole "$LOWER_HALF"; ip route del blackhole "$UPPER_HALF""#,
    ),
    fault(
        "policy-rule",
        Layer::Route,
        "a policy rule hides the right route",
        r#"ip route add default via 10.0.2.2 dev "$NAT" table 77; ip rule add to "$PEER_BLOCK" lookup 77 priority 100"#,
        r#"ip rule del to "$PEER_BLOCK" lookup 77 priority 100; ip route flush table 77"#,
    ),
    fault(
        "stray-route",
        Layer::Route,
        "half of another node's block is sent to nobody",
        r#"ip route add "$LOWER_HALF" via "$FREE" dev "$DEVICE""#,
        r#"ip route del "$LOWER_HALF" via "$FREE" dev "$DEVICE""#,
    ),
    fault(
        "no-forwarding",
        Layer::Packet,
        "the node does not forward what comes by the lab card",
        // Not for all devices: the plugin that makes pods' networks switches that on again with each pod.
        r#"sysctl -qw "net.ipv4.conf.$DEVICE.forwarding=0""#,
        r#"sysctl -qw "net.ipv4.conf.$DEVICE.forwarding=1""#,
    ),
    fault(
        "forward-dropped",
        Layer::Packet,
        "a firewall drops what is forwarded",
        "rules <<END
table inet $TABLE {
  chain way { type filter hook forward priority 0; ip saddr $PODS drop; }
}
END",
        "unruled",
    ),
    fault(
        "cni-missing",
        Layer::Packet,
        "the pods' network has no configuration",
        r#"keep "/etc/cni/net.d/$CNI"; rm "/etc/cni/net.d/$CNI""#,
        r#"back "/etc/cni/net.d/$CNI""#,
    ),
    fault(
        "cni-foreign",
        Layer::Packet,
        "another pods' network comes first",
        r#"cat >/etc/cni/net.d/00-foreign.conf <<END
{"cniVersion": "0.4.0", "name": "foreign", "type": "ptp", "ipMasq": false,
 "ipam": {"type": "host-local", "dataDir": "/run/calicolab/cni", "routes": [{"dst": "0.0.0.0/0"}],
  "ranges": [[{"subnet": "172.30.9.0/24"}]]}}
END"#,
        "rm -f /etc/cni/net.d/00-foreign.conf",
    ),
    fault(
        "impostor",
        Layer::Packet,
        "the node itself answers for an address of pods",
        r#"ip address add "$UNUSED/32" dev lo"#,
        r#"ip address del "$UNUSED/32" dev lo"#,
    ),
];
