//! Faults of services and names.

use super::super::{Fault, Made, Victim};
use crate::proof::check::Layer;

const fn fault(id: &'static str, seen: Layer, about: &'static str, inject: &'static str, undo: &'static str) -> Fault {
    super::primer(super::fault(id, seen, about, inject, undo))
}

/// The file begins by removing what is there.
const RESTORE: &str = "nft -f /etc/calicolab/services.nft";

pub(super) const ALL: &[Fault] = &[
    fault("services-missing", Layer::Service, "there are no service rules", "nft delete table ip calicolab", RESTORE),
    fault(
        "service-backend",
        Layer::Service,
        "a service leads to a port on which nobody listens",
        "sed 's/:2379/:2389/; s/:2381/:2391/' /etc/calicolab/services.nft | rules",
        RESTORE,
    ),
    fault(
        "dns-rule",
        Layer::Name,
        "the rule of the DNS service is gone",
        "sed '/dport 53 /d' /etc/calicolab/services.nft | rules",
        RESTORE,
    ),
    Fault {
        victim: Victim::Server,
        ..fault(
            "dns-stopped",
            Layer::Name,
            "a DNS server is stopped",
            "systemctl stop calicolab-dns",
            "systemctl start calicolab-dns",
        )
    },
    Fault {
        victim: Victim::Server,
        made: Made::AtServers,
        ..fault(
            "dns-answers-all",
            Layer::Name,
            "the DNS servers answer every name",
            r#"keep /etc/calicolab/dnsmasq.conf
sed -i '/^local=/d' /etc/calicolab/dnsmasq.conf
echo "address=/#/$API" >>/etc/calicolab/dnsmasq.conf
systemctl restart calicolab-dns"#,
            "back /etc/calicolab/dnsmasq.conf; systemctl restart calicolab-dns",
        )
    },
    fault(
        "resolver",
        Layer::Name,
        "pods ask another name server",
        "keep /var/lib/calicolab/busybox/etc/resolv.conf
sed -i 's/^nameserver .*/nameserver 10.0.2.3/' /var/lib/calicolab/busybox/etc/resolv.conf",
        "back /var/lib/calicolab/busybox/etc/resolv.conf",
    ),
];
