//! Faults of addresses and of the lab network: cards, loss, delay, size.

use super::super::{Fault, Honest};
use super::{fault, primer};
use crate::proof::check::Layer;

pub(super) const ALL: &[Fault] = &[
    fault(
        "link-down",
        Layer::Address,
        "the lab card is switched off",
        r#"ip link set "$DEVICE" down"#,
        r#"ip link set "$DEVICE" up; network"#,
    ),
    primer(fault(
        "address-missing",
        Layer::Address,
        "the lab card has lost its address",
        r#"ip address del "$ADDRESS/$PREFIX" dev "$DEVICE""#,
        // BIRD gives up a socket that it could not bind, until it is started again.
        "network; systemctl restart bird",
    )),
    fault(
        "address-twice",
        Layer::Address,
        "the node has another one's address too",
        r#"ip address add "$PEER_ADDRESS/$PREFIX" dev "$DEVICE""#,
        r#"ip address del "$PEER_ADDRESS/$PREFIX" dev "$DEVICE""#,
    ),
    fault("mtu", Layer::Address, "the lab card takes 1400 bytes", r#"ip link set "$DEVICE" mtu 1400"#, "network"),
    fault(
        "loss",
        Layer::Link,
        "60 of 100 packets are lost",
        r#"rules <<END
table inet $TABLE {
  chain in { type filter hook input priority -10; iifname "$DEVICE" numgen random mod 100 < 60 drop; }
}
END"#,
        "unruled",
    ),
    Fault {
        honest: Honest::OwnKernel,
        ..fault(
            "delay",
            Layer::Link,
            "each packet is 300 ms late",
            r#"tc qdisc add dev "$DEVICE" root netem delay 300ms"#,
            r#"tc qdisc del dev "$DEVICE" root"#,
        )
    },
    fault(
        "dropped",
        Layer::Link,
        "a firewall drops ping",
        r#"rules <<END
table inet $TABLE {
  chain in { type filter hook input priority -10; iifname "$DEVICE" icmp type echo-request drop; }
}
END"#,
        "unruled",
    ),
    fault(
        "mtu-hole",
        Layer::Link,
        "packets of more than 1400 bytes vanish",
        r#"rules <<END
table inet $TABLE {
  chain in { type filter hook prerouting priority -310; iifname "$DEVICE" meta length > 1400 drop; }
}
END"#,
        "unruled",
    ),
];
