//! What answers make of a lock: what is taken, what stays, what is refused.

use super::*;
use crate::lab::example;
use crate::lab::file::On;

fn digest(byte: &str) -> Digest {
    format!("sha256:{}", byte.repeat(32)).parse().expect("a digest")
}

fn source() -> Source {
    Source::Url { urls: vec!["https://x.example/a-{arch}".into()], sums: Some("https://x.example/sums".into()) }
}

fn lab() -> Lab {
    let a = Artifact { name: "a".into(), version: Some("1".into()), source: source(), on: On::All, files: Vec::new() };
    Lab { artifacts: vec![a], ..example::lab(&["n1"]) }
}

fn locked(name: &str, arch: Arch, byte: &str) -> Pin {
    let source = source().filled("1", arch);
    let (trust, found) = (Trust::Recorded, "a test".into());
    Pin { name: name.into(), version: "1".into(), arch, source, digest: digest(byte), bytes: Some(7), trust, found }
}

fn made(lock: &Lock, answer: impl Fn(Arch) -> Answer, accept_changed: bool) -> Made {
    let lab = lab();
    let asked = questions(&lab.artifacts[0], lock).into_iter();
    let answered = asked.map(|question| (answer(question.arch), question)).map(|(answer, question)| (question, answer));
    settle(&lab, lock, answered.collect(), accept_changed, jiff::civil::date(2026, 1, 2))
}

fn listed(bytes: &[&str]) -> Answer {
    Answer::Listed { digests: bytes.iter().map(|byte| digest(byte)).collect(), at: "https://x.example/sums".into() }
}

#[test]
fn a_file_for_each_processor_is_asked_for_each() {
    let new = made(&Lock::empty(), |arch| listed(if arch == Arch::Amd64 { &["aa"] } else { &["bb"] }), false);
    let archs: Vec<(Arch, Digest)> = new.lock.pins.iter().map(|pin| (pin.arch, pin.digest)).collect();
    assert_eq!(archs, [(Arch::Amd64, digest("aa")), (Arch::Arm64, digest("bb"))]);
    assert_eq!((new.changes.len(), new.lock.pins[0].trust), (2, Trust::Published));
    assert_eq!(new.lock.pins[0].found, "https://x.example/sums, read on 2026-01-02");
}

#[test]
fn what_the_upstream_confirms_is_published_and_what_it_contradicts_is_refused() {
    let lock = Lock { pins: vec![locked("a", Arch::Amd64, "aa"), locked("a", Arch::Arm64, "cc")], ..Lock::empty() };
    let new = made(&lock, |_| listed(&["aa"]), false);
    let confirmed = &new.lock.pins[0];
    assert_eq!((confirmed.trust, confirmed.bytes), (Trust::Published, Some(7)));
    assert_eq!(new.lock.pins[1], lock.pins[1], "untouched");
    let refused = &new.refused[0];
    assert_eq!((refused.arch, refused.pinned, refused.now), (Arch::Arm64, digest("cc"), digest("aa")));
    let accepted = made(&lock, |_| listed(&["aa"]), true);
    assert!(accepted.refused.is_empty());
    assert_eq!((accepted.lock.pins[1].digest, accepted.lock.pins[1].bytes), (digest("aa"), None));
    let other = format!("sha512:{}", "dd".repeat(64)).parse().expect("a digest");
    let unlike = |_| Answer::Listed { digests: vec![other], at: "https://x.example/sums".into() };
    let kept = made(&lock, unlike, false);
    assert_eq!((&kept.lock, kept.notes.len()), (&lock, 2), "sums of two kinds cannot be compared");
}

#[test]
fn a_pin_outlives_an_upstream_that_does_not_answer() {
    let lock = Lock { pins: vec![locked("a", Arch::Amd64, "aa"), locked("gone", Arch::All, "bb")], ..Lock::empty() };
    let new = made(&lock, |_| Answer::Failed("it sleeps".into()), false);
    assert_eq!(new.lock.pins, lock.pins[..1]);
    assert_eq!((new.failed, new.lock.missing[0].arch), (vec!["a".into()], Arch::Arm64));
    assert_eq!(new.lock.missing[0].why, "it sleeps");
    assert_eq!(new.changes.len(), 1, "what the lab wants no more goes");
    assert!(new.changes[0].new.is_none() && new.changes[0].name == "gone");
}
