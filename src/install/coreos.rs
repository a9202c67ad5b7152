//! A cluster as CoreOS was given it: what its cloud-config says is put where CoreOS put it, bytes and keys beside it.
//!
//! An image that can be had today has cloud-init, which reads users, keys and files and passes over `coreos:`. On one
//! that reads it too, the same is there twice.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::{Value, json};

use super::pki::{Made, Pair};
use super::{InstallError, Kit, applied, cluster, secret};
use crate::guest::Machine;
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::node::kube::first;
use crate::ssh::{Content, Remote, Upload};

/// What follows on a node when everything is there.
const START: &str = include_str!("coreos.sh");
/// The units that must run before the API server answers.
const UNITS: [&str; 3] = ["etcd2", "docker", "kube-apiserver"];
/// Where the units' flags look for certificates and keys.
const KEYS: &str = "/srv/kubernetes";
/// Whose settings are a section of their own.
const ETCD: &str = "etcd2";

/// What of a node's cloud-config cloud-init passes over.
#[derive(Deserialize)]
struct Told {
    coreos: Section,
}

#[derive(Deserialize)]
struct Section {
    #[serde(default)]
    etcd2: BTreeMap<String, String>,
    units: Vec<Unit>,
}

#[derive(Deserialize)]
struct Unit {
    name: String,
    content: Option<String>,
    command: Option<String>,
}

/// Bring `node` to where its units start by themselves; on the master wait for the API server, and give it the lab's
/// manifests. Safe to repeat.
pub(super) async fn install(
    kit: &Kit<'_>,
    node: &NodeName,
    machine: &Machine,
    remote: &Remote,
) -> Result<(), InstallError> {
    kit.place(node, machine, remote, files(kit, node)?, START).await?;
    if *node != kit.plan.master {
        return Ok(());
    }
    cluster::begin_by(kit.plan, node, remote, &UNITS, (first::ask_ready(), first::apply(applied::FOLDER))).await
}

fn files(kit: &Kit<'_>, node: &NodeName) -> Result<Vec<Upload>, InstallError> {
    let told: Told = serde_saphyr::from_str(&kit.told[node])
        .map_err(|source| InstallError::Told { node: node.clone(), source: Box::new(source) })?;
    let mut files = units(&told.coreos);
    // Whoever asks the API server by its certificate looks for its authority there.
    files.push(open(&format!("{}/ca.crt", cluster::PKI), kit.pki.authority.clone()));
    if *node == kit.plan.master {
        files.extend(keys(kit));
        files.push(open("/etc/calicolab/blocks", blocks(kit.plan)));
        files.extend(add_ons(kit)?);
    }
    Ok(files)
}

/// Units and networks where systemd reads them, the settings of etcd as its environment, and the list of what starts.
fn units(section: &Section) -> Vec<Upload> {
    let mut files = Vec::new();
    let mut started = String::new();
    for Unit { name, content, command } in &section.units {
        let network = [".network", ".netdev", ".link"].iter().any(|end| name.ends_with(end));
        let folder = if network { "network" } else { "system" };
        files.extend(content.as_ref().map(|text| open(&format!("/etc/systemd/{folder}/{name}"), text.clone())));
        if command.as_deref() == Some("start") {
            // Writing into a String cannot fail.
            let _ = writeln!(started, "{name}");
        }
    }
    let setting = |(key, value): (&String, &String)| {
        format!("Environment=\"ETCD_{}={value}\"\n", key.replace('-', "_").to_uppercase())
    };
    let settings: String = section.etcd2.iter().map(setting).collect();
    files.push(open(
        &format!("/etc/systemd/system/{ETCD}.service.d/20-cloudinit.conf"),
        format!("[Service]\n{settings}"),
    ));
    files.push(open("/etc/calicolab/units", started));
    files
}

/// The authority, the API server's own certificate, and the key that signs service accounts' tokens, by the names of 2016.
fn keys(kit: &Kit<'_>) -> Vec<Upload> {
    let Made::Here(issued) = &kit.pki.made else { return Vec::new() };
    let Some(kubernetes) = &issued.kubernetes else { return Vec::new() };
    let mut files = vec![secret(&format!("{KEYS}/ca.crt"), &kit.pki.authority)];
    if let Some((_, Pair { certificate, key })) = kubernetes.master.iter().find(|(name, _)| *name == "kube-apiserver") {
        files.extend([secret(&format!("{KEYS}/server.cert"), certificate), secret(&format!("{KEYS}/server.key"), key)]);
    }
    files.push(secret(&format!("{KEYS}/kubecfg.key"), &kubernetes.service_accounts.key));
    files
}

/// Each node's planned block as its own, empty, as key and value of etcd 2: Calico's address management of 2016 takes
/// it before it would draw another. Names and fields: `pycalico/block.py` of libcalico.
fn blocks(plan: &Plan) -> String {
    let mut text = String::new();
    for (node, part) in plan.nodes.iter() {
        let cidr = part.block;
        let key = cidr.to_string().replace('/', "-");
        let size = 1usize << (32 - cidr.prefix_len());
        let block = json!({"cidr": cidr, "affinity": format!("host:{node}"),
            "allocations": vec![Value::Null; size], "attributes": []});
        // Writing into a String cannot fail.
        let _ = writeln!(text, "/calico/ipam/v2/assignment/ipv4/block/{key} {block}");
        let _ = writeln!(text, "/calico/ipam/v2/host/{node}/ipv4/block/{key} claimed");
    }
    text
}

/// The lab's manifests, one object a file: this kubectl makes what is not there and cannot tell what is.
fn add_ons(kit: &Kit<'_>) -> Result<Vec<Upload>, InstallError> {
    let mut files = Vec::new();
    for (number, (add_on, text)) in (10..).step_by(10).zip(kit.add_ons) {
        let name = add_on.name();
        let objects: Vec<Value> = serde_saphyr::from_multiple(text)
            .map_err(|source| InstallError::Manifest { name, source: Box::new(source) })?;
        let one = |(at, object): (u32, &Value)| applied::object(&format!("{}-{name}.json", number + at), 0o644, object);
        files.extend((0..).zip(&objects).map(one));
    }
    Ok(files)
}

/// A file for everybody.
fn open(path: &str, text: String) -> Upload {
    Upload { path: path.into(), mode: 0o644, content: Content::Bytes(text.into_bytes()) }
}

#[cfg(test)]
mod tests;
