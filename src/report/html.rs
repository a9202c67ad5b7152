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

/// Half the width and height of a node's box, and the ring on which boxes stand.
const BOX: (f64, f64) = (72.0, 30.0);
const RING: (f64, f64) = (220.0, 150.0);
/// Room between a box and what is drawn to it, or the drawing's edge.
const ROOM: f64 = 10.0;

/// Nodes on a ring, and for each planned half of a session an arrow with how it stands.
fn drawing(plan: &Plan, proof: Option<&Proof>) -> Value {
    let count = number(plan.nodes.len());
    let place = |index: usize| {
        let angle = TAU * number(index) / count - TAU / 4.0;
        (RING.0 * angle.cos(), RING.1 * angle.sin())
    };
    let mut drawn = Vec::new();
    for half in halves(plan, proof) {
        let ((x, y), (to_x, to_y)) = (place(plan.nodes[half.node].index), place(plan.nodes[half.peer].index));
        let (along_x, along_y) = (to_x - x, to_y - y);
        let length = along_x.hypot(along_y).max(1.0);
        let (unit_x, unit_y) = (along_x / length, along_y / length);
        // Each half on its own side of the line between the nodes, from box to box; its dot stays free of the far one.
        let (off_x, off_y) = (-unit_y * 9.0, unit_x * 9.0);
        let side = |distance: f64| (x + off_x + unit_x * distance, y + off_y + unit_y * distance);
        let near = leaving((off_x, off_y), (unit_x, unit_y));
        let far = leaving((off_x, off_y), (-unit_x, -unit_y)) + ROOM;
        let ((x1, y1), (x2, y2)) = (side(near), side((length - far).max(near)));
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
    let places = || (0..plan.nodes.len()).map(place);
    let (left, right) = ends(places().map(|(x, _)| x), BOX.0 + ROOM);
    let (top, bottom) = ends(places().map(|(_, y)| y), BOX.1 + ROOM);
    json!({ "left": left, "top": top, "width": right - left, "height": bottom - top, "halves": drawn, "nodes": nodes })
}

/// The least and the greatest, with room beside them.
fn ends(all: impl Iterator<Item = f64>, room: f64) -> (f64, f64) {
    let (least, most) = all.fold((f64::MAX, f64::MIN), |(least, most), one| (least.min(one), most.max(one)));
    (least - room, most + room)
}

/// How far it is from `inside` a box around nought to its edge, straight on along `unit`.
fn leaving(inside: (f64, f64), unit: (f64, f64)) -> f64 {
    let edge = |half: f64, from: f64, along: f64| {
        if along.abs() < 1e-9 { f64::MAX } else { (half * along.signum() - from) / along }
    };
    edge(BOX.0, inside.0, unit.0).min(edge(BOX.1, inside.1, unit.1))
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

/// The steps of the last run that made machines or woke them, as bars in percent of the whole; the longest is on the
/// critical path, since steps follow each other.
fn bars(events: &[Stamped]) -> Value {
    // The run that makes a cluster begins before there is a folder to write that down in.
    let mut runs: Vec<&[Stamped]> = Vec::new();
    let mut rest = events;
    while !rest.is_empty() {
        let end =
            rest[1..].iter().position(|one| matches!(one.event, Event::Begin { .. })).map_or(rest.len(), |at| at + 1);
        runs.push(&rest[..end]);
        rest = &rest[end..];
    }
    let boots = |run: &&&[Stamped]| run.iter().any(|one| matches!(one.event, Event::StepDone { step: Step::Boot, .. }));
    let Some(&run) = runs.iter().rfind(boots) else { return json!([]) };
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
            steps.push((step, ended - took.as_secs_f64(), ended, well, outcome));
        }
    }
    let zero = steps.iter().map(|(_, from, ..)| *from).fold(f64::MAX, f64::min);
    for (_, from, ended, ..) in &mut steps {
        (*from, *ended) = (*from - zero, *ended - zero);
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
        let probe = crate::proof::raise(&plan, samples::NONCE, &samples::node(1));
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
        // As the run that makes a cluster is written down, and another one after it.
        let verify = Event::Begin { verb: "verify".into(), cluster: "demo".into(), steps: vec![] };
        let events = [&events[1..], &[Stamped { schema: 1, at, event: verify }]].concat();
        let view = View { plan: &plan, proof: Some(&proof), diagnosis: None, events: &events, at };
        let page = page(&view).expect("it can be rendered");
        assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script"), "what nodes say is text");
        for outside in ["src=", "href=", "url(", "@import", "<link", "<iframe"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert_eq!(page.matches("<path class=\"half").count(), 6);
        assert!(page.contains("8.0 s") && page.contains("2.0 s") && page.contains("bar longest"));
        assert!(plan.artifacts.iter().all(|one| page.contains(&one.pin.name)));
    }
}
