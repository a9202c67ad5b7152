//! The judge of what a lab is accepted by: exactly the pods that it names, each Running and Ready.

use super::{Judged, Scene, Verdict, kubernetes};
use crate::lab::accept::{Crew, CrewName};
use crate::node::kube::Pod;

pub(super) fn judge(scene: &Scene<'_>) -> Judged {
    let crews = scene.plan.accept.as_ref().map_or(&[][..], |accept| &accept.pods);
    let output = scene.heard(&kubernetes::pods(scene.plan))?;
    let all = Pod::parse(&output.stdout)
        .map_err(|_| Verdict::not_yet(format!("the API server did not list its pods: {}", output.tail(2))))?;
    // What is in a namespace that no crew is of is the user's own business.
    let counted: Vec<&Pod> = all.iter().filter(|pod| crews.iter().any(|crew| shares(&crew.name, pod))).collect();
    let whose = |pod: &Pod| {
        let fitting = crews.iter().filter(|crew| crew.name.fits(&pod.name));
        // Of `calico` and `calico-node` it is the longer one that made `calico-node-x7z2k`.
        fitting.max_by_key(|crew| crew.name.prefix.len())
    };
    let mut wrong: Vec<String> = Vec::new();
    let mut seen = Vec::new();
    for crew in crews {
        let own: Vec<&Pod> = counted.iter().copied().filter(|pod| whose(pod) == Some(crew)).collect();
        wrong.extend(counts(scene, crew, &own));
        seen.push(format!("{} {}", crew.name.prefix, own.len()));
    }
    let strangers: Vec<&str> = counted.iter().filter(|pod| whose(pod).is_none()).map(|pod| pod.name.as_str()).collect();
    if !strangers.is_empty() {
        wrong.push(format!("the lab does not know {}", strangers.join(", ")));
    }
    let known = counted.iter().filter(|pod| whose(pod).is_some());
    wrong.extend(known.filter_map(|pod| unready(pod)));
    if wrong.is_empty() {
        return Ok(format!("{} pods Running and Ready: {}", counted.len(), seen.join(", ")));
    }
    Err(Verdict::not_yet(wrong.join("; ")))
}

fn shares(name: &CrewName, pod: &Pod) -> bool {
    pod.name.split_once('/').is_some_and(|(namespace, _)| namespace == name.namespace)
}

/// What is wrong with how many there are and where.
fn counts(scene: &Scene<'_>, crew: &Crew, own: &[&Pod]) -> Vec<String> {
    let names = |pods: &[&Pod]| pods.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>().join(", ");
    let wanted = crew.wanted.of(scene.plan.nodes.len());
    let Some(nodes) = crew.wanted.nodes(&scene.plan.nodes, &scene.plan.master) else {
        return match own.len() {
            there if there < wanted => vec![format!("of {} there are {there} of {wanted}", crew.name)],
            there if there > wanted => {
                vec![format!("of {} there are {there}, {wanted} are to be: {}", crew.name, names(own))]
            }
            _ => Vec::new(),
        };
    };
    let mut wrong = Vec::new();
    for node in &nodes {
        let there: Vec<&Pod> = own.iter().copied().filter(|pod| pod.node.as_deref() == Some(node.as_str())).collect();
        match there.as_slice() {
            [] => wrong.push(format!("{} on {node} is missing", crew.name)),
            [_] => {}
            several => wrong.push(format!("{node} is to have one {}, it has {}", crew.name, names(several))),
        }
    }
    for pod in own {
        match pod.node.as_deref() {
            None => wrong.push(format!("{} is on no node", pod.name)),
            Some(node) if nodes.iter().any(|own| own.as_str() == node) => {}
            Some(node) => wrong.push(format!("{} is on {node}, where none is to be", pod.name)),
        }
    }
    wrong
}

