//! One self-contained page about a cluster: the drawing, what is broken, the checks, how `up` went, the pins.

use std::f64::consts::TAU;
use std::time::Duration;

use minijinja::Environment;
use minijinja::value::Serde;
use serde_json::{Value, json};

use super::picture::{Shade, halves, node};
use crate::event::{Event, Stamped, Step};
use crate::explain::Diagnosis;
use crate::lab::plan::Plan;
use crate::proof::{Answer, Proof};

/// What a page is made of.
pub struct View<'a> {
    /// What is to be.
    pub plan: &'a Plan,
    /// The last proof.
    pub proof: Option<&'a Proof>,
    /// Its explanation, if one was made.
    pub diagnosis: Option<&'a Diagnosis>,
    /// What happened, in order.
    pub events: &'a [Stamped],
    /// When the page is made.
    pub at: jiff::Timestamp,
}

/// The page as HTML: no script, nothing from elsewhere.
pub fn page(view: &View<'_>) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    // The name's end is what turns escaping on.
    environment.add_template("page.html", include_str!("page.html"))?;
    let passed = |proof: &Proof| proof.findings.iter().filter(|one| one.verdict.passed()).count();
    environment.get_template("page.html")?.render(minijinja::Value::from(Serde(json!({
        "plan": view.plan,
        "master": view.plan.master,
        "at": format!("{:.0}", view.at),
        "version": env!("CARGO_PKG_VERSION"),
        "drawing": drawing(view.plan, view.proof),
        "total": view.proof.map_or(0, |proof| proof.findings.len()),
        "passed": view.proof.map_or(0, passed),
        "started": view.proof.map(|proof| format!("{:.0}", proof.started)),
        "kinds": view.proof.map(kinds),
        "diagnosis": view.diagnosis,
        "bars": bars(view.events),
    }))))
}

/// Width, height and middle of the drawing.
const SIZE: (f64, f64) = (640.0, 440.0);
const MIDDLE: (f64, f64) = (320.0, 220.0);

/// Nodes on a ring, and for each planned half of a session an arrow with how it stands.
fn drawing(plan: &Plan, proof: Option<&Proof>) -> Value {
    let count = number(plan.nodes.len());
    let place = |index: usize| {
        let angle = TAU * number(index) / count - TAU / 4.0;
        (MIDDLE.0 + 220.0 * angle.cos(), MIDDLE.1 + 150.0 * angle.sin())
    };
    let mut drawn = Vec::new();
    for half in halves(plan, proof) {
        let ((x, y), (to_x, to_y)) = (place(plan.nodes[half.node].index), place(plan.nodes[half.peer].index));
        let (along_x, along_y) = (to_x - x, to_y - y);
        let length = along_x.hypot(along_y).max(1.0);
        let (unit_x, unit_y) = (along_x / length, along_y / length);
        // Each half on its own side of the line between the nodes, and short of their boxes.
        let side = |distance: f64| (x + unit_x * distance - unit_y * 9.0, y + unit_y * distance + unit_x * 9.0);
        let ((x1, y1), (x2, y2)) = (side(60.0), side(length - 62.0));
        drawn.push(json!({
            "x1": x1, "y1": y1, "x2": x2, "y2": y2, "mark": half.session.word(), "route": half.route.word(),
            "text": format!("{} to {}: {}", half.node, half.peer, half.text),
        }));
    }
    let nodes = plan.nodes.iter().map(|(name, part)| {
        let (x, y) = place(part.index);
        json!({
            "x": x, "y": y, "name": name, "address": part.address, "block": part.block, "dns": part.dns_pod.is_some(),
            "master": *name == plan.master, "mark": node(name, proof).word(),
        })
    });
    let nodes: Vec<Value> = nodes.collect();
    json!({ "width": SIZE.0, "height": SIZE.1, "halves": drawn, "nodes": nodes })
}

/// Nodes are few.
fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The most that is shown of what a program said.
const SAID: usize = 4000;

