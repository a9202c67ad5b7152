//! The primer: secrets, the datastore's first contents and the pinned programs onto a node, then its units started.

use std::fmt::Write as _;

use base64::Engine as _;
use serde_json::{Value, json};

use super::pki::Made;
use super::{InstallError, Kit, PLACE, secret};
use crate::guest::Machine;
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::ssh::{Content, Remote, Upload};

/// What follows when everything is there.
const START: &str = include_str!("primer.sh");

/// Bring `node` to where its units start by themselves. Safe to repeat.
pub(super) async fn install(
    kit: &Kit<'_>,
    node: &NodeName,
    machine: &Machine,
    remote: &Remote,
) -> Result<(), InstallError> {
    kit.place(node, machine, remote, files(kit, node), START).await
}

/// The same as a shell's text: run as root on `node`, with the payload attached as a disk. It holds what only root may
/// read there.
pub(super) fn script(kit: &Kit<'_>, node: &NodeName) -> String {
    let mut text = String::from("set -eu\n");
    for Upload { path, content, .. } in kit.with_sums(node, files(kit, node)) {
        let Content::Bytes(bytes) = content else { continue };
        let (folder, _) = path.rsplit_once('/').expect("an absolute path");
        let bytes = base64::engine::general_purpose::STANDARD.encode(bytes);
        // Writing into a String cannot fail.
        let _ = write!(text, "mkdir -p {folder}\n(umask 077 && base64 -d >{path}) <<'.'\n{bytes}\n.\n");
    }
    [text.as_str(), "set -- disk\n", PLACE, START].concat()
}

fn files(kit: &Kit<'_>, node: &NodeName) -> Vec<Upload> {
    let mut files = vec![secret("/etc/calicolab/pki/ca.crt", &kit.pki.authority)];
    let Made::Here(issued) = &kit.pki.made else { return files };
    let own = &issued.nodes[node];
    files.push(secret("/etc/calicolab/pki/node.crt", &own.certificate));
    files.push(secret("/etc/calicolab/pki/node.key", &own.key));
    if *node == kit.plan.master {
        if let Some(etcd) = &kit.pki.members[node] {
            files.push(secret("/etc/calicolab/pki/etcd.crt", &etcd.certificate));
            files.push(secret("/etc/calicolab/pki/etcd.key", &etcd.key));
        }
        files.push(secret("/etc/calicolab/datastore.txn", &transaction(&datastore(kit.plan))));
    }
    files
}

const RESOURCES: &str = "/calico/resources/v3/projectcalico.org";
/// Where one reflector's client tells another's routes apart; the value Calico's own pages use.
const REFLECTOR_CLUSTER: &str = "244.0.0.1";

/// Keys and values as Calico's etcd v3 datastore has them: BGP configuration, pool, nodes, blocks and whose they are.
fn datastore(plan: &Plan) -> Vec<(String, Value)> {
    let object = |kind: &str, plural: &str, name: &str, spec: Value| {
        let value = json!({
            "kind": kind, "apiVersion": "projectcalico.org/v3", "metadata": {"name": name}, "spec": spec,
        });
        (format!("{RESOURCES}/{plural}/{name}"), value)
    };
    let block_size = plan.master_node().block.prefix_len();
    let mut all = vec![
        object(
            "BGPConfiguration",
            "bgpconfigurations",
            "default",
            json!({"nodeToNodeMeshEnabled": plan.bgp.mesh, "asNumber": plan.bgp.asn, "logSeverityScreen": "Info"}),
        ),
        object(
            "IPPool",
            "ippools",
            "default-ipv4-ippool",
            json!({"cidr": plan.network.pods, "blockSize": block_size, "ipipMode": "Never", "vxlanMode": "Never",
                "natOutgoing": true, "nodeSelector": "all()"}),
        ),
    ];
    for (name, node) in plan.nodes.iter() {
        let mut bgp = json!({
            "ipv4Address": format!("{}/{}", node.address, plan.network.lab.prefix_len()), "asNumber": plan.bgp.asn,
        });
        if plan.bgp.reflectors.contains(name) {
            bgp["routeReflectorClusterID"] = REFLECTOR_CLUSTER.into();
        }
        all.push(object("Node", "nodes", name.as_str(), json!({ "bgp": bgp })));
        let block = node.block.to_string().replace('/', "-");
        all.push((
            format!("/calico/ipam/v2/assignment/ipv4/block/{block}"),
            json!({"cidr": node.block, "affinity": format!("host:{name}"), "strictAffinity": false}),
        ));
        all.push((format!("/calico/ipam/v2/host/{name}/ipv4/block/{block}"), json!({"state": "confirmed"})));
    }
    if !plan.bgp.reflectors.is_empty() {
        let selectors = json!({"nodeSelector": "all()", "peerSelector": "has(route-reflector)"});
        all.push(object("BGPPeer", "bgppeers", "peer-with-route-reflectors", selectors));
    }
    all
}

/// The same as input of `etcdctl txn`: written once, so that a restart does not undo what was changed since.
///
/// Its words are quoted as Go does (etcdctl 3.4 cuts words in single quotes short), and it wants an empty line after
/// the last block.
fn transaction(all: &[(String, Value)]) -> String {
    let quoted = |text: &str| Value::String(text.into()).to_string();
    let mut text = format!("create({}) = \"0\"\n\n", quoted(&all[0].0));
    for (key, value) in all {
        let _ = writeln!(text, "put {key} {}", quoted(&value.to_string()));
    }
    let _ = write!(text, "\nget {}\n\n", all[0].0);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transaction_is_what_etcdctl_reads() {
        let all = vec![("/calico/a".to_owned(), json!({"say": "it's"})), ("/calico/b".to_owned(), json!({}))];
        let wanted = "create(\"/calico/a\") = \"0\"\n\nput /calico/a \"{\\\"say\\\":\\\"it's\\\"}\"\nput /calico/b \"{}\"\n\nget /calico/a\n\n";
        assert_eq!(transaction(&all), wanted);
    }
}
