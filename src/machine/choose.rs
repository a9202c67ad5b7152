//! Which provider is used, and why.

use super::{Kind, Provider};
use crate::lab::plan::Plan;

/// A provider and the reason it was taken.
pub struct Choice<'a> {
    /// The one to use.
    pub provider: &'a dyn Provider,
    /// One line for people.
    pub why: String,
}

/// Why none was taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChooseError {
    /// The one that was named is not among those given.
    #[error("there is no provider {wanted} here; there is {}", list(known))]
    Unknown {
        /// What was named.
        wanted: Kind,
        /// What could be named.
        known: Vec<Kind>,
    },
    /// None was given.
    #[error("there is no provider here")]
    None,
}

fn list(kinds: &[Kind]) -> String {
    kinds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Take the provider that was named, or, where none was, the first that lacks nothing it needs for this plan; one that
/// emulates only if no other would do. If all lack something, the first is taken: what it lacks is told when it is
/// asked.
pub async fn choose<'a>(
    given: &[&'a dyn Provider],
    named: Option<Kind>,
    plan: &Plan,
) -> Result<Choice<'a>, ChooseError> {
    if let Some(wanted) = named {
        let unknown = || ChooseError::Unknown { wanted, known: given.iter().map(|one| one.kind()).collect() };
        let provider = *given.iter().find(|one| one.kind() == wanted).ok_or_else(unknown)?;
        let how = match &plan.away {
            Some(away) => format!("the servers behind `{}`", away.remote),
            None => provider.describe(None).await,
        };
        return Ok(Choice { provider, why: format!("{wanted}, as asked: {how}") });
    }
    // Vagrant is slower than QEMU by itself, and needs as much: it is for those who ask for it.
    let given: Vec<&dyn Provider> = given.iter().copied().filter(|one| one.kind() != Kind::Vagrant).collect();
    let mut seen = Vec::new();
    for &provider in &given {
        let found = look(provider, plan).await;
        let decided = found == Seen::Fit;
        seen.push((provider.kind(), found));
        // Who comes later need not be asked.
        if decided {
            break;
        }
    }
    let (at, passed) = best(&seen).ok_or(ChooseError::None)?;
    let (provider, kind) = (given[at], seen[at].0);
    let why = match seen[at].1 {
        Seen::Lacks(_) => format!("{kind}, though nothing fits this host{passed}"),
        _ => format!("{kind}, chosen by itself: {}{passed}", provider.describe(None).await),
    };
    Ok(Choice { provider, why })
}

/// What a provider would be on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    /// It lacks nothing it needs.
    Fit,
    /// The same, at a tenth of the speed.
    Emulates,
    /// It lacks this, first of all.
    Lacks(String),
}

async fn look(provider: &dyn Provider, plan: &Plan) -> Seen {
    match provider.lacks(plan).await.into_iter().find(|lack| !lack.bearable) {
        Some(lack) => Seen::Lacks(lack.what),
        None if provider.emulates().await => Seen::Emulates,
        None => Seen::Fit,
    }
}

/// The place of the best of those seen, and why the others were passed over; none where there is none.
fn best(seen: &[(Kind, Seen)]) -> Option<(usize, String)> {
    let first = |wanted: fn(&Seen) -> bool| seen.iter().position(|(_, found)| wanted(found));
    let fit = first(|found| *found == Seen::Fit);
    let at = fit.or_else(|| first(|found| *found == Seen::Emulates)).or((!seen.is_empty()).then_some(0))?;
    let passed = seen.iter().enumerate().map(|(place, (kind, found))| match found {
        Seen::Lacks(what) => format!("; not {kind}: {what}"),
        Seen::Emulates if place != at => format!("; not {kind}, which would emulate"),
        _ => String::new(),
    });
    Some((at, passed.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::qemu::Qemu;
    use crate::machine::qemu::support::small_plan;

    #[test]
    fn what_accelerates_comes_first_then_containers_then_emulation() {
        let lacks = |what: &str| Seen::Lacks(what.into());
        let chosen = |seen: &[(Kind, Seen)]| best(seen).map(|(at, why)| format!("{}{why}", seen[at].0));
        let chosen = |qemu, incus| chosen(&[(Kind::Qemu, qemu), (Kind::Incus, incus)]).expect("there are two");
        assert_eq!(chosen(Seen::Fit, Seen::Fit), "qemu");
        assert_eq!(chosen(Seen::Emulates, Seen::Fit), "incus; not qemu, which would emulate");
        assert_eq!(chosen(Seen::Emulates, lacks("no daemon")), "qemu; not incus: no daemon");
        assert_eq!(chosen(lacks("no QEMU"), Seen::Fit), "incus; not qemu: no QEMU");
        // Nothing fits: the first is taken, and what it lacks is told when it is asked.
        assert_eq!(chosen(lacks("no QEMU"), lacks("no daemon")), "qemu; not qemu: no QEMU; not incus: no daemon");
        assert_eq!(best(&[]), None);
    }

    #[tokio::test]
    async fn the_reason_is_told_whichever_way_it_was_chosen() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let qemu = Qemu::new(folder.path(), folder.path());
        let given: [&dyn Provider; 1] = [&qemu];
        let plan = small_plan(1);
        let asked = choose(&given, Some(Kind::Qemu), &plan).await.expect("it is given");
        assert!(asked.why.starts_with("qemu, as asked: QEMU "), "{}", asked.why);
        let auto = choose(&given, None, &plan).await.expect("one is given");
        assert!(auto.why.starts_with("qemu, chosen by itself: QEMU "), "{}", auto.why);
    }

    #[tokio::test]
    async fn what_is_not_there_cannot_be_chosen() {
        let plan = small_plan(1);
        let error = choose(&[], Some(Kind::Nspawn), &plan).await.err().expect("none");
        assert_eq!(error, ChooseError::Unknown { wanted: Kind::Nspawn, known: Vec::new() });
        assert_eq!(choose(&[], None, &plan).await.err(), Some(ChooseError::None));
    }

    #[tokio::test]
    async fn one_that_lacks_something_is_passed_over_with_its_reason() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let qemu = Qemu::new(folder.path(), folder.path());
        let mut plan = small_plan(1);
        plan.nodes = plan.nodes.map(|_, node| crate::lab::plan::NodePlan { memory_mib: 1 << 40, ..node.clone() });
        let choice = choose(&[&qemu], None, &plan).await.expect("the first");
        assert!(choice.why.contains("nothing fits") && choice.why.contains("MiB of memory"), "{}", choice.why);
    }
}
