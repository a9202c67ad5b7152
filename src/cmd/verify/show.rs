//! What `verify` shows of a proof: which checks were chosen, tables for people, JSON for programs, the verdict in all.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::event::Mark;
use crate::proof::{Check, Finding, Proof, Verdict};

/// What a proof comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every check holds.
    Proven,
    /// At least one check does not hold.
    Unproven,
    /// Nothing is known to be wrong, but at least one node could not be asked.
    Unasked,
}

impl Outcome {
    /// The exit code of `verify`, and of `up` after its proof.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Proven => 0,
            Self::Unproven => 21,
            Self::Unasked => 22,
        }
    }
}

/// What a proof comes to. A check that failed weighs more than one that could not be asked.
pub fn outcome(proof: &Proof) -> Outcome {
    let any = |wanted: fn(&Verdict) -> bool| proof.findings.iter().any(|finding| wanted(&finding.verdict));
    if any(|verdict| matches!(verdict, Verdict::NotYet { .. } | Verdict::Never { .. })) {
        Outcome::Unproven
    } else if any(|verdict| matches!(verdict, Verdict::Unknown { .. })) {
        Outcome::Unasked
    } else {
        Outcome::Proven
    }
}

/// The findings that do not pass, in the order of the chain.
pub fn failing(proof: &Proof) -> Vec<&Finding> {
    let mut failing: Vec<&Finding> = proof.findings.iter().filter(|finding| !finding.verdict.passed()).collect();
    failing.sort_by_key(|finding| finding.check.layer());
    failing
}

/// The failing check that is earliest in the chain: where to look first.
pub fn earliest(proof: &Proof) -> Option<&Finding> {
    failing(proof).first().copied()
}

/// A word that chooses no check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no check is called `{word}`{}", nearest.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
pub struct NoSuchCheck {
    /// What was asked for.
    pub word: String,
    /// The nearest right word.
    pub nearest: Option<String>,
}

/// The checks that `words` choose, by id or by its beginning; all of them without words.
pub fn choose(checks: &[Check], words: &[String]) -> Result<Vec<Check>, NoSuchCheck> {
    if words.is_empty() {
        return Ok(checks.to_vec());
    }
    for word in words {
        if !checks.iter().any(|check| check.id().is_under(word)) {
            return Err(NoSuchCheck { word: word.clone(), nearest: nearest(checks, word) });
        }
    }
    let chosen = |check: &&Check| words.iter().any(|word| check.id().is_under(word));
    Ok(checks.iter().filter(chosen).cloned().collect())
}