fn unready(pod: &Pod) -> Option<String> {
    if pod.phase == "Running" && pod.ready {
        return None;
    }
    let phase = if pod.phase.is_empty() { "of no known phase" } else { &pod.phase };
    let why = pod.stuck.first().map_or_else(|| "not all its containers are ready".into(), ToString::to_string);
    Some(format!("{} is {phase}: {why}", pod.name))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::lab::example::carried;
    use crate::node::kube;
    use crate::proof::Check;
    use crate::proof::samples::{Stage, node};

    /// What kubectl lists of the lab when all is well: as 1.17 answers, cut to what is read.
    fn pods(nodes: usize) -> Vec<Value> {
        let mut all = vec![
            pod("calico-kube-controllers-76d4774d89-7zxkp", 2),
            pod("coredns-6955765f44-4r6mz", 1),
            pod("coredns-6955765f44-bw2ql", 2),
        ];
        for component in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
            all.push(pod(&format!("{component}-calico-01"), 1));
        }
        for index in 1..=nodes {
            all.extend([
                pod(&format!("calico-node-x{index}7zk"), index),
                pod(&format!("kube-proxy-q{index}8rm"), index),
            ]);
        }
        all
    }

    fn pod(name: &str, on: usize) -> Value {
        json!({"kind": "Pod", "metadata": {"name": name, "namespace": "kube-system"}, "spec": {"nodeName": node(on)},
            "status": {"phase": "Running", "containerStatuses": [
                {"name": "main", "image": "i:1", "ready": true, "state": {"running": {}}}]}})
    }

    fn told(nodes: usize, pods: &[Value]) -> Verdict {
        let plan = carried("calico-3.14-kubeadm", &[&format!("nodes.count={nodes}")]);
        let mut stage = Stage { plan, ..Stage::new(nodes) };
        let text = json!({"kind": "List", "apiVersion": "v1", "items": pods}).to_string();
        stage.on_node(1, kube::ask_pods(), 0, &text);
        stage.judge(&Check::Accepted)
    }

    #[test]
    fn the_pods_of_the_lab_are_fifteen_and_follow_its_nodes() {
        for (nodes, wanted) in [(4, 15), (2, 11), (6, 19)] {
            let told = told(nodes, &pods(nodes));
            assert!(told.passed(), "{}", told.text());
            assert!(told.text().starts_with(&format!("{wanted} pods Running and Ready: calico-node {nodes},")));
        }
        assert!(told(4, &pods(3)).text().contains("kube-system/calico-node on calico-04 is missing"));
        let surplus = told(3, &pods(4));
        assert!(surplus.text().contains("kube-proxy-q48rm is on calico-04, where none is to be"), "{}", surplus.text());
    }

    #[test]
    fn what_is_missing_or_too_many_or_not_ready_is_named() {
        let without = |name: &str| -> Vec<Value> {
            pods(4)
                .into_iter()
                .filter(|pod| !pod["metadata"]["name"].as_str().expect("one").starts_with(name))
                .collect()
        };
        let with = |name: &str, on: usize| [pods(4), vec![pod(name, on)]].concat();
        let with_one = |change: fn(&mut Value)| {
            let mut all = pods(4);
            change(&mut all[2]);
            all
        };
        let mut own = pod("web-0", 3);
        own["metadata"]["namespace"] = "default".into();
        assert!(told(4, &[pods(4), vec![own]].concat()).passed(), "a pod of the user's own is no matter of the lab's");
        for (all, why) in [
            (without("etcd"), "kube-system/etcd on calico-01 is missing"),
            (without("coredns-6955765f44-bw2ql"), "of kube-system/coredns there are 1 of 2"),
            (
                with("coredns-5d4dd4b4db-l5x2h", 3),
                "of kube-system/coredns there are 3, 2 are to be: kube-system/coredns-6955765f44-4r6mz",
            ),
            (
                with("kube-proxy-twice", 2),
                "calico-02 is to have one kube-system/kube-proxy, it has kube-system/kube-proxy-q28rm",
            ),
            (with("kube-apiserver-calico-02", 2), "kube-apiserver-calico-02 is on calico-02, where none is to be"),
            (with("metrics-server-6d8c9", 2), "the lab does not know kube-system/metrics-server-6d8c9"),
            (
                with_one(|pod| pod["status"]["containerStatuses"][0]["ready"] = false.into()),
                "is Running: container main",
            ),
            (
                with_one(|pod| pod["status"] = json!({"phase": "Pending"})),
                "kube-system/coredns-6955765f44-bw2ql is Pending",
            ),
            (
                with_one(|pod| pod["status"]["phase"] = "Failed".into()),
                "kube-system/coredns-6955765f44-bw2ql is Failed",
            ),
            (Vec::new(), "kube-system/kube-scheduler on calico-01 is missing"),
        ] {
            let told = told(4, &all);
            assert!(!told.passed() && told.text().contains(why), "{why}: {}", told.text());
        }
    }
}
