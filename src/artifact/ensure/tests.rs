//! The store against a real HTTP server on loopback: one download, resumed, healed, and nothing while offline.

use std::sync::Arc;

use super::*;
use crate::artifact::support::{Fixture, content};
use crate::lab::pin::Digest;

#[tokio::test]
async fn twenty_callers_make_one_download() {
    let at = Fixture::new().await;
    let (store, pin) = (at.store(Reach::Online), at.pin(&["good"]));
    let all = (0..20).map(|_| store.ensure(&pin, &at.events));
    let files = try_join_all(all).await.expect("all have it");
    assert_eq!(at.asked(), 1);
    assert!(files.iter().all(|file| std::fs::read(file.path()).expect("there") == content()));
    assert_eq!(at.parts(), 0);
}

#[tokio::test]
async fn a_damaged_file_is_told_of_and_healed() {
    let mut at = Fixture::new().await;
    let path = at.get(&["good"]).await.expect("fetched").path().to_owned();
    std::fs::remove_file(&path).expect("removed");
    std::fs::write(&path, &content()[1..]).expect("damaged");
    let healed = at.get(&["good"]).await.expect("healed");
    assert_eq!(std::fs::read(healed.path()).expect("there"), content());
    assert_eq!(at.asked(), 2);
    assert!(at.told().contains("warning: file 1 was damaged in the cache"));
}

#[tokio::test]
async fn a_broken_transfer_goes_on_where_it_broke() {
    let at = Fixture::new().await;
    at.get(&["breaks-once"]).await.expect("whole in the end");
    let half = content().len() / 2;
    assert!(
        matches!(&at.seen()[..], [first, then] if first.from.is_none() && then.from == Some(half)),
        "{:?}",
        at.seen()
    );
}

#[tokio::test]
async fn what_a_killed_run_left_is_gone_on_from_or_written_over() {
    for (left, name) in [
        (content()[..1000].to_vec(), "good"),
        (b"no beginning of it".to_vec(), "good"),
        (vec![1; 2_000_000], "good"),
        (content()[..1000].to_vec(), "ignores-ranges"),
    ] {
        let at = Fixture::new().await;
        let part = at.store(Reach::Online).part(&at.pin(&[]).digest).expect("a place");
        std::fs::write(&part, left).expect("left behind");
        let file = at.get(&[name]).await.expect(name);
        assert_eq!(std::fs::read(file.path()).expect("there"), content());
        assert_eq!(at.parts(), 0);
    }
}

#[tokio::test]
async fn the_next_address_is_tried() {
    let at = Fixture::new().await;
    at.get(&["absent", "wrong", "good"]).await.expect("the third has it");
}

#[tokio::test]
async fn offline_says_at_once_all_that_is_missing() {
    let at = Fixture::new().await;
    let mut other = at.pin(&["good"]);
    other.name = "other".into();
    other.digest = files::sha256_of(b"other");
    let store = at.store(Reach::Offline);
    let error = store.ensure_all(&[at.pin(&["good"]), other], &at.events).await.expect_err("nothing is there");
    assert!(matches!(error, FetchError::Offline { names } if names == ["file 1", "other 1"]));
    assert_eq!(at.asked(), 0);
    at.get(&["good"]).await.expect("fetched");
    store.ensure(&at.pin(&["good"]), &at.events).await.expect("there");
}

#[tokio::test]
async fn sha512_is_checked_as_well() {
    let at = Fixture::new().await;
    let path = at.folder.path().join("same");
    std::fs::write(&path, content()).expect("written");
    let mut pin = at.pin(&["good"]);
    pin.digest = files::hash(&path, &Digest::Sha512([0; 64])).expect("hashed").0;
    let file = at.store(Reach::Online).ensure(&pin, &at.events).await.expect("fetched");
    assert!(file.path().starts_with(at.folder.path().join("sha512")));
    pin.digest = Digest::Sha512([7; 64]);
    let error = at.store(Reach::Online).ensure(&pin, &at.events).await.expect_err("other bytes");
    assert_eq!(error.id(), "digest.mismatch");
}

#[tokio::test]
async fn a_whole_part_is_not_asked_for_again() {
    let at = Fixture::new().await;
    let part = at.store(Reach::Online).part(&at.pin(&[]).digest).expect("a place");
    std::fs::write(&part, content()).expect("killed before it had its name");
    at.get(&["good"]).await.expect("there");
    assert_eq!(at.asked(), 0);
    // Without a length in the pin the server says that there is no more.
    let mut pin = at.pin(&["good"]);
    pin.bytes = None;
    std::fs::remove_file(at.cache().file(&pin.digest)).expect("removed");
    std::fs::write(&part, content()).expect("written");
    at.store(Reach::Online).ensure(&pin, &at.events).await.expect("there");
    assert_eq!(at.seen().iter().map(|one| one.from).collect::<Vec<_>>(), [Some(content().len())]);
}

/// Holds every answer until as many are under way as there may be.
#[tokio::test]
async fn a_host_is_asked_four_times_at_once_and_the_largest_come_first() {
    let (gate, at_work) = (Arc::new(tokio::sync::Barrier::new(4)), Arc::new(std::sync::Mutex::new((0, 0, Vec::new()))));
    let shared = Arc::clone(&at_work);
    let answer = async move |uri: axum::http::Uri| {
        let count = |by: i32, name: Option<String>| {
            let mut now = shared.lock().expect("not poisoned");
            now.0 += by;
            now.1 = now.1.max(now.0);
            now.2.extend(name);
        };
        let name = uri.path().trim_start_matches('/').to_owned();
        count(1, Some(name.clone()));
        gate.wait().await;
        count(-1, None);
        name.repeat(name.parse().expect("a number"))
    };
    let at = Fixture::new().await;
    let base = crate::artifact::support::serve(axum::Router::new().fallback(answer)).await;
    let pins: Vec<Pin> = (10..18)
        .map(|n: usize| {
            let text = n.to_string().repeat(n);
            let mut pin = at.pin_of(&[], &n.to_string(), files::sha256_of(text.as_bytes()), text.len());
            pin.source = Source::Url { urls: vec![format!("{base}/{n}")], sums: None };
            pin
        })
        .collect();
    at.store(Reach::Online).ensure_all(&pins, &at.events).await.expect("all");
    let at_work = at_work.lock().expect("not poisoned");
    let mut first = at_work.2[..4].to_vec();
    first.sort();
    assert_eq!((at_work.1, &first[..]), (4, &["14", "15", "16", "17"].map(str::to_owned)[..]));
}

#[tokio::test]
async fn all_failures_are_told_and_the_rest_is_kept() {
    let at = Fixture::new().await;
    let pins = [
        at.pin_of(&["absent"], "one", files::sha256_of(b"one"), 3),
        at.pin(&["good"]),
        at.pin_of(&["forbidden"], "two", files::sha256_of(b"two"), 3),
        at.pin_of(&["wrong"], "three", files::sha256_of(b"three"), content().len()),
    ];
    let error = at.store(Reach::Online).ensure_all(&pins, &at.events).await.expect_err("three fail");
    assert_eq!(error.id(), "digest.mismatch", "the gravest");
    let told = error.to_string();
    for word in ["3 files", "/absent has no such file (status 404)", "/forbidden does not let us", "three 1: http://"] {
        assert!(told.contains(word), "{told}");
    }
    at.store(Reach::Offline).ensure(&pins[1], &at.events).await.expect("kept");
}
