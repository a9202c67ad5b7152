//! Sessions that stood at the last proof, stand now, and are not the same any more.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::{DateTime, Time};
use serde::{Deserialize, Serialize};

use super::{Answer, Proof, session};
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::node::bird::{Bird, Protocol, Since};

/// A session that ended and came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flap {
    /// When the proof was begun at which it stood, by the host's clock.
    pub stood: Timestamp,
    /// What each end says, in the order of the plan.
    pub ends: Vec<End>,
}

/// One end of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Whose.
    pub node: NodeName,
    /// Whether its half is another one than at the last proof.
    pub anew: bool,
    /// Whether its BIRD is another one, too.
    pub restarted: bool,
    /// What was seen.
    pub saw: String,
}

impl Flap {
    /// The nodes between which it is.
    pub fn nodes(&self) -> Vec<&NodeName> {
        self.ends.iter().map(|end| &end.node).collect()
    }
}

impl fmt::Display for Flap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.ends.iter().map(|end| end.node.as_str()).collect();
        write!(f, "the session of {} ended and came back since the proof of {:.0}", names.join(" with "), self.stood)?;
        self.ends.iter().try_for_each(|end| write!(f, "; {}: {}", end.node, end.saw))
    }
}

/// The sessions that are not those of `before`, both ends beside each other. Pure.
///
/// Only what BIRD says of itself in one and the same read is compared: how long after its own beginning each session
/// began. Neither the host's clock nor the node's has a part in it, so that setting one is no flap.
pub fn flapped(before: &Proof, now: &Proof, plan: &Plan) -> Vec<Flap> {
    let mut found = Vec::new();
    for (node, part) in plan.nodes.iter() {
        for peer in part.peers.iter().filter(|peer| *node < peer.node) {
            let ends = [(node, &peer.node), (&peer.node, node)];
            let seen: Option<Vec<End>> =
                ends.into_iter().map(|(own, other)| end(before, now, plan, own, other)).collect();
            if let Some(ends) = seen.filter(|ends| ends.iter().any(|end| end.anew)) {
                found.push(Flap { stood: before.started, ends });
            }
        }
    }
    found
}

/// What `node` says of its half with `peer`; `None` if it was not Established both times, or nobody asked.
fn end(before: &Proof, now: &Proof, plan: &Plan, node: &NodeName, peer: &NodeName) -> Option<End> {
    let (then, bird) = (read(before, node)?, read(now, node)?);
    let address = plan.nodes[peer].address;
    let half = |bird: &Bird| {
        let half = bird.sessions().find(|(_, bgp)| bgp.neighbor == Some(address) && bgp.established());
        half.map(|(protocol, _)| protocol.clone())
    };
    let (old, new) = (half(&then)?, half(&bird)?);
    let (old, new) = (Life::of(&then, &old)?, Life::of(&bird, &new)?);
    let restarted = match (&then.run, &bird.run) {
        (Some(one), Some(other)) => one != other,
        _ => new.lasted + SLACK < old.lasted,
    };
    let anew = restarted || new.is_after(&old);
    let up = format!("up for {}", new.up());
    let saw = match (restarted, anew) {
        (true, _) => format!("{up}; its BIRD was started anew {} ago", seconds(new.lasted)),
        (false, true) => format!("{up}, and for {} then; its BIRD has run all the time", old.up()),
        (false, false) => format!("{up}, as then"),
    };
    Some(End { node: node.clone(), anew, restarted, saw })
}

/// What a node's BIRD said in a proof.
fn read(proof: &Proof, node: &NodeName) -> Option<Bird> {
    let probe = session::bird(node);
    let reading = proof.readings.iter().find(|reading| reading.probe == probe)?;
    match &reading.answer {
        Answer::Said(output) => Bird::parse(&output.stdout).ok(),
        Answer::Unasked(_) => None,
    }
}

/// BIRD 1.6 counts whole seconds, and prints one moment up to two seconds apart from read to read; a session that stood
/// at a proof was older than this.
const SLACK: f64 = 4.0;
const DAY: f64 = 86_400.0;

/// When in its BIRD's life a session began, in seconds.
struct Life {
    began: Began,
    /// How long that BIRD had lived when it was asked.
    lasted: f64,
}

/// As exactly as BIRD printed it.
#[derive(Clone, Copy)]
enum Began {
    /// At this moment.
    At(f64),
    /// At this moment of some day.
    OfDay(f64),
    /// On a day that begins here.
    On(f64),
}

impl Life {
    fn of(bird: &Bird, session: &Protocol) -> Option<Self> {
        let (booted, now) = (bird.booted?, bird.now?);
        let after = |then: DateTime| then.duration_since(booted).as_secs_f64();
        let began = match session.since {
            Since::Both(then) => Began::At(after(then)),
            Since::Time(then) => Began::OfDay(then.duration_since(booted.time()).as_secs_f64().rem_euclid(DAY)),
            Since::Date(day) => Began::On(after(day.to_datetime(Time::midnight()))),
            Since::Unreadable => return None,
        };
        Some(Self { began, lasted: after(now) })
    }

    /// The earliest moment at which it can have begun, if a time of day is taken for the last one.
    fn earliest(&self) -> f64 {
        match self.began {
            Began::At(at) | Began::On(at) => at,
            Began::OfDay(at) => self.lasted - (self.lasted - at).rem_euclid(DAY),
        }
    }

    /// How long it has been up.
    fn up(&self) -> String {
        let longest = self.lasted - self.earliest();
        match self.began {
            Began::On(_) => "more than a day".into(),
            // The moment may be printed a little ahead of the clock.
            _ if longest > DAY - 60.0 => seconds(0.0),
            _ => seconds(longest),
        }
    }

    /// Whether it began after `old` had been seen.
    fn is_after(&self, old: &Self) -> bool {
        match (self.began, old.began) {
            (Began::At(own), Began::At(other)) => own - other > SLACK,
            // Who prints no date says nothing of the day: only another time of day is another session.
            (Began::OfDay(own), Began::OfDay(other)) => {
                let apart = (own - other).rem_euclid(DAY);
                SLACK < apart && apart < DAY - SLACK
            }
            _ => self.earliest() > old.lasted + SLACK,
        }
    }
}

fn seconds(seconds: f64) -> String {
    match seconds.max(0.0).round() {
        many if many >= 7200.0 => format!("{:.0} h", many / 3600.0),
        many if many >= 120.0 => format!("{:.0} min", many / 60.0),
        few => format!("{few:.0} s"),
    }
}

#[cfg(test)]
mod tests;
