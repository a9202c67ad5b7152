//! From failing checks to the first broken link of the chain: what was gathered, the rules, and what they come to.

pub mod chain;
pub mod diags;
mod facts;
mod flaps;
pub mod gather;
mod rules;
pub mod table;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::command::Output;
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::proof::check::Layer;
use crate::proof::{CheckId, Finding, Proof, Verdict};

pub use chain::Link;
use facts::Facts;
pub use gather::What;
use table::{RULES, Rule};

/// Version of evidence and diagnosis as they are saved.
pub const SCHEMA: u32 = 1;

/// A proof and what was read on the nodes after it: enough to be explained anywhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Where it comes from.
    #[serde(default)]
    pub origin: Origin,
    /// The proof whose findings are explained.
    pub proof: Proof,
    /// What each node answered.
    pub nodes: BTreeMap<NodeName, Told>,
}

/// Where evidence comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A lab of ours.
    #[default]
    Lab,
    /// Somebody's cluster, by what calicoctl collected there.
    Diags,
}

/// What one node answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// The answers, some of which may be missing.
    Answers(BTreeMap<What, Output>),
    /// It could not be asked, with the reason.
    Unasked(String),
}

/// What a rule found at one node, or between two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The cause in a sentence.
    pub says: String,
    /// What was seen at each end.
    pub sides: Vec<Side>,
    /// The command that repairs it.
    pub remedy: String,
}

/// What was seen at one end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// Where.
    pub node: NodeName,
    /// What.
    pub saw: String,
}

/// Why a rule found nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clear {
    /// It is not so, by this.
    Not(String),
    /// It may be so: this would decide.
    Open(String),
}

/// What a rule says of one node or pair.
pub type Judged = Result<Found, Clear>;

/// What is wrong, as far as the evidence says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What it comes to.
    pub outcome: Outcome,
    /// The first broken link.
    pub first: Option<Cause>,
    /// Other causes, each of which breaks something too.
    pub also: Vec<Cause>,
    /// What is not as planned and breaks nothing that was checked.
    pub warnings: Vec<Cause>,
    /// Where no rule decides: between which causes, and what would decide.
    pub open: Vec<Open>,
    /// The checks that were explained.
    pub failing: Vec<CheckId>,
    /// What the evidence could not tell, where that is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blind: Vec<String>,
}

/// What a diagnosis comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every check passes.
    NothingBroken,
    /// The first broken link is named.
    Explained,
    /// Something is broken, and the evidence does not say what.
    Undecided,
}

/// One cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The rule that found it: its stable word.
    pub id: String,
    /// The link of the chain that it breaks.
    pub link: Link,
    /// The cause in a sentence.
    pub says: String,
    /// What was seen at each end.
    pub evidence: Vec<Side>,
    /// Rival causes, and by what each was ruled out.
    pub ruled_out: Vec<RuledOut>,
    /// The command that repairs it.
    pub remedy: String,
    /// The failing checks that it can account for.
    pub explains: Vec<CheckId>,
}

/// A rival cause that is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuledOut {
    /// Its stable word.
    pub id: String,
    /// By what.
    pub by: String,
}

/// A cause that may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// Its stable word.
    pub id: String,
    /// The link it would break.
    pub link: Link,
    /// What it would mean.
    pub title: String,
    /// What would decide.
    pub decides: String,
}

/// Name the first broken link. Pure.
pub fn explain(evidence: &Evidence, plan: &Plan) -> Diagnosis {
    let facts = Facts::read(evidence, plan);
    let failing: Vec<&Finding> = evidence.proof.findings.iter().filter(|one| !one.verdict.passed()).collect();
    let (mut causes, mut warnings) = (Vec::new(), Vec::new());
    for rule in RULES {
        for (place, found) in rule.everywhere(&facts) {
            let Ok(found) = found else { continue };
            let nodes: Vec<NodeName> = place.iter().chain(found.sides.iter().map(|side| &side.node)).cloned().collect();
            let covered: Vec<&Finding> =
                failing.iter().copied().filter(|one| covers(rule, &nodes, &one.check.nodes(), one)).collect();
            let ruled_out = covered.first().map_or_else(Vec::new, |first| rivals(rule, &place, first, &facts));
            let cause = Cause {
                id: rule.id.into(),
                link: rule.link,
                says: found.says,
                evidence: found.sides,
                ruled_out,
                remedy: found.remedy,
                explains: covered.iter().map(|one| one.id.clone()).collect(),
            };
            let list = if covered.is_empty() { &mut warnings } else { &mut causes };
            // One thing seen from both ends is one cause.
            if !list.iter().any(|known: &Cause| known.id == cause.id && known.says == cause.says) {
                list.push(cause);
            }
        }
    }
    warnings.extend(evidence.proof.flapped.iter().map(|flap| flaps::warning(flap, &facts)));
    // The table stands in the order of the chain, and `sort_by_key` keeps it within a link.
    causes.sort_by_key(|cause| cause.link);
    let open = if causes.is_empty() { undecided(&failing, &facts) } else { Vec::new() };
    let mut causes = causes.into_iter();
    let first = causes.next();
    let outcome = match (&first, failing.is_empty()) {
        (_, true) => Outcome::NothingBroken,
        (Some(_), false) => Outcome::Explained,
        (None, false) => Outcome::Undecided,
    };
    let failing = failing.iter().map(|one| one.id.clone()).collect();
    Diagnosis { schema: SCHEMA, outcome, first, also: causes.collect(), warnings, open, failing, blind: Vec::new() }
}

