//! How the sessions of a node stand, where nobody asked BIRD: by its log, its pod's probes, connections, and routes.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::layout::{Node, Paper};
use crate::node::{plain, route};

/// Half of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Half {
    /// BIRD's word, `Established` or another; `not Established` where only that is told.
    pub state: String,
    /// The last error, if there is one.
    pub error: Option<String>,
    /// What says so.
    pub by: &'static str,
}

impl Half {
    pub fn up(&self) -> bool {
        self.state == "Established"
    }

    fn of(state: &str, by: &'static str) -> Self {
        Self { state: state.into(), error: None, by }
    }
}

/// What is known of the sessions of a node with each peer's address; the surest source that speaks of a peer decides,
/// and what its log says last is its last error.
pub(super) fn halves<'a>(
    papers: &Node<'_>,
    mesh: bool,
    states: impl Iterator<Item = (Ipv4Addr, &'a str)>,
) -> BTreeMap<Ipv4Addr, Half> {
    // Where routes are reflected, the next hop is not who told of it.
    let mut halves = if mesh { routed(papers) } else { BTreeMap::new() };
    let logged: BTreeMap<Ipv4Addr, Half> =
        papers.get(&Paper::Log).into_iter().flatten().flat_map(|log| logged(log)).collect();
    let errors: BTreeMap<Ipv4Addr, Option<String>> =
        logged.iter().map(|(peer, half)| (*peer, half.error.clone())).collect();
    halves.extend(logged);
    halves.extend(probed(papers));
    if papers.contains_key(&Paper::Netstat) {
        for half in halves.values_mut().filter(|half| half.up()) {
            *half = Half::of("not Established", "there being no connection of port 179");
        }
    }
    halves.extend(connected(papers));
    halves.extend(states.map(|(peer, state)| (peer, Half::of(state, "its CalicoNodeStatus"))));
    for (peer, half) in &mut halves {
        if !half.up() && half.error.is_none() {
            half.error = errors.get(peer).cloned().flatten();
        }
    }
    halves
}

/// By the log of BIRD: `Mesh_10_0_0_12: State changed to start`, `…: Received: Bad peer AS: 64513`.
pub(super) fn logged(log: &str) -> BTreeMap<Ipv4Addr, Half> {
    let mut halves: BTreeMap<Ipv4Addr, Half> = BTreeMap::new();
    for line in log.lines() {
        let begin =
            ["Mesh_", "Node_", "Global_"].into_iter().find_map(|begin| line.find(begin).map(|at| at + begin.len()));
        let Some((name, said)) = begin.and_then(|at| line[at..].split_once(": ")) else { continue };
        let Ok(peer) = name.split("_port_").next().unwrap_or(name).replace('_', ".").parse() else { continue };
        let half = halves.entry(peer).or_insert_with(|| Half::of("not Established", "the log of BIRD"));
        match said.trim() {
            "State changed to up" | "BGP session established" => *half = Half::of("Established", "the log of BIRD"),
            "State changed to start" | "State changed to stop" | "State changed to feed" => {
                if half.up() {
                    half.state = "Active".into();
                }
            }
            "State changed to down" => half.state = "Down".into(),
            said => {
                let classes = ["Received: ", "Error: ", "BGP Error: ", "Socket error: ", "Automatic shutdown: "];
                if classes.iter().any(|class| said.starts_with(class)) {
                    half.state = "Active".into();
                    half.error = Some(said.replacen("Socket error: ", "Socket: ", 1));
                }
            }
        }
    }
    halves
}

/// By the readiness probe of the node's pod, whose last failure names each peer that is not up.
fn probed(papers: &Node<'_>) -> BTreeMap<Ipv4Addr, Half> {
    let described = papers.get(&Paper::Described).into_iter().flatten();
    // A failure that is over stands among the events for an hour.
    let unready = described.filter(|text| text.lines().any(|line| line.split_whitespace().eq(["Ready", "False"])));
    let lines: Vec<&str> = unready.flat_map(|text| text.lines()).collect();
    let last = lines.iter().rev().find_map(|line| line.split_once("BGP not established with ").map(|(_, rest)| rest));
    let listed = last.unwrap_or_default().split([',', ' ']).filter_map(|word| word.trim().parse().ok());
    listed.map(|peer| (peer, Half::of("not Established", "its readiness probe"))).collect()
}

/// By connections to or from port 179. One that is missing says nothing of a peer that was never met.
fn connected(papers: &Node<'_>) -> BTreeMap<Ipv4Addr, Half> {
    let texts = papers.get(&Paper::Netstat).into_iter().flatten();
    let all = texts.flat_map(|text| plain::connections(text));
    let peer = |(own, other): (String, String)| {
        let (address, port) = other.rsplit_once(':')?;
        (own.ends_with(":179") || port == "179").then(|| address.parse().ok())?
    };
    all.filter_map(peer).map(|peer| (peer, Half::of("Established", "a connection of port 179"))).collect()
}

/// By routes that BIRD took from a peer: without a session they are gone, but for the time of a graceful restart.
fn routed(papers: &Node<'_>) -> BTreeMap<Ipv4Addr, Half> {
    let text = papers.get(&Paper::Routes).and_then(|texts| texts.first()).copied().unwrap_or_default();
    let list = serde_json::Value::from(plain::routes(text)).to_string();
    let all = route::Routes::parse(&list, "").unwrap_or_default().tables;
    let by_bird = all.into_iter().filter(|route| route.protocol.as_deref() == Some("bird"));
    by_bird
        .filter_map(|route| Some((route.gateway?, Half::of("Established", "routes that BIRD took from it"))))
        .collect()
}
