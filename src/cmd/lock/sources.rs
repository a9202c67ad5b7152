//! `lock` for release files and container images: what is asked of upstreams, and the pins their answers make.

use futures::StreamExt as _;
use futures::stream;
use serde::Serialize;

use crate::artifact::oci::Tagged;
use crate::artifact::store::Store;
use crate::event::Events;
use crate::failure::in_one_line;
use crate::lab::file::{Artifact, Lab};
use crate::lab::pin::{Arch, Digest, LOCK_SCHEMA, Lock, Pin, Source, Trust, Wanted};
use crate::lab::plan::meant;

use super::{Change, Want};

/// How many upstreams are asked at the same time: most questions of a lab go to two or three hosts.
const AT_ONCE: usize = 6;

/// A pin that its upstream's record contradicts now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// What the lab calls it.
    pub name: String,
    /// The processor.
    pub arch: Arch,
    /// What is pinned.
    pub pinned: Digest,
    /// What the upstream says.
    pub now: Digest,
    /// Where it says so.
    pub at: String,
}

/// A lock made anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The lock.
    pub lock: Lock,
    /// What changed in it.
    pub changes: Vec<Change>,
    /// What was not taken.
    pub refused: Vec<Refused>,
    /// What is worth knowing: upstreams that could not be asked, tags that moved.
    pub notes: Vec<String>,
    /// Names of what could not be resolved because an upstream failed.
    pub failed: Vec<String>,
}

/// One file of one processor to be resolved.
#[derive(Clone, Debug)]
struct Question {
    name: String,
    version: String,
    arch: Arch,
    source: Source,
    /// The pin it has by now.
    old: Option<Pin>,
}

/// What came of asking.
#[derive(Debug)]
enum Answer {
    /// The upstream's record, and where it stands.
    Listed { digests: Vec<Digest>, at: String },
    /// What its registry has under the tag.
    Tagged(Tagged),
    /// The sum of what came.
    FirstUse { digest: Digest, bytes: u64, at: String },
    /// Nobody publishes it.
    Nowhere,
    /// It could not be had.
    Failed(String),
}

/// Resolve the lab's artifacts that `want` chooses, but for Debian packages, and make a lock of the answers. Pins of
/// what is not chosen stay as they are.
pub async fn resolve(store: &Store, lab: &Lab, lock: &Lock, want: &Want, events: &Events) -> Made {
    let questions: Vec<Question> =
        lab.artifacts.iter().filter(|one| want.chooses(&one.name)).flat_map(|one| questions(one, lock)).collect();
    let asked = questions.into_iter().map(|question| async move {
        let answer = answer(store, &question, want.first_use, events).await;
        (question, answer)
    });
    let answered: Vec<(Question, Answer)> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    settle(lab, lock, answered, want.accept_changed, jiff::Zoned::now().date())
}

/// For which processors an artifact is resolved: for each one where it has a file of its own, else for those that the
/// lock speaks of, else for all at once.
fn questions(artifact: &Artifact, lock: &Lock) -> Vec<Question> {
    let Artifact { name, version: Some(version), source, .. } = artifact else { return Vec::new() };
    let mut archs = vec![Arch::Amd64, Arch::Arm64];
    if !source.differs_by_arch() {
        let pinned = lock.pins.iter().filter(|pin| pin.name == *name).map(|pin| pin.arch);
        let missing = lock.missing.iter().filter(|wanted| wanted.name == *name).map(|wanted| wanted.arch);
        archs = pinned.chain(missing).collect();
        archs.sort();
        archs.dedup();
        if archs.is_empty() {
            archs.push(Arch::All);
        }
    }
    let question = |arch: Arch| {
        let old = lock.pins.iter().find(|pin| pin.name == *name && pin.arch == arch && meant(artifact, pin, arch));
        let source = source.filled(version, arch);
        Question { name: name.clone(), version: version.clone(), arch, source, old: old.cloned() }
    };
    archs.into_iter().map(question).collect()
}

async fn answer(store: &Store, question: &Question, first_use: bool, events: &Events) -> Answer {
    match &question.source {
        Source::Oci { reference } => match store.tagged(reference, question.arch, events).await {
            Ok(tagged) => Answer::Tagged(tagged),
            Err(error) => Answer::Failed(in_one_line(&error)),
        },
        Source::Apt { .. } => Answer::Nowhere,
        Source::Url { urls, sums } => {
            let listed = match (sums, urls.first()) {
                (Some(list), Some(file)) => match store.listed(list, file, events).await {
                    Ok(digests) => return Answer::Listed { digests, at: list.clone() },
                    Err(error) => Answer::Failed(in_one_line(&error)),
                },
                _ => Answer::Nowhere,
            };
            if !first_use || question.old.is_some() {
                return listed;
            }
            match store.first_use(urls, events).await {
                Ok((digest, bytes, at)) => Answer::FirstUse { digest, bytes, at },
                Err(error) => Answer::Failed(in_one_line(&error)),
            }
        }
    }
}

