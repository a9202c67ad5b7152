//! Whether a lock is of its lab: nothing the lab wants goes unmentioned, and nothing is pinned that it does not want.

use super::file::{Artifact, Lab};
use super::lock_file::PlacedLock;
use super::pin::{Arch, Pin, Wanted};
use super::plan::{meant, pinned};
use super::problem::{Place, Problem, Problems};

/// Every point on which lab and lock disagree. A digest that the lab's nodes need and the lock names as missing is
/// none: such a lock is incomplete, not wrong.
pub fn agree(lab: &Lab, lock: &PlacedLock) -> Result<(), Problems> {
    let pins = lock.lock.pins.iter().zip(&lock.pins).filter_map(|(pin, at)| stray_pin(lab, lock, pin, at));
    let missing = lock.lock.missing.iter().zip(&lock.missing).filter_map(|(wanted, at)| stray_want(lab, wanted, at));
    let silent = lab.artifacts.iter().filter_map(|artifact| unmentioned(lab, lock, artifact));
    Problems::none_or(pins.chain(missing).chain(silent).collect())
}

fn artifact<'a>(lab: &'a Lab, name: &str) -> Option<&'a Artifact> {
    lab.artifacts.iter().find(|artifact| artifact.name == name)
}

fn unknown(lab: &Lab, name: &str, at: &Place) -> Problem {
    let names: Vec<&str> = lab.artifacts.iter().map(|artifact| artifact.name.as_str()).collect();
    Problem::new(at, format!("the lab has no artifact `{name}`")).choose(name, &names)
}

fn stray_pin(lab: &Lab, lock: &PlacedLock, pin: &Pin, at: &Place) -> Option<Problem> {
    let Pin { name, arch, .. } = pin;
    let Some(artifact) = artifact(lab, name) else { return Some(unknown(lab, name, at)) };
    if !meant(artifact, pin, *arch) {
        return Some(
            Problem::new(at, format!("`{name}` is pinned in another version or from another source than the lab says"))
                .remedy(format!("calicolab lock {}", lab.name)),
        );
    }
    let also = lock.lock.missing.iter().any(|wanted| wanted.name == *name && wanted.arch == *arch);
    also.then(|| Problem::new(at, format!("`{name}` is pinned and listed as missing")).remedy("remove one"))
}

fn stray_want(lab: &Lab, wanted: &Wanted, at: &Place) -> Option<Problem> {
    let Wanted { name, version, arch, source, .. } = wanted;
    let Some(artifact) = artifact(lab, name) else { return Some(unknown(lab, name, at)) };
    let filled = artifact.source.filled(version.as_deref().unwrap_or_default(), *arch);
    (*version != artifact.version || *source != filled).then(|| {
        let reason = format!("`{name}` is missing in another version or from another source than the lab says");
        Problem::new(at, reason).remedy(format!("calicolab lock {}", lab.name))
    })
}

fn unmentioned(lab: &Lab, lock: &PlacedLock, artifact: &Artifact) -> Option<Problem> {
    let Artifact { name, .. } = artifact;
    pinned(artifact, &lock.lock, lab.arch).err()?;
    let ours = |arch: Arch| arch == lab.arch || arch == Arch::All;
    let listed = lock.lock.missing.iter().any(|wanted| wanted.name == *name && ours(wanted.arch));
    // A pin of another version was told of where it stands.
    let told = lock.lock.pin(name, lab.arch).is_some();
    (!listed && !told).then(|| {
        Problem::new(&lock.at, format!("`{name}` is neither pinned nor listed as missing"))
            .remedy(format!("calicolab lock {}", lab.name))
    })
}

#[cfg(test)]
mod tests {
    use super::super::builtin::Library;
    use super::super::file::tests::{primer, primer_text, read};
    use super::*;

    fn lock() -> String {
        let library = Library::open(None).expect("the binary's own");
        library.lock_text(&"primer".parse().expect("a name"), None).expect("readable").expect("carried").text
    }

    fn told(lab: &Lab, lock: &str) -> String {
        let placed = PlacedLock::read(lock, "lock.yaml").expect("it parses");
        agree(lab, &placed).map_or_else(|problems| problems.to_string(), |()| String::new())
    }

    #[test]
    fn a_lock_that_is_of_its_lab_is_agreed_on() {
        assert_eq!(told(&primer(&[]), &lock()), "");
    }

    #[test]
    fn what_the_lab_does_not_want_and_what_the_lock_does_not_mention_is_told() {
        let renamed = lock().replacen("- name: bird", "- name: brid", 1);
        let wrong = told(&primer(&[]), &renamed);
        assert!(wrong.starts_with("lock.yaml:2:1: `bird` is neither pinned nor listed as missing"), "{wrong}");
        assert!(wrong.contains("lock.yaml:4:3: the lab has no artifact `brid`; did you mean `bird`?"), "{wrong}");
        let other =
            read(&primer_text().replacen("package: bird, suite: bookworm", "package: bird2, suite: bookworm", 1), &[]);
        let wrong = told(&other.expect("right"), &lock());
        assert!(wrong.starts_with("lock.yaml:4:3: `bird` is pinned in another version"), "{wrong}");
        assert_eq!(wrong.lines().count(), 1, "told once: {wrong}");
    }
}
