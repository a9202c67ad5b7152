//! A session that came back by itself: what both ends say of it, and where its cause was written down.

use super::chain::Link;
use super::facts::{Facts, side};
use super::{Cause, RuledOut, What};
use crate::lab::name::NodeName;
use crate::proof::Flap;

/// Its stable word.
const ID: &str = "flapped";

/// What broke is whole again: this breaks nothing, and nothing is to be repaired but what the logs may name.
pub(super) fn warning(flap: &Flap, facts: &Facts<'_>) -> Cause {
    let names: Vec<&str> = flap.ends.iter().map(|end| end.node.as_str()).collect();
    let others = |node: &NodeName| flap.nodes().into_iter().find(|other| *other != node).cloned();
    let evidence = flap.ends.iter().map(|end| {
        let words = others(&end.node).and_then(|peer| last_words(facts, &end.node, &peer));
        let words = words.map(|words| format!("; its log: {words}")).unwrap_or_default();
        side(&end.node, format!("{}{words}", end.saw))
    });
    let restarted: Vec<&NodeName> = flap.ends.iter().filter(|end| end.restarted).map(|end| &end.node).collect();
    let ruled_out = if restarted.is_empty() {
        vec![RuledOut { id: "bird-restarted".into(), by: "BIRD of both has run all the time".into() }]
    } else {
        Vec::new()
    };
    let why = match restarted.first() {
        Some(node) => format!(", since BIRD was started anew on {node}"),
        None => String::new(),
    };
    let node = restarted.first().copied().or(flap.ends.first().map(|end| &end.node));
    Cause {
        id: ID.into(),
        link: Link::Session,
        says: format!(
            "the session of {} ended and came back since the proof of {:.0}{why}",
            names.join(" with "),
            flap.stood
        ),
        evidence: evidence.collect(),
        ruled_out,
        remedy: node.map_or_else(String::new, |node| facts.on(node, log(facts))),
        explains: Vec::new(),
    }
}

/// Where BIRD's words are: with Kubernetes it runs in a pod.
fn log(facts: &Facts<'_>) -> &'static str {
    if facts.plan.installer.has_kubernetes() {
        "sh -c 'grep -h bird: /var/log/pods/kube-system_calico-node-*/*/*.log | tail'"
    } else {
        "journalctl -u bird --since -1h"
    }
}

/// The last that a node's BIRD wrote down about a peer.
fn last_words(facts: &Facts<'_>, node: &NodeName, peer: &NodeName) -> Option<String> {
    let (protocol, _) = facts.half(node, peer).ok()??;
    let journal = &facts.output(node, What::Journal)?.stdout;
    journal.lines().rfind(|line| line.contains(&protocol.name)).map(|line| line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::{Evidence, Outcome, Told, explain};
    use crate::lab::plan::Plan;
    use crate::proof::flap::End;
    use crate::proof::samples::node;

    fn told(restarted: bool) -> crate::explain::Diagnosis {
        let plan: Plan = serde_json::from_str(include_str!("samples/plan.json")).expect("a plan");
        let mut evidence: Evidence = serde_json::from_str(include_str!("samples/healthy.json")).expect("evidence");
        let end = |index, restarted| End { node: node(index), anew: true, restarted, saw: "up for 60 s".into() };
        let ends = vec![end(1, false), end(2, restarted)];
        evidence.proof.flapped = vec![Flap { stood: jiff::Timestamp::UNIX_EPOCH, ends }];
        let Some(Told::Answers(answers)) = evidence.nodes.get_mut(&node(2)) else { panic!("it answered") };
        let name = format!("Mesh_{}", plan.nodes[&node(1)].address.to_string().replace('.', "_"));
        let journal = answers.get_mut(&What::Journal).expect("it was asked");
        journal.stdout = format!("10:00 bird: {name}: Received: Administrative reset\n10:01 bird: Mesh_x: Error\n");
        explain(&evidence, &plan)
    }

    #[test]
    fn it_is_told_with_both_ends_and_is_nobodys_cause() {
        let diagnosis = told(false);
        assert_eq!((diagnosis.outcome, diagnosis.first), (Outcome::NothingBroken, None));
        let flap = &diagnosis.warnings[0];
        assert_eq!((flap.id.as_str(), flap.evidence.len()), (ID, 2));
        assert!(flap.evidence[1].saw.ends_with("Received: Administrative reset"), "{flap:#?}");
        assert_eq!(flap.ruled_out[0].id, "bird-restarted");
        let restarted = &told(true).warnings[0];
        assert!(restarted.says.ends_with("BIRD was started anew on calico-02") && restarted.ruled_out.is_empty());
        assert!(restarted.remedy.contains("calico-02 -- sudo journalctl -u bird"), "{}", restarted.remedy);
    }
}
