//! One plain line a happening on standard error, for logs and pipes: no colours, no spinners.

use std::collections::HashMap;
use std::io::Write as _;
use std::time::Instant;

use super::{Reader, Steps, short};
use crate::event::{Event, Mark, Stamped};

/// What is remembered between lines.
pub(super) struct Lines {
    start: Instant,
    steps: Steps,
    last: HashMap<String, String>,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), steps: Steps(Vec::new()), last: HashMap::new() }
    }
}

impl Reader for Lines {
    fn read(&mut self, stamped: &Stamped) {
        self.steps.learn(&stamped.event);
        if let Some(text) = self.line(&stamped.event) {
            let _ = writeln!(std::io::stderr(), "{:>7}  {text}", short(self.start.elapsed()));
        }
    }
}

impl Lines {
    /// What a log should hold of an event; moving numbers are left out, each new activity is told once.
    fn line(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::Begin { verb, cluster, .. } => Some(format!("{verb}: {cluster}")),
            Event::StepStarted { step } => Some(format!("{} ...", self.steps.title(*step))),
            Event::StepDone { step, took, outcome } => {
                Some(format!("{} ok, {} ({})", self.steps.title(*step), outcome, short(*took)))
            }
            Event::StepFailed { step, took } => Some(format!("{} FAILED ({})", self.steps.title(*step), short(*took))),
            Event::Progress { step, subject, doing, .. } => {
                let new = self.last.insert(subject.clone(), doing.clone()).as_ref() != Some(doing);
                new.then(|| format!("{} {subject}: {doing}", self.steps.title(*step)))
            }
            Event::SubjectDone { step, subject, outcome } => {
                Some(format!("{} {subject}: {outcome}", self.steps.title(*step)))
            }
            Event::Machine { node, handle } => Some(format!("      machine  {node}: {handle}")),
            Event::Check { check, mark, text } => Some(match mark {
                Mark::Pass => format!("      pass     {check}: {text}"),
                Mark::NotYet => format!("      not yet  {check}: {text}"),
                Mark::Never => format!("      FAIL     {check}: {text}"),
                Mark::Unknown => format!("      unknown  {check}: {text}"),
            }),
            Event::Note { text } => Some(format!("note: {text}")),
            Event::Warning { text } => Some(format!("warning: {text}")),
            // Only where standard output belongs to the events.
            Event::Answer { .. } => None,
        }
    }
}
