//! Kubernetes: who must run on which node for it, what the API server knows, and what pods wait for.

use super::super::facts::{Facts, found, not, side};
use super::super::{Clear, Judged, Side};
use crate::lab::installer::Installer;
use crate::lab::kubernetes::Runtime;
use crate::lab::name::NodeName;
use crate::node::kube::{Objects, Pod, Stuck};
use crate::node::process::Process;

/// The service by which pods ask for names, whoever serves it.
const DNS: &str = "kube-system/kube-dns";

/// kubectl as the master has it.
pub(super) fn kubectl(facts: &Facts<'_>, words: &str) -> String {
    facts.on(&facts.plan.master, &format!("kubectl --kubeconfig=/etc/kubernetes/admin.conf {words}"))
}

/// Why a node is not Ready, by its own kubelet.
pub(super) fn unready(facts: &Facts<'_>, node: &NodeName) -> Option<Side> {
    let objects = facts.objects().ok()?.ok()?;
    let why = objects.nodes.into_iter().find(|own| own.name == node.as_str())?.unready?;
    Some(side(&facts.plan.master, format!("kubectl says that {node} is not Ready: {why}")))
}

/// What the API server knows; what is wrong with itself is another rule's.
pub(super) fn objects(facts: &Facts<'_>) -> Result<Objects, Clear> {
    facts.objects()?.map_err(|_| Clear::Open(kubectl(facts, "get nodes,pods -A -o wide")))
}

pub(super) fn master(facts: &Facts<'_>, node: &NodeName) -> Result<(), Clear> {
    if *node == facts.plan.master { Ok(()) } else { Err(not(String::new())) }
}

/// What is seen of a daemon that is not there: its unit, and if that was not told to end, the last that it complained of.
fn gone(facts: &Facts<'_>, node: &NodeName, (name, unit): (&str, &str)) -> Vec<Side> {
    let word = facts.last_word(node, unit);
    let unit = facts.unit(node, unit).ok().flatten();
    let failed = unit.as_ref().is_none_or(|unit| unit.active != "inactive");
    let unit = unit.map_or_else(String::new, |unit| format!("; {unit}"));
    let word = word.filter(|_| failed).map(|word| format!("; the last it said: {word}")).unwrap_or_default();
    vec![side(node, format!("no process {name} is there{unit}{word}"))]
}

/// A daemon of Kubernetes that must run on a node, with what else shows that it does not.
fn daemon(facts: &Facts<'_>, node: &NodeName, name: &str, what: &str, more: Vec<Side>) -> Judged {
    served(facts, node, (name, name), what, more)
}

/// The same where the process has another name than its unit.
fn served(facts: &Facts<'_>, node: &NodeName, (name, unit): (&str, &str), what: &str, more: Vec<Side>) -> Judged {
    if let Some(process) = facts.process(node, name)? {
        if !process.stopped() {
            return Err(not(format!("{name} runs on {node}")));
        }
        let saw = format!("process {} is stopped (state {})", process.pid, process.state);
        let sides = std::iter::once(side(node, saw)).chain(more).collect();
        let remedy = facts.on(node, &format!("kill -CONT {}", process.pid));
        return Ok(found(format!("{what} on {node} is stopped"), sides, remedy));
    }
    let mut sides = gone(facts, node, (name, unit));
    sides.extend(more);
    let remedy = if facts.plan.installer == Installer::Kubeadm && matches!(name, "etcd" | "kube-apiserver") {
        let pod = format!(
            "sh -c 'ls /etc/kubernetes/manifests/{name}.yaml; grep -h . /var/log/pods/*{name}*/*/*.log | tail'"
        );
        format!("{} (the kubelet runs it from that file)", facts.on(node, &pod))
    } else {
        facts.on(node, &format!("systemctl start {unit}"))
    };
    Ok(found(format!("{what} on {node} does not run"), sides, remedy))
}

/// What kubectl was told, if it got nothing, and which nodes cannot be looked up for that.
fn refused(facts: &Facts<'_>) -> Vec<Side> {
    let Some(told) = facts.objects().ok().and_then(Result::err) else { return Vec::new() };
    let failing = |node: &NodeName| {
        let finding = facts.finding(&format!("registered.{node}")).filter(|one| !one.verdict.passed())?;
        Some(side(node, finding.verdict.text()))
    };
    let others = facts.plan.nodes.names().filter(|node| **node != facts.plan.master);
    std::iter::once(side(&facts.plan.master, format!("kubectl: {told}"))).chain(others.filter_map(failing)).collect()
}