/// Pure: the new lock out of the answers, in the lab's order.
fn settle(
    lab: &Lab,
    lock: &Lock,
    answered: Vec<(Question, Answer)>,
    accept_changed: bool,
    today: jiff::civil::Date,
) -> Made {
    let mut made = Made {
        lock: Lock { schema: LOCK_SCHEMA, pins: Vec::new(), missing: Vec::new() },
        changes: Vec::new(),
        refused: Vec::new(),
        notes: Vec::new(),
        failed: Vec::new(),
    };
    let mut answered = answered.into_iter().peekable();
    for artifact in &lab.artifacts {
        let name = &artifact.name;
        if answered.peek().is_none_or(|(question, _)| question.name != *name) {
            made.lock.pins.extend(lock.pins.iter().filter(|pin| pin.name == *name).cloned());
            made.lock.missing.extend(lock.missing.iter().filter(|wanted| wanted.name == *name).cloned());
            continue;
        }
        while let Some((question, answer)) = answered.next_if(|(question, _)| question.name == *name) {
            let before = lock.pins.iter().find(|pin| pin.name == *name && pin.arch == question.arch).cloned();
            let after = made.one(lock, question, answer, accept_changed, today);
            made.changes.extend(Change::between(before.as_ref(), after.as_ref()));
            made.lock.pins.extend(after);
        }
    }
    let gone = lock.pins.iter().filter(|pin| lab.artifacts.iter().all(|artifact| artifact.name != pin.name));
    made.changes.extend(gone.filter_map(|pin| Change::between(Some(pin), None)));
    made
}

impl Made {
    /// The pin that an answer makes, if it makes one; what it means otherwise is noted.
    fn one(
        &mut self,
        lock: &Lock,
        question: Question,
        answer: Answer,
        accept_changed: bool,
        today: jiff::civil::Date,
    ) -> Option<Pin> {
        let Question { name, version, arch, source, old } = question;
        let label = format!("{name} {version} for {}", arch.words().0);
        let (digests, at, tag) = match answer {
            Answer::Listed { digests, at } => (digests, at, false),
            Answer::Tagged(tagged) => {
                let Source::Oci { reference } = &source else { return old };
                let arch = if tagged.list || arch != Arch::All { arch } else { Arch::Amd64 };
                let at = format!("the registry of {reference}");
                if old.is_none() {
                    return Some(pin(name, version, arch, source, tagged.digest, &at, today));
                }
                (vec![tagged.digest], at, true)
            }
            Answer::FirstUse { digest, bytes, at } => {
                let fresh = pin(name, version, arch, source, digest, &at, today);
                let found = format!("the sum of what {at} gave on {today}; nobody vouches for it");
                return Some(Pin { bytes: Some(bytes), trust: Trust::FirstUse, found, ..fresh });
            }
            Answer::Nowhere | Answer::Failed(_) if old.is_some() => {
                if let Answer::Failed(why) = answer {
                    self.notes.push(format!("{label} stays as it is pinned: {why}"));
                }
                return old;
            }
            Answer::Nowhere | Answer::Failed(_) => {
                let known = lock.missing.iter().find(|wanted| {
                    wanted.name == name && wanted.arch == arch && wanted.version.as_ref() == Some(&version)
                });
                let why = match answer {
                    Answer::Failed(why) => {
                        self.failed.push(name.clone());
                        self.notes.push(format!("{label}: {why}"));
                        why
                    }
                    _ => known.map_or_else(|| "its upstream publishes no sum".into(), |wanted| wanted.why.clone()),
                };
                self.lock.missing.push(Wanted { name, version: Some(version), arch, source, why });
                return None;
            }
        };
        let Some(old) = old else { return Some(pin(name, version, arch, source, digests[0], &at, today)) };
        let Some(now) = digests.into_iter().find(|now| now.algorithm() == old.digest.algorithm()) else {
            self.notes.push(format!("{label} stays as it is pinned: {at} has no sum of its kind"));
            return Some(old);
        };
        if now == old.digest {
            // The upstream itself says what was only recorded by others, or seen once.
            let found = format!("{at}, read on {today}");
            let known = old.trust == Trust::Published;
            return Some(if known { old } else { Pin { trust: Trust::Published, found, ..old } });
        }
        if accept_changed {
            return Some(pin(name, version, arch, source, now, &at, today));
        }
        if tag {
            // Tags are moved by right; the pinned manifest is asked for by its digest and stays what it is.
            self.notes.push(format!("{label} stays as it is pinned: {at} has {now} under its tag now"));
        } else {
            self.refused.push(Refused { name, arch, pinned: old.digest, now, at });
        }
        Some(old)
    }
}

fn pin(
    name: String,
    version: String,
    arch: Arch,
    source: Source,
    digest: Digest,
    at: &str,
    today: jiff::civil::Date,
) -> Pin {
    let found = format!("{at}, read on {today}");
    Pin { name, version, arch, source, digest, bytes: None, trust: Trust::Published, found }
}

#[cfg(test)]
mod tests;
