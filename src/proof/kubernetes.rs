//! Judges of Kubernetes: nodes ready under their planned addresses, daemon sets and deployments complete, kubelets that pass on.

use super::{Judged, Place, Probe, Scene, Verdict, packet, raise};
use crate::command::{Argv, Output};
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::node::container;
use crate::node::kube::{self, Node, Workload};

fn master(plan: &Plan, argv: Argv) -> Probe {
    Probe { node: plan.master.clone(), place: Place::Node, argv }
}

/// What the API server knows of the nodes.
pub(super) fn nodes(plan: &Plan) -> Probe {
    master(plan, kube::ask_nodes())
}

/// What it knows of its daemon sets or deployments.
pub(super) fn workloads(plan: &Plan, kind: &str) -> Probe {
    master(plan, kube::ask_workloads(kind))
}

/// The name by which the API server knows the proof's pod on `node`: its kubelet made it.
fn pod(scene: &Scene<'_>, node: &NodeName) -> String {
    format!("{}-{node}", container::probe_name(scene.nonce))
}

/// What the pod said, and what a program in it says, through its kubelet.
fn passed_on(scene: &Scene<'_>, node: &NodeName) -> [Probe; 2] {
    let pod = pod(scene, node);
    let words = ["cat", container::PAGE];
    [kube::ask_logs(&pod), kube::exec(&pod, &words)].map(|argv| master(scene.plan, argv))
}

pub(super) fn kubelet_probes(scene: &Scene<'_>, node: &NodeName) -> Vec<Probe> {
    let mut probes = vec![raise(scene.nonce, node)];
    if scene.pod(node).is_ok() {
        probes.extend(passed_on(scene, node));
    }
    probes
}

pub(super) fn service_from_node(plan: &Plan, node: &NodeName) -> Probe {
    Probe { node: node.clone(), place: Place::Node, argv: kube::ask_version(plan.network.api) }
}

pub(super) fn service_from_pod(plan: &Plan) -> Argv {
    kube::ask_version_from_pod(plan.network.api)
}

pub(super) fn judge_registered(scene: &Scene<'_>, node: &NodeName) -> Judged {
    let output = scene.heard(&nodes(scene.plan))?;
    let all = Node::parse(&output.stdout)
        .map_err(|_| Verdict::not_yet(format!("the API server did not list its nodes: {}", output.tail(2))))?;
    let own = all.iter().find(|own| own.name == node.as_str());
    let own = own.ok_or_else(|| Verdict::not_yet(format!("the API server does not know {node}")))?;
    let part = &scene.plan.nodes[node];
    if let Some(address) = own.address.filter(|address| *address != part.address) {
        return Err(Verdict::not_yet(format!("{node} is registered as {address}, planned is {}", part.address)));
    }
    if own.block != Some(part.block) {
        let has = own.block.map_or_else(|| "no block".into(), |block| block.to_string());
        return Err(Verdict::not_yet(format!("{node} is registered with {has}, planned is {}", part.block)));
    }
    if let Some(why) = &own.unready {
        return Err(Verdict::not_yet(format!("{node} is not Ready: {why}")));
    }
    Ok(format!("Ready as {}, {}, kubelet {}", part.address, part.block, own.kubelet))
}

pub(super) fn judge_workloads(scene: &Scene<'_>, kind: &str) -> Judged {
    let output = scene.heard(&workloads(scene.plan, kind))?;
    let all = Workload::parse(&output.stdout)
        .map_err(|_| Verdict::not_yet(format!("the API server did not list its {kind}: {}", output.tail(2))))?;
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
    answered(scene, &format!("a container on {node}"), output)
}

pub(super) fn judge_service_node(scene: &Scene<'_>, node: &NodeName) -> Judged {
    let output = scene.heard(&service_from_node(scene.plan, node))?;
    answered(scene, &format!("{node} itself"), output)
}

fn answered(scene: &Scene<'_>, who: &str, output: &Output) -> Judged {
    let api = scene.plan.network.api;
    match kube::version(&output.stdout) {
        Some(version) => Ok(format!("{api}:443 is an API server {version}")),
        None => {
            Err(Verdict::not_yet(format!("{api}:443 does not answer {who}: it {} {}", output.ended, output.tail(2))))
        }
    }
}