fn nearest(checks: &[Check], word: &str) -> Option<String> {
    let words = checks.iter().flat_map(|check| [check.id().to_string(), check.kind().to_owned()]);
    words
        .map(|candidate| (strsim::jaro_winkler(&candidate, word), candidate))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Every id with its place in the chain, for `verify --list`.
pub fn list(checks: &[Check]) -> String {
    checks.iter().fold(String::new(), |text, check| text + &format!("{:<10} {}\n", check.layer(), check.id()))
}

/// The table for people: one line a kind of check where all pass, else a line for each that does not, with its
/// evidence; the last lines say where to look first.
pub fn table(proof: &Proof) -> String {
    let mut text = String::new();
    for (kind, findings) in by_kind(proof) {
        let passed: Vec<&str> =
            findings.iter().filter(|one| one.verdict.passed()).map(|one| one.verdict.text()).collect();
        let mark = if passed.len() == findings.len() { "pass" } else { "FAIL" };
        let counted = format!("{}/{}", passed.len(), findings.len());
        let seen = if passed.len() == findings.len() { summary(&passed) } else { String::new() };
        let line = format!("{mark}  {kind:<12} {counted:>7}  {seen}");
        let _ = writeln!(text, "{}", line.trim_end());
        for finding in findings.iter().filter(|finding| !finding.verdict.passed()) {
            let _ = writeln!(text, "      {} {}: {}", word(&finding.verdict), finding.id, finding.verdict.text());
            for line in evidence(proof, finding) {
                let _ = writeln!(text, "          {line}");
            }
        }
    }
    let (passed, all) = (proof.findings.iter().filter(|one| one.verdict.passed()).count(), proof.findings.len());
    let seconds = proof.took.as_secs_f64();
    let _ = writeln!(text, "{passed} of {all} checks pass, {} rounds, {seconds:.1} s", proof.rounds);
    if proof.without_stability {
        let _ = writeln!(text, "left out: how long the sessions have been up");
    }
    if let Some(first) = earliest(proof) {
        let _ = writeln!(text, "look first at {} ({}): {}", first.id, first.check.layer(), first.verdict.text());
    }
    text
}

/// The same without the kinds that pass.
pub fn failures(proof: &Proof) -> String {
    table(proof)
        .lines()
        .filter(|line| !line.starts_with("pass"))
        .map(|line| format!("{line}\n"))
        .collect::<Vec<_>>()
        .concat()
}

/// Findings under their kinds, in the order of the chain.
fn by_kind(proof: &Proof) -> Vec<(&'static str, Vec<&Finding>)> {
    let mut kinds: Vec<(&'static str, Vec<&Finding>)> = Vec::new();
    for finding in &proof.findings {
        let kind = finding.check.kind();
        match kinds.iter_mut().find(|(own, _)| *own == kind) {
            Some((_, findings)) => findings.push(finding),
            None => kinds.push((kind, vec![finding])),
        }
    }
    kinds
}

/// What all saw, where it is the same; else what the first one saw.
fn summary(seen: &[&str]) -> String {
    match seen {
        [] => String::new(),
        [first, rest @ ..] if rest.iter().all(|other| other == first) => (*first).into(),
        [first, ..] => format!("e.g. {first}"),
    }
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict.mark() {
        Mark::Pass => "pass",
        Mark::NotYet => "not yet",
        Mark::Never => "never",
        Mark::Unknown => "unknown",
    }
}

/// What was run and the last that was said, for the readings of a check that failed: at most four.
fn evidence(proof: &Proof, finding: &Finding) -> Vec<String> {
    let readings = finding.evidence.iter().filter_map(|at| proof.readings.get(*at));
    let told = readings.filter_map(|reading| match &reading.answer {
        crate::proof::Answer::Said(output) => {
            let said = output.tail(1);
            let said = if said.is_empty() { "nothing was said".into() } else { cut(&said, 120) };
            let (node, argv) = (&reading.probe.node, cut(&reading.probe.argv.to_string(), 60));
            Some(format!("{node}: `{argv}` {}: {said}", output.ended))
        }
        // The verdict itself says why.
        crate::proof::Answer::Unasked(_) => None,
    });
    told.take(4).collect()
}

/// One line of at most `width` characters.
fn cut(text: &str, width: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= width { line } else { line.chars().take(width - 1).chain(['…']).collect() }
}

/// The proof for programs: every check with id, nodes, verdict and evidence.
pub fn json(proof: &Proof) -> Value {
    let seconds = |duration: Duration| (duration.as_secs_f64() * 1000.0).round() / 1000.0;
    let checks = proof.findings.iter().map(|finding| {
        let readings = finding.evidence.iter().filter_map(|at| proof.readings.get(*at));
        let nodes = finding.check.nodes();
        json!({
            "id": finding.id,
            "kind": finding.check.kind(),
            "layer": finding.check.layer(),
            "node": nodes.first(),
            "nodes": nodes,
            "verdict": finding.verdict.mark(),
            "text": finding.verdict.text(),
            "took_s": seconds(finding.took),
            "rounds": finding.rounds,
            "evidence": readings.collect::<Vec<_>>(),
        })
    });
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for finding in &proof.findings {
        *counts.entry(word(&finding.verdict)).or_default() += 1;
    }
    json!({
        "schema": proof.schema,
        "cluster": proof.cluster,
        "plan": proof.plan,
        "started": proof.started,
        "took_s": seconds(proof.took),
        "rounds": proof.rounds,
        "proven": outcome(proof) == Outcome::Proven,
        "without_stability": proof.without_stability,
        "exit_code": outcome(proof).exit_code(),
        "counts": counts,
        "earliest_failing": earliest(proof).map(|finding| &finding.id),
        "checks": checks.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests;
