//! The JSON Schema of `lab.yaml`, for editors that complete and check while one types.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod accept;
mod kubernetes;

use accept::AcceptFile;
use kubernetes::{CalicoFile, KubernetesFile};

/// The JSON Schema of `lab.yaml`, as indented JSON that ends with a line break.
pub fn lab_schema() -> String {
    let mut text = serde_json::to_string_pretty(&schemars::schema_for!(LabFile)).expect("a schema is JSON");
    text.push('\n');
    text
}

/// A lab of calicolab: what machines, network and files a cluster is made of.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "lab.yaml of calicolab")]
struct LabFile {
    /// Version of this format.
    #[schemars(range(min = 1, max = 1))]
    schema: u32,
    /// One line for people.
    about: String,
    /// OS image: a name out of images.yaml.
    image: String,
    /// How the cluster is built on the machines.
    installer: InstallerWord,
    /// The machines; the first is the master.
    nodes: NodesFile,
    /// `kernel` where nodes need a kernel of their own, which containers have not.
    #[schemars(default)]
    needs: Option<NeedWord>,
    /// Modules that the nodes' kernel must have, by the names that modprobe takes.
    #[schemars(default)]
    modules: Option<Vec<String>>,
    /// The address ranges, which must be apart from one another.
    #[schemars(default)]
    network: Option<NetworkFile>,
    /// How nodes are put on the members of a cluster of Incus or LXD servers; `spread` if it is not there.
    #[schemars(default)]
    placement: Option<PlacementWord>,
    /// The routing.
    #[schemars(default)]
    bgp: Option<BgpFile>,
    /// The Kubernetes that is installed.
    #[schemars(default)]
    kubernetes: Option<KubernetesFile>,
    /// The Calico that is installed.
    #[schemars(default)]
    calico: Option<CalicoFile>,
    /// What the lab is accepted by, of its objects and pods; nothing more than the proof's own if it is not there.
    #[schemars(default)]
    accept: Option<AcceptFile>,
    /// What isolates pods, of the installer `coreos` alone; nothing if it is not there.
    #[schemars(default)]
    policy: Option<PolicyWord>,
    /// What is installed on the nodes over SSH; lock.yaml pins each.
    artifacts: Vec<ArtifactFile>,
    /// How long proving may take.
    #[schemars(default)]
    proof: Option<ProofFile>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum InstallerWord {
    /// etcd, BIRD and containers without Kubernetes.
    Primer,
    /// Kubernetes out of its server binaries.
    Binaries,
    /// Kubernetes by kubeadm.
    Kubeadm,
    /// Kubernetes as CoreOS machines were given it in 2016.
    Coreos,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum NeedWord {
    /// A kernel of their own.
    Kernel,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum PolicyWord {
    /// Nothing isolates.
    None,
    /// Each namespace is on its own, but for what annotations of its pods allow.
    K8sAnnotations,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum PlacementWord {
    /// As evenly as can be.
    Spread,
    /// On as few as have room.
    Pack,
}

/// Either `count` (and `prefix`) or `names`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NodesFile {
    /// How many nodes; their names are the prefix and a number of two digits.
    #[schemars(range(min = 2, max = 9))]
    count: Option<u8>,
    /// What the nodes' names begin with; `calico-` if it is not there.
    prefix: Option<String>,
    /// The nodes' names, one by one.
    #[schemars(length(min = 2, max = 9))]
    names: Option<Vec<String>>,
    /// Processors of each node; 1 if it is not there.
    #[schemars(range(min = 1, max = 64))]
    cpus: Option<u16>,
    /// Memory of each node, as `512MiB`.
    #[schemars(regex(pattern = r"^[0-9]+ *[MG]iB$"))]
    memory: Option<String>,
    /// Disk of each node, as `4GiB`.
    #[schemars(regex(pattern = r"^[0-9]+ *[MG]iB$"))]
    disk: Option<String>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NetworkFile {
    /// The network between the machines: `auto`, or a range of your own.
    lab: Option<String>,
    /// The number of the first node's address in the lab network; 11 if it is not there.
    #[schemars(range(min = 2, max = 240))]
    first: Option<u8>,
    /// The pool of pod addresses, as `10.244.0.0/16`.
    pods: Option<String>,
    /// Prefix length of each node's block of pod addresses.
    #[schemars(range(min = 20, max = 27))]
    block: Option<u8>,
    /// The range of service addresses, as `10.96.0.0/16`.
    services: Option<String>,
    /// The cluster's DNS domain, without a dot at its end.
    domain: Option<String>,
    /// Largest packet on the lab network, in bytes.
    #[schemars(range(min = 1280, max = 9000))]
    mtu: Option<u16>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BgpFile {
    /// AS of every node.
    #[serde(rename = "as")]
    #[schemars(range(min = 1, max = 4_294_967_294u32))]
    asn: Option<u32>,
    /// Whether every node peers with every other.
    mesh: Option<SwitchWord>,
    /// Nodes that reflect routes where there is no mesh.
    reflectors: Option<Vec<String>>,
    /// `quick` for labs, `calico` for the field's own.
    timers: Option<TimersWord>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum SwitchWord {
    Bool(bool),
    Word(OnOff),
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum OnOff {
    On,
    Off,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum TimersWord {
    /// Hold 12 s, keepalive 4 s, graceful restart off.
    Quick,
    /// Hold 240 s, keepalive 80 s, graceful restart on.
    Calico,
}

/// A file by one of `apt`, `url` and `oci`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ArtifactFile {
    /// What lock.yaml calls it.
    name: String,
    /// The upstream's version, which `{version}` stands for; not of a Debian package.
    version: Option<String>,
    /// A Debian package, fetched by the host's own apt.
    apt: Option<AptFile>,
    /// An upstream's release file.
    url: Option<UrlFile>,
    /// A container image.
    oci: Option<OciFile>,
    /// Which nodes get it; `all` if it is not there.
    on: Option<OnWord>,
    /// What of it goes where on the nodes.
    files: Option<Vec<TakenFile>>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AptFile {
    /// The binary package.
    package: String,
    /// The suite, as `bookworm`.
    suite: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UrlFile {
    /// The addresses in the order they are tried.
    #[schemars(length(min = 1))]
    urls: Vec<String>,
    /// Where the upstream publishes its sum.
    sums: Option<String>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum TakenFile {
    /// A member that keeps its path, without a `/` at its beginning.
    Same(String),
    /// What goes to another path.
    To(TakenGroup),
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TakenGroup {
    /// The member of the package or tar; the whole file if it is not there.
    from: Option<String>,
    /// Where it goes.
    to: String,
    /// Its permissions, 755 or 644.
    mode: Option<u16>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OciFile {
    /// Registry, repository, and tag or digest.
    reference: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum OnWord {
    /// Every node.
    All,
    /// The first node alone.
    Master,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ProofFile {
    /// Age a session must have before it counts, as `5s`.
    stability: Option<String>,
    /// Patience of `up` and `start`, as `300s`.
    up: Option<String>,
    /// Patience of `verify`, as `25s`.
    verify: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::super::builtin::Library;
    use super::super::file::tests::{primer, primer_text, read};
    use super::*;

    #[test]
    fn every_carried_lab_has_the_schemas_shape() {
        let library = Library::open(None).expect("the binary's own");
        for name in library.labs().expect("listed") {
            let text = library.lab(&name).expect("listed").text;
            let shape: Result<LabFile, _> = serde_saphyr::from_str(&text);
            assert!(shape.is_ok(), "{name}: {}", shape.err().expect("checked"));
        }
    }

    #[test]
    fn what_has_the_shape_is_what_the_reader_reads() {
        let shape: LabFile = serde_saphyr::from_str(&primer_text()).expect("primer has the shape");
        let again = serde_json::to_string(&shape).expect("JSON, which is YAML");
        assert_eq!(read(&again, &[]).expect("right"), primer(&[]));
    }

    /// Both lists of keys are written by hand: the schema's, and the reader's as it tells it to people.
    #[test]
    fn the_reader_knows_the_schemas_keys_and_no_others() {
        let schema: serde_json::Value = serde_json::from_str(&lab_schema()).expect("JSON");
        let groups = [
            ("", &schema),
            ("nodes", &schema["$defs"]["NodesFile"]),
            ("network", &schema["$defs"]["NetworkFile"]),
            ("bgp", &schema["$defs"]["BgpFile"]),
            ("proof", &schema["$defs"]["ProofFile"]),
            ("kubernetes", &schema["$defs"]["KubernetesFile"]),
            ("calico", &schema["$defs"]["CalicoFile"]),
            ("accept", &schema["$defs"]["AcceptFile"]),
        ];
        for (group, shape) in groups {
            let mut keys: Vec<&str> =
                shape["properties"].as_object().expect(group).keys().map(String::as_str).collect();
            let set = if group.is_empty() { "zzzzzzzzz=1".into() } else { format!("{group}.zzzzzzzzz=1") };
            let problems = read(&primer_text(), &[&set]).expect_err("an unknown key");
            let told = problems
                .iter()
                .find(|problem| problem.reason.contains("zzzzzzzzz"))
                .and_then(|problem| problem.remedy.clone())
                .expect("the known ones");
            let mut known: Vec<&str> = told.trim_start_matches("there is ").split(", ").collect();
            keys.sort_unstable();
            known.sort_unstable();
            assert_eq!(keys, known, "{group}");
        }
        assert_eq!(schema["additionalProperties"], false);
    }
}
