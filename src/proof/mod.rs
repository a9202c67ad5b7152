//! A proof: checks derived from the plan, each judged by a pure function over readings from the nodes.

pub mod ask;
pub mod change;
pub mod check;
pub mod driver;
pub mod expect;
pub mod flap;
pub mod round;

mod accept;
mod calico;
mod dns;
mod edge;
mod etcd;
mod kubernetes;
mod machine;
mod packet;
mod route;
mod service;
mod session;

pub use calico::{differences as pool_differences, has_pool};

#[cfg(test)]
pub(crate) mod samples;

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::command::{Argv, Output};
use crate::event::Mark;
use crate::lab::name::{ClusterName, NodeName};
use crate::lab::pin::Digest;
use crate::lab::plan::Plan;
use crate::node::container;

pub use check::{Check, Layer};
pub use flap::Flap;

/// Version of a proof file.
pub const PROOF_SCHEMA: u32 = 1;

/// What was found, with all readings, so that anyone can judge it again without the cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// [`PROOF_SCHEMA`].
    pub schema: u32,
    /// The cluster.
    pub cluster: ClusterName,
    /// Digest of the plan that was judged by.
    pub plan: Digest,
    /// Whether it was not asked how long sessions have been up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_stability: bool,
    /// What this proof's containers and pages carry, so that no older one can answer for them.
    pub nonce: String,
    /// When it began, by the host's clock.
    pub started: Timestamp,
    /// Wall time.
    pub took: Duration,
    /// How many rounds were asked.
    pub rounds: u32,
    /// Each probe's last reading.
    pub readings: Vec<Reading>,
    /// Each node's clock beside the host's, in its last round.
    pub clocks: BTreeMap<NodeName, Clock>,
    /// One for each check, in the order of the chain.
    pub findings: Vec<Finding>,
    /// Sessions that ended and came back since the last proof, though nobody of ours was at work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flapped: Vec<Flap>,
}

/// How one check ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The check's id.
    pub id: CheckId,
    /// The check.
    pub check: Check,
    /// How it stands.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The readings it was judged on, as places in [`Proof::readings`].
    pub evidence: Vec<usize>,
    /// Time from the proof's beginning until it came to stand so.
    pub took: Duration,
    /// In how many rounds it was asked.
    pub rounds: u32,
}

/// A check's stable, readable id: its kind and what it is about, joined by dots (`session.calico-01.calico-02`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CheckId(String);

impl CheckId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `word` is this id or a beginning of it that ends at a dot or dash.
    pub fn is_under(&self, word: &str) -> bool {
        self.0.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
    }
}

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What is asked of a node; many checks may share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Probe {
    /// Who is asked.
    pub node: NodeName,
    /// Where on it.
    pub place: Place,
    /// What is run there.
    pub argv: Argv,
}

/// Where on a node a probe is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// On the node itself, as root.
    Node,
    /// In the proof's container there.
    Pod,
}

/// The answer to a probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// What was asked.
    pub probe: Probe,
    /// What came of it.
    pub answer: Answer,
    /// The node's own clock when the answer was complete; the host's if there was none.
    pub at: Timestamp,
}

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// This was said.
    Said(Output),
    /// The node could not be asked, with the reason.
    Unasked(String),
}

/// A node's clock beside the host's, read in one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// The host's when the question was sent.
    pub asked: Timestamp,
    /// The node's when it began.
    pub first: Timestamp,
    /// The node's when it had everything.
    pub last: Timestamp,
    /// The host's when the answer was there.
    pub answered: Timestamp,
}

impl Clock {
    /// The node's clock minus the host's lies between these two, in milliseconds.
    pub fn ahead_ms(&self) -> (i64, i64) {
        let least = self.last.as_millisecond() - self.answered.as_millisecond();
        let most = self.first.as_millisecond() - self.asked.as_millisecond();
        (least, most)
    }
}

/// Each probe's last reading.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings {
    /// By probe.
    pub by_probe: BTreeMap<Probe, Reading>,
    /// The nodes' clocks.
    pub clocks: BTreeMap<NodeName, Clock>,
}

impl Readings {
    /// How long ago `probe` was read when the last of all answers was there, which is when all are judged; none if it
    /// was not.
    pub fn age(&self, probe: &Probe) -> Option<Duration> {
        let (reading, clock) = (self.by_probe.get(probe)?, self.clocks.get(&probe.node)?);
        let last = self.clocks.values().map(|clock| clock.answered).max()?;
        let on_node = clock.last.duration_since(reading.at);
        (on_node + last.duration_since(clock.answered)).try_into().ok()
    }
}

/// How a check stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// It holds, and this was seen.
    Pass {
        /// What was seen, short.
        seen: String,
    },
    /// It does not hold yet.
    NotYet {
        /// Why.
        why: String,
        /// When it may hold, if that is known (a session that must age).
        again_in: Option<Duration>,
    },
    /// It cannot come to hold without a change.
    Never {
        /// Why.
        why: String,
    },
    /// The node could not be asked.
    Unknown {
        /// Why not.
        why: String,
    },
}

