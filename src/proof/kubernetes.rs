//! Judges of Kubernetes: nodes ready under their planned addresses, daemon sets and deployments complete, kubelets that pass on.

use super::{Judged, Place, Probe, Scene, Verdict, packet};
use crate::command::{Argv, Output};
use crate::lab::file::Installer;
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::node::container;
use crate::node::kube::{self, Node, Workload, first, hello};

fn master(plan: &Plan, argv: Argv) -> Probe {
    Probe { node: plan.master.clone(), place: Place::Node, argv }
}

/// Whether it is the Kubernetes of 2016, with fewer words, whose nodes are named by their addresses.
fn is_first(plan: &Plan) -> bool {
    plan.installer == Installer::Coreos
}

/// What the API server knows of the nodes.
pub(super) fn nodes(plan: &Plan) -> Probe {
    master(plan, if is_first(plan) { first::ask_nodes() } else { kube::ask_nodes() })
}

/// What it knows of its daemon sets or deployments.
pub(super) fn workloads(plan: &Plan, kind: &str) -> Probe {
    master(plan, kube::ask_workloads(kind))
}

/// What it knows of its pods.
pub(super) fn pods(plan: &Plan) -> Probe {
    master(plan, if is_first(plan) { first::ask_pods() } else { kube::ask_pods() })
}

/// The name by which the API server knows a node.
fn known_as(plan: &Plan, node: &NodeName) -> String {
    if is_first(plan) { plan.nodes[node].address.to_string() } else { node.to_string() }
}

/// The name by which the API server knows the proof's pod on `node`: its kubelet made it.
fn pod(scene: &Scene<'_>, node: &NodeName) -> String {
    format!("{}-{}", container::probe_name(scene.nonce), known_as(scene.plan, node))
}

/// What the pod said, and what a program in it says, through its kubelet.
fn passed_on(scene: &Scene<'_>, node: &NodeName) -> [Probe; 2] {
    let kubectl = if is_first(scene.plan) { first::kubectl() } else { kube::kubectl() };
    let asked = kube::ask_kubelet(&kubectl, &pod(scene, node), &["cat", container::PAGE]);
    asked.map(|argv| master(scene.plan, argv))
}

pub(super) fn kubelet_probes(scene: &Scene<'_>, node: &NodeName) -> Vec<Probe> {
    let mut probes = vec![scene.raise(node)];
    if scene.pod(node).is_ok() {
        probes.extend(passed_on(scene, node));
    }
    probes
}

pub(super) fn service_from_node(plan: &Plan, node: &NodeName) -> Probe {
    let ask = if is_first(plan) { first::ask_status } else { kube::ask_version };
    Probe { node: node.clone(), place: Place::Node, argv: ask(plan.network.api) }
}

pub(super) fn service_from_pod(plan: &Plan) -> Argv {
    hello::ask(plan.network.api)
}

