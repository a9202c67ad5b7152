//! `calicolab lock`: versions of Debian packages to digests, out of the archive's signed index.

use std::path::Path;

use serde::Serialize;

use crate::artifact::FetchError;
use crate::artifact::apt::{Age, Archive, NODE_ARCH, Record};
use crate::artifact::store::Cache;
use crate::event::Events;
use crate::lab::file::{Artifact, Lab};
use crate::lab::pin::{LOCK_SCHEMA, Lock, Pin, Source, Trust, Wanted};

/// When pins are made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Now.
    Always,
    /// Only if a pinned file is neither in the cache nor in the archive any more.
    IfGone,
}

/// A pin that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What the lab calls it.
    pub name: String,
    /// The version before, if there was one.
    pub old: Option<String>,
    /// The version now; none if the archive has no such package.
    pub new: Option<String>,
}

/// A lock made anew and what changed in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relocked {
    /// The lock.
    pub lock: Lock,
    /// The difference; empty if there is none.
    pub changes: Vec<Change>,
}

/// Why a lock could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{} could not be written", path.display())]
pub struct WriteError {
    path: std::path::PathBuf,
    source: std::io::Error,
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
    Ok(relock(lab, lock, &records, jiff::Zoned::now().date()))
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
    let yaml = serde_saphyr::to_string(lock).expect("plain data can be written");
    format!("# Written by `calicolab lock`; do not edit by hand. No lab floats: these are the bytes it means.\n{yaml}")
}

/// The pins of the lab's Debian packages; none where the lock lacks one.
fn in_use<'a>(lab: &Lab, lock: &'a Lock) -> Vec<Option<&'a Pin>> {
    packages(lab).map(|(artifact, ..)| lock.pin(&artifact.name, NODE_ARCH)).collect()
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

/// Pure: the new lock out of the index, whose first record of a package is the newest.
fn relock(lab: &Lab, lock: &Lock, records: &[Record], today: jiff::civil::Date) -> Relocked {
    let mut pins = Vec::new();
    let mut missing = Vec::new();
    let mut changes = Vec::new();
    for artifact in &lab.artifacts {
        let old = lock.pin(&artifact.name, NODE_ARCH);
        let Source::Apt { package, suite } = &artifact.source else {
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
        changes.push(Change {
            name: artifact.name.clone(),
            old: old.map(|pin| pin.version.clone()),
            new: record.map(|record| record.version.clone()),
        });
        match record {
            Some(record) => pins.push(Pin {
                name: artifact.name.clone(),
                version: record.version.clone(),
                arch: NODE_ARCH,
                source: artifact.source.clone(),
                digest: record.digest,
                bytes: Some(record.bytes),
                trust: Trust::Published,
                found: format!("signed index of Debian {suite}, read on {today}"),
            }),
            None => missing.push(Wanted {
                name: artifact.name.clone(),
                version: None,
                arch: NODE_ARCH,
                source: artifact.source.clone(),
                why: format!("Debian {suite} has no package {package} on {today}"),
            }),
        }
    }
    Relocked { lock: Lock { schema: LOCK_SCHEMA, pins, missing }, changes }
}

#[cfg(test)]
mod tests;