impl Verdict {
    /// Not yet, and nobody knows when.
    pub fn not_yet(why: impl Into<String>) -> Self {
        Self::NotYet { why: why.into(), again_in: None }
    }

    /// Not without a change.
    pub fn never(why: impl Into<String>) -> Self {
        Self::Never { why: why.into() }
    }

    /// Whether it holds.
    pub fn passed(&self) -> bool {
        matches!(self, Self::Pass { .. })
    }

    /// What was seen, or why it does not hold.
    pub fn text(&self) -> &str {
        match self {
            Self::Pass { seen: text }
            | Self::NotYet { why: text, .. }
            | Self::Never { why: text }
            | Self::Unknown { why: text } => text,
        }
    }

    /// How events call it.
    pub fn mark(&self) -> Mark {
        match self {
            Self::Pass { .. } => Mark::Pass,
            Self::NotYet { .. } => Mark::NotYet,
            Self::Never { .. } => Mark::Never,
            Self::Unknown { .. } => Mark::Unknown,
        }
    }
}

/// What a judge sees: what was seen, or the verdict that ends the judging.
type Judged = Result<String, Verdict>;

/// What checks are derived from and judged by.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// What is to be.
    pub plan: &'a Plan,
    /// The proof's nonce.
    pub nonce: &'a str,
    /// What was read.
    pub readings: &'a Readings,
}

impl Scene<'_> {
    /// What was said to `probe`, or the verdict that follows from silence.
    pub fn heard(&self, probe: &Probe) -> Result<&Output, Verdict> {
        let node = &probe.node;
        match self.readings.by_probe.get(probe).map(|reading| &reading.answer) {
            Some(Answer::Said(output)) => Ok(output),
            Some(Answer::Unasked(why)) => Err(Verdict::Unknown { why: format!("{node} could not be asked: {why}") }),
            None => Err(Verdict::not_yet(format!("{node} has not been asked yet"))),
        }
    }

    /// The probe that makes the proof's container on `node` and answers its address.
    pub fn raise(&self, node: &NodeName) -> Probe {
        raise(self.plan, self.nonce, node)
    }

    /// The address of the proof's container on `node`.
    pub fn pod(&self, node: &NodeName) -> Result<Ipv4Addr, Verdict> {
        self.made(&self.raise(node))
    }

    /// The address of a container that `probe` makes.
    fn made(&self, probe: &Probe) -> Result<Ipv4Addr, Verdict> {
        let output = self.heard(probe)?;
        match container::address(&output.stdout) {
            Some(address) if output.ok() => Ok(address),
            _ => Err(Verdict::not_yet(format!(
                "no container could be started on {}: it {}: {}",
                probe.node,
                output.ended,
                output.tail(3)
            ))),
        }
    }
}

/// The probe that makes the proof's container on `node` and answers its address.
pub fn raise(plan: &Plan, nonce: &str, node: &NodeName) -> Probe {
    let raise = if plan.network.edge.is_some() { container::raise_probe_at_edge } else { container::raise_probe };
    Probe { node: node.clone(), place: Place::Node, argv: raise(nonce, node.as_str()) }
}

/// Digest of a plan, as proofs carry it.
pub fn plan_digest(plan: &Plan) -> Digest {
    let text = serde_json::to_vec(plan).expect("a plan has only text as keys");
    Digest::Sha256(sha2::Sha256::digest(text).into())
}

/// Judge a saved proof's readings again, without the cluster.
pub fn judge_again(proof: &Proof, plan: &Plan) -> Vec<(CheckId, Verdict)> {
    let by_probe = proof.readings.iter().map(|reading| (reading.probe.clone(), reading.clone())).collect();
    let readings = Readings { by_probe, clocks: proof.clocks.clone() };
    let scene = Scene { plan, nonce: &proof.nonce, readings: &readings };
    proof.findings.iter().map(|finding| (finding.id.clone(), finding.check.judge(&scene))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_chosen_by_their_beginning() {
        let id = CheckId("session.calico-01.calico-02".into());
        for word in ["session", "session.calico", "session.calico-01", "session.calico-01.calico-02"] {
            assert!(id.is_under(word), "{word}");
        }
        for word in ["sess", "session.calico-0", "session.calico-01.calico-02.x", "route"] {
            assert!(!id.is_under(word), "{word}");
        }
    }

    #[test]
    fn a_clock_is_known_as_well_as_the_way_is_short() {
        let at = |ms: i64| Timestamp::from_millisecond(ms).expect("in range");
        let clock = Clock { asked: at(1000), first: at(5300), last: at(6000), answered: at(2100) };
        assert_eq!(clock.ahead_ms(), (3900, 4300));
    }
}
