//! Judges of the first service address, from container and node: the API server answers there, without it the master's etcd.

use super::machine::{Unread, datastore, read_answer, read_datastore};
use super::packet::{in_pod, pod};
use super::{Judged, Probe, Scene, Verdict, kubernetes};
use crate::command::Argv;
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::node::etcd;

fn from_pod(plan: &Plan) -> Argv {
    etcd::ask_metrics_from_pod(&format!("http://{}/metrics", plan.network.api))
}

pub(super) fn pod_probes(scene: &Scene<'_>, node: &NodeName) -> Vec<Probe> {
    if scene.plan.installer.has_kubernetes() {
        return in_pod(scene, node, kubernetes::service_from_pod(scene.plan));
    }
    let mut probes = in_pod(scene, node, from_pod(scene.plan));
    probes.push(datastore(scene.plan, &scene.plan.master));
    probes
}

pub(super) fn node_probes(plan: &Plan, node: &NodeName) -> Vec<Probe> {
    if plan.installer.has_kubernetes() {
        return vec![kubernetes::service_from_node(plan, node)];
    }
    vec![datastore(plan, node), datastore(plan, &plan.master)]
}

pub(super) fn judge_pod(scene: &Scene<'_>, node: &NodeName) -> Judged {
    if scene.plan.installer.has_kubernetes() {
        return kubernetes::judge_service_pod(scene, node);
    }
    scene.pod(node)?;
    let output = scene.heard(&pod(node, from_pod(scene.plan)))?;
    let api = scene.plan.network.api;
    let member = etcd::metrics_member(&output.stdout).ok_or_else(|| {
        let tail = output.tail(2);
        Verdict::not_yet(format!("{api}:80 does not answer a container on {node}: it {} {tail}", output.ended))
    })?;
    let master = read_datastore(scene, &scene.plan.master)?.member;
    if member != master.member {
        let (own, wanted) = (format!("{member:x}"), format!("{:x}", master.member));
        return Err(Verdict::not_yet(format!(
            "{api}:80 leads a container on {node} to etcd {own}, the master's is {wanted}"
        )));
    }
    Ok(format!("{api}:80 is etcd {member:x} of {}", scene.plan.master))
}

pub(super) fn judge_node(scene: &Scene<'_>, node: &NodeName) -> Judged {
    if scene.plan.installer.has_kubernetes() {
        return kubernetes::judge_service_node(scene, node);
    }
    let api = scene.plan.network.api;
    let member = match read_answer(scene, node, 1) {
        Ok(answer) => answer.member,
        Err(Unread::Unheard(verdict)) => return Err(verdict),
        Err(Unread::Why(why)) => {
            return Err(Verdict::not_yet(format!("{api}:443 does not answer {node} itself: {why}")));
        }
    };
    let master = read_datastore(scene, &scene.plan.master)?.member;
    if member != master {
        let (own, wanted) = (member.member, master.member);
        return Err(Verdict::not_yet(format!("{api}:443 leads {node} to etcd {own:x}, the master's is {wanted:x}")));
    }
    Ok(format!("{api}:443 is etcd {:x} of {}", member.member, scene.plan.master))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::Check;
    use crate::proof::samples::{MEMBER, Stage, node};

    #[test]
    fn the_master_answers_a_container() {
        let check = Check::ServicePod { node: node(2) };
        let mut stage = Stage::new(2);
        stage.raised();
        let argv = from_pod(&stage.plan);
        stage.in_pod(2, argv.clone(), 0, "etcd_server_id{server_id=\"deadbeef\"} 1\n");
        assert!(!stage.judge(&check).passed(), "the master has not been asked");
        stage.master_says(MEMBER);
        assert!(stage.judge(&check).passed());
        stage.in_pod(2, argv.clone(), 0, "etcd_server_id{server_id=\"cafe\"} 1\n");
        assert!(stage.judge(&check).text().contains("to etcd cafe, the master's is deadbeef"));
        stage.in_pod(2, argv, 1, "");
        assert!(stage.judge(&check).text().contains("10.96.0.1:80 does not answer a container on calico-02"));
    }

    #[test]
    fn the_master_answers_the_node_itself() {
        let check = Check::ServiceNode { node: node(2) };
        let mut stage = Stage::new(2);
        stage.master_says(MEMBER);
        stage.answers(2, [MEMBER, MEMBER]);
        assert!(stage.judge(&check).passed());
        stage.answers(2, [MEMBER, &MEMBER.replace("3735928559", "1")]);
        assert!(stage.judge(&check).text().contains("to etcd 1, the master's is deadbeef"));
        let probe = datastore(&stage.plan, &node(2));
        stage.say(probe, 28, &format!("{MEMBER}\ncurl: (0) \n\ncurl: (28) Connection timed out\n"), "");
        assert!(stage.judge(&check).text().contains("timed out"));
    }
}