/// Checks by kind, in the order of the chain, with their evidence.
fn kinds(proof: &Proof) -> Value {
    let mut kinds: Vec<(&str, Vec<Value>, usize)> = Vec::new();
    for finding in &proof.findings {
        let evidence = finding.evidence.iter().filter_map(|at| proof.readings.get(*at)).map(|reading| {
            let said = match &reading.answer {
                Answer::Said(output) => format!("{}{}", output.stdout, output.stderr),
                Answer::Unasked(why) => why.clone(),
            };
            let cut = said.chars().take(SAID).collect::<String>();
            json!({ "node": reading.probe.node, "asked": reading.probe.argv.to_string(), "said": cut })
        });
        let one = json!({
            "id": finding.id, "mark": Shade::of(&finding.verdict).word(), "text": finding.verdict.text(),
            "evidence": evidence.collect::<Vec<_>>(),
        });
        let kind = finding.check.kind();
        let at = kinds.iter().position(|(own, ..)| *own == kind).unwrap_or_else(|| {
            kinds.push((kind, Vec::new(), 0));
            kinds.len() - 1
        });
        kinds[at].2 += usize::from(finding.verdict.passed());
        kinds[at].1.push(one);
    }
    kinds
        .into_iter()
        .map(
            |(kind, checks, passed)| json!({ "kind": kind, "total": checks.len(), "passed": passed, "checks": checks }),
        )
        .collect()
}

/// The steps of the last `up` (or `start`) as bars, in percent of the whole; the longest is on the critical path, since
/// steps follow each other.
fn bars(events: &[Stamped]) -> Value {
    let begun = events
        .iter()
        .rposition(|one| matches!(&one.event, Event::Begin { verb, .. } if verb == "up" || verb == "start"));
    let Some(begun) = begun else { return json!([]) };
    let end = events[begun + 1..].iter().position(|one| matches!(one.event, Event::Begin { .. }));
    let run = &events[begun..end.map_or(events.len(), |end| begun + 1 + end)];
    let since = |at: jiff::Timestamp| at.duration_since(run[0].at).as_secs_f64();
    let mut steps: Vec<(Step, f64, f64, bool, String)> = Vec::new();
    for one in run {
        let done = match &one.event {
            Event::StepDone { step, took, outcome } => Some((*step, *took, true, outcome.clone())),
            Event::StepFailed { step, took } => Some((*step, *took, false, "failed".into())),
            _ => None,
        };
        if let Some((step, took, well, outcome)) = done {
            let took: Duration = took;
            let ended = since(one.at);
            steps.push((step, (ended - took.as_secs_f64()).max(0.0), ended, well, outcome));
        }
    }
    let whole = steps.iter().map(|(_, _, ended, ..)| *ended).fold(0.001, f64::max);
    let longest = steps.iter().map(|(_, from, to, ..)| to - from).fold(0.0, f64::max);
    let bar = |(step, from, to, well, outcome): &(Step, f64, f64, bool, String)| {
        json!({
            "step": step.word(), "from": 100.0 * from / whole, "width": (100.0 * (to - from) / whole).max(0.3),
            "seconds": format!("{:.1} s", to - from), "outcome": outcome,
            "mark": if !well { "fail" } else if to - from >= longest { "longest" } else { "pass" },
        })
    };
    steps.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::{Reading, Verdict, samples};

    #[test]
    fn the_page_needs_nothing_and_runs_nothing() {
        let plan = samples::plan(3);
        let said = crate::command::Output {
            ended: crate::command::Ended::Exit(0),
            stdout: "<script>alert(1)</script>".into(),
            stderr: String::new(),
        };
        let probe = crate::proof::raise(samples::NONCE, &samples::node(1));
        let at = jiff::Timestamp::UNIX_EPOCH;
        let mut proof = samples::proof(&plan, &[]);
        proof.readings = vec![Reading { probe, answer: Answer::Said(said), at }];
        for finding in &mut proof.findings {
            (finding.verdict, finding.evidence) = (Verdict::never("because <b>"), vec![0]);
        }
        let done = |step, took| Event::StepDone { step, took: Duration::from_secs(took), outcome: "well".into() };
        let events = [
            (0, Event::Begin { verb: "up".into(), cluster: "demo".into(), steps: vec![] }),
            (2, done(Step::Fetch, 2)),
            (10, done(Step::Boot, 8)),
        ]
        .map(|(second, event)| Stamped {
            schema: 1,
            at: jiff::Timestamp::from_second(second).expect("in range"),
            event,
        });
        let view = View { plan: &plan, proof: Some(&proof), diagnosis: None, events: &events, at };
        let page = page(&view).expect("it can be rendered");
        assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script"), "what nodes say is text");
        for outside in ["src=", "href=", "url(", "@import", "<link", "<iframe"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert_eq!(page.matches("<path class=\"half").count(), 6);
        assert!(page.contains("8.0 s") && page.contains("longest"));
        assert!(plan.artifacts.iter().all(|one| page.contains(&one.pin.name)));
    }
}
