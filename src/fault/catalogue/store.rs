//! Faults of the machine and of the datastore: clocks, certificates, and what is registered.

use super::super::{Fault, Honest, Made, Needs, Victim};
use crate::proof::check::Layer;

/// Made on the master, seen in what the nodes read.
const fn fault(id: &'static str, about: &'static str, inject: &'static str, undo: &'static str) -> Fault {
    super::primer(Fault { made: Made::AtMaster, ..super::fault(id, Layer::Datastore, about, inject, undo) })
}

const fn at_etcd(id: &'static str, about: &'static str, inject: &'static str, undo: &'static str) -> Fault {
    Fault { victim: Victim::Master, ..fault(id, about, inject, undo) }
}

const BACK_KEY: &str = r#"put_key "$KEY""#;
const BACK_CERTIFICATE: &str =
    "back /etc/calicolab/pki/etcd.crt; back /etc/calicolab/pki/etcd.key; systemctl restart etcd";

pub(super) const ALL: &[Fault] = &[
    Fault {
        honest: Honest::OwnKernel,
        ..super::fault(
            "clock",
            Layer::Machine,
            "the clock is an hour ahead",
            r#"date -s "@$(($(date +%s) + 3600))""#,
            r#"date -s "@$(($(date +%s) - 3600))""#,
        )
    },
    at_etcd("etcd-stopped", "the datastore is stopped", "systemctl stop etcd", "systemctl start etcd"),
    at_etcd(
        "etcd-scheme",
        "the datastore speaks HTTP where its clients speak TLS",
        r"mkdir -p /run/systemd/system/etcd.service.d
{
  printf '[Service]\nExecStart=\n'
  sed -n '/^ExecStart=/,/[^\\]$/p' /etc/systemd/system/etcd.service | sed 's,https://,http://,g'
} >/run/systemd/system/etcd.service.d/90-fault.conf
systemctl daemon-reload
systemctl restart etcd",
        "rm -rf /run/systemd/system/etcd.service.d; systemctl daemon-reload; systemctl restart etcd",
    ),
    at_etcd(
        "cert-foreign",
        "the datastore's certificate is signed by another authority",
        r#"keep /etc/calicolab/pki/etcd.crt
keep /etc/calicolab/pki/etcd.key
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj '/CN=another authority' \
  -addext "subjectAltName=IP:$HERE_ADDRESS,IP:127.0.0.1,IP:$API" \
  -keyout /etc/calicolab/pki/etcd.key -out /etc/calicolab/pki/etcd.crt
systemctl restart etcd"#,
        BACK_CERTIFICATE,
    ),
    Fault {
        needs: Some(Needs::ExpiredCertificate),
        ..at_etcd(
            "cert-expired",
            "the datastore's certificate is out of date",
            r#"keep /etc/calicolab/pki/etcd.crt
printf '%s' "$CERTIFICATE" >/etc/calicolab/pki/etcd.crt
systemctl restart etcd"#,
            BACK_CERTIFICATE,
        )
    },
    fault(
        "wrong-address",
        "the NAT card's address is registered",
        r#"keep_key "$KEY"
sed "s/\"ipv4Address\":\"[^\"]*\"/\"ipv4Address\":\"10.0.2.15\/24\"/" "$S/value" | tr -d '\n' | ctl put "$KEY""#,
        BACK_KEY,
    ),
    fault("node-unknown", "the node's object is gone", r#"keep_key "$KEY"; ctl del "$KEY""#, BACK_KEY),
    fault(
        "block-unclaimed",
        "the claim of the node's block is gone",
        r#"keep_key "$CLAIM"; ctl del "$CLAIM""#,
        r#"put_key "$CLAIM""#,
    ),
    // The stranger's address is on the master, so that its speaker needs no other machine.
    Fault {
        symptom: Some(Layer::Session),
        ..fault(
            "peer-unplanned",
            "a second speaker announces half of another node's block",
            r#"ip address add "$FREE/$PREFIX" dev "$DEVICE"
cat >"$S/speaker.conf" <<END
log stderr all;
router id $FREE;
listen bgp address $FREE;
protocol device { scan time 2; }
protocol static { route $UPPER_HALF blackhole; }
protocol bgp stranger {
  local $FREE as $ASN; source address $FREE; neighbor $ADDRESS as $ASN;
  import none; export all; next hop self; connect delay time 1; connect retry time 2;
}
END
systemd-run --quiet --collect --unit=second-speaker bird -f -c "$S/speaker.conf" -s "$S/speaker.ctl"
ctl put /calico/resources/v3/projectcalico.org/bgppeers/fault "{\"spec\":{\"peerIP\":\"$FREE\",\"asNumber\":$ASN,\"node\":\"$NODE\"}}"
for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  birdc -s "$S/speaker.ctl" -r show protocols | grep -q Established && break
  sleep 0.5
done"#,
            r#"ctl del /calico/resources/v3/projectcalico.org/bgppeers/fault
systemctl stop second-speaker
ip address del "$FREE/$PREFIX" dev "$DEVICE""#,
        )
    },
];
