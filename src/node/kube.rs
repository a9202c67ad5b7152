//! Kubernetes on the master, by kubectl: how it is asked, and its JSON as values.

pub mod first;
pub mod hello;
pub mod isolation;
mod objects;

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::Deserialize;

use crate::command::Argv;
pub use objects::{Objects, Pod, Stuck, ask_objects};

/// The administrator's kubeconfig on the master.
pub const ADMIN: &str = "/etc/kubernetes/admin.conf";
/// The longest that one question may take.
const LIMIT: &str = "--request-timeout=10s";
/// The authority of the API server's certificate, on every node.
const AUTHORITY: &str = "/etc/kubernetes/pki/ca.crt";

fn admin() -> String {
    format!("--kubeconfig={ADMIN}")
}

/// kubectl on the master as its administrator; what it asks has an end.
pub fn kubectl() -> Argv {
    Argv::new("kubectl").args([&admin(), LIMIT])
}

/// kubectl on the master as its administrator, with the words of a user, who may wait as long as they like.
pub fn words<W: Into<String>>(words: impl IntoIterator<Item = W>) -> Argv {
    Argv::new("kubectl").arg(admin()).args(words)
}

/// The last words of every container of every pod on a node, init containers too, as its kubelet keeps them.
pub fn ask_container_logs() -> Argv {
    const SCRIPT: &str = r#"for file in /var/log/pods/*/*/*.log; do
  [ -e "$file" ] || continue
  echo "== ${file#/var/log/pods/}"
  tail -n 30 "$file"
done"#;
    Argv::script(SCRIPT, [""; 0])
}

/// Whether the API server is ready to be asked; up to 1.15 it says only whether it is well.
pub fn ask_ready(since_1_16: bool) -> Argv {
    kubectl().args(["get", if since_1_16 { "--raw=/readyz" } else { "--raw=/healthz" }])
}

