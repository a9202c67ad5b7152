//! Judges of the edge of the pods' network: as whom a pod leaves it, and a port of a node that leads into it.

use std::net::Ipv4Addr;

use super::{Judged, Place, Probe, Scene, Verdict, packet};
use crate::lab::name::NodeName;
use crate::node::{container, reach};

/// What makes the container on `to` that has a port of its node.
fn publish(scene: &Scene<'_>, to: &NodeName) -> Probe {
    Probe { node: to.clone(), place: Place::Node, argv: container::publish(scene.nonce, to.as_str()) }
}

/// A container on `from` asks the listener at the address of `to` as whom it comes.
fn as_whom(scene: &Scene<'_>, from: &NodeName, to: &NodeName) -> Probe {
    let url = container::listener(scene.nonce, scene.plan.nodes[to].address);
    packet::pod(from, reach::fetch_from_pod(&url))
}

/// The node `from` asks the port that the container on `to` has of its node.
fn published(scene: &Scene<'_>, from: &NodeName, to: &NodeName) -> Probe {
    let (at, port) = (scene.plan.nodes[to].address, container::node_ports(scene.nonce).published);
    let argv = reach::fetch_from_node(&format!("http://{at}:{port}/"));
    Probe { node: from.clone(), place: Place::Node, argv }
}

pub(super) fn nat_probes(scene: &Scene<'_>, from: &NodeName, to: &NodeName) -> Vec<Probe> {
    let mut probes = vec![scene.raise(from), scene.raise(to)];
    if scene.pod(from).is_ok() && scene.pod(to).is_ok() {
        probes.push(as_whom(scene, from, to));
    }
    probes
}

pub(super) fn hostport_probes(scene: &Scene<'_>, from: &NodeName, to: &NodeName) -> Vec<Probe> {
    // With the proof's own container this one goes, too.
    let mut probes = vec![scene.raise(to), publish(scene, to)];
    if scene.made(&publish(scene, to)).is_ok() {
        probes.push(published(scene, from, to));
    }
    probes
}

pub(super) fn judge_nat(scene: &Scene<'_>, from: &NodeName, to: &NodeName) -> Judged {
    let own = scene.pod(from)?;
    scene.pod(to)?;
    let page = scene.heard(&as_whom(scene, from, to))?;
    let (address, at) = (scene.plan.nodes[from].address, scene.plan.nodes[to].address);
    let nat = scene.plan.network.edge.is_some_and(|edge| edge.nat);
    if !page.ok() {
        let tail = page.tail(1);
        return Err(Verdict::not_yet(format!(
            "a container on {from} ({own}) to {to} itself ({at}): no answer: it {} {tail}",
            page.ended
        )));
    }
    let seen = container::seen(scene.nonce, to.as_str(), &page.stdout).ok_or_else(|| {
        let said = page.tail(1);
        Verdict::not_yet(format!("a container on {from} to {to} itself ({at}): something else answers there: {said:?}"))
    })?;
    let (planned, whose, done) =
        if nat { (address, "its node's", "not rewritten") } else { (own, "its own", "rewritten") };
    let named = |one: Ipv4Addr| match one {
        one if one == own => format!("itself ({one})"),
        one if one == address => format!("its node ({one})"),
        one => one.to_string(),
    };
    if seen == planned {
        return Ok(format!("{to} sees it as {}", named(seen)));
    }
    let rewritten = if [own, address].contains(&seen) { format!("its address is {done}, ") } else { String::new() };
    Err(Verdict::not_yet(format!(
        "a container on {from} appears on {to} as {}: {rewritten}planned is {whose} ({planned})",
        named(seen)
    )))
}

