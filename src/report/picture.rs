//! A cluster as it is drawn, on the page and on a terminal: its nodes, and each half of each session with its route.

use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::proof::{Check, Finding, Proof, Verdict};

/// How something is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shade {
    Pass,
    Fail,
    Unknown,
}

impl Shade {
    /// Its word in the page's styles.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
        }
    }

    pub fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Pass { .. } => Self::Pass,
            Verdict::NotYet { .. } | Verdict::Never { .. } => Self::Fail,
            Verdict::Unknown { .. } => Self::Unknown,
        }
    }
}

/// A planned half of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Half<'a> {
    pub node: &'a NodeName,
    pub peer: &'a NodeName,
    pub session: Shade,
    /// How the way into the peer's block stands.
    pub route: Shade,
    /// What is said of the session.
    pub text: String,
}

/// Every planned half, in the plan's order.
pub(super) fn halves<'a>(plan: &'a Plan, proof: Option<&Proof>) -> Vec<Half<'a>> {
    let found =
        |wanted: &dyn Fn(&Check) -> bool| -> Option<&Finding> { proof?.findings.iter().find(|one| wanted(&one.check)) };
    let half = |node: &'a NodeName, peer: &'a NodeName| {
        let session =
            found(&|check| matches!(check, Check::Session { node: own, peer: other } if own == node && other == peer));
        let route =
            found(&|check| matches!(check, Check::Route { node: own, owner, .. } if own == node && owner == peer));
        let shade = |finding: Option<&Finding>| finding.map_or(Shade::Unknown, |one| Shade::of(&one.verdict));
        let text = session.map_or("was not checked", |one| one.verdict.text()).to_owned();
        Half { node, peer, session: shade(session), route: shade(route), text }
    };
    plan.nodes.iter().flat_map(|(node, part)| part.peers.iter().map(move |peer| half(node, &peer.node))).collect()
}

/// How a node stands: by the checks that are about it first.
pub(super) fn node(name: &NodeName, proof: Option<&Proof>) -> Shade {
    let Some(proof) = proof else { return Shade::Unknown };
    let mut own = proof.findings.iter().filter(|finding| finding.check.nodes().first() == Some(&name));
    if own.all(|finding| finding.verdict.passed()) { Shade::Pass } else { Shade::Fail }
}
