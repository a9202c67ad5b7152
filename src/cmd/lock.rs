//! `calicolab lock`: versions to digests, out of the archive's signed index and out of upstreams' own records.

use std::path::Path;

use serde::Serialize;

use crate::artifact::FetchError;
use crate::artifact::apt::{Age, Archive, Record};
use crate::artifact::cache::Cache;
use crate::artifact::store::{Reach, Store};
use crate::event::Events;
use crate::lab::file::{Artifact, Lab};
use crate::lab::pin::{Arch, Digest, LOCK_SCHEMA, Lock, Pin, Source, Trust, Wanted};

pub mod check;
mod show;
mod sources;

pub use show::{json, table};
pub use sources::{Made, Refused};

/// When pins are made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Now.
    Always,
    /// Only if a pinned file is neither in the cache nor in the archive any more.
    IfGone,
}

/// What `lock` is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// Artifacts by name; all if there is none.
    pub only: Vec<String>,
    /// Take the sum of what comes where nobody publishes one.
    pub first_use: bool,
    /// Take what an upstream says now though it contradicts a pin.
    pub accept_changed: bool,
}

impl Want {
    fn chooses(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|one| one == name)
    }
}

/// A pin that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What the lab calls it.
    pub name: String,
    /// The processor it is for.
    pub arch: Arch,
    /// The pin before, if there was one.
    pub old: Option<Side>,
    /// The pin now, if there is one.
    pub new: Option<Side>,
}

/// What a change tells of a pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Side {
    /// The version.
    pub version: String,
    /// The digest.
    pub digest: Digest,
    /// How far the digest can be believed.
    pub trust: Trust,
}

impl Change {
    /// What changed between two pins of one artifact, if anything did that people look at.
    fn between(old: Option<&Pin>, new: Option<&Pin>) -> Option<Self> {
        let side = |pin: &Pin| Side { version: pin.version.clone(), digest: pin.digest, trust: pin.trust };
        let any = new.or(old)?;
        let (name, arch) = (any.name.clone(), any.arch);
        let (old, new) = (old.map(side), new.map(side));
        (old != new).then_some(Self { name, arch, old, new })
    }
}

/// A lock made anew and what changed in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relocked {
    /// The lock.
    pub lock: Lock,
    /// The difference; empty if there is none.
    pub changes: Vec<Change>,
}

impl Relocked {
    /// The same where nobody but the archive was asked.
    pub fn alone(self) -> Made {
        let Self { lock, changes } = self;
        Made { lock, changes, refused: Vec::new(), notes: Vec::new(), failed: Vec::new() }
    }
}

/// Why a lock could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{} could not be written", path.display())]
pub struct WriteError {
    path: std::path::PathBuf,
    source: std::io::Error,
}

/// Resolve all that `want` chooses of `lab`, of every source. Debian's archive is asked only if a chosen artifact comes
/// from there.
pub async fn all(
    cache: &Cache,
    archive: &Archive,
    lab: &Lab,
    lock: &Lock,
    want: &Want,
    events: &Events,
) -> Result<Made, FetchError> {
    let store = Store::new(cache.clone(), lab.name.clone(), Reach::Online, archive.clone());
    let mut made = sources::resolve(&store, lab, lock, want, events).await;
    let chosen = lab.artifacts.iter().filter(|artifact| want.chooses(&artifact.name)).cloned().collect();
    let part = Lab { artifacts: chosen, ..lab.clone() };
    if packages(&part).next().is_none() {
        return Ok(made);
    }
    let records = ask(cache, archive, &part, Age::Fresh, events).await?;
    let chosen = |artifact: &Artifact| want.chooses(&artifact.name);
    let Relocked { lock, changes } = relock(lab, &made.lock, &records, chosen, jiff::Zoned::now().date());
    made.lock = lock;
    made.changes.extend(changes);
    Ok(made)
}

/// Pin the Debian packages of `lab` to what its suite has now, by the archive's signature; pins of other sources stay
/// as they are in `lock`.
pub async fn apt_only(
    cache: &Cache,
    archive: &Archive,
    lab: &Lab,
    lock: &Lock,
    when: When,
    events: &Events,
) -> Result<Relocked, FetchError> {
    let in_use = in_use(lab, lock);
    if when == When::IfGone && in_use.iter().all(|pin| pin.is_some_and(|pin| cache.file(&pin.digest).exists())) {
        return Ok(Relocked { lock: lock.clone(), changes: Vec::new() });
    }
    let mut records =
        ask(cache, archive, lab, if when == When::IfGone { Age::Hours } else { Age::Fresh }, events).await?;
    let has = |records: &[Record], pin: &Pin| {
        cache.file(&pin.digest).exists() || records.iter().any(|record| record.digest == pin.digest)
    };
    if when == When::IfGone {
        if in_use.iter().all(|pin| pin.is_some_and(|pin| has(&records, pin))) {
            return Ok(Relocked { lock: lock.clone(), changes: Vec::new() });
        }
        records = ask(cache, archive, lab, Age::Fresh, events).await?;
    }
    Ok(relock(lab, lock, &records, |_| true, jiff::Zoned::now().date()))
}

