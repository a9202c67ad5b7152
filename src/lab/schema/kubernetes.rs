//! The sections on Kubernetes and Calico in the JSON Schema of `lab.yaml`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OnWord, SwitchWord};

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KubernetesFile {
    /// Its release, as `1.20.8`.
    #[schemars(regex(pattern = r"^[0-9]+\.[0-9]+\.[0-9]+$"))]
    version: String,
    /// An etcd that the lab runs beside it; without one, kubeadm runs its own.
    etcd: Option<EtcdFile>,
    /// What a pod network of the lab's own does at its edge, which is proved then; not beside a `calico`.
    network: Option<EdgeFile>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EdgeFile {
    /// Whether what leaves the pool for addresses outside it goes as its node's.
    nat: SwitchWord,
    /// Whether a pod's `hostPort` answers at its node's address.
    hostport: SwitchWord,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EtcdFile {
    /// Which nodes have a member.
    on: OnWord,
    /// Whether it is asked by TLS.
    tls: SwitchWord,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CalicoFile {
    /// Its release, as `3.21.2`.
    #[schemars(regex(pattern = r"^[0-9]+\.[0-9]+\.[0-9]+$"))]
    version: String,
    /// Where it keeps its data.
    datastore: DatastoreWord,
    /// How packets between pods of two nodes are wrapped; `ipip` if it is not there.
    encapsulation: Option<EncapsulationWord>,
    /// How a node finds its own address; `cidr` if it is not there, and before 3.16 `can-reach`.
    detection: Option<DetectionWord>,
    /// What exchanges routes; only `bird` does it by BGP.
    backend: Option<String>,
    /// How it is installed; `manifest` if it is not there.
    install: Option<InstallWord>,
    /// The upstream's files for `install: manifest`, in the order in which they are applied.
    manifests: Option<Vec<ManifestFileFile>>,
    /// The same for `install: operator`.
    operator: Option<Vec<ManifestFileFile>>,
    /// The names that images in archives are given on the nodes.
    images: Option<Vec<ImageFile>>,
    /// What is changed in the manifests beyond what the settings do.
    edits: Option<Vec<EditFile>>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum DatastoreWord {
    /// Objects of Kubernetes.
    Kubernetes,
    /// The lab's etcd.
    Etcd,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum EncapsulationWord {
    /// Not wrapped.
    None,
    /// In IP.
    Ipip,
    /// In IP between subnets.
    IpipCrossSubnet,
    /// In UDP.
    Vxlan,
    /// In UDP between subnets.
    VxlanCrossSubnet,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum DetectionWord {
    /// The address inside the lab network.
    Cidr,
    /// The address from which the master is reached.
    CanReach,
    /// The address of the lab's NIC.
    Interface,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum InstallWord {
    /// By manifests that hold all of it.
    Manifest,
    /// By the operator.
    Operator,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ManifestFileFile {
    /// The artifact.
    of: String,
    /// The member of it that is meant; the whole of it if it is not there.
    member: Option<String>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ImageFile {
    /// The archive on the nodes, as a file of an artifact has it in `to`.
    file: String,
    /// Its whole name, with the tag.
    name: String,
}

/// One of `set`, `put` and `remove` at a place in an object.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EditFile {
    /// The object, as `DaemonSet/calico-node`.
    #[serde(rename = "in")]
    object: String,
    /// The place in it, as `spec.template.spec.containers[calico-node].env[IP].value`.
    at: String,
    /// A value instead of the one that is there.
    set: Option<serde_json::Value>,
    /// A value in a place that may be new.
    put: Option<serde_json::Value>,
    /// Whether the place is emptied.
    remove: Option<SwitchWord>,
}
