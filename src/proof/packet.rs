//! Judge of packets between fresh containers of two nodes: small, full, an answer with identity, and no false one.

use super::{Judged, Place, Probe, Scene, Verdict, machine};
use crate::command::{Argv, Output};
use crate::lab::addressing::unused_pod;
use crate::lab::name::NodeName;
use crate::node::{container, reach};

/// `argv` in the proof's container on `node`, and the probe that makes the container.
pub(super) fn in_pod(scene: &Scene<'_>, node: &NodeName, argv: Argv) -> Vec<Probe> {
    let mut probes = vec![scene.raise(node)];
    if scene.pod(node).is_ok() {
        probes.push(pod(node, argv));
    }
    probes
}

/// `argv` in the proof's container on `node`.
pub(super) fn pod(node: &NodeName, argv: Argv) -> Probe {
    Probe { node: node.clone(), place: Place::Pod, argv }
}

pub(super) fn probes(scene: &Scene<'_>, from: &NodeName, to: &NodeName) -> Vec<Probe> {
    let mut probes = vec![scene.raise(from), scene.raise(to)];
    if let (Ok(_), Ok(questions)) = (scene.pod(from), questions(scene, from, to)) {
        probes.extend(questions);
    }
    probes
}

/// Small, full, page, and the address that nobody has.
fn questions(scene: &Scene<'_>, from: &NodeName, to: &NodeName) -> Result<[Probe; 4], Verdict> {
    let target = scene.pod(to)?;
    let nobody = unused_pod(scene.plan.nodes[to].block);
    Ok([
        reach::ping_from_pod(target, machine::SMALL, 2),
        reach::ping_from_pod_anew(target, scene.plan.pod_mtu(), 2),
        reach::fetch_from_pod(&format!("http://{target}:{}/", container::HTTP_PORT)),
        reach::ping_from_pod(nobody, machine::SMALL, 1),
    ]
    .map(|argv| pod(from, argv)))
}

pub(super) fn judge(scene: &Scene<'_>, from: &NodeName, to: &NodeName) -> Judged {
    scene.pod(from)?;
    let target = scene.pod(to)?;
    let [small, full, page, unused] = questions(scene, from, to)?;
    let (small, full) = (scene.heard(&small)?, scene.heard(&full)?);
    let (page, unused) = (scene.heard(&page)?, scene.heard(&unused)?);
    let pair = format!("a container on {from} to one on {to} ({target})");
    let (bytes, mtu) = (machine::SMALL, scene.plan.pod_mtu());
    if !answered(small) {
        return Err(Verdict::not_yet(format!("{pair}: no answer: {}", small.tail(2))));
    }
    if !answered(full) {
        return Err(Verdict::not_yet(format!(
            "{pair}: an answer at {bytes} bytes and none at {mtu}: {}",
            full.tail(1)
        )));
    }
    let wanted = container::probe_page(scene.nonce, to.as_str());
    if !page.ok() {
        return Err(Verdict::not_yet(format!(
            "{pair}: ping is answered, HTTP is not: it {} {}",
            page.ended,
            page.tail(1)
        )));
    }
    if page.stdout.trim() != wanted {
        let said = page.tail(1);
        return Err(Verdict::not_yet(format!("{pair}: something else answers there: {said:?} instead of {wanted:?}")));
    }
    if answered(unused) {
        let nobody = unused_pod(scene.plan.nodes[to].block);
        return Err(Verdict::not_yet(format!("{from} gets an answer from {nobody}, which nobody on {to} has")));
    }
    if reach::echoes(&unused.stdout).is_none() {
        return Err(Verdict::not_yet(format!("{pair}: the unused address could not be tried: {}", unused.tail(1))));
    }
    Ok(format!("{target} answers {bytes} and {mtu} bytes and by name"))
}

fn answered(output: &Output) -> bool {
    reach::echoes(&output.stdout).is_some_and(|count| count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::Check;
    use crate::proof::samples::{NONCE, Stage, node};

    const CHECK: fn() -> Check = || Check::Packet { from: node(1), to: node(2) };

    fn stage() -> Stage {
        let mut stage = Stage::new(2);
        stage.raised();
        stage.packets(1, 2);
        stage
    }

    #[test]
    fn probes_follow_once_both_containers_are_there() {
        let mut stage = Stage::new(2);
        assert_eq!(CHECK().probes(&stage.scene()).len(), 2);
        stage.raised();
        assert_eq!(CHECK().probes(&stage.scene()).len(), 6);
        assert_eq!(stage.judge(&CHECK()).text(), "calico-01 has not been asked yet");
    }

    #[test]
    fn all_four_answers_count() {
        let yes = "1 packets transmitted, 1 packets received, 0% packet loss\n";
        let no = "1 packets transmitted, 0 packets received, 100% packet loss\n";
        assert!(stage().judge(&CHECK()).passed());
        for (at, status, stdout, shown) in [
            (0, 1, no, "no answer"),
            (1, 1, no, "at 84 bytes and none at 1500"),
            (2, 1, "", "HTTP is not: it ended with status 1"),
            (2, 139, "", "status 139"),
            (2, 0, "1790000000-old calico-02\n", "something else answers"),
            (2, 0, &format!("{NONCE} calico-01\n"), "something else answers"),
            (3, 0, yes, "10.244.0.126, which nobody on calico-02 has"),
            (3, 1, "", "could not be tried"),
        ] {
            let mut stage = stage();
            let probe = questions(&stage.scene(), &node(1), &node(2)).expect("containers")[at].clone();
            stage.say(probe, status, stdout, "");
            let verdict = stage.judge(&CHECK());
            assert!(matches!(&verdict, Verdict::NotYet { why, .. } if why.contains(shown)), "{shown}: {verdict:?}");
        }
    }

    #[test]
    fn a_container_that_does_not_start_is_named() {
        let mut stage = stage();
        let raise = stage.scene().raise(&node(2));
        stage.say(raise.clone(), 1, "", "runc run failed: no such file");
        assert!(stage.judge(&CHECK()).text().contains("no container could be started on calico-02"));
        let away = crate::proof::Answer::Unasked("lost connection".into());
        stage.answer(raise, away);
        assert!(matches!(stage.judge(&CHECK()), Verdict::Unknown { .. }));
    }
}
