//! A fault on a node: the undo is put there and armed first, then the fault is made.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::Fault;
use crate::command::{Argv, quoted};
use crate::lab::addressing::unused_pod;
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;

/// Status of a node on which this fault stands already.
pub const STANDS: i32 = 75;

/// What the scripts of the catalogue may call. `$S` is the folder in which they keep what they change.
const WORDS: &str = r#"
ctl() {
  ETCDCTL_API=3 etcdctl --endpoints https://127.0.0.1:2379 --cacert /etc/calicolab/pki/ca.crt \
    --cert /etc/calicolab/pki/node.crt --key /etc/calicolab/pki/node.key "$@"
}
# The value of a key, kept; and put back as it was.
keep_key() { ctl get --print-value-only "$1" >"$S/value" && [ -s "$S/value" ]; }
put_key() { [ ! -s "$S/value" ] || printf '%s' "$(cat "$S/value")" | ctl put "$1"; }
keep() { cp -a "$1" "$S/${1##*/}"; }
back() { [ ! -e "$S/${1##*/}" ] || cp -a "$S/${1##*/}" "$1"; }
# bird.conf with one change by sed.
conf() { keep /etc/bird/bird.conf && sed -i "$1" /etc/bird/bird.conf && birdc configure; }
unconf() { back /etc/bird/bird.conf && birdc configure; }
# Each session anew, so that what is cut is seen at once.
sessions() { birdc -r show protocols | awk '$2 == "BGP" { print $1 }'; }
anew() { for one in $(sessions); do birdc restart "$one"; done; }
with() { birdc -r show protocols all | awk -v to="$1" '$2 == "BGP" { name = $1 } $1 == "Neighbor" && $2 == "address:" && $3 == to { print name }'; }
# The process of BIRD: its unit's own, or the oldest.
bird() { pid=$(systemctl show -pMainPID --value bird); [ "$pid" != 0 ] || pid=$(pgrep -xo bird); echo "$pid"; }
# Where Kubernetes is.
k() { kubectl --kubeconfig=/etc/kubernetes/admin.conf --request-timeout=20s "$@"; }
# A program of the control plane, whoever runs it: its unit, or the kubelet by a file.
part_down() {
  if [ -e "/etc/kubernetes/manifests/$1.yaml" ]; then
    mv "/etc/kubernetes/manifests/$1.yaml" "$S/"
    while pgrep -x "$1" >/dev/null; do sleep 0.2; done
  else systemctl stop "$1"; fi
}
part_up() { if [ -e "$S/$1.yaml" ]; then mv "$S/$1.yaml" /etc/kubernetes/manifests/; else systemctl start "$1"; fi; }
kubelet_conf() { for one in /etc/kubernetes/kubelet.yaml /var/lib/kubelet/config.yaml; do [ ! -e "$one" ] || echo "$one"; done; }
rules() { nft -f -; }
unruled() { nft delete table inet "$TABLE"; }
network() { ip -force -batch /run/network.batch; }
"#;

/// $1 word, $2 the variables and words, $3 inject, $4 undo, $5 seconds.
const ARM: &str = r#"
S=/var/lib/calicolab/faults/$1
if [ -e "$S/undo" ]; then exit 75; fi
mkdir -p -m 700 "$S" || exit
{
  printf '%s\n' "S=$S" "$2" "$4"
  printf '%s\n' "rm -rf $S" "systemctl stop calicolab-fault-$1.timer"
} >"$S/undo.new" && sync "$S/undo.new" && mv "$S/undo.new" "$S/undo" || exit
systemd-run --quiet --collect --unit="calicolab-fault-$1" --on-active="$5" --timer-property=AccuracySec=100ms \
  /bin/sh "$S/undo" || exit
sh -ec "S=$S
$2
$3" >"$S/log" 2>&1 && exit
status=$?
tail -n 3 "$S/log" >&2
sh "$S/undo" >/dev/null 2>&1
exit $status
"#;

/// Fine where there is nothing: the node may have undone it by itself.
const CLEAR: &str = r#"
S=/var/lib/calicolab/faults/$1
[ -e "$S/undo" ] || exit 0
sh "$S/undo" >/dev/null 2>&1
[ ! -e "$S/undo" ]
"#;

/// Arm the undo on `node`, then make the fault about `about` there. It is undone after `life` by the node's own
/// monotonic clock. Status [`STANDS`] if it stands there already. `certificate` is what the fault needs of the host, if
/// it needs one.
pub fn make(
    fault: &Fault,
    plan: &Plan,
    node: &NodeName,
    about: &NodeName,
    life: Duration,
    certificate: Option<&str>,
) -> Argv {
    let certificate = certificate.map(|text| format!("CERTIFICATE={}\n", quoted(&[text]))).unwrap_or_default();
    let words = [variables(fault, plan, node, about), certificate, WORDS.to_owned()].concat();
    let life = life.as_secs().max(1).to_string();
    Argv::script(ARM, [fault.id, &words, fault.inject, fault.undo, &life])
}

/// Undo it.
pub fn clear(fault: &str) -> Argv {
    Argv::script(CLEAR, [fault])
}

/// What the scripts know of the plan.
fn variables(fault: &Fault, plan: &Plan, node: &NodeName, about: &NodeName) -> String {
    let (part, own) = (&plan.nodes[about], &plan.nodes[node]);
    // The peer is the last other node: not the master, where there is a choice.
    let peer = plan.nodes.iter().filter(|(other, _)| *other != about).last();
    let (peer, peer_part) = peer.map_or((about, part), |(name, part)| (name, part));
    let halves: Vec<String> = peer_part
        .block
        .subnets(peer_part.block.prefix_len() + 1)
        .map_or_else(|_| Vec::new(), |nets| nets.map(|net| net.to_string()).collect());
    let network = &plan.network;
    let free = Ipv4Addr::from(u32::from(network.lab.network()) + 99);
    let mut text = String::new();
    let mut set = |name: &str, value: String| {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{name}={}", quoted(&[value]));
    };
    set("HERE", node.to_string());
    set("HERE_ADDRESS", own.address.to_string());
    set("NODE", about.to_string());
    set("ADDRESS", part.address.to_string());
    set("PREFIX", network.lab.prefix_len().to_string());
    set("BLOCK", part.block.to_string());
    set("UNUSED", unused_pod(part.block).to_string());
    set("PEER", peer.to_string());
    set("PEER_ADDRESS", peer_part.address.to_string());
    set("PEER_BLOCK", peer_part.block.to_string());
    set("LOWER_HALF", halves.first().cloned().unwrap_or_default());
    set("UPPER_HALF", halves.last().cloned().unwrap_or_default());
    set("FREE", free.to_string());
    set("DEVICE", network.lab_device.clone());
    set("NAT", network.nat_device.clone());
    set("PODS", network.pods.to_string());
    set("API", network.api.to_string());
    set("DNS", network.dns.to_string());
    set("ASN", plan.bgp.asn.to_string());
    set("RUNTIME", plan.runtime().to_string());
    set("CNI", crate::node::files::own_cni(plan.installer).into());
    set("KEY", crate::node::etcd::node_key(about.as_str()));
    set("CLAIM", crate::node::etcd::block_key(about.as_str(), part.block));
    set("TABLE", format!("calicolab_fault_{}", fault.id.replace('-', "_")));
    text
}