pub(in super::super) fn etcd(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    master(facts, node)?;
    daemon(facts, node, "etcd", "the datastore", refused(facts))
}

pub(in super::super) fn api(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    master(facts, node)?;
    daemon(facts, node, "kube-apiserver", "the API server", refused(facts))
}

pub(in super::super) fn runtime(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let (names, what) = match facts.plan.runtime() {
        Runtime::Containerd => (("containerd", "containerd"), "containerd"),
        Runtime::Docker => (("dockerd", "docker"), "Docker"),
    };
    served(facts, node, names, what, unready(facts, node).into_iter().collect())
}

pub(in super::super) fn kubelet(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    daemon(facts, node, "kubelet", "the kubelet", unready(facts, node).into_iter().collect())
}

pub(in super::super) fn proxy(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let rules = facts.firewall(node).unwrap_or_default();
    let led = rules.iter().filter(|rule| rule.chain.starts_with("KUBE-SVC")).count();
    let saw = match led {
        0 => "no rule leads any service anywhere".to_owned(),
        _ => format!("{led} rules of services are left as they were"),
    };
    daemon(facts, node, "kube-proxy", "kube-proxy", vec![side(node, saw)])
}

pub(in super::super) fn unknown(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let objects = objects(facts)?;
    if objects.nodes.iter().any(|own| own.name == node.as_str()) {
        return Err(not(format!("the API server knows {node}")));
    }
    let known: Vec<&str> = objects.nodes.iter().map(|own| own.name.as_str()).collect();
    let saw = format!("it knows {}", if known.is_empty() { "no node".into() } else { known.join(", ") });
    let remedy = format!("calicolab up {} --name {}", facts.plan.lab, facts.plan.cluster);
    Ok(found(format!("the API server does not know {node}"), vec![side(&facts.plan.master, saw)], remedy))
}

pub(in super::super) fn address(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let objects = objects(facts)?;
    let planned = facts.part(node).address;
    let own = objects.nodes.iter().find(|own| own.name == node.as_str());
    let Some(address) = own.and_then(|own| own.address).filter(|address| *address != planned) else {
        return Err(not(format!("{node} is not registered with another address than its own")));
    };
    let links = facts.links(node).unwrap_or_default();
    let card = links.iter().find(|link| link.addresses.iter().any(|own| own.local == address));
    let card = card.map_or_else(|| "on none of its devices".to_owned(), |link| format!("on {}", link.name));
    let sides = vec![
        side(&facts.plan.master, format!("kubectl knows {node} as {address}")),
        side(node, format!("{address} is {card}; planned is {planned}")),
    ];
    let remedy = facts.on(node, &format!("systemctl restart kubelet (after --node-ip={planned} is given to it)"));
    Ok(found(format!("{node} is registered with {address}, planned is {planned}"), sides, remedy))
}

/// The pods on a node; those on none are the master's, who places them.
fn pods<'a>(facts: &'a Facts<'_>, objects: &'a Objects, node: &'a NodeName) -> impl Iterator<Item = &'a Pod> {
    let here = move |pod: &&Pod| match &pod.node {
        Some(on) => on == node.as_str(),
        None => *node == facts.plan.master,
    };
    objects.pods.iter().filter(here)
}

pub(in super::super) fn image(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let objects = objects(facts)?;
    let mut lacking =
        pods(facts, &objects, node).filter_map(|pod| Some((pod, pod.stuck.iter().find(|stuck| stuck.imageless())?)));
    let Some((pod, stuck)) = lacking.next() else {
        return Err(not(format!("no pod of {node} waits for an image")));
    };
    let says = format!("the pod {} on {node} has no image {}", pod.name, stuck.image);
    let more = lacking.count();
    let more = if more == 0 { String::new() } else { format!(", and {more} more pods there") };
    let remedy =
        format!("calicolab load --name {} IMAGE.tar (or correct the name in what made the pod)", facts.plan.cluster);
    Ok(found(says, vec![side(node, format!("{stuck}{more}"))], remedy))
}

