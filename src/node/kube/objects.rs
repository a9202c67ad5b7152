//! What the API server knows that `explain` asks for: nodes, pods with what their containers wait for, who is behind services.

use std::net::Ipv4Addr;

use serde::Deserialize;
use serde_json::Value;

use super::isolation::Isolation;
use super::{KubeError, Node, admin, items};
use crate::command::Argv;
use crate::node::pool::Pool;

/// Of Calico's own: who is denied what, and what addresses there are.
const CALICO: &str = ",networkpolicies.networking.k8s.io,networkpolicies.crd.projectcalico.org,\
    globalnetworkpolicies.crd.projectcalico.org,ippools.crd.projectcalico.org";

/// Nodes, pods, sets, services and who is behind them, in one answer; no secret is among them. An API server that is
/// not ready is not waited for once for each kind. Where Calico keeps its data in Kubernetes (`calico`) its pools and
/// policies come along, if its kinds are known there.
pub fn ask_objects(calico: bool) -> Argv {
    const SCRIPT: &str = r#"kinds=nodes,pods,daemonsets,deployments,services,endpoints more=$1
shift
kubectl "$@" get --raw=/readyz >/dev/null || exit
[ -z "$more" ] || ! all=$(kubectl "$@" get $kinds$more -A -o json 2>/dev/null) || { printf '%s\n' "$all"; exit; }
exec kubectl "$@" get $kinds -A -o json"#;
    Argv::script(SCRIPT, [if calico { CALICO } else { "" }, &admin(), "--request-timeout=5s"])
}

/// The cluster as one answer tells it.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The pods.
    pub pods: Vec<Pod>,
    /// For each service its name (`NAMESPACE/NAME`) and the addresses of the pods behind it that are ready.
    pub behind: Vec<(String, Vec<Ipv4Addr>)>,
    /// Calico's pools, if they were asked for and there are any.
    pub pools: Vec<Pool>,
    /// Policies, of Kubernetes and of Calico.
    pub policies: Vec<Isolation>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// `NAMESPACE/NAME`.
    pub name: String,
    /// The node it is on, once it is on one.
    pub node: Option<String>,
    /// The set that made it, if one did.
    pub owner: Option<String>,
    /// What its kubelet says of it as a whole (`Pending`, `Running`, …).
    pub phase: String,
    /// Whether all its containers are ready.
    pub ready: bool,
    /// What its containers that do not run wait for, or how they ended; init containers first.
    pub stuck: Vec<Stuck>,
}

/// A container that does not run, or is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// Its name.
    pub container: String,
    /// Its image.
    pub image: String,
    /// Why, in the kubelet's own word (`ErrImageNeverPull`, `CrashLoopBackOff`, …).
    pub reason: String,
    /// Why, in a sentence; often empty.
    pub message: String,
}

impl Stuck {
    /// Whether the image cannot be had.
    pub fn imageless(&self) -> bool {
        const WORDS: [&str; 6] = [
            "ErrImageNeverPull",
            "ErrImagePull",
            "ImagePullBackOff",
            "ImageInspectError",
            "InvalidImageName",
            "RegistryUnavailable",
        ];
        WORDS.contains(&self.reason.as_str())
    }
}

impl std::fmt::Display for Stuck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "container {} ({}): {}", self.container, self.image, self.reason)?;
        if self.message.is_empty() { Ok(()) } else { write!(f, ", {}", self.message) }
    }
}

