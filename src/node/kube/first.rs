//! Kubernetes 1.1 on the master: its kubectl speaks to the open port of the API server and knows fewer words.

use std::net::Ipv4Addr;

use serde::Deserialize;

use super::{AUTHORITY, Item, KubeError, Workload, items};
use crate::command::Argv;

/// The longest that one question may take; this kubectl has no limit of its own.
pub fn kubectl() -> Argv {
    Argv::new("timeout").args(["-k", "1", "10", "kubectl"])
}

/// Whether the API server is ready to be asked.
pub fn ask_ready() -> Argv {
    Argv::new("curl").args(["-sSf", "-m", "5", "http://127.0.0.1:8080/healthz"])
}

/// Make what the files of a folder say, one object each, in the order of their names; what is there already is left.
pub fn apply(folder: &str) -> Argv {
    const SCRIPT: &str = r#"for file in "$1"/*; do
  timeout -k 1 10 kubectl get -f "$file" >/dev/null 2>&1 || timeout -k 1 20 kubectl create -f "$file" || exit
done"#;
    Argv::script(SCRIPT, [folder])
}

/// All nodes.
pub fn ask_nodes() -> Argv {
    kubectl().args(["get", "nodes", "-o", "json"])
}

/// All pods of all namespaces.
pub fn ask_pods() -> Argv {
    kubectl().args(["get", "pods", "--all-namespaces", "-o", "json"])
}

/// The status by which the API server at `address` answers a node that knows whom it should find there, and shows no
/// certificate of its own.
pub fn ask_status(address: Ipv4Addr) -> Argv {
    let words = ["-sS", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", AUTHORITY];
    Argv::new("curl").args(words).arg(format!("https://{address}/version"))
}

/// Read the answer to [`ask_pods`]: each pod of `namespace` as a workload of its containers. One that is not on a node
/// yet has as many as it shall have, and none of them is ready.
pub fn pods(text: &str, namespace: &str) -> Result<Vec<Workload>, KubeError> {
    #[derive(Deserialize)]
    struct Spec {
        containers: Vec<serde::de::IgnoredAny>,
    }
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "camelCase", default)]
    struct Status {
        container_statuses: Vec<Container>,
    }
    #[derive(Deserialize)]
    struct Container {
        ready: bool,
    }
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let read = |pod: Item<Spec, Status>| Workload {
        name: format!("{}/{}", pod.metadata.namespace, pod.metadata.name),
        wanted: count(pod.spec.containers.len()),
        ready: count(pod.status.container_statuses.iter().filter(|container| container.ready).count()),
    };
    let all = items::<Item<Spec, Status>>(text)?;
    Ok(all.into_iter().filter(|pod| pod.metadata.namespace == namespace).map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_as_ready_as_its_containers() {
        let text = r#"{"kind": "List", "apiVersion": "v1", "items": [
          {"metadata": {"name": "kube-dns-v9-abcde", "namespace": "kube-system"},
           "spec": {"containers": [{}, {}, {}, {}]},
           "status": {"containerStatuses": [{"ready": true}, {"ready": true}, {"ready": false}, {"ready": true}]}},
          {"metadata": {"name": "kube-ui-v5-fghij", "namespace": "kube-system"}, "spec": {"containers": [{}]}},
          {"metadata": {"name": "busybox", "namespace": "default"}, "spec": {"containers": [{}]}}]}"#;
        let all = pods(text, "kube-system").expect("a list");
        let counts: Vec<_> = all.iter().map(|one| (one.name.as_str(), one.ready, one.wanted)).collect();
        assert_eq!(counts, [("kube-system/kube-dns-v9-abcde", 3, 4), ("kube-system/kube-ui-v5-fghij", 0, 1)]);
        assert!(pods("error: couldn't read version from server", "default").is_err());
    }
}