pub(in super::super) fn calico(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let objects = objects(facts)?;
    let pod = pods(facts, &objects, node).find(|pod| pod.owner.as_deref() == Some("calico-node"));
    let process = facts.process(node, "bird")?;
    let runs = if process.is_some() { "BIRD runs there" } else { "no BIRD runs there" };
    let Some(pod) = pod else {
        let sides =
            vec![side(&facts.plan.master, format!("kubectl knows no pod of calico-node on {node}")), side(node, runs)];
        let remedy = kubectl(facts, "-n kube-system describe daemonset calico-node");
        return Ok(found(format!("there is no calico-node on {node}"), sides, remedy));
    };
    // A container that was ready a moment ago is so for the API server until its next probe.
    if pod.ready && process.is_some() {
        return Err(not(format!("{} is ready on {node}", pod.name)));
    }
    if process.as_ref().is_some_and(Process::stopped) {
        return Err(not(format!("BIRD on {node} is stopped, which is another cause")));
    }
    if pod.stuck.iter().any(Stuck::imageless) {
        return Err(not(format!("{} lacks an image, which is another cause", pod.name)));
    }
    // A node that is not Ready says the same of all its pods.
    if process.is_some() && facts.process(node, "kubelet")?.is_none() {
        return Err(not(format!("the kubelet of {node} does not run, which is another cause")));
    }
    let why: Vec<String> = pod.stuck.iter().map(ToString::to_string).collect();
    let why = if why.is_empty() { "its containers are ready for the API server".to_owned() } else { why.join("; ") };
    let (space, name) = pod.name.split_once('/').unwrap_or(("kube-system", &pod.name));
    let remedy = kubectl(facts, &format!("-n {space} logs {name} --all-containers --tail=20"));
    Ok(found(format!("calico-node on {node} is not ready"), vec![side(node, format!("{why}; {runs}"))], remedy))
}

pub(in super::super) fn dns_none(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    master(facts, node)?;
    let objects = objects(facts)?;
    let Some(behind) = objects.behind(DNS) else {
        let remedy = format!("calicolab up {} --name {}", facts.plan.lab, facts.plan.cluster);
        let sides = vec![side(node, format!("kubectl knows no service {DNS}"))];
        return Ok(found("there is no service of names", sides, remedy));
    };
    if !behind.is_empty() {
        let all: Vec<String> = behind.iter().map(ToString::to_string).collect();
        return Err(not(format!("{DNS} leads to {}", all.join(", "))));
    }
    let waiting: Vec<String> = objects
        .pods
        .iter()
        .filter(|pod| !pod.ready && pod.name.contains("dns"))
        .map(|pod| pod.stuck.first().map_or_else(|| pod.name.clone(), |stuck| format!("{}: {stuck}", pod.name)))
        .collect();
    let saw = if waiting.is_empty() { "no pod of a DNS server is there".to_owned() } else { waiting.join("; ") };
    // Those that are there and wait have their own reason.
    let cure = if waiting.is_empty() {
        "scale deployment -l k8s-app=kube-dns --replicas=2"
    } else {
        "describe pods -l k8s-app=kube-dns"
    };
    let remedy = kubectl(facts, &format!("-n kube-system {cure}"));
    Ok(found(format!("no DNS server is ready behind {DNS}"), vec![side(node, saw)], remedy))
}

pub(in super::super) fn resolver(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let planned = facts.plan.network.dns;
    let Some((path, servers)) = facts.files(node)?.cluster_dns else {
        return Err(Clear::Open(facts.on(node, "cat /etc/kubernetes/kubelet.yaml /var/lib/kubelet/config.yaml")));
    };
    if servers == [planned] {
        return Err(not(format!("the kubelet of {node} has pods ask {planned}")));
    }
    let has: Vec<String> = servers.iter().map(ToString::to_string).collect();
    let has = if has.is_empty() { "nobody".to_owned() } else { has.join(", ") };
    let says = format!("the kubelet of {node} has pods ask {has} for names, planned is {planned}");
    let first = servers.first().map(ToString::to_string).unwrap_or_default();
    let remedy = facts.on(node, &format!("sh -c 'sed -i s/{first}/{planned}/ {path}; systemctl restart kubelet'"));
    Ok(found(says, vec![side(node, format!("{path} names {has}"))], remedy))
}
