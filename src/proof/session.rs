//! Judges of BGP: exactly the planned peers, and each half of a session up, of the right AS, and stable.

use std::time::Duration;

use super::{Judged, Place, Probe, Scene, Verdict};
use crate::lab::file::Timers;
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::node::alive::{self, Alive};
use crate::node::bird::{self, Bgp, Bird};
use crate::node::calicoctl::status::{self, Status};

/// What does its BIRD say?
pub(super) fn bird(node: &NodeName) -> Probe {
    Probe { node: node.clone(), place: Place::Node, argv: bird::ask() }
}

/// What a session is judged by.
pub(super) fn probes(plan: &Plan, node: &NodeName) -> Vec<Probe> {
    std::iter::once(bird(node)).chain(must_answer(plan).then(|| alive(node))).collect()
}

/// On Calico's own timers a peer that is cut off is called Established for minutes: it is asked whether it answers.
fn must_answer(plan: &Plan) -> bool {
    plan.bgp.timers == Timers::Calico && !plan.installer.has_kubernetes()
}

/// Do its peers answer over their sessions?
fn alive(node: &NodeName) -> Probe {
    Probe { node: node.clone(), place: Place::Node, argv: alive::ask() }
}

fn read(scene: &Scene<'_>, node: &NodeName) -> Result<Bird, Verdict> {
    let output = scene.heard(&bird(node))?;
    Bird::parse(&output.stdout).map_err(|_| {
        let said = output.tail(2);
        let said = if said.is_empty() { "it said nothing".into() } else { said };
        Verdict::not_yet(format!("BIRD on {node} does not answer: {said}"))
    })
}

pub(super) fn judge_peers(scene: &Scene<'_>, node: &NodeName) -> Judged {
    let bird = read(scene, node)?;
    let part = &scene.plan.nodes[node];
    let mut extra: Vec<String> = Vec::new();
    let mut missing: Vec<_> = part.peers.iter().collect();
    for (protocol, bgp) in bird.sessions() {
        match missing.iter().position(|peer| Some(peer.address) == bgp.neighbor) {
            Some(at) => drop(missing.remove(at)),
            None => extra.push(match bgp.neighbor {
                Some(address) => format!("{address} ({})", protocol.name),
                None => protocol.name.clone(),
            }),
        }
    }
    let mut wrong = Vec::new();
    if !missing.is_empty() {
        let missing: Vec<String> = missing.iter().map(|peer| format!("{} ({})", peer.address, peer.node)).collect();
        wrong.push(format!("{node} lacks the planned peer {}", missing.join(", ")));
    }
    if !extra.is_empty() {
        wrong.push(format!("{node} has a peer that is not planned: {}", extra.join(", ")));
    }
    if let Some(id) = bird.router_id.filter(|id| *id != part.address) {
        wrong.push(format!("the router id of {node} is {id}, planned is {}", part.address));
    }
    if bird.sessions().next().is_none() {
        wrong.insert(0, format!("BIRD on {node} has no peer at all"));
    }
    if wrong.is_empty() {
        Ok(format!("exactly {} of {} planned", part.peers.len(), part.peers.len()))
    } else {
        Err(Verdict::not_yet(wrong.join("; ")))
    }
}

/// What does calicoctl say?
pub(super) fn calicoctl(node: &NodeName) -> Probe {
    Probe { node: node.clone(), place: Place::Node, argv: status::ask() }
}

/// The container runs, under the planned address and AS, and every planned peer is Established, and no other is there.
pub(super) fn judge_calicoctl(scene: &Scene<'_>, node: &NodeName) -> Judged {
    let output = scene.heard(&calicoctl(node))?;
    let status = Status::parse(&output.stdout)
        .map_err(|_| Verdict::not_yet(format!("`calicoctl status` on {node} says nothing: {}", output.tail(2))))?;
    let (part, asn) = (&scene.plan.nodes[node], scene.plan.bgp.asn);
    let running =
        status.running.ok_or_else(|| Verdict::not_yet(format!("the container calico-node does not run on {node}")))?;
    if (status.address, status.asn) != (Some(part.address), Some(asn)) {
        let address = status.address.map_or_else(|| "no address".into(), |address| address.to_string());
        let has = status.asn.map_or_else(|| "no AS".into(), |asn| format!("AS {asn}"));
        return Err(Verdict::not_yet(format!(
            "calicoctl has {node} with {address} and {has}, planned is {} and AS {asn}",
            part.address
        )));
    }
    let strange: Vec<String> = status
        .peers
        .iter()
        .filter(|row| !row.established() || !part.peers.iter().any(|peer| peer.address == row.address))
        .map(|row| format!("{} {} {}", row.address, row.state, row.info))
        .collect();
    if !strange.is_empty() || status.peers.len() != part.peers.len() {
        let (has, wanted) = (status.peers.len(), part.peers.len());
        return Err(Verdict::not_yet(format!(
            "calicoctl on {node} lists {has} of {wanted} peers {}",
            strange.join("; ")
        )));
    }
    Ok(format!("{running}, {} peers Established", part.peers.len()))
}