/// Write a lock, whole or not at all; its folder is made.
pub fn write(path: &Path, lock: &Lock) -> Result<(), WriteError> {
    let failed = |source| WriteError { path: path.into(), source };
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder).map_err(failed)?;
    crate::durable::write(path, text(lock).as_bytes(), 0o644).map_err(failed)
}

/// A lock as the text of its file.
pub fn text(lock: &Lock) -> String {
    // A line for each value: an address is copied as a whole, and a change of one is a change of one line.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let yaml = serde_saphyr::to_string_with_options(lock, options).expect("plain data can be written");
    format!("# Written by `calicolab lock`; do not edit by hand. No lab floats: these are the bytes it means.\n{yaml}")
}

/// The pins of the lab's Debian packages; none where the lock lacks one.
fn in_use<'a>(lab: &Lab, lock: &'a Lock) -> Vec<Option<&'a Pin>> {
    packages(lab).map(|(artifact, ..)| lock.pin(&artifact.name, Arch::NODE)).collect()
}

/// Artifacts that are Debian packages: artifact, package, suite.
fn packages(lab: &Lab) -> impl Iterator<Item = (&Artifact, &String, &String)> {
    lab.artifacts.iter().filter_map(|artifact| match &artifact.source {
        Source::Apt { package, suite } => Some((artifact, package, suite)),
        Source::Url { .. } | Source::Oci { .. } => None,
    })
}

async fn ask(
    cache: &Cache,
    archive: &Archive,
    lab: &Lab,
    age: Age,
    events: &Events,
) -> Result<Vec<Record>, FetchError> {
    let mut suites: Vec<&String> = packages(lab).map(|(_, _, suite)| suite).collect();
    suites.sort();
    suites.dedup();
    let mut records = Vec::new();
    for suite in suites {
        let of = packages(lab).filter(|(_, _, its)| *its == suite).map(|(_, package, _)| package.clone());
        records.extend(archive.records(cache, suite, &of.collect::<Vec<_>>(), age, events).await?);
    }
    Ok(records)
}

/// Pure: the new lock out of the index, whose first record of a package is the newest. What is no package, or not
/// chosen, stays as it is.
fn relock(
    lab: &Lab,
    lock: &Lock,
    records: &[Record],
    chosen: impl Fn(&Artifact) -> bool,
    today: jiff::civil::Date,
) -> Relocked {
    let mut pins = Vec::new();
    let mut missing = Vec::new();
    let mut changes = Vec::new();
    for artifact in &lab.artifacts {
        let old = lock.pin(&artifact.name, Arch::NODE);
        let package = match &artifact.source {
            Source::Apt { package, suite } if chosen(artifact) => Some((package, suite)),
            _ => None,
        };
        let Some((package, suite)) = package else {
            pins.extend(lock.pins.iter().filter(|pin| pin.name == artifact.name).cloned());
            missing.extend(lock.missing.iter().filter(|wanted| wanted.name == artifact.name).cloned());
            continue;
        };
        let record = records.iter().find(|record| &record.package == package);
        if let (Some(old), Some(record)) = (old, record)
            && old.digest == record.digest
        {
            pins.push(old.clone());
            continue;
        }
        let new = record.map(|record| Pin {
            name: artifact.name.clone(),
            version: record.version.clone(),
            arch: Arch::NODE,
            source: artifact.source.clone(),
            digest: record.digest,
            bytes: Some(record.bytes),
            trust: Trust::Published,
            found: format!("signed index of Debian {suite}, read on {today}"),
        });
        changes.extend(Change::between(old, new.as_ref()));
        if new.is_none() {
            missing.push(Wanted {
                name: artifact.name.clone(),
                version: None,
                arch: Arch::NODE,
                source: artifact.source.clone(),
                why: format!("Debian {suite} has no package {package} on {today}"),
            });
        }
        pins.extend(new);
    }
    Relocked { lock: Lock { schema: LOCK_SCHEMA, pins, missing }, changes }
}

#[cfg(test)]
mod tests;
