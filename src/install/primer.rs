//! The primer: secrets, the datastore's first contents and the pinned programs onto a node, then its units started.

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

use super::InstallError;
use super::pki::Pki;
use crate::artifact::payload::Payload;
use crate::command::{Argv, Ended};
use crate::guest::Machine;
use crate::lab::file::On;
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::ssh::{Content, Input, Remote, Upload};

/// Everything the installer brings; the same for all nodes, each takes what is its own.
pub struct Primer<'a> {
    /// What is to be.
    pub plan: &'a Plan,
    /// Certificates and keys.
    pub pki: &'a Pki,
    /// The pinned programs.
    pub payload: &'a Payload,
}

/// Runs on the node: takes the programs from the payload disk or from standard input, unless they are there already,
/// and starts nothing before every one has the digest that was planned.
const PLACE: &str = include_str!("primer.sh");
/// [`PLACE`]'s own status for bytes that are not those that were packed.
const ALTERED: i32 = 65;
const SUMS: &str = "/etc/calicolab/payload.sha256";
/// Emulated machines unpack and hash some 60 MiB in this time even when all of them do so at once on one processor.
const LIMIT: Duration = Duration::from_secs(300);

impl Primer<'_> {
    /// Bring `node` to where its units start by themselves. Safe to repeat.
    pub async fn install(&self, node: &NodeName, machine: &Machine, remote: &Remote) -> Result<(), InstallError> {
        let failed = |source| InstallError::Ssh { node: node.clone(), source: Box::new(source) };
        let upload =
            |(path, bytes): (&str, Vec<u8>)| Upload { path: path.into(), mode: 0o600, content: Content::Bytes(bytes) };
        remote.put_many(self.files(node).into_iter().map(upload).collect(), LIMIT).await.map_err(failed)?;
        let (way, input) = if machine.payload_attached {
            ("disk", Input::Empty)
        } else {
            ("stream", Input::File(self.payload.path().to_path_buf()))
        };
        let argv = Argv::script(PLACE, [way]).sudo();
        let output = remote.run_with_input(&argv, input, LIMIT).await.map_err(failed)?;
        match output.ended {
            Ended::Exit(0) => Ok(()),
            Ended::Exit(ALTERED) => Err(InstallError::Altered { node: node.clone(), which: output.tail(5) }),
            _ => Err(InstallError::Failed { node: node.clone(), doing: "placing the programs", said: output.tail(12) }),
        }
    }

    /// The same as a shell's text, for who has no session of ours: run as root on `node`, with the payload attached as a
    /// disk. It holds what only root may read there.
    pub fn script(&self, node: &NodeName) -> String {
        let mut text = String::from("set -eu\n");
        for (path, bytes) in self.files(node) {
            let (folder, _) = path.rsplit_once('/').expect("an absolute path");
            let bytes = base64::engine::general_purpose::STANDARD.encode(bytes);
            // Writing into a String cannot fail.
            let _ = write!(text, "mkdir -p {folder}\n(umask 077 && base64 -d >{path}) <<'.'\n{bytes}\n.\n");
        }
        text + "set -- disk\n" + PLACE
    }

    /// What is put on `node`, for root alone: paths and bytes.
    fn files(&self, node: &NodeName) -> Vec<(&'static str, Vec<u8>)> {
        let secret = |path: &'static str, text: &str| (path, text.as_bytes().to_vec());
        let own = &self.pki.nodes[node];
        let mut files = vec![
            secret("/etc/calicolab/pki/ca.crt", &self.pki.authority),
            secret("/etc/calicolab/pki/node.crt", &own.certificate),
            secret("/etc/calicolab/pki/node.key", &own.key),
            secret(SUMS, &self.sums(node)),
        ];
        if *node == self.plan.master {
            files.push(secret("/etc/calicolab/pki/etcd.crt", &self.pki.etcd.certificate));
            files.push(secret("/etc/calicolab/pki/etcd.key", &self.pki.etcd.key));
            files.push(secret("/etc/calicolab/datastore.txn", &transaction(&datastore(self.plan))));
        }
        files
    }

    /// sha256sum's own list of what this node uses.
    fn sums(&self, node: &NodeName) -> String {
        let master = *node == self.plan.master;
        let used = self.payload.files().iter().filter(|file| file.on == On::All || master);
        used.fold(String::new(), |mut list, file| {
            // Writing into a String cannot fail.
            let _ = writeln!(list, "{}  {}", file.sha256.hex(), file.path);
            list
        })
    }
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
    use std::path::Path;

    use super::*;
    use crate::artifact::apt::Archive;
    use crate::artifact::cache::Cache;
    use crate::artifact::payload::{self, Part, PartSource};
    use crate::artifact::store::{Reach, Store};
    use crate::event::Events;
    use crate::lab::example;
    use crate::lab::file::Taken;
    use crate::lab::pin::{Arch, Digest, Pin, Source, Trust};

    /// One pinned file on all nodes under another name and mode, and on the master under a third.
    async fn packed(folder: &Path) -> Payload {
        use sha2::Digest as _;
        let pin = Pin {
            name: "tool".into(),
            version: "1".into(),
            arch: Arch::All,
            source: Source::Url { urls: Vec::new(), sums: None },
            digest: Digest::Sha256(sha2::Sha256::digest(b"tool\n").into()),
            bytes: None,
            trust: Trust::Published,
            found: "here".into(),
        };
        let (cache, (events, _told)) = (Cache::at(folder.join("cache")), Events::channel());
        let at = cache.file(&pin.digest);
        std::fs::create_dir_all(at.parent().expect("a folder")).expect("made");
        std::fs::write(at, "tool\n").expect("written");
        let store = Store::new(cache.clone(), "test".parse().expect("a name"), Reach::Offline, Archive::of_host());
        let from = PartSource::Verified(store.ensure(&pin, &events).await.expect("in the cache"));
        let part = |on, to: &str| {
            let taken = Taken { from: None, to: to.into(), mode: Some(0o755) };
            Part { from: from.clone(), on, files: vec![taken] }
        };
        let parts = vec![part(On::All, "opt/bin/renamed"), part(On::Master, "opt/master")];
        payload::pack(&cache, parts, &events).await.expect("packed")
    }

    /// The node's own script up to where it starts units, with `folder` in place of the root.
    async fn placed(folder: &Path, payload: &Path) -> crate::command::Output {
        let (place, _) = PLACE.split_once("systemctl").expect("units are started last");
        let place = place.replacen("cd /\n", "cd \"$2\"\n", 1).replacen(SUMS, "sums", 1);
        let argv = Argv::script(&place, ["stream", &folder.display().to_string()]);
        let input = std::fs::read(payload).expect("a payload");
        crate::command::run_with_input(&argv, input, LIMIT).await.expect("a shell")
    }

    #[tokio::test]
    async fn a_node_checks_every_file_under_the_name_it_has_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let plan = example::planned(&example::lab(&["one", "two"]), "demo");
        let (pki, payload) =
            (Pki::ensure(&folder.path().join("pki"), &plan).expect("keys"), packed(folder.path()).await);
        let primer = Primer { plan: &plan, pki: &pki, payload: &payload };
        for (node, files) in [("one", &["opt/bin/renamed", "opt/master"][..]), ("two", &["opt/bin/renamed"])] {
            let root = folder.path().join(node);
            std::fs::create_dir(&root).expect("made");
            let sums = primer.sums(&node.parse().expect("a name"));
            assert_eq!(sums.lines().map(|line| &line[66..]).collect::<Vec<_>>(), files);
            std::fs::write(root.join("sums"), sums).expect("written");
            let output = placed(&root, payload.path()).await;
            assert!(output.ok(), "{}", output.stderr);
            assert!(files.iter().all(|file| std::fs::read(root.join(file)).expect("there") == b"tool\n"));
            // Other bytes under the name, and nothing to mend them with.
            let altered = folder.path().join("altered");
            let bytes = std::fs::read(payload.path()).expect("there");
            std::fs::write(&altered, bytes.iter().map(|b| if *b == b'\n' { b'x' } else { *b }).collect::<Vec<_>>())
                .expect("written");
            std::fs::write(root.join("opt/bin/renamed"), "x").expect("written");
            let output = placed(&root, &altered).await;
            assert_eq!(output.ended, Ended::Exit(ALTERED), "{}", output.stderr);
            assert!(output.stderr.contains("opt/bin/renamed: FAILED"), "{}", output.stderr);
        }
    }

    #[test]
    fn the_transaction_is_what_etcdctl_reads() {
        let all = vec![("/calico/a".to_owned(), json!({"say": "it's"})), ("/calico/b".to_owned(), json!({}))];
        let wanted = "create(\"/calico/a\") = \"0\"\n\nput /calico/a \"{\\\"say\\\":\\\"it's\\\"}\"\nput /calico/b \"{}\"\n\nget /calico/a\n\n";
        assert_eq!(transaction(&all), wanted);
    }
}