/// Whether a rule that found something at `nodes` can account for a check that fails.
fn covers(rule: &Rule, nodes: &[NodeName], about: &[&NodeName], finding: &Finding) -> bool {
    let layer = finding.check.layer();
    if rule.only && layer != rule.from || layer < rule.from {
        return false;
    }
    // Services and names may lead over any node.
    let anywhere = about.is_empty() || (layer >= Layer::Service && rule.from < layer) || nodes.is_empty();
    anywhere || about.iter().any(|node| nodes.contains(node)) || layer == Layer::Name
}

/// The other rules that could account for the same check, and by what each is ruled out at the same place.
fn rivals(rule: &Rule, place: &[NodeName], first: &Finding, facts: &Facts<'_>) -> Vec<RuledOut> {
    let layer = first.check.layer();
    let about: Vec<NodeName> = first.check.nodes().into_iter().chain(place).cloned().collect();
    let could = |other: &&Rule| other.id != rule.id && other.from <= layer && (!other.only || other.from == layer);
    RULES
        .iter()
        .filter(could)
        .filter_map(|other| {
            let rulings = other.at(facts, &about);
            let by: Vec<String> = rulings
                .into_iter()
                .map(|ruling| match ruling {
                    Err(Clear::Not(by)) => Some(by),
                    _ => None,
                })
                .collect::<Option<_>>()?;
            let by = joined(by);
            (!by.is_empty()).then(|| RuledOut { id: other.id.into(), by })
        })
        .collect()
}

/// What is left open, and one thing that is open whenever no rule finds anything.
fn undecided(failing: &[&Finding], facts: &Facts<'_>) -> Vec<Open> {
    // What only has to age says nothing of what does not heal by itself.
    let ages = |one: &&&Finding| matches!(one.verdict, Verdict::NotYet { again_in: Some(_), .. });
    let Some(first) = failing.iter().find(|one| !ages(one)).or(failing.first()) else { return Vec::new() };
    let layer = first.check.layer();
    let about: Vec<NodeName> = first.check.nodes().into_iter().cloned().collect();
    let mut open: Vec<Open> = Vec::new();
    for rule in RULES.iter().filter(|rule| rule.from <= layer && (!rule.only || rule.from == layer)) {
        let decides = rule.at(facts, &about).into_iter().filter_map(|ruling| match ruling {
            Err(Clear::Open(decides)) => Some(decides),
            _ => None,
        });
        let decides = joined(decides.collect());
        if !decides.is_empty() {
            open.push(Open { id: rule.id.into(), link: rule.link, title: rule.title.into(), decides });
        }
    }
    let (title, decides) = match &first.verdict {
        Verdict::NotYet { again_in: Some(_), .. } => {
            ("it only has to age", format!("calicolab verify --name {} {}", facts.plan.cluster, first.id))
        }
        _ => chain::unseen(&first.check, &about, facts),
    };
    let decides = match about.as_slice() {
        [a, b] if layer == Layer::Session => {
            format!("{decides}; {a}: {}; {b}: {}", facts.half_text(a, b), facts.half_text(b, a))
        }
        _ => decides,
    };
    open.push(Open { id: "unseen".into(), link: chain::of_layer(layer), title: title.into(), decides });
    open
}

/// Texts that differ, in their order.
fn joined(texts: Vec<String>) -> String {
    let mut seen: Vec<String> = Vec::new();
    for text in texts {
        if !text.is_empty() && !seen.contains(&text) {
            seen.push(text);
        }
    }
    seen.join("; ")
}

#[cfg(test)]
mod tests;
