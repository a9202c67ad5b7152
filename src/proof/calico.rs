//! Judges of Calico's own: the pool in its datastore, and policies that deny and allow.

use std::time::Duration;

use super::{Judged, Place, Probe, Scene, Verdict, kubernetes};
use crate::lab::kubernetes::{Calico, Datastore, Encapsulation};
use crate::lab::plan::Plan;
use crate::node::kube;
use crate::node::policy::{self, Told};
use crate::node::pool::Pool;

/// How soon a story of policies may have come a step further.
const STEP: Duration = Duration::from_millis(500);

/// Whether the pool can be read as an object of Kubernetes.
pub fn has_pool(plan: &Plan) -> bool {
    plan.calico.as_ref().is_some_and(|calico| calico.datastore == Datastore::Kubernetes && calico.version.since(3, 3))
}

fn master(plan: &Plan, argv: crate::command::Argv) -> Probe {
    Probe { node: plan.master.clone(), place: Place::Node, argv }
}

pub(super) fn pool(plan: &Plan) -> Probe {
    master(plan, kube::ask_pools())
}

pub(super) fn policy(scene: &Scene<'_>) -> Probe {
    master(scene.plan, policy::ask(scene.nonce, scene.plan.nodes.names()))
}

/// What the pool's two modes are to be.
fn modes(calico: &Calico) -> [&'static str; 2] {
    match calico.encapsulation {
        Encapsulation::None => ["Never", "Never"],
        Encapsulation::Ipip => ["Always", "Never"],
        Encapsulation::IpipCrossSubnet => ["CrossSubnet", "Never"],
        Encapsulation::Vxlan => ["Never", "Always"],
        Encapsulation::VxlanCrossSubnet => ["Never", "CrossSubnet"],
    }
}

pub(super) fn judge_pool(scene: &Scene<'_>) -> Judged {
    let plan = scene.plan;
    let calico = plan.calico.as_ref().ok_or_else(|| Verdict::never("the plan has no Calico"))?;
    let pools = kubernetes::listed(scene, &pool(plan), "the pools", Pool::parse)?;
    let differ = differences(plan, calico, &pools);
    if differ.is_empty() {
        let (pods, block) = (plan.network.pods, plan.block_len());
        return Ok(format!("{pods} in blocks of /{block}, {}, leaving by NAT", calico.encapsulation));
    }
    Err(Verdict::not_yet(format!("the pool in the datastore differs: {}", differ.join("; "))))
}

/// What differs between the pools of a datastore and the planned one.
pub fn differences(plan: &Plan, calico: &Calico, pools: &[Pool]) -> Vec<String> {
    let used: Vec<&Pool> = pools.iter().filter(|pool| pool.cidr.is_some() && !pool.disabled).collect();
    let [pool] = used.as_slice() else {
        return vec![format!("there are {} of IPv4 in use, planned is one", used.len())];
    };
    let said = |mode: &str| if mode.is_empty() { "Never".to_owned() } else { mode.to_owned() };
    let [ipip, vxlan] = modes(calico).map(str::to_owned);
    let cidr = pool.cidr.map(|cidr| cidr.to_string()).unwrap_or_default();
    // What is not said is Calico's own default.
    let block = pool.block_size.unwrap_or(26).to_string();
    [
        ("range", cidr, plan.network.pods.to_string()),
        ("length of blocks", block, plan.block_len().to_string()),
        ("wrapping in IP", said(&pool.ipip_mode), ipip),
        ("wrapping in VXLAN", said(&pool.vxlan_mode), vxlan),
        ("NAT", pool.nat_outgoing.to_string(), true.to_string()),
    ]
    .into_iter()
    .filter(|(_, has, wanted)| has != wanted)
    .map(|(what, has, wanted)| format!("{what} is {has}, planned is {wanted}"))
    .collect()
}

pub(super) fn judge_policy(scene: &Scene<'_>) -> Judged {
    let output = scene.heard(&policy(scene))?;
    match policy::told(&output.stdout) {
        Told::Whole => {
            Ok("a default deny denies, an allow allows whom it names alone, and without both all answer".into())
        }
        Told::At(step) => {
            let why = format!("being tried: {step}{}", output.stderr.trim());
            Err(Verdict::NotYet { why, again_in: Some(STEP) })
        }
        Told::Wrong(why) => Err(Verdict::not_yet(format!("policies between pods: {why}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::example;
    use crate::proof::Check;
    use crate::proof::samples::{NONCE, Stage};

    fn stage() -> Stage {
        let mut stage = Stage::new(2);
        stage.plan.installer = crate::lab::file::Installer::Kubeadm;
        stage.plan.calico = example::carried_lab("calico-3.21-kdd", &["calico.encapsulation=vxlan"]).calico;
        stage
    }

    const POOL: &str = r#"{"items": [{"spec": {"cidr": "10.244.0.0/16", "blockSize": 26, "ipipMode": "Never",
        "vxlanMode": "Always", "natOutgoing": true}}, {"spec": {"cidr": "fd80::/64", "natOutgoing": false}}]}"#;

    #[test]
    fn the_pool_is_the_planned_one() {
        let mut stage = stage();
        let mut told = |text: &str| {
            stage.on_node(1, kube::ask_pools(), 0, text);
            stage.judge(&Check::Pool)
        };
        assert_eq!(told(POOL).text(), "10.244.0.0/16 in blocks of /26, vxlan, leaving by NAT");
        for (from, to, shown) in [
            ("10.244.0.0/16", "192.168.0.0/16", "range is 192.168.0.0/16, planned is 10.244.0.0/16"),
            ("26", "24", "length of blocks is 24, planned is 26"),
            ("\"Always\"", "\"\"", "wrapping in VXLAN is Never, planned is Always"),
            ("\"ipipMode\": \"Never\"", "\"ipipMode\": \"Always\"", "wrapping in IP is Always"),
            ("\"natOutgoing\": true", "\"natOutgoing\": false", "NAT is false, planned is true"),
        ] {
            assert!(told(&POOL.replacen(from, to, 1)).text().contains(shown), "{shown}");
        }
        assert!(told(r#"{"items": []}"#).text().contains("there are 0 of IPv4 in use"));
        assert!(told("").text().contains("did not list the pools"));
        // So kubectl answers when it is refused: a list all the same.
        let empty = r#"{"apiVersion": "v1", "items": [], "kind": "List", "metadata": {"resourceVersion": ""}}"#;
        let refused = "Unable to connect to the server: net/http: request canceled";
        stage.say(pool(&stage.plan.clone()), 1, empty, refused);
        assert!(stage.judge(&Check::Pool).text().contains("did not list the pools: Unable to connect"));
    }

    #[test]
    fn a_policy_holds_once_its_whole_story_does() {
        let mut stage = stage();
        let argv = policy::ask(NONCE, stage.plan.nodes.names());
        let mut told = |text: &str| {
            stage.on_node(1, argv.clone(), 0, text);
            stage.judge(&Check::Policy)
        };
        assert!(told("").text().contains("before caller answers"));
        assert!(told(&policy::STEPS.join("\n")).passed());
        assert!(
            told("before caller answers\nwrong deny caller: kube-02 answers\n")
                .text()
                .contains("deny caller: kube-02 answers")
        );
    }
}
