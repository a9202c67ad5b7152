//! What is different between two looks at the same checks.

use super::{CheckId, Proof, Verdict};
use crate::event::Mark;

/// One check that stands otherwise than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub check: CheckId,
    /// How it stood; none if it was not looked at.
    pub before: Option<Mark>,
    /// How it stands.
    pub now: Verdict,
}

/// What is different since `before`, in the order of the chain; at the first look whatever does not pass. A check that
/// still does not pass is no news, whatever the reason: reasons count seconds.
pub fn changes(before: Option<&Proof>, now: &Proof) -> Vec<Change> {
    let stood = |id: &CheckId| {
        let finding = before?.findings.iter().find(|finding| finding.id == *id)?;
        Some(finding.verdict.mark())
    };
    let told = now.findings.iter().map(|finding| {
        let before = stood(&finding.id);
        Change { check: finding.id.clone(), before, now: finding.verdict.clone() }
    });
    told.filter(|change| match change.before {
        None => !change.now.passed(),
        Some(mark) => {
            broken(mark) != broken(change.now.mark()) || (mark == Mark::Unknown) != (change.now.mark() == Mark::Unknown)
        }
    })
    .collect()
}

/// Two words for what does not hold are one thing to who watches.
fn broken(mark: Mark) -> bool {
    matches!(mark, Mark::NotYet | Mark::Never)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::samples;

    #[test]
    fn what_only_fails_in_other_words_is_no_news() {
        let plan = samples::plan(2);
        let look = |verdicts: &[Verdict]| samples::proof(&plan, verdicts);
        let pass = || Verdict::Pass { seen: "yes".into() };
        let first = look(&[pass(), Verdict::not_yet("1 s")]);
        let ids = |changes: Vec<Change>| changes.into_iter().map(|one| one.check.to_string()).collect::<Vec<_>>();
        let all: Vec<String> = first.findings.iter().map(|one| one.id.to_string()).collect();
        assert_eq!(ids(changes(None, &first)), [all[1].clone()]);
        assert!(changes(Some(&first), &look(&[pass(), Verdict::never("2 s")])).is_empty());
        let turned = look(&[Verdict::Unknown { why: "gone".into() }, pass()]);
        assert_eq!(ids(changes(Some(&first), &turned)), all);
        assert_eq!(changes(Some(&first), &turned)[0].before, Some(Mark::Pass));
    }
}
