//! The clusters of this user, a line each.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::table::columns;
use crate::cluster::StateError;
use crate::cluster::home::Found;
use crate::cluster::lock::Holder;
use crate::cluster::state::{ClusterState, LastProof, Phase};
use crate::lab::name::NodeName;
use crate::machine::Power;

/// A cluster and how its machines stand.
#[derive(Debug)]
pub struct Line<'a> {
    /// What is remembered of it.
    pub found: &'a Found,
    /// Its machines as the provider finds them; `None` if it could not be asked.
    pub power: Option<&'a [(NodeName, Power)]>,
}

/// The clusters as a table; a header alone if there are none.
pub fn table(lines: &[Line<'_>], now: Timestamp) -> String {
    columns(
        &["NAME", "LAB", "PHASE", "PROVIDER", "NODES", "NETWORK", "AGE", "PROVEN"],
        lines.iter().map(|line| {
            let name = line.found.name.to_string();
            let phase = phase_word(&line.found.state, line.found.holder.as_ref()).into();
            let Ok(state) = &line.found.state else {
                let unknown = || String::from("-");
                return vec![name, unknown(), phase, unknown(), unknown(), unknown(), unknown(), unknown()];
            };
            vec![
                name,
                state.lab.to_string(),
                phase,
                state.provider.to_string(),
                format!("{}/{}", running(line.power).map_or("-".into(), |on| on.to_string()), state.nodes.len()),
                state.network.to_string(),
                age(state.created, now),
                state.last_proof.as_ref().map_or("-".into(), |proof| proven(proof, now)),
            ]
        }),
    )
}

/// The same for programs: a list of objects.
pub fn json(lines: &[Line<'_>]) -> Value {
    lines
        .iter()
        .map(|line| {
            let Found { name, state, holder } = line.found;
            match state {
                Ok(state) => of_state(state, holder.as_ref(), line.power),
                Err(error) => json!({
                    "name": name,
                    "phase": phase_word(state, holder.as_ref()),
                    "holder": holder,
                    "error": in_words(error),
                }),
            }
        })
        .collect()
}

/// A cluster whose state is known, for programs.
pub(in crate::cmd) fn of_state(
    state: &ClusterState,
    holder: Option<&Holder>,
    power: Option<&[(NodeName, Power)]>,
) -> Value {
    let (mut since, mut failing, mut message) = (None, None, None);
    match &state.phase {
        Phase::Ready { at } => since = Some(at),
        Phase::Unproven { failing: checks } => failing = Some(checks),
        Phase::Failed { message: text } => message = Some(text),
        Phase::Raising | Phase::Stopped | Phase::Destroying => {}
    }
    json!({
        "name": state.name,
        "id": state.id,
        "lab": state.lab,
        "phase": state.phase.word(),
        "interrupted": interrupted(state, holder),
        "since": since,
        "failing": failing,
        "message": message,
        "holder": holder,
        "provider": state.provider,
        "nodes": { "running": running(power), "total": state.nodes.len() },
        "network": state.network,
        "created": state.created,
        "changed": state.changed,
        "last_proof": state.last_proof,
    })
}

/// The word for how far a cluster came; `interrupted` if the run that was at work on it is dead.
pub(in crate::cmd) fn phase_word(state: &Result<ClusterState, StateError>, holder: Option<&Holder>) -> &'static str {
    match state {
        Ok(state) if interrupted(state, holder) => "interrupted",
        Ok(state) => state.phase.word(),
        // Its folder is made before its state is written, and removed after.
        Err(StateError::NoSuch { .. }) if holder.is_some() => "raising",
        Err(StateError::NoSuch { .. }) => "interrupted",
        Err(StateError::Schema { .. }) => "other-schema",
        Err(_) => "unreadable",
    }
}

/// An error and its cause in one line.
fn in_words(error: &StateError) -> String {
    match (error, std::error::Error::source(error)) {
        // True of its state, and odd to read of a cluster that is listed.
        (StateError::NoSuch { .. }, _) => "its state was never written, or is removed already".into(),
        (_, Some(cause)) => format!("{error}: {cause}"),
        (_, None) => error.to_string(),
    }
}

fn interrupted(state: &ClusterState, holder: Option<&Holder>) -> bool {
    state.phase.needs_holder() && holder.is_none()
}

fn running(power: Option<&[(NodeName, Power)]>) -> Option<usize> {
    power.map(|all| all.iter().filter(|(_, power)| *power == Power::Running).count())
}

/// `31/31 5m ago`.
pub(in crate::cmd) fn proven(proof: &LastProof, now: Timestamp) -> String {
    format!("{}/{} {} ago", proof.pass, proof.total(), age(proof.at, now))
}

/// How long ago, in the one unit that says enough; a clock that was set back gives `0s`.
pub(in crate::cmd) fn age(then: Timestamp, now: Timestamp) -> String {
    match (now.as_second() - then.as_second()).max(0) {
        seconds @ ..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds @ 7200..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
