//! What a plan's settings change in Calico's own manifests, era by era.

use serde_json::{Value, json};

use super::edit::Edit;
use super::kubernetes::{Calico, Datastore, Detection, Encapsulation, Install};
use super::pin::Source;
use super::plan::Plan;

const CONFIG: &str = "ConfigMap/calico-config";
const SECRET: &str = "Secret/calico-etcd-secrets";
const NODE: &str = "DaemonSet/calico-node";
const INSTALLATION: &str = "Installation/default";

/// What Calico shows to an etcd that wants to know it; PEM.
pub struct EtcdClient<'a> {
    /// The authority that signed both ends' certificates.
    pub ca: &'a str,
    /// The client's certificate.
    pub cert: &'a str,
    /// Its key.
    pub key: &'a str,
}

/// The edits that make a plan's cluster of the upstream's manifests, the lab's own last.
pub fn edits(plan: &Plan, calico: &Calico) -> Vec<Edit> {
    let mut edits = match calico.install {
        Install::Manifest => hosted(plan, calico),
        Install::Operator => installation(plan, calico),
    };
    edits.extend(calico.edits.iter().cloned());
    edits
}

/// The edits that put a client's certificate where Calico finds it. They hold its key.
pub fn secret(client: &EtcdClient<'_>) -> Vec<Edit> {
    let encoded = |text: &str| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
    [("etcd-ca", client.ca), ("etcd-cert", client.cert), ("etcd-key", client.key)]
        .map(|(key, pem)| Edit::put(SECRET, &format!("data.{key}"), encoded(pem)))
        .into()
}

/// Whether Calico asks an etcd that wants to know who asks.
pub fn wants_client(plan: &Plan) -> bool {
    plan.calico.as_ref().is_some_and(|calico| calico.datastore == Datastore::Etcd) && tls(plan)
}

fn tls(plan: &Plan) -> bool {
    plan.kubernetes.as_ref().and_then(|kubernetes| kubernetes.etcd).is_some_and(|etcd| etcd.tls)
}

/// The whole names of all images that the nodes are given.
pub fn images(plan: &Plan) -> Vec<String> {
    let pulled = plan.artifacts.iter().filter_map(|placed| match &placed.pin.source {
        Source::Oci { reference } => Some(reference.clone()),
        Source::Apt { .. } | Source::Url { .. } => None,
    });
    let archived = plan.calico.iter().flat_map(|calico| &calico.images).map(|image| image.name.clone());
    pulled.chain(archived).collect()
}

/// The manifests that hold all of Calico: a ConfigMap, and the variables of `calico-node`.
fn hosted(plan: &Plan, calico: &Calico) -> Vec<Edit> {
    let mtu = plan.pod_mtu();
    let mut edits = Vec::new();
    if calico.datastore == Datastore::Etcd {
        edits.push(Edit::set(CONFIG, "data.etcd_endpoints", plan.etcd_endpoints().join(",")));
        for file in ["etcd_ca", "etcd_cert", "etcd_key"] {
            // Named while there is no TLS, they would be looked for and not be found.
            let path = if tls(plan) { format!("/calico-secrets/{}", file.replace('_', "-")) } else { String::new() };
            edits.push(Edit::set(CONFIG, &format!("data.{file}"), path));
        }
    }
    edits.push(Edit::set(CONFIG, "data.calico_backend", "bird"));
    // Up to 3.0 the plugin's own configuration says the pods' packet size, and a variable the tunnel's.
    if calico.version.since(3, 14) {
        edits.push(Edit::set(CONFIG, "data.veth_mtu", mtu.to_string()));
    } else {
        let list = if calico.version.since(3, 0) { ".plugins[calico]" } else { "" };
        edits.push(Edit::set(CONFIG, &format!("data.cni_network_config.(json){list}.mtu"), mtu));
        edits.push(existing("FELIX_IPINIPMTU", &mtu.to_string()));
    }
    let pool = plan.network.pods.to_string();
    // Newer manifests have it in a comment.
    edits.push(if calico.version.since(3, 14) {
        variable("CALICO_IPV4POOL_CIDR", &pool)
    } else {
        existing("CALICO_IPV4POOL_CIDR", &pool)
    });
    if calico.version.since(3, 14) {
        edits.push(variable("CALICO_IPV4POOL_BLOCK_SIZE", &plan.block_len().to_string()));
    }
    let (ipip, vxlan) = modes(calico);
    edits.push(existing("CALICO_IPV4POOL_IPIP", ipip));
    edits.extend(vxlan.map(|mode| existing("CALICO_IPV4POOL_VXLAN", mode)));
    edits.push(variable("IP_AUTODETECTION_METHOD", &method(plan, calico)));
    edits
}

