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
        return Ok(Choice { provider, why: format!("{wanted}, as asked: {}", provider.describe().await) });
    }
    let mut passed = String::new();
    let mut slow: Option<&dyn Provider> = None;
    // Vagrant is slower than QEMU by itself, and needs as much: it is for those who ask for it.
    for &provider in given.iter().filter(|one| one.kind() != Kind::Vagrant) {
        if let Some(lack) = provider.lacks(plan).await.into_iter().find(|lack| !lack.bearable) {
            passed = format!("{passed}; not {}: {}", provider.kind(), lack.what);
        } else if provider.emulates().await {
            slow = slow.or(Some(provider));
        } else {
            let beside = slow.map_or_else(String::new, |slow| format!("; not {}, which would emulate", slow.kind()));
            let why = format!("{}, chosen by itself: {}{beside}{passed}", provider.kind(), provider.describe().await);
            return Ok(Choice { provider, why });
        }
    }
    if let Some(provider) = slow {
        let why = format!("{}, chosen by itself: {}{passed}", provider.kind(), provider.describe().await);
        return Ok(Choice { provider, why });
    }
    let provider = *given.first().ok_or(ChooseError::None)?;
    Ok(Choice { provider, why: format!("{}, though nothing fits this host{passed}", provider.kind()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::qemu::Qemu;
    use crate::machine::qemu::support::small_plan;

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