/// What the API server lists. Refused, kubectl prints a list with nothing in it: how it ended tells.
pub(super) fn listed<T>(
    scene: &Scene<'_>,
    question: &Probe,
    what: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Verdict> {
    let output = scene.heard(question)?;
    let all = if output.ok() { parse(&output.stdout) } else { None };
    all.ok_or_else(|| Verdict::not_yet(format!("the API server did not list {what}: {}", output.tail(2))))
}

pub(super) fn judge_registered(scene: &Scene<'_>, node: &NodeName) -> Judged {
    let all = listed(scene, &nodes(scene.plan), "its nodes", |text| Node::parse(text).ok())?;
    let name = known_as(scene.plan, node);
    let own = all.iter().find(|own| own.name == name);
    let own = own.ok_or_else(|| Verdict::not_yet(format!("the API server does not know {node}")))?;
    let part = &scene.plan.nodes[node];
    if let Some(address) = own.address.filter(|address| *address != part.address) {
        return Err(Verdict::not_yet(format!("{node} is registered as {address}, planned is {}", part.address)));
    }
    // Before Kubernetes knew of blocks they were Calico's alone: the routes tell.
    if own.block != Some(part.block) && !is_first(scene.plan) {
        let has = own.block.map_or_else(|| "no block".into(), |block| block.to_string());
        return Err(Verdict::not_yet(format!("{node} is registered with {has}, planned is {}", part.block)));
    }
    if let Some(why) = &own.unready {
        return Err(Verdict::not_yet(format!("{node} is not Ready: {why}")));
    }
    Ok(format!("Ready as {}, {}, kubelet {}", part.address, part.block, own.kubelet))
}

pub(super) fn judge_workloads(scene: &Scene<'_>, kind: &str) -> Judged {
    let question = workloads(scene.plan, kind);
    let all = listed(scene, &question, &format!("its {kind}"), |text| Workload::parse(text).ok())?;
    complete(&all, kind)
}

/// The pods of the add-ons, container by container.
pub(super) fn judge_pods(scene: &Scene<'_>) -> Judged {
    let all = listed(scene, &pods(scene.plan), "its pods", |text| first::pods(text, "kube-system").ok())?;
    complete(&all, "pods in kube-system")
}

fn complete(all: &[Workload], kind: &str) -> Judged {
    let short: Vec<String> = all
        .iter()
        .filter(|one| one.ready < one.wanted || one.wanted == 0)
        .map(|one| format!("{} has {} of {}", one.name, one.ready, one.wanted))
        .collect();
    if !short.is_empty() {
        return Err(Verdict::not_yet(short.join("; ")));
    }
    if all.is_empty() {
        return Err(Verdict::not_yet(format!("there are no {kind}")));
    }
    let told: Vec<String> = all.iter().map(|one| format!("{} {}", one.name, one.ready)).collect();
    Ok(told.join(", "))
}

pub(super) fn judge_kubelet(scene: &Scene<'_>, node: &NodeName) -> Judged {
    scene.pod(node)?;
    let wanted = container::probe_page(scene.nonce, node.as_str());
    for (probe, what) in passed_on(scene, node).iter().zip(["logs", "exec"]) {
        let output = scene.heard(probe)?;
        if !output.ok() || output.stdout.trim() != wanted {
            let said = output.tail(2);
            return Err(Verdict::not_yet(format!("`kubectl {what}` of the pod on {node} {}: {said}", output.ended)));
        }
    }
    Ok("logs and exec".into())
}

pub(super) fn judge_service_pod(scene: &Scene<'_>, node: &NodeName) -> Judged {
    scene.pod(node)?;
    let output = scene.heard(&packet::pod(node, service_from_pod(scene.plan)))?;
    if output.ok() && hello::is_api(&output.stdout) {
        return Ok(format!("{}:443 is the API server, by its certificate's name", scene.plan.network.api));
    }
    Err(unanswered(scene, &format!("a container on {node}"), output))
}

pub(super) fn judge_service_node(scene: &Scene<'_>, node: &NodeName) -> Judged {
    let output = scene.heard(&service_from_node(scene.plan, node))?;
    let who = format!("{node} itself");
    let api = scene.plan.network.api;
    if is_first(scene.plan) {
        // It lets nobody in without a certificate, and by now its own has been seen.
        return match output.stdout.trim() {
            "200" | "401" if output.ok() => Ok(format!("{api}:443 is the API server, by its certificate")),
            _ => Err(unanswered(scene, &who, output)),
        };
    }
    match kube::version(&output.stdout) {
        Some(version) => Ok(format!("{api}:443 is an API server {version}")),
        None => Err(unanswered(scene, &who, output)),
    }
}

fn unanswered(scene: &Scene<'_>, who: &str, output: &Output) -> Verdict {
    let api = scene.plan.network.api;
    Verdict::not_yet(format!("{api}:443 does not answer {who}: it {} {}", output.ended, output.tail(2)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::Check;
    use crate::proof::samples::{NONCE, Stage, node};

    fn stage() -> Stage {
        let mut stage = Stage::new(2);
        stage.plan.installer = Installer::Binaries;
        stage
    }

    fn listed(address: &str, block: &str, ready: &str) -> String {
        format!(
            r#"{{"items": [{{"metadata": {{"name": "calico-02"}}, "spec": {{"podCIDR": "{block}"}}, "status": {{
            "addresses": [{{"type": "InternalIP", "address": "{address}"}}], "nodeInfo": {{"kubeletVersion": "v1.20.2"}},
            "conditions": [{{"type": "Ready", "status": "{ready}", "message": "cni config uninitialized"}}]}}}}]}}"#
        )
    }

    #[test]
    fn a_node_is_ready_under_its_planned_address_with_its_block() {
        let check = Check::Registered { node: node(2) };
        let mut stage = stage();
        let mut told = |answer: &str| {
            stage.on_node(1, kube::ask_nodes(), 0, answer);
            stage.judge(&check)
        };
        assert!(told(&listed("198.18.7.12", "10.244.0.64/26", "True")).passed());
        // The address of the NAT card, which every node has.
        assert!(told(&listed("10.0.2.15", "10.244.0.64/26", "True")).text().contains("planned is 198.18.7.12"));
        assert!(told(&listed("198.18.7.12", "10.244.0.128/26", "True")).text().contains("planned is 10.244.0.64/26"));
        assert!(told(&listed("198.18.7.12", "10.244.0.64/26", "False")).text().contains("cni config uninitialized"));
        assert!(told(r#"{"items": []}"#).text().contains("does not know calico-02"));
        assert!(told("").text().contains("did not list its nodes"));
        stage.say(nodes(&stage.plan.clone()), 1, r#"{"items": []}"#, "Unable to connect to the server: EOF");
        assert!(stage.judge(&check).text().contains("did not list its nodes: Unable to connect"));
    }

    #[test]
    fn a_set_that_is_short_of_pods_is_named() {
        let mut stage = stage();
        let mut told = |ready: u64| {
            let text = format!(
                r#"{{"items": [{{"metadata": {{"name": "calico-node", "namespace": "kube-system"}}, "spec": {{}},
                "status": {{"desiredNumberScheduled": 2, "numberReady": {ready}, "updatedNumberScheduled": 2}}}}]}}"#
            );
            stage.on_node(1, kube::ask_workloads("daemonsets"), 0, &text);
            stage.judge(&Check::DaemonSets)
        };
        assert!(told(2).passed());
        assert_eq!(told(1).text(), "kube-system/calico-node has 1 of 2");
        stage.on_node(1, kube::ask_workloads("deployments"), 0, r#"{"items": []}"#);
        assert!(!stage.judge(&Check::Deployments).passed(), "none is not all");
    }

    #[test]
    fn the_kubernetes_of_2016_is_asked_in_its_words() {
        let plan = crate::lab::example::carried("coreos-0.15", &[]);
        let mut stage = Stage { plan, ..stage() };
        stage.raised();
        let listed =
            listed("198.18.7.102", "", "True").replace("calico-02", "198.18.7.102").replace("\"podCIDR\": \"\"", "");
        stage.on_node(1, first::ask_nodes(), 0, &listed);
        let told = stage.judge(&Check::Registered { node: node(2) });
        assert!(told.passed(), "{}", told.text());
        assert!(!stage.judge(&Check::Registered { node: node(3) }).passed());
        let pod = |name: &str, ready: bool| {
            format!(
                r#"{{"metadata": {{"name": "{name}", "namespace": "kube-system"}}, "spec": {{"containers": [{{}}]}},
                "status": {{"containerStatuses": [{{"ready": {ready}}}]}}}}"#
            )
        };
        for (ready, passes) in [(true, true), (false, false)] {
            let text =
                format!(r#"{{"items": [{}, {}]}}"#, pod("kube-dns-v9-abcde", true), pod("kube-ui-v5-fghij", ready));
            stage.on_node(1, first::ask_pods(), 0, &text);
            assert_eq!(stage.judge(&Check::Pods).passed(), passes);
        }
        stage.on_node(1, first::ask_pods(), 0, r#"{"items": []}"#);
        assert!(!stage.judge(&Check::Pods).passed(), "none is not all");
        let [logs, exec] = passed_on(&stage.scene(), &node(2));
        assert!(logs.argv.words().concat().contains("198.18.7.102"), "{logs:?}");
        let page = container::probe_page(NONCE, "calico-02");
        stage.say(logs, 0, &page, "");
        stage.say(exec, 0, &page, "");
        assert!(stage.judge(&Check::Kubelet { node: node(2) }).passed());

        let (probe, argv) = (service_from_node(&stage.plan, &node(2)), service_from_pod(&stage.plan));
        for (status, text, passes) in [(0, "401", true), (0, "200", true), (60, "000", false)] {
            stage.say(probe.clone(), status, text, "");
            assert_eq!(stage.judge(&Check::ServiceNode { node: node(2) }).passed(), passes, "{text}");
        }
        for (text, passes) in [("kubernetes.default.svc\n", true), ("", false)] {
            stage.in_pod(2, argv.clone(), 0, text);
            assert_eq!(stage.judge(&Check::ServicePod { node: node(2) }).passed(), passes, "{text}");
        }
    }

    #[test]
    fn a_kubelet_passes_on_what_a_pod_says() {
        let check = Check::Kubelet { node: node(2) };
        let mut stage = stage();
        stage.raised();
        let [logs, exec] = passed_on(&stage.scene(), &node(2));
        let page = container::probe_page(NONCE, "calico-02");
        stage.say(logs, 0, &page, "");
        assert!(!stage.judge(&check).passed(), "exec was not tried");
        stage.say(exec.clone(), 0, &page, "");
        assert!(stage.judge(&check).passed());
        stage.say(exec, 1, "", "error: unable to upgrade connection: Forbidden\n");
        assert!(stage.judge(&check).text().contains("`kubectl exec` of the pod on calico-02"));
    }

    #[test]
    fn the_first_service_is_an_api_server() {
        let mut stage = stage();
        stage.raised();
        let version = r#"{"major": "1", "gitVersion": "v1.20.2"}"#;
        let argv = service_from_pod(&stage.plan);
        stage.in_pod(2, argv.clone(), 0, "kubernetes.default.svc\n");
        assert!(stage.judge(&Check::ServicePod { node: node(2) }).passed());
        stage.in_pod(2, argv, 1, "");
        assert!(stage.judge(&Check::ServicePod { node: node(2) }).text().contains("10.96.0.1:443 does not answer"));
        let probe = service_from_node(&stage.plan, &node(2));
        stage.say(probe.clone(), 0, version, "");
        assert!(stage.judge(&Check::ServiceNode { node: node(2) }).passed());
        stage.say(probe, 60, "", "curl: (60) SSL certificate problem\n");
        assert!(stage.judge(&Check::ServiceNode { node: node(2) }).text().contains("certificate problem"));
    }
}