/// What the pool's two variables say; the second is not known before 3.14.
fn modes(calico: &Calico) -> (&'static str, Option<&'static str>) {
    let (always, cross, never) =
        if calico.version.since(3, 0) { ("Always", "CrossSubnet", "Never") } else { ("always", "cross-subnet", "off") };
    let (ipip, vxlan) = match calico.encapsulation {
        Encapsulation::None => (never, never),
        Encapsulation::Ipip => (always, never),
        Encapsulation::IpipCrossSubnet => (cross, never),
        Encapsulation::Vxlan => (never, always),
        Encapsulation::VxlanCrossSubnet => (never, cross),
    };
    (ipip, calico.version.since(3, 14).then_some(vxlan))
}

fn method(plan: &Plan, calico: &Calico) -> String {
    match calico.detection {
        Detection::Cidr => format!("cidr={}", plan.network.lab),
        Detection::CanReach => format!("can-reach={}", plan.master_node().address),
        Detection::Interface => format!("interface={}", plan.network.lab_device),
    }
}

/// The operator's one object says all of it.
fn installation(plan: &Plan, calico: &Calico) -> Vec<Edit> {
    let encapsulation = match calico.encapsulation {
        Encapsulation::None => "None",
        Encapsulation::Ipip => "IPIP",
        Encapsulation::IpipCrossSubnet => "IPIPCrossSubnet",
        Encapsulation::Vxlan => "VXLAN",
        Encapsulation::VxlanCrossSubnet => "VXLANCrossSubnet",
    };
    let detection = match calico.detection {
        Detection::Cidr => json!({"cidrs": [plan.network.lab.to_string()]}),
        Detection::CanReach => json!({"canReach": plan.master_node().address.to_string()}),
        Detection::Interface => json!({"interface": plan.network.lab_device}),
    };
    let network = |key: &str| format!("spec.calicoNetwork.{key}");
    let pool = |key: &str| network(&format!("ipPools[default-ipv4-ippool].{key}"));
    vec![
        Edit::set(INSTALLATION, &pool("cidr"), plan.network.pods.to_string()),
        Edit::set(INSTALLATION, &pool("blockSize"), plan.block_len()),
        Edit::set(INSTALLATION, &pool("encapsulation"), encapsulation),
        Edit::put(INSTALLATION, &network("nodeAddressAutodetectionV4"), detection),
        Edit::put(INSTALLATION, &network("bgp"), "Enabled"),
        Edit::put(INSTALLATION, &network("mtu"), plan.pod_mtu()),
    ]
}

/// A variable of `calico-node` that the manifest may have, or only in a comment.
fn variable(name: &str, value: &str) -> Edit {
    Edit::put(NODE, &place(name), entry(name, value))
}

/// One that it must have, or its shape is another than is known here.
fn existing(name: &str, value: &str) -> Edit {
    Edit::set(NODE, &place(name), entry(name, value))
}

fn place(name: &str) -> String {
    format!("spec.template.spec.containers[calico-node].env[{name}]")
}

/// The whole entry, so that a value does not come beside another source.
fn entry(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value})
}
