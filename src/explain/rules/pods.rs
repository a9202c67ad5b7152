//! Pods: forwarding, the network they are given, and who else has their addresses.

use super::super::facts::{Facts, TUNNELS, found, not, side};
use super::super::{Clear, Judged, What};
use super::kubernetes;
use crate::lab::name::NodeName;
use crate::node::files::{CNI, own_cni};

pub(in super::super) fn no_forwarding(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let off = facts.files(node)?.forwards_not;
    let Some(first) = off.first() else { return Err(not(format!("{node} forwards"))) };
    let sides = vec![side(node, format!("{} = 0", off.join(", ")))];
    Ok(found(
        format!("{node} does not forward packets: {first} is 0"),
        sides,
        facts.on(node, &format!("sysctl -w {first}=1")),
    ))
}

pub(in super::super) fn cni_missing(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let (networks, own) = (facts.files(node)?.cni, own_cni(facts.plan.installer));
    if networks.iter().any(|name| name == own) {
        return Err(not(format!("{CNI}/{own} is on {node}")));
    }
    let saw = if networks.is_empty() { "nothing".to_owned() } else { networks.join(", ") };
    let remedy = if facts.plan.installer.has_kubernetes() {
        // Its init container writes the file.
        let pods = format!("-n kube-system delete pod -l k8s-app=calico-node --field-selector spec.nodeName={node}");
        kubernetes::kubectl(facts, &pods)
    } else {
        format!(
            "calicolab cp --name {0} OTHER-NODE:{CNI}/{own} . (and change its ranges to {1})",
            facts.plan.cluster,
            facts.part(node).block
        )
    };
    let mut sides = vec![side(node, format!("{CNI} has {saw}"))];
    sides.extend(kubernetes::unready(facts, node));
    Ok(found(format!("{node} has no {CNI}/{own}"), sides, remedy))
}

pub(in super::super) fn cni_foreign(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let (networks, own) = (facts.files(node)?.cni, own_cni(facts.plan.installer));
    let Some(first) = networks.first().filter(|first| first.as_str() < own) else {
        return Err(not(format!("no network comes before {own} on {node}")));
    };
    let says = format!("pods of {node} are given {first}, which comes before {own}");
    let saw = format!("{CNI} has {}", networks.join(", "));
    Ok(found(says, vec![side(node, saw)], facts.on(node, &format!("rm {CNI}/{first}"))))
}

/// What the kubelet was told when it asked for a pod's network, where the proof's container could not be started.
pub(in super::super) fn cni_fails(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let wanted = format!("no container could be started on {node}");
    if !facts.proof().findings.iter().any(|one| one.verdict.text().contains(&wanted)) {
        return Err(not(format!("pods are started on {node}")));
    }
    let journal = facts.output(node, What::Journal).map_or("", |output| output.stdout.as_str());
    // The plugin's own reason, once: the kubelet quotes it several times over.
    let reason = journal.lines().rev().find_map(|line| {
        let (_, reason) = line.split_once("plugin type=")?;
        let reason = reason.split("\\n").next().unwrap_or(reason);
        reason.contains("failed (add)").then(|| reason.replace('\\', ""))
    });
    let Some(reason) = reason else {
        return Err(Clear::Open(facts.on(node, "sh -c 'journalctl -u kubelet | grep -i sandbox | tail -n 3'")));
    };
    let reason: String = reason.chars().take(240).collect();
    let remedy = facts.on(node, "sh -c 'journalctl -u kubelet | grep \"plugin type\" | tail -n 3'");
    Ok(found(
        format!("pods of {node} are given no network: a plugin fails"),
        vec![side(node, format!("plugin {reason}"))],
        remedy,
    ))
}

/// A node has addresses out of a block only as the pods' gateway, the first of its own block.
pub(in super::super) fn impostor(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let pods = facts.plan.network.pods;
    let gateway = crate::lab::addressing::samples(facts.part(node).block)[0];
    let links = facts.links(node)?;
    let mut all = links
        .iter()
        .filter(|link| !TUNNELS.contains(&link.name.as_str()))
        .flat_map(|link| link.addresses.iter().map(move |own| (link, own)));
    let routes = facts.routes(node)?;
    let local = routes.tables.iter().find(|route| {
        // The kernel itself makes one for each address of a device.
        let made = route.protocol.as_deref() == Some("kernel");
        route.kind == "local" && pods.contains(&route.to) && !made
    });
    let (saw, whose, remedy) = match (all.find(|(_, own)| pods.contains(&own.local) && own.local != gateway), local) {
        (Some((link, own)), _) => (
            format!("{}/{} is on {}", own.local, own.prefix, link.name),
            own.local,
            facts.on(node, &format!("ip address del {}/{} dev {}", own.local, own.prefix, link.name)),
        ),
        (None, Some(route)) => {
            (format!("`{route}`"), route.to.addr(), facts.on(node, &format!("ip route del {route}")))
        }
        (None, None) => return Err(not(format!("{node} has no address of a pod"))),
    };
    let owner = facts.plan.nodes.iter().find(|(_, part)| part.block.contains(&whose));
    let mut sides = vec![side(node, saw)];
    if let Some((owner, part)) = owner {
        sides.push(side(owner, format!("{whose} is in its block {}", part.block)));
    }
    Ok(found(format!("{node} itself answers for {whose}, an address of pods"), sides, remedy))
}
