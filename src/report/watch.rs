//! `watch` on a terminal, and as lines where there is none: the picture of the cluster, and each change with its time.

use std::fmt::Write as _;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::picture::{Shade, halves, node};
use crate::event::Mark;
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::proof::change::Change;
use crate::proof::{Proof, Verdict};

/// The most failing checks that stand under the picture.
const SHOWN: usize = 8;

/// A picture that stays at the end of the terminal; changes scroll away above it.
pub struct Live {
    screen: MultiProgress,
    picture: ProgressBar,
}

impl Live {
    /// An empty one, on standard error.
    pub fn new() -> Self {
        let screen = MultiProgress::new();
        let picture = screen.add(ProgressBar::new_spinner());
        picture.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
        Self { screen, picture }
    }

    /// Show one look.
    pub fn show(&self, plan: &Plan, look: &Look<'_>) {
        for change in look.changes {
            // A terminal that is gone is no failure.
            let _ = self.screen.println(line(change, look.at, &TimeZone::system()));
        }
        self.picture.set_message(picture(plan, look, &TimeZone::system()));
        self.picture.tick();
    }

    /// Leave the last picture where it is.
    pub fn end(self) {
        self.picture.abandon();
    }
}

impl Default for Live {
    fn default() -> Self {
        Self::new()
    }
}

/// One look at a cluster.
pub struct Look<'a> {
    /// Which one, from 1.
    pub number: u32,
    /// When it ended.
    pub at: Timestamp,
    /// How everything stands.
    pub proof: &'a Proof,
    /// What is different.
    pub changes: &'a [Change],
}

/// The lines of one look where there is no terminal: each change, and at the first look how everything stands.
pub fn lines(plan: &Plan, look: &Look<'_>) -> String {
    let zone = TimeZone::system();
    let first = if look.number == 1 { head(plan, look, &zone) } else { String::new() };
    look.changes.iter().fold(first, |text, change| text + &line(change, look.at, &zone) + "\n")
}

fn line(change: &Change, at: Timestamp, zone: &TimeZone) -> String {
    let word = |mark: Option<Mark>| match mark {
        None => "",
        Some(Mark::Pass) => "pass",
        Some(Mark::NotYet | Mark::Never) => "FAIL",
        Some(Mark::Unknown) => "unknown",
    };
    let (before, now) = (word(change.before), word(Some(change.now.mark())));
    let arrow = if before.is_empty() { now.to_owned() } else { format!("{before} -> {now}") };
    format!("{}  {arrow:<16}  {}: {}", clock(at, zone), change.check, change.now.text())
}

fn clock(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string()
}

fn head(plan: &Plan, look: &Look<'_>, zone: &TimeZone) -> String {
    let passed = look.proof.findings.iter().filter(|one| one.verdict.passed()).count();
    let all = look.proof.findings.len();
    format!("{}  {}: {passed} of {all} checks pass, look {}\n", clock(look.at, zone), plan.cluster, look.number)
}

/// Rows are nodes, columns their peers, in each cell the row's half of the session.
fn picture(plan: &Plan, look: &Look<'_>, zone: &TimeZone) -> String {
    let names: Vec<&str> = plan.nodes.names().map(NodeName::as_str).collect();
    let width = names.iter().map(|name| name.len()).max().unwrap_or_default();
    let mut text = format!("\n{}\n  {:width$}    ", head(plan, look, zone), "");
    for name in &names {
        let _ = write!(text, "{name:^width$}  ");
    }
    text.push('\n');
    let halves = halves(plan, Some(look.proof));
    for (name, part) in plan.nodes.iter() {
        let mark = if node(name, Some(look.proof)) == Shade::Pass { "✓" } else { "✗" };
        let _ = write!(text, "  {:width$} {mark}  ", name.as_str());
        for other in plan.nodes.names() {
            let half = halves.iter().find(|half| half.node == name && half.peer == other);
            let cell = half.map_or("·", |half| match (half.session, half.route) {
                (Shade::Pass, Shade::Fail) => "○",
                (Shade::Pass, _) => "●",
                (Shade::Fail, _) => "✗",
                (Shade::Unknown, _) => "?",
            });
            let _ = write!(text, "{cell:^width$}  ");
        }
        let _ = writeln!(text, "{:<15}  {}", part.address, part.block);
    }
    text.push_str("  a row's session with a column: ● up  ○ up, and no route  ✗ not up  ? not known\n");
    let failing: Vec<_> = look.proof.findings.iter().filter(|one| !one.verdict.passed()).collect();
    for finding in failing.iter().take(SHOWN) {
        let word = if matches!(finding.verdict, Verdict::Unknown { .. }) { "unknown" } else { "FAIL" };
        let _ = writeln!(text, "  {word}  {}: {}", finding.id, finding.verdict.text());
    }
    if failing.len() > SHOWN {
        let _ = writeln!(text, "  and {} more", failing.len() - SHOWN);
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::{Check, samples};

    #[test]
    fn the_picture_has_both_halves_of_each_session() {
        let plan = samples::plan(3);
        let (two, three) = (samples::node(2), samples::node(3));
        let mut proof = samples::proof(&plan, &[]);
        for finding in &mut proof.findings {
            finding.verdict = match &finding.check {
                Check::Session { node, peer } if *node == three && *peer == two => Verdict::not_yet("Active"),
                Check::Route { node, owner, .. } if *node == two && *owner == three => Verdict::not_yet("no route"),
                _ => Verdict::Pass { seen: "yes".into() },
            };
        }
        let changes = crate::proof::change::changes(None, &proof);
        let look = Look { number: 1, at: Timestamp::UNIX_EPOCH, proof: &proof, changes: &changes };
        insta::assert_snapshot!(picture(&plan, &look, &TimeZone::UTC));
        let lines: Vec<String> = changes.iter().map(|change| line(change, look.at, &TimeZone::UTC)).collect();
        assert_eq!(lines[0], "00:00:00  FAIL              session.calico-03.calico-02: Active");
    }
}
