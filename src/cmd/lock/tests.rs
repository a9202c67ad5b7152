//! Pins made anew: what changes, what stays, and the file they are written to.

use std::time::Duration;

use super::*;
use crate::lab::example;
use crate::lab::file::{On, Taken};

fn lab(packages: &[&str]) -> Lab {
    Lab { artifacts: packages.iter().map(|package| artifact(package)).collect(), ..example::lab(&["n1"]) }
}

fn artifact(package: &str) -> Artifact {
    let source = Source::Apt { package: package.into(), suite: "bookworm".into() };
    Artifact {
        name: package.into(),
        version: None,
        source,
        on: On::All,
        files: vec![Taken::same(format!("usr/sbin/{package}"))],
    }
}

fn record(package: &str, version: &str, byte: &str) -> Record {
    let digest = format!("sha256:{}", byte.repeat(32)).parse().expect("a digest");
    Record { package: package.into(), version: version.into(), digest, bytes: 10 }
}

fn empty() -> Lock {
    Lock { schema: LOCK_SCHEMA, pins: Vec::new(), missing: Vec::new() }
}

fn day() -> jiff::civil::Date {
    jiff::civil::date(2026, 1, 2)
}

#[test]
fn only_what_differs_is_a_change() {
    let lab = lab(&["bird", "runc", "gone"]);
    let before = [record("bird", "1", "aa"), record("runc", "1", "bb"), record("gone", "1", "cc")];
    let first = relock(&lab, &empty(), &before, |_| true, day());
    assert_eq!(first.changes.len(), 3);
    assert!(first.lock.missing.is_empty());
    let now = [record("bird", "2", "dd"), record("bird", "1", "aa"), record("runc", "1", "bb")];
    let second = relock(&lab, &first.lock, &now, |_| true, day().tomorrow().expect("a day"));
    let version = |side: &Option<Side>| side.as_ref().map(|side| side.version.clone());
    let told: Vec<_> = second.changes.iter().map(|one| (&*one.name, version(&one.old), version(&one.new))).collect();
    assert_eq!(told, [("bird", Some("1".into()), Some("2".into())), ("gone", Some("1".into()), None)]);
    assert_eq!(second.lock.pin("runc", Arch::NODE), first.lock.pin("runc", Arch::NODE), "untouched, date and all");
    assert_eq!(second.lock.missing[0].name, "gone");
}

#[test]
fn a_written_lock_is_read_back_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("labs/primer/lock.yaml");
    let lock = relock(&lab(&["bird", "gone"]), &empty(), &[record("bird", "1:2~3", "aa")], |_| true, day()).lock;
    write(&path, &lock).expect("written");
    let text = std::fs::read_to_string(&path).expect("there");
    assert_eq!(serde_saphyr::from_str::<Lock>(&text).expect("it parses"), lock, "{text}");
}

#[tokio::test]
async fn nothing_is_asked_while_every_pinned_file_is_in_the_cache() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = Cache::at(folder.path());
    let lab = lab(&["bird"]);
    let lock = relock(&lab, &empty(), &[record("bird", "1", "aa")], |_| true, day()).lock;
    let file = cache.file(&lock.pins[0].digest);
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    std::fs::write(&file, "there").expect("written");
    // No place at all: any question to it would fail.
    let archive = Archive::at(Vec::new());
    let (events, _told) = Events::channel();
    let asked = apt_only(&cache, &archive, &lab, &lock, When::IfGone, &events);
    let relocked = tokio::time::timeout(Duration::from_secs(30), asked).await.expect("at once").expect("no question");
    assert_eq!(relocked, Relocked { lock, changes: Vec::new() });
}

#[test]
fn every_carried_lock_is_as_it_would_be_written() {
    let library = crate::lab::builtin::Library::open(None).expect("the binary's own");
    for lab in library.labs().expect("listed") {
        let carried = library.lock_text(&lab, None).expect("readable").expect("a lock").text;
        let lock = Lock::read(&carried, "lock.yaml").expect("right");
        assert_eq!(carried, text(&lock), "{lab}");
    }
}