#[derive(Deserialize)]
struct Owner {
    kind: String,
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    name: String,
    namespace: String,
    owner_references: Vec<Owner>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    phase: String,
    #[serde(rename = "initContainerStatuses")]
    init: Vec<Container>,
    #[serde(rename = "containerStatuses")]
    main: Vec<Container>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Container {
    name: String,
    image: String,
    ready: bool,
    state: State,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct State {
    waiting: Option<Why>,
    terminated: Option<Why>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(rename_all = "camelCase", default)]
struct Why {
    reason: String,
    message: String,
    exit_code: i64,
}

impl Objects {
    /// Read the answer to [`ask_objects`].
    pub fn parse(text: &str) -> Result<Self, KubeError> {
        let all: Vec<Value> = items(text)?;
        let kind = |wanted: &str| all.iter().filter(|one| one["kind"] == *wanted).cloned().collect::<Vec<_>>();
        let nodes = Node::parse(&serde_json::json!({ "items": kind("Node") }).to_string())?;
        let pods = kind("Pod").into_iter().filter_map(Pod::read).collect();
        let behind = kind("Endpoints").into_iter().filter_map(behind).collect();
        let pools = Pool::parse(&serde_json::json!({ "items": kind("IPPool") }).to_string()).unwrap_or_default();
        let policies = all.iter().filter_map(Isolation::read).collect();
        Ok(Self { nodes, pods, behind, pools, policies })
    }

    /// Who is behind a service; none if there is no such service.
    pub fn behind(&self, service: &str) -> Option<&[Ipv4Addr]> {
        self.behind.iter().find(|(name, _)| name == service).map(|(_, behind)| behind.as_slice())
    }
}

impl Pod {
    /// Read a list of pods alone.
    pub fn parse(text: &str) -> Result<Vec<Self>, KubeError> {
        Ok(items(text)?.into_iter().filter_map(Self::read).collect())
    }

    fn read(value: Value) -> Option<Self> {
        #[derive(Deserialize)]
        struct Whole {
            metadata: Metadata,
            spec: Spec,
            #[serde(default)]
            status: Status,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Spec {
            node_name: Option<String>,
        }
        let Whole { metadata, spec, status } = serde_json::from_value(value).ok()?;
        let stuck =
            status.init.iter().filter(|one| one.ended_badly()).chain(status.main.iter().filter(|one| !one.ready));
        let stuck = stuck.map(Container::stuck).collect();
        let ready = !status.main.is_empty() && status.main.iter().all(|one| one.ready);
        let owner = metadata.owner_references.into_iter().find(|owner| owner.kind != "Node").map(|owner| owner.name);
        Some(Self {
            name: format!("{}/{}", metadata.namespace, metadata.name),
            node: spec.node_name,
            owner,
            phase: status.phase,
            ready,
            stuck,
        })
    }
}

impl Container {
    /// An init container that ran to its end has done its work.
    fn ended_badly(&self) -> bool {
        self.state.waiting.is_some() || self.state.terminated.as_ref().is_some_and(|why| why.exit_code != 0)
    }

    fn stuck(&self) -> Stuck {
        let why = self.state.waiting.clone().or_else(|| self.state.terminated.clone());
        let Why { reason, message, .. } =
            why.unwrap_or_else(|| Why { reason: "runs and is not ready".into(), ..Why::default() });
        // The kubelet writes of an image over many lines.
        let message = message.lines().next().unwrap_or_default().to_owned();
        Stuck { container: self.name.clone(), image: self.image.clone(), reason, message }
    }
}

fn behind(value: Value) -> Option<(String, Vec<Ipv4Addr>)> {
    #[derive(Deserialize)]
    struct Whole {
        metadata: Metadata,
        #[serde(default)]
        subsets: Vec<Subset>,
    }
    #[derive(Deserialize)]
    struct Subset {
        #[serde(default)]
        addresses: Vec<Address>,
    }
    #[derive(Deserialize)]
    struct Address {
        ip: String,
    }
    let Whole { metadata, subsets } = serde_json::from_value(value).ok()?;
    let addresses = subsets.iter().flat_map(|subset| &subset.addresses).filter_map(|one| one.ip.parse().ok());
    Some((format!("{}/{}", metadata.namespace, metadata.name), addresses.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"kind": "List", "items": [
      {"kind": "Node", "metadata": {"name": "kube-01"}, "spec": {"podCIDR": "10.244.0.0/26"}, "status": {
        "conditions": [{"type": "Ready", "status": "True"}]}},
      {"kind": "Pod", "metadata": {"name": "calico-node-x", "namespace": "kube-system", "ownerReferences": [
        {"kind": "DaemonSet", "name": "calico-node"}]}, "spec": {"nodeName": "kube-01"}, "status": {
        "initContainerStatuses": [{"name": "install-cni", "image": "c:1", "ready": true, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}],
        "containerStatuses": [{"name": "calico-node", "image": "c:1", "ready": false, "state": {"running": {}}}]}},
      {"kind": "Pod", "metadata": {"name": "dns-y", "namespace": "kube-system"}, "spec": {}, "status": {
        "initContainerStatuses": [{"name": "first", "image": "i:1", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}],
        "containerStatuses": [{"name": "dns", "image": "d:9", "ready": false, "state": {"waiting": {
          "reason": "ErrImageNeverPull", "message": "Container image \"d:9\" is not present\nwith pull policy of Never"}}}]}},
      {"kind": "Endpoints", "metadata": {"name": "kube-dns", "namespace": "kube-system"}, "subsets": [
        {"addresses": [{"ip": "10.244.0.2"}], "notReadyAddresses": [{"ip": "10.244.0.3"}]}]},
      {"kind": "Endpoints", "metadata": {"name": "none", "namespace": "default"}}]}"#;

    #[test]
    fn one_answer_has_all_kinds() {
        let all = Objects::parse(ANSWER).expect("a list");
        assert_eq!((all.nodes.len(), all.pods.len()), (1, 2));
        assert_eq!(all.behind("kube-system/kube-dns"), Some(&[Ipv4Addr::new(10, 244, 0, 2)][..]));
        assert_eq!((all.behind("default/none"), all.behind("default/other")), (Some(&[][..]), None));
        let [calico, dns] = &all.pods[..] else { panic!("two") };
        assert_eq!((calico.owner.as_deref(), calico.node.as_deref()), (Some("calico-node"), Some("kube-01")));
        assert_eq!(calico.stuck.len(), 1, "what ran to its end has done its work: {calico:?}");
        assert!(!calico.ready && !calico.stuck[0].imageless());
        assert_eq!(dns.stuck[0].container, "first");
        assert_eq!(
            dns.stuck[1].to_string(),
            "container dns (d:9): ErrImageNeverPull, Container image \"d:9\" is not present"
        );
        assert!(dns.stuck[1].imageless() && Objects::parse("refused").is_err());
    }

    /// A kubectl that says what an annotation holds, and knows Calico's kinds or not, called as a node calls it.
    fn asked(knows: &str) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let kubectl = folder.path().join("kubectl");
        let script = "#!/bin/sh\ncase $* in *readyz*) exit;; *ippools*) [ $KNOWS = yes ] || exit 1;; esac\n\
            printf '%s\\n' '{\"items\": [\"{}\\n\"]}'";
        std::fs::write(&kubectl, script).expect("written");
        std::fs::set_permissions(&kubectl, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("ours");
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap_or_default());
        let argv = ask_objects(true);
        let mut shell = std::process::Command::new(argv.program());
        let output = shell.args(&argv.words()[1..]).env("PATH", path).env("KNOWS", knows).output().expect("a shell");
        String::from_utf8(output.stdout).expect("text")
    }

    #[test]
    fn objects_come_as_kubectl_prints_them() {
        for knows in ["yes", "no"] {
            assert_eq!(asked(knows), "{\"items\": [\"{}\\n\"]}\n");
        }
    }
}
