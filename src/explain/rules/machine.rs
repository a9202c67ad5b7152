//! The machine itself: whether it can be asked, and its clock.

use super::super::Judged;
use super::super::facts::{Facts, found, not, side};
use crate::lab::name::NodeName;

pub(in super::super) fn unreached(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let Some(why) = facts.unasked(node) else { return Err(not(format!("{node} answers"))) };
    let remedy = format!("calicolab start --name {}", facts.plan.cluster);
    Ok(found(format!("{node} cannot be asked"), vec![side(node, why)], remedy))
}

/// How far a clock may be off before it is called so, in milliseconds: as in the proof.
const OFF_MS: i64 = 2000;

pub(in super::super) fn clock(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let clock = facts.proof().clocks.get(node);
    let clock = clock.ok_or_else(|| super::super::Clear::Open(facts.on(node, "date")))?;
    let (least, most) = clock.ahead_ms();
    if least <= OFF_MS && most >= -OFF_MS {
        return Err(not(format!("the clock of {node} is right")));
    }
    let (off, word) = if least > OFF_MS { (least, "ahead of") } else { (-most, "behind") };
    let off = format!("{}.{} s", off / 1000, off % 1000 / 100);
    let says = format!("the clock of {node} is {off} {word} this host's");
    let others = facts.plan.nodes.names().filter(|other| *other != node).map(|other| {
        let (least, most) = facts.proof().clocks.get(other).map_or((0, 0), crate::proof::Clock::ahead_ms);
        side(other, format!("between {least} and {most} ms ahead of the host"))
    });
    let sides = std::iter::once(side(node, format!("between {least} and {most} ms ahead of the host"))).chain(others);
    Ok(found(says, sides.collect(), facts.on(node, "date -s @$(date +%s)")))
}
