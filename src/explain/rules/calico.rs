//! Calico's own data in Kubernetes: its pool, and policies that deny what the proof's pods ask.

use super::super::facts::{Facts, found, not, side};
use super::super::{Judged, Side};
use super::kubernetes::{kubectl, master, objects};
use crate::lab::name::NodeName;
use crate::proof::pool_differences;

pub(in super::super) fn pool(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    master(facts, node)?;
    let Some(calico) = &facts.plan.calico else { return Err(not("")) };
    let pools = objects(facts)?.pools;
    // Those of another datastore are not seen here.
    if pools.is_empty() && facts.finding("pool").is_none_or(|finding| finding.verdict.passed()) {
        return Err(not(""));
    }
    let differ = pool_differences(facts.plan, calico, &pools);
    if differ.is_empty() {
        return Err(not("the pool in the datastore is the planned one"));
    }
    let name = pools.first().map_or("default-ipv4-ippool", |pool| pool.name.as_str());
    let remedy = kubectl(facts, &format!("edit ippools.crd.projectcalico.org {name}"));
    let saw = format!("kubectl shows {}", if pools.is_empty() { "no pool".into() } else { format!("the pool {name}") });
    Ok(found(
        format!("the pool in Calico's datastore is not the planned one: {}", differ.join("; ")),
        vec![side(node, saw)],
        remedy,
    ))
}

pub(in super::super) fn policy(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    master(facts, node)?;
    if facts.plan.calico.is_none() {
        return Err(not(""));
    }
    // The proof's own policies are for its servers alone.
    let all = objects(facts)?.policies;
    let ours = all.iter().filter(|one| one.is_for("default", ("app", "calicolab-probe")));
    let Some(one) = ours.into_iter().find(|one| !one.carries("calicolab-policy")) else {
        return Err(not("no policy is for the proof's pods"));
    };
    let ways = one.ways.join(" and ");
    let (what, space) = match &one.namespace {
        Some(space) => (format!("{space}/{}", one.name), format!("-n {space} ")),
        None => (one.name.clone(), String::new()),
    };
    let mut sides = vec![side(node, format!("kubectl shows {} {what} for all pods there: {ways}", one.kind))];
    sides.extend(lost(facts));
    let remedy = kubectl(facts, &format!("{space}delete {} {}", one.kind, one.name));
    let says = format!("the policy {what} denies pods what nobody allows them: {ways}");
    Ok(found(says, sides, remedy))
}

/// What pods on each node do not get.
fn lost(facts: &Facts<'_>) -> Vec<Side> {
    let failing = |node: &NodeName| {
        let own = [format!("packet.{node}."), format!("service-pod.{node}")];
        let mut findings = facts.proof().findings.iter().filter(|one| !one.verdict.passed());
        let finding = findings.find(|one| own.iter().any(|own| one.id.as_str().starts_with(own)))?;
        Some(side(node, finding.verdict.text().lines().next().unwrap_or_default()))
    };
    facts.plan.nodes.names().filter_map(failing).collect()
}
