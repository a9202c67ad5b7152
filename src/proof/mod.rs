//! A proof: checks derived from the plan, each judged by a pure function over readings from the nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::command::{Argv, Output};
use crate::lab::name::NodeName;

/// What is asked of a node; many checks may share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Probe {
    /// Who is asked.
    pub node: NodeName,
    /// What is run there.
    pub argv: Argv,
}

/// The answer to a probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// What was asked.
    pub probe: Probe,
    /// What it said; `None` if the node could not be asked, with the reason in `unasked`.
    pub output: Option<Output>,
    /// Why there is no output.
    pub unasked: Option<String>,
    /// The node's own clock when the answer was read.
    pub at: jiff::Timestamp,
    /// How far the node's clock may be from the host's: the host's time at which the reading came in.
    pub host_at: jiff::Timestamp,
}

/// The readings of one round.
pub type Readings = BTreeMap<Probe, Reading>;

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