pub(super) fn judge_session(scene: &Scene<'_>, node: &NodeName, peer: &NodeName) -> Judged {
    let bird = read(scene, node)?;
    let (part, other, asn) = (&scene.plan.nodes[node], &scene.plan.nodes[peer], scene.plan.bgp.asn);
    let (protocol, bgp) = bird
        .sessions()
        .find(|(_, bgp)| bgp.neighbor == Some(other.address))
        .ok_or_else(|| Verdict::not_yet(format!("{node} has no session with {peer} ({})", other.address)))?;
    for (whose, own) in [(peer, bgp.neighbor_as), (node, bgp.local_as)] {
        if let Some(own) = own.filter(|own| *own != asn) {
            return Err(Verdict::never(format!("{node} is configured with AS {own} for {whose}, planned is {asn}")));
        }
    }
    if !bgp.established() {
        let why = format!("{node} towards {peer} ({}): {}", other.address, describe(bgp, &protocol.info));
        // Nothing heals an AS that is configured wrong.
        let bad_as = bgp.last_error.as_deref().is_some_and(|error| error.ends_with("Bad peer AS"));
        return Err(if bad_as { Verdict::never(why) } else { Verdict::not_yet(why) });
    }
    if bgp.internal == Some(false) {
        return Err(Verdict::never(format!("{node} takes {peer} for another AS; both are planned in AS {asn}")));
    }
    if let Some(source) = bgp.source.filter(|source| *source != part.address) {
        return Err(Verdict::not_yet(format!("{node} speaks to {peer} from {source}, planned is {}", part.address)));
    }
    if bird.recovering || !protocol.state.eq_ignore_ascii_case("up") {
        let state = &protocol.state;
        return Err(Verdict::not_yet(format!(
            "{node} with {peer} is Established, but still exchanging routes ({state})"
        )));
    }
    if let Some(silent) = silent(bgp) {
        return Err(Verdict::not_yet(format!(
            "{node} with {peer} is called Established, and nothing came from there for {silent:.0} s"
        )));
    }
    if must_answer(scene.plan)
        && Alive::parse(&scene.heard(&alive(node))?.stdout).received(other.address).unwrap_or_default() == 0
    {
        return Err(Verdict::not_yet(format!(
            "{node} with {peer} is called Established, and nothing came from there for 2 s after it was asked"
        )));
    }
    let stable = Duration::from_secs(scene.plan.proof.stability_s);
    if stable.is_zero() {
        return Ok(format!("Established, AS {asn}, its age left out"));
    }
    let age = bird.now.and_then(|now| protocol.age(now));
    let age =
        age.ok_or_else(|| Verdict::not_yet(format!("BIRD on {node} did not tell since when it is Established")))?;
    if age < stable {
        let why = format!(
            "{node} with {peer} is Established since {:.1} s, stable after {} s",
            age.as_secs_f64(),
            stable.as_secs()
        );
        let again_in = scene.readings.age(&self::bird(node)).and_then(|ago| protocol.old_enough_in(stable, &bird, ago));
        return Err(Verdict::NotYet { why, again_in: again_in.or(Some(stable)) });
    }
    Ok(format!("Established, AS {asn}, stable {} s", stable.as_secs()))
}

/// For how long nothing was received over a session, if that is longer than two keepalives. On Calico's own timers
/// this says something only after minutes.
fn silent(bgp: &Bgp) -> Option<f32> {
    let ((left, whole), every) = (bgp.hold?, bgp.keepalive?);
    let silent = whole - left;
    (whole > 0.0 && silent > 2.0 * every).then_some(silent)
}

/// State and last error, and what they mean where that is known.
fn describe(bgp: &Bgp, info: &str) -> String {
    let error = bgp.last_error.as_deref().unwrap_or_default();
    let state = if bgp.state.is_empty() { if info.is_empty() { "disabled" } else { info } } else { &bgp.state };
    let said = if error.is_empty() { state.to_owned() } else { format!("{state}, {error}") };
    match meaning(state, error) {
        Some(meaning) => format!("{said} ({meaning})"),
        None => said,
    }
}

/// What a state and the last error usually mean in a lab.
fn meaning(state: &str, error: &str) -> Option<&'static str> {
    let by_error = [
        ("Connection refused", "nothing listens on port 179 there: is BIRD running?"),
        ("No route to host", "the address does not answer ARP, or a firewall rejects"),
        ("Host is unreachable", "the address does not answer ARP, or a firewall rejects"),
        ("Network is unreachable", "no route to the peer at all"),
        ("Connection reset by peer", "the peer has no session configured for our address"),
        ("Connection closed", "the peer closed at once, or our source address is not on this node"),
        ("Connection timed out", "packets to port 179 are dropped"),
        ("Bad peer AS", "the two ends disagree about an AS"),
        ("Hold timer expired", "the peer fell silent: its node, its BIRD or the link"),
        ("Administrative shutdown", "the peer's BIRD was stopped or told to"),
        ("Peer de-configured", "the peer removed this session"),
        ("Bad BGP identifier", "both ends have the same router id"),
        ("Connection rejected", "something that is not this lab's BIRD answers there"),
        ("No listening socket", "port 179 of this node is taken by another program"),
        ("collision", "both ends called at once; one call is dropped"),
    ];
    let by_state = [
        ("Passive", "waits for the peer to call; look at the peer's end"),
        ("Connect", "the call is not answered: packets to port 179 are dropped, or a password differs"),
        ("Active", "about to call again"),
        ("OpenSent", "the port answers, but not with BGP"),
        ("OpenConfirm", "waits for the first keepalive"),
        ("Idle", "waits after an error"),
        ("Down", "disabled on this node"),
        ("disabled", "disabled on this node"),
    ];
    let found = |table: &[(&str, &'static str)], text: &str| {
        table.iter().find(|(part, _)| text.contains(part)).map(|(_, meaning)| *meaning)
    };
    found(&by_error, error).or_else(|| found(&by_error, state)).or_else(|| found(&by_state, state))
}

#[cfg(test)]
mod tests;
