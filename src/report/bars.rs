//! A terminal's view: one line a step, one bar a subject, elapsed time and last reason always visible.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{Reader, Steps, short};
use crate::event::{Event, Mark, Stamped, Step};

/// What is on the screen.
pub(super) struct Bars {
    screen: MultiProgress,
    steps: Steps,
    current: BTreeMap<Step, ProgressBar>,
    subjects: BTreeMap<(Step, String), ProgressBar>,
    checks: BTreeMap<String, Mark>,
    whole: Whole,
}

/// How much of all files of the fetch step is there, in bytes.
#[derive(Default)]
struct Whole(BTreeMap<String, (u64, u64)>);

impl Whole {
    fn moved(&mut self, subject: &str, done: (u64, u64)) {
        self.0.insert(subject.into(), done);
    }

    fn ended(&mut self, subject: &str) {
        if let Some((have, total)) = self.0.get_mut(subject) {
            *have = *total;
        }
    }

    /// The sums, once anything is known.
    fn sums(&self) -> Option<(u64, u64)> {
        let add = |sum: (u64, u64), one: &(u64, u64)| (sum.0 + one.0, sum.1 + one.1);
        Some(self.0.values().fold((0, 0), add)).filter(|(_, total)| *total > 0)
    }
}

impl Bars {
    pub(super) fn new() -> Self {
        Self {
            screen: MultiProgress::new(),
            steps: Steps(Vec::new()),
            current: BTreeMap::new(),
            subjects: BTreeMap::new(),
            checks: BTreeMap::new(),
            whole: Whole::default(),
        }
    }

    fn say(&self, text: &str) {
        let _ = self.screen.println(text);
    }

    fn spinner(&self, template: &str) -> ProgressBar {
        let bar = self.screen.add(ProgressBar::new_spinner());
        bar.set_style(style(template));
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }

    fn end_step(&mut self, step: Step, line: &str) {
        let gone: Vec<_> = self.subjects.keys().filter(|(of, _)| *of == step).cloned().collect();
        for key in gone {
            if let Some(bar) = self.subjects.remove(&key) {
                bar.finish_and_clear();
            }
        }
        if let Some(bar) = self.current.remove(&step) {
            bar.finish_and_clear();
        }
        self.say(line);
    }

    fn subject(&mut self, step: Step, subject: &str) -> ProgressBar {
        if let Some(bar) = self.subjects.get(&(step, subject.to_owned())) {
            return bar.clone();
        }
        let bar = self.spinner("      {prefix:<18} {spinner} {elapsed:>4} {wide_msg}");
        bar.set_prefix(subject.to_owned());
        self.subjects.insert((step, subject.to_owned()), bar.clone());
        bar
    }

    /// Bytes on the step's own bar.
    fn show_whole(&self) {
        if let (Some(bar), Some((have, total))) = (self.current.get(&Step::Fetch), self.whole.sums()) {
            measure(bar, "{prefix} {spinner} {elapsed:>4} {bar:24}", have, total);
        }
    }

    fn count_checks(&self) -> String {
        let passed = self.checks.values().filter(|mark| **mark == Mark::Pass).count();
        format!("{passed} of {} checks", self.checks.len())
    }
}

impl Reader for Bars {
    fn read(&mut self, stamped: &Stamped) {
        self.steps.learn(&stamped.event);
        match &stamped.event {
            Event::Begin { verb, cluster, .. } => self.say(&format!("{verb}: {cluster}")),
            Event::StepStarted { step } => {
                let bar = self.spinner("{prefix} {spinner} {elapsed:>4} {wide_msg}");
                bar.set_prefix(self.steps.title(*step));
                self.current.insert(*step, bar);
            }
            Event::StepDone { step, took, outcome } => {
                let line = format!("{} ✓ {:>6} {outcome}", self.steps.title(*step), short(*took));
                self.end_step(*step, &line);
            }
            Event::StepFailed { step, took } => {
                let line = format!("{} ✗ {:>6}", self.steps.title(*step), short(*took));
                self.end_step(*step, &line);
            }
            Event::Progress { step, subject, doing, done } => {
                let bar = self.subject(*step, subject);
                if let Some((now, of)) = done {
                    measure(&bar, "      {prefix:<18} {bar:24}", *now, *of);
                    if *step == Step::Fetch {
                        self.whole.moved(subject, (*now, *of));
                        self.show_whole();
                    }
                }
                bar.set_message(doing.clone());
            }
            Event::SubjectDone { step, subject, outcome } => {
                let bar = self.subject(*step, subject);
                bar.set_style(style("      {prefix:<18} ✓ {elapsed:>4} {wide_msg}"));
                bar.finish_with_message(outcome.clone());
                if *step == Step::Fetch {
                    self.whole.ended(subject);
                    self.show_whole();
                }
            }
            Event::Machine { node, handle } => {
                let bar = self.subject(Step::Boot, node);
                bar.set_message(handle.clone());
            }
            Event::Check { check, mark, text } => {
                self.checks.insert(check.clone(), *mark);
                let message = if *mark == Mark::Pass {
                    self.count_checks()
                } else {
                    format!("{}; {check}: {text}", self.count_checks())
                };
                if let Some(bar) = self.current.get(&Step::Prove) {
                    bar.set_message(message);
                }
            }
            Event::Note { text } => self.say(&format!("note: {text}")),
            Event::Warning { text } => self.say(&format!("warning: {text}")),
            // Only where standard output belongs to the events.
            Event::Answer { .. } => {}
        }
    }
}

/// Bytes, speed and time left on a bar that begins with `template`.
fn measure(bar: &ProgressBar, template: &str, now: u64, of: u64) {
    let first = bar.length().is_none();
    if first {
        let numbers = "{bytes:>10}/{total_bytes:<10} {bytes_per_sec:>12} {eta:>4} {wide_msg}";
        bar.set_style(style(&format!("{template} {numbers}")));
    }
    bar.set_length(of);
    bar.set_position(now);
    if first {
        // What an earlier run left says nothing of the speed of this one.
        bar.reset_eta();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_is_the_sum_of_what_is_known() {
        let mut whole = Whole::default();
        assert_eq!(whole.sums(), None);
        whole.moved("one", (5, 10));
        whole.moved("two", (0, 100));
        whole.moved("one", (2, 10));
        assert_eq!(whole.sums(), Some((2, 110)));
        whole.ended("two");
        whole.ended("unknown");
        assert_eq!(whole.sums(), Some((102, 110)));
    }
}
