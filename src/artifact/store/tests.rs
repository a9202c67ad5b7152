//! The store against a real HTTP server on loopback that truncates, lies, stalls and refuses.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path as Route, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream;

use super::*;
use crate::event::Event;
use crate::lab::pin::{Arch, Trust};

/// What the good addresses serve: larger than one piece of a transfer.
fn content() -> Vec<u8> {
    (0..300_000u32).flat_map(|n| (n % 251).to_le_bytes()).collect()
}

/// How often anything was asked for, and with which beginning.
#[derive(Clone, Default)]
struct Seen {
    asked: Arc<AtomicUsize>,
    resumed: Arc<AtomicUsize>,
}

type Piece = Result<Bytes, std::io::Error>;

fn cut() -> Piece {
    Err(std::io::ErrorKind::ConnectionAborted.into())
}

async fn answer(State(seen): State<Seen>, Route(name): Route<String>, headers: HeaderMap) -> Response {
    let all = Bytes::from(content());
    let times = seen.asked.fetch_add(1, Ordering::SeqCst);
    let from = headers
        .get(header::RANGE)
        .and_then(|range| range.to_str().ok()?.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let length = [(header::CONTENT_LENGTH, all.len().to_string())];
    match (name.as_str(), from) {
        ("good" | "breaks-once", Some(from)) if from < all.len() => {
            seen.resumed.fetch_add(1, Ordering::SeqCst);
            let range = format!("bytes {from}-{}/{}", all.len() - 1, all.len());
            (StatusCode::PARTIAL_CONTENT, [(header::CONTENT_RANGE, range)], all.slice(from..)).into_response()
        }
        ("good" | "breaks-once", Some(_)) => StatusCode::RANGE_NOT_SATISFIABLE.into_response(),
        ("breaks-once", None) | ("breaks", _) if times == 0 || name == "breaks" => {
            let pieces: Vec<Piece> = vec![Ok(all.slice(..all.len() / 2)), cut()];
            (length, Body::from_stream(stream::iter(pieces))).into_response()
        }
        ("good" | "breaks-once" | "ignores-ranges", _) => all.into_response(),
        ("wrong", _) => all.iter().rev().copied().collect::<Vec<u8>>().into_response(),
        ("other-length", _) => "something else".into_response(),
        ("endless", _) => {
            let zeros = Bytes::from(vec![0; 65536]);
            Body::from_stream(stream::repeat_with(move || Piece::Ok(zeros.clone()))).into_response()
        }
        ("stalls", _) => {
            use futures::StreamExt as _;
            let begin = stream::iter([Piece::Ok(all.slice(..1000))]);
            (length, Body::from_stream(begin.chain(stream::pending()))).into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

struct Fixture {
    base: String,
    seen: Seen,
    folder: tempfile::TempDir,
    events: Events,
    told: tokio::sync::mpsc::UnboundedReceiver<crate::event::Stamped>,
}

impl Fixture {
    async fn new() -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("bound"));
        let seen = Seen::default();
        let router = axum::Router::new().route("/{name}", axum::routing::get(answer)).with_state(seen.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let (events, told) = Events::channel();
        Self { base, seen, folder: tempfile::tempdir().expect("a folder"), events, told }
    }

    fn store(&self, reach: Reach) -> Store {
        // A busy machine is no stall; only the test of stalls waits for one.
        let manner = Manner {
            stall: Duration::from_secs(60),
            pause: Duration::from_millis(5),
            attempts: 3,
            rest: Duration::from_secs(1),
        };
        let cache = Cache::at(self.folder.path());
        Store::new(cache, "test".parse().expect("a name"), reach, Archive::at(Vec::new())).with_manner(manner)
    }

    fn pin(&self, names: &[&str]) -> Pin {
        let urls = names.iter().map(|name| format!("{}/{name}", self.base)).collect();
        let bytes = content();
        Pin {
            name: "file".into(),
            version: "1".into(),
            arch: Arch::Amd64,
            source: Source::Url { urls, sums: None },
            digest: files::sha256_of(&bytes),
            bytes: Some(bytes.len() as u64),
            trust: Trust::Published,
            found: "here".into(),
        }
    }

    fn asked(&self) -> usize {
        self.seen.asked.load(Ordering::SeqCst)
    }

    /// Files of the cache that are neither entries nor locks.
    fn parts(&self) -> usize {
        let entry = Cache::at(self.folder.path()).file(&self.pin(&[]).digest);
        let listed = std::fs::read_dir(entry.parent().expect("a folder")).expect("listed");
        listed.filter(|file| file.as_ref().expect("listed").path() != entry).count()
    }

    async fn get(&self, names: &[&str]) -> Result<Verified, FetchError> {
        self.store(Reach::Online).ensure(&self.pin(names), &self.events).await
    }
}

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
    let mut warned = false;
    while let Ok(told) = at.told.try_recv() {
        warned |= matches!(told.event, Event::Warning { text } if text.contains("damaged"));
    }
    assert!(warned);
}

#[tokio::test]
async fn a_broken_transfer_goes_on_where_it_broke() {
    let at = Fixture::new().await;
    at.get(&["breaks-once"]).await.expect("whole in the end");
    assert_eq!((at.asked(), at.seen.resumed.load(Ordering::SeqCst)), (2, 1));
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
async fn bad_servers_give_clear_errors_and_leave_no_file() {
    let at = Fixture::new().await;
    let id = async |name: &str| {
        let error = at.get(&[name]).await.expect_err(name);
        assert!(!at.store(Reach::Online).cache.file(&at.pin(&[]).digest).exists(), "{name}");
        error
    };
    assert!(matches!(id("absent").await, FetchError::Status { status: 404, .. }));
    assert!(matches!(id("wrong").await, FetchError::Mismatch { .. }));
    assert!(matches!(id("other-length").await, FetchError::WrongLength { got: 14, .. }));
    assert!(matches!(id("endless").await, FetchError::TooLong { .. }));
    assert!(matches!(id("breaks").await, FetchError::Transfer { .. }));
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let at = Fixture::new().await;
    let pause = Duration::from_millis(5);
    let manner = Manner { stall: Duration::from_millis(200), pause, attempts: 2, rest: pause };
    let store = at.store(Reach::Online).with_manner(manner);
    let error = store.ensure(&at.pin(&["stalls"]), &at.events).await.expect_err("silent");
    assert!(matches!(error, FetchError::Stalled { .. }), "{error}");
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