pub(super) fn judge_hostport(scene: &Scene<'_>, from: &NodeName, to: &NodeName) -> Judged {
    let pod = scene.made(&publish(scene, to))?;
    let page = scene.heard(&published(scene, from, to))?;
    let at = format!("{}:{}", scene.plan.nodes[to].address, container::node_ports(scene.nonce).published);
    let way = format!("{from} to {at} on {to}, the port of its container {pod}");
    if !page.ok() {
        return Err(Verdict::not_yet(format!("{way}: no answer: it {} {}", page.ended, page.tail(1))));
    }
    let wanted = container::probe_page(scene.nonce, to.as_str());
    if page.stdout.trim() != wanted {
        let said = page.tail(1);
        return Err(Verdict::not_yet(format!("{way}: something else answers there: {said:?} instead of {wanted:?}")));
    }
    Ok(format!("{at} answers by name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::kubernetes::Edge;
    use crate::proof::Check;
    use crate::proof::samples::{NONCE, Stage, node};

    const NAT: fn() -> Check = || Check::Nat { from: node(1), to: node(2) };
    const PORT: fn() -> Check = || Check::HostPort { from: node(1), to: node(2) };

    fn stage(nat: bool) -> Stage {
        let mut stage = unpublished(nat);
        let made = publish(&stage.scene(), &node(2));
        stage.say(made, 0, "10.244.0.99\n", "");
        stage
    }

    fn unpublished(nat: bool) -> Stage {
        let mut stage = Stage::new(2);
        stage.plan.installer = crate::lab::file::Installer::Binaries;
        stage.plan.network.edge = Some(Edge { nat, hostport: true });
        stage.raised();
        stage
    }

    /// The judgement of an answer to the question of a check.
    fn told(stage: &mut Stage, check: &Check, status: i32, stdout: &str, stderr: &str) -> Verdict {
        let probe = check.probes(&stage.scene()).pop().expect("a question");
        stage.say(probe, status, stdout, stderr);
        stage.judge(check)
    }

    #[test]
    fn containers_come_first() {
        let why = "no container could be started on calico-02";
        let mut stage = unpublished(true);
        assert_eq!(NAT().probes(&stage.scene()).len(), 3);
        assert_eq!(stage.judge(&NAT()).text(), "calico-01 has not been asked yet");
        let raise = stage.scene().raise(&node(2));
        stage.say(raise, 124, "", "calicolab-pod: no pod");
        assert_eq!(NAT().probes(&stage.scene()).len(), 2);
        assert!(stage.judge(&NAT()).text().contains(why));
    }

    #[test]
    fn a_port_that_cannot_be_given_keeps_no_other_container_from_starting() {
        let mut stage = unpublished(true);
        assert_eq!(PORT().probes(&stage.scene()).len(), 2);
        assert_eq!(stage.judge(&PORT()).text(), "calico-02 has not been asked yet");
        let made = publish(&stage.scene(), &node(2));
        stage.say(made, 124, "", "calicolab-pod: plugin type=\"portmap\" failed (add): no iptables");
        assert_eq!(PORT().probes(&stage.scene()).len(), 2);
        let told = stage.judge(&PORT());
        assert!(told.text().contains("no container could be started on calico-02") && told.text().contains("portmap"));
        assert!(stage.scene().pod(&node(2)).is_ok());
    }

    #[test]
    fn a_pod_is_seen_as_planned() {
        for (nat, seen, shown) in [
            (true, "198.18.7.11", Ok("calico-02 sees it as its node (198.18.7.11)")),
            (
                true,
                "10.244.0.1",
                Err("as itself (10.244.0.1): its address is not rewritten, planned is its node's (198.18.7.11)"),
            ),
            // The address of the NAT card, which every node has.
            (true, "10.0.2.15", Err("calico-02 as 10.0.2.15: planned is its node's")),
            (false, "10.244.0.1", Ok("calico-02 sees it as itself (10.244.0.1)")),
            (
                false,
                "198.18.7.11",
                Err("as its node (198.18.7.11): its address is rewritten, planned is its own (10.244.0.1)"),
            ),
        ] {
            let mut stage = stage(nat);
            let own = stage.pod_address(1).to_string();
            let [seen, shown] = [seen, shown.unwrap_or_else(|why| why)].map(|text| text.replace("10.244.0.1", &own));
            let verdict = told(&mut stage, &NAT(), 0, &format!("{NONCE} calico-02 {seen}\n"), "");
            assert_eq!(verdict.passed(), seen == if nat { "198.18.7.11".into() } else { own.clone() });
            assert!(verdict.text().contains(&shown), "{verdict:?}");
        }
    }

    #[test]
    fn only_that_nodes_own_listener_counts() {
        for (status, stdout, shown) in [
            (0, format!("{NONCE} calico-01 198.18.7.11\n"), "something else answers"),
            (0, "1790000000-old calico-02 198.18.7.11\n".into(), "something else answers"),
            (0, format!("{NONCE} calico-02\n"), "something else answers"),
            (1, String::new(), "no answer: it ended with status 1 wget: can't connect"),
            (143, String::new(), "no answer"),
        ] {
            let verdict = told(&mut stage(true), &NAT(), status, &stdout, "wget: can't connect\n");
            assert!(matches!(&verdict, Verdict::NotYet { why, .. } if why.contains(shown)), "{shown}: {verdict:?}");
        }
    }

    #[test]
    fn a_port_of_a_node_leads_to_its_own_container() {
        let right = format!("{NONCE} calico-02\n");
        let verdict = told(&mut stage(true), &PORT(), 0, &right, "");
        assert!(verdict.passed() && verdict.text().starts_with("198.18.7.12:6"), "{verdict:?}");
        for (status, stdout, shown) in [
            (7, "", "calico-01 to 198.18.7.12:"),
            (7, "", "no answer: it ended with status 7 curl: (7) Failed"),
            (0, &*format!("{NONCE} calico-01\n"), "something else answers"),
            (0, "", "something else answers"),
        ] {
            let verdict = told(&mut stage(true), &PORT(), status, stdout, "curl: (7) Failed to connect\n");
            assert!(matches!(&verdict, Verdict::NotYet { why, .. } if why.contains(shown)), "{shown}: {verdict:?}");
        }
    }
}