/// Apply all manifests of a folder, one after the other in the order of their names, up to the first that fails. What
/// is called `*.once.json` is made, and left as it is from then on; kubectl itself does not judge it, since that of 1.20
/// takes no list with nothing in its places.
pub fn apply(folder: &str) -> Argv {
    const SCRIPT: &str = r#"folder=$1
shift
for file in "$folder"/*; do
  case $file in
  *.once.json) kubectl "$@" get -f "$file" >/dev/null 2>&1 || kubectl "$@" create --validate=false -f "$file" ;;
  *) kubectl "$@" apply -f "$file" ;;
  esac || exit
done"#;
    Argv::script(SCRIPT, [folder, &admin(), LIMIT])
}

/// The first causes of what kubectl says, where one line lists many of one kind; how many more there are is said.
pub fn first_causes(said: &str) -> String {
    said.lines().map(first_of_line).collect::<Vec<_>>().join("\n")
}

/// `error: [cause, cause, …]`: each cause begins with the same word.
fn first_of_line(line: &str) -> String {
    const SHOWN: usize = 3;
    let whole = || line.to_owned();
    let (Some(open), Some(close)) = (line.find('['), line.rfind(']')) else { return whole() };
    let Some(inside) = line.get(open + 1..close) else { return whole() };
    let first: String = inside.chars().take_while(|c| c.is_alphanumeric()).collect();
    if first.is_empty() {
        return whole();
    }
    let between = format!(", {first}");
    let ends: Vec<usize> = inside.match_indices(&between).map(|(at, _)| at).collect();
    match ends.get(SHOWN - 1) {
        Some(&end) => {
            let more = ends.len() + 1 - SHOWN;
            format!("{}[{} and {more} more]{}", &line[..open], &inside[..end], &line[close + 1..])
        }
        None => whole(),
    }
}

/// What is to be known of units that do not come up: how each stands, and the last it said.
pub fn ask_units(units: &[&str]) -> Argv {
    const SCRIPT: &str = r#"for unit; do
  echo "$unit is $(systemctl is-active "$unit")"
  journalctl --no-pager -q -o cat -n 8 -u "$unit"
done"#;
    Argv::script(SCRIPT, units.iter().copied())
}

/// All objects of a kind that belongs to no namespace.
pub fn ask_list(kind: &str) -> Argv {
    kubectl().args(["get", kind, "-o", "json"])
}

/// All of Calico's pools, where it keeps them here.
pub fn ask_pools() -> Argv {
    ask_list("ippools.crd.projectcalico.org")
}

/// All nodes.
pub fn ask_nodes() -> Argv {
    ask_list("nodes")
}

/// All daemon sets, or all deployments (`daemonsets`, `deployments`).
pub fn ask_workloads(kind: &str) -> Argv {
    kubectl().args(["get", kind, "-A", "-o", "json"])
}

/// All pods of all namespaces.
pub fn ask_pods() -> Argv {
    kubectl().args(["get", "pods", "-A", "-o", "json"])
}

/// What a pod of the namespace `default` said, and what a command in it says, through its node's kubelet; `kubectl` is
/// [`kubectl()`] or [`first::kubectl()`].
pub fn ask_kubelet(kubectl: &Argv, pod: &str, command: &[&str]) -> [Argv; 2] {
    let [logs, exec] = [kubectl.clone(), kubectl.clone()];
    [logs.args(["logs", pod]), exec.args(["exec", pod, "--"]).args(command.iter().copied())]
}

/// The API server's version at `address`, asked by a node, which knows whom it should find there.
pub fn ask_version(address: Ipv4Addr) -> Argv {
    Argv::new("curl").args(["-sS", "-m", "5", "--cacert", AUTHORITY]).arg(format!("https://{address}/version"))
}

/// The version in the answer to [`ask_version`].
pub fn version(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        git_version: String,
    }
    serde_json::from_str::<Version>(text).ok().map(|version| version.git_version)
}

/// A node as the API server knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its address inside the cluster.
    pub address: Option<Ipv4Addr>,
    /// Its block of pod addresses.
    pub block: Option<Ipv4Net>,
    /// Its kubelet's version.
    pub kubelet: String,
    /// Nothing if it is ready, else why it is not.
    pub unready: Option<String>,
}

/// A daemon set or a deployment, with how many of its pods there are to be and how many are ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// `NAMESPACE/NAME`.
    pub name: String,
    /// How many there are to be.
    pub wanted: u64,
    /// How many of the newest kind are ready.
    pub ready: u64,
}

/// An answer that is none of kubectl's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no list of kubectl's: {0:?}")]
pub struct KubeError(String);

#[derive(Deserialize)]
struct List<T> {
    items: Vec<T>,
}

fn items<T: for<'a> Deserialize<'a>>(text: &str) -> Result<Vec<T>, KubeError> {
    let list: Result<List<T>, _> = serde_json::from_str(text);
    list.map(|list| list.items).map_err(|_| KubeError(text.trim().chars().take(200).collect()))
}

/// An object: what it is called, what it shall be, and how it is.
#[derive(Deserialize)]
struct Item<Spec, Status: Default> {
    metadata: Meta,
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Meta {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    generation: u64,
}

impl Node {
    /// Read the answer to [`ask_nodes`].
    pub fn parse(text: &str) -> Result<Vec<Self>, KubeError> {
        #[derive(Deserialize)]
        struct Spec {
            #[serde(rename = "podCIDR")]
            block: Option<Ipv4Net>,
        }
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "camelCase", default)]
        struct Status {
            addresses: Vec<Address>,
            conditions: Vec<Condition>,
            node_info: Info,
        }
        #[derive(Deserialize)]
        struct Address {
            #[serde(rename = "type")]
            kind: String,
            address: String,
        }
        #[derive(Deserialize)]
        struct Condition {
            #[serde(rename = "type")]
            kind: String,
            status: String,
            #[serde(default)]
            message: String,
        }
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "camelCase", default)]
        struct Info {
            kubelet_version: String,
        }
        let read = |Item { metadata, spec, status }: Item<Spec, Status>| {
            let ready = status.conditions.iter().find(|condition| condition.kind == "Ready");
            let unready = match ready {
                Some(ready) if ready.status == "True" => None,
                Some(ready) => Some(ready.message.clone()),
                None => Some("its kubelet has not said anything yet".into()),
            };
            let mut inside = status.addresses.iter().filter(|address| address.kind == "InternalIP");
            let address = inside.find_map(|address| address.address.parse().ok());
            let kubelet = status.node_info.kubelet_version;
            Self { name: metadata.name, address, block: spec.block, kubelet, unready }
        };
        Ok(items(text)?.into_iter().map(read).collect())
    }
}

impl Workload {
    /// Read the answer to [`ask_workloads`]. Of one whose controller has not seen its newest form none is ready.
    pub fn parse(text: &str) -> Result<Vec<Self>, KubeError> {
        #[derive(Deserialize)]
        struct Spec {
            replicas: Option<u64>,
        }
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "camelCase", default)]
        struct Status {
            observed_generation: u64,
            desired_number_scheduled: u64,
            number_ready: u64,
            updated_number_scheduled: u64,
            ready_replicas: u64,
            updated_replicas: u64,
        }
        let read = |Item { metadata, spec, status }: Item<Spec, Status>| {
            let (wanted, ready) = match spec.replicas {
                Some(replicas) => (replicas, status.ready_replicas.min(status.updated_replicas)),
                None => (status.desired_number_scheduled, status.number_ready.min(status.updated_number_scheduled)),
            };
            let seen = status.observed_generation >= metadata.generation;
            let name = format!("{}/{}", metadata.namespace, metadata.name);
            Self { name, wanted, ready: if seen { ready } else { 0 } }
        };
        Ok(items(text)?.into_iter().map(read).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_read_whether_ready_or_not() {
        let text = r#"{"apiVersion": "v1", "items": [
          {"metadata": {"name": "kube-01"}, "spec": {"podCIDR": "10.244.0.0/26"}, "status": {
            "addresses": [{"type": "InternalIP", "address": "198.18.7.11"}, {"type": "Hostname", "address": "kube-01"}],
            "conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}],
            "nodeInfo": {"kubeletVersion": "v1.20.2"}}},
          {"metadata": {"name": "kube-02"}, "spec": {}, "status": {"conditions": [{"type": "Ready", "status": "False",
            "message": "container runtime network not ready: cni config uninitialized"}]}},
          {"metadata": {"name": "kube-03"}, "spec": {}}]}"#;
        let nodes = Node::parse(text).expect("a list");
        assert_eq!(nodes[0].address, Some(Ipv4Addr::new(198, 18, 7, 11)));
        assert_eq!((nodes[0].block, &nodes[0].unready), ("10.244.0.0/26".parse().ok(), &None));
        assert_eq!(nodes[0].kubelet, "v1.20.2");
        assert!(nodes[1].unready.as_ref().is_some_and(|why| why.contains("cni config uninitialized")));
        assert!(nodes[2].unready.as_ref().is_some_and(|why| why.contains("not said anything")));
        assert!(Node::parse("The connection to the server was refused").is_err());
    }

    #[test]
    fn a_workload_is_as_ready_as_its_newest_pods() {
        let text = r#"{"items": [
          {"metadata": {"name": "calico-node", "namespace": "kube-system", "generation": 2}, "spec": {},
           "status": {"observedGeneration": 2, "desiredNumberScheduled": 3, "numberReady": 3, "updatedNumberScheduled": 1}},
          {"metadata": {"name": "cluster-dns", "namespace": "kube-system", "generation": 2}, "spec": {"replicas": 2},
           "status": {"observedGeneration": 1, "readyReplicas": 2, "updatedReplicas": 2}},
          {"metadata": {"name": "new", "namespace": "default", "generation": 1}, "spec": {"replicas": 1}}]}"#;
        let all = Workload::parse(text).expect("a list");
        let counts: Vec<(&str, u64, u64)> = all.iter().map(|one| (one.name.as_str(), one.ready, one.wanted)).collect();
        assert_eq!(
            counts,
            [("kube-system/calico-node", 1, 3), ("kube-system/cluster-dns", 0, 2), ("default/new", 0, 1)]
        );
    }

    #[test]
    fn of_many_causes_the_first_are_told() {
        let causes: Vec<String> =
            (1..=60).map(|n| format!("ValidationError(List.items[{n}]): unknown field \"x\", really")).collect();
        let line =
            format!("error: error validating \"a.json\": error validating data: [{}]; turn it off", causes.join(", "));
        let told = first_causes(&format!("before\n{line}"));
        assert!(
            told.starts_with("before\nerror: error validating \"a.json\"") && told.ends_with("turn it off"),
            "{told}"
        );
        assert!(told.contains("items[3]") && told.contains("and 57 more]") && !told.contains("items[4]"), "{told}");
        for short in ["", "plain", "a [b, b] c", "[", "] ["] {
            assert_eq!(first_causes(short), short);
        }
    }

    #[test]
    fn the_version_is_in_its_answer() {
        assert_eq!(version(r#"{"major": "1", "gitVersion": "v1.20.2"}"#).as_deref(), Some("v1.20.2"));
        assert_eq!(version("404"), None);
    }
}
