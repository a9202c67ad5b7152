//! A real HTTP server on loopback that truncates, lies, stalls and refuses, for the tests of the store.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use futures::{StreamExt as _, stream};

use super::FetchError;
use super::apt::Archive;
use super::cache::Cache;
use super::files::sha256_of;
use super::http::Manner;
use super::mirror::{Mirror, Mirrors};
use super::store::{Reach, Store};
use super::verified::Verified;
use crate::event::{Event, Events, Stamped};
use crate::lab::pin::{Arch, Digest, Pin, Source, Trust};
use crate::lab::problem::Place;

/// What the good addresses serve: larger than one piece of a transfer.
pub(super) fn content() -> Vec<u8> {
    (0..300_000u32).flat_map(|n| (n % 251).to_le_bytes()).collect()
}

/// What a server saw of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub name: String,
    pub from: Option<usize>,
    pub authorization: Option<String>,
}

type Seen = Arc<Mutex<Vec<Asked>>>;

type Piece = Result<Bytes, std::io::Error>;

fn cut() -> Piece {
    Err(std::io::ErrorKind::ConnectionAborted.into())
}

/// Half of the bytes, then a connection that breaks.
fn half(all: &Bytes) -> Body {
    Body::from_stream(stream::iter([Ok(all.slice(..all.len() / 2)), cut()]))
}

/// `name` is the path's last word, so that each also exists below a mirror's prefix. `times` counts earlier requests
/// for the same.
async fn answer(State(seen): State<Seen>, request: Request) -> Response {
    let name = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let headers: &HeaderMap = request.headers();
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let from = text(header::RANGE).and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let times = {
        let mut asked = seen.lock().expect("not poisoned");
        asked.push(Asked { name: name.clone(), from, authorization: text(header::AUTHORIZATION) });
        asked.iter().filter(|one| one.name == name).count() - 1
    };
    let all = Bytes::from(content());
    let length = [(header::CONTENT_LENGTH, all.len().to_string())];
    let part = |from: usize, named: usize| {
        let range = format!("bytes {named}-{}/{}", all.len() - 1, all.len());
        (StatusCode::PARTIAL_CONTENT, [(header::CONTENT_RANGE, range)], all.slice(from..)).into_response()
    };
    let wait = |seconds: &str| [(header::RETRY_AFTER, seconds.to_owned())];
    match (name.as_str(), from) {
        ("good" | "breaks-once" | "no-length", Some(from)) if from < all.len() => part(from, from),
        ("good" | "breaks-once", Some(_)) => {
            let range = [(header::CONTENT_RANGE, format!("bytes */{}", all.len()))];
            (StatusCode::RANGE_NOT_SATISFIABLE, range).into_response()
        }
        ("breaks-once", None) if times == 0 => (length, half(&all)).into_response(),
        ("breaks", _) => (length, half(&all)).into_response(),
        ("good" | "breaks-once" | "ignores-ranges", _) | ("other-range" | "no-range-at-all", None) => {
            all.into_response()
        }
        // Ends like a whole answer: by chunks, the last of which is in its place.
        ("no-length", None) | ("short", _) => {
            Body::from_stream(stream::iter([Piece::Ok(all.slice(..1000))])).into_response()
        }
        ("other-range", Some(from)) => part(from - 1, from - 1),
        ("no-range-at-all", Some(_)) => (StatusCode::PARTIAL_CONTENT, all.slice(..5)).into_response(),
        ("wrong", _) => all.iter().rev().copied().collect::<Vec<u8>>().into_response(),
        ("wrong-half", _) => {
            let wrong: Bytes = all.iter().rev().copied().collect();
            (length, half(&wrong)).into_response()
        }
        ("other-length", _) => "something else".into_response(),
        ("endless", _) => {
            let zeros = Bytes::from(vec![0; 65536]);
            Body::from_stream(stream::repeat_with(move || Piece::Ok(zeros.clone()))).into_response()
        }
        ("stalls", _) => {
            let begin = stream::iter([Piece::Ok(all.slice(..1000))]);
            (length, Body::from_stream(begin.chain(stream::pending()))).into_response()
        }
        ("forbidden", _) => StatusCode::FORBIDDEN.into_response(),
        ("broken", _) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        ("busy-once", _) if times > 0 => all.into_response(),
        ("busy-once", _) => (StatusCode::TOO_MANY_REQUESTS, wait("1")).into_response(),
        ("busy-long", _) => (StatusCode::TOO_MANY_REQUESTS, wait("3600")).into_response(),
        ("circle", _) => Redirect::temporary("circle").into_response(),
        ("elsewhere", _) => Redirect::temporary(&query).into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The path of a server that answers and a cache to fill from it.
pub(super) struct Fixture {
    pub base: String,
    seen: Seen,
    pub folder: tempfile::TempDir,
    pub events: Events,
    told: tokio::sync::mpsc::UnboundedReceiver<Stamped>,
}

/// Serve on a port of its own until the test ends; the address.
pub(super) async fn serve(router: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    base
}

impl Fixture {
    pub(super) async fn new() -> Self {
        let seen = Seen::default();
        let base = serve(axum::Router::new().fallback(answer).with_state(seen.clone())).await;
        let (events, told) = Events::channel();
        Self { base, seen, folder: tempfile::tempdir().expect("a folder"), events, told }
    }

    pub(super) fn cache(&self) -> Cache {
        Cache::at(self.folder.path())
    }

    pub(super) fn store(&self, reach: Reach) -> Store {
        // A busy machine is no stall; only the test of stalls waits for one.
        let (stall, pause) = (Duration::from_secs(60), Duration::from_millis(5));
        let manner = Manner { stall, pause, attempts: 3, rest: Duration::from_secs(2) };
        let archive = Archive::at(Vec::new());
        Store::new(self.cache(), "test".parse().expect("a name"), reach, archive).with_manner(manner)
    }

    pub(super) fn mirrored(&self, mirrors: &[&str]) -> Store {
        let named = Place::Flag { flag: "--mirror".into() };
        let mirrors = mirrors.iter().map(|text| Mirror::parse(text, named.clone()).expect(text));
        self.store(Reach::Online).with_mirrors(Mirrors::new(mirrors))
    }

    pub(super) fn pin(&self, names: &[&str]) -> Pin {
        let bytes = content();
        self.pin_of(names, "file", sha256_of(&bytes), bytes.len())
    }

    pub(super) fn pin_of(&self, names: &[&str], name: &str, digest: Digest, bytes: usize) -> Pin {
        let urls = names.iter().map(|name| format!("{}/{name}", self.base)).collect();
        let (version, trust, found) = ("1".into(), Trust::Published, "here".into());
        let (source, bytes) = (Source::Url { urls, sums: None }, Some(bytes as u64));
        Pin { name: name.into(), version, arch: Arch::Amd64, source, digest, bytes, trust, found }
    }

    pub(super) async fn get(&self, names: &[&str]) -> Result<Verified, FetchError> {
        self.store(Reach::Online).ensure(&self.pin(names), &self.events).await
    }

    /// The error of fetching `name`, after which nothing stands in the file's place.
    pub(super) async fn refused(&self, name: &str) -> FetchError {
        let error = self.get(&[name]).await.expect_err(name);
        assert!(!self.cache().file(&self.pin(&[]).digest).exists(), "{name}");
        error
    }

    /// All requests so far.
    pub(super) fn seen(&self) -> Vec<Asked> {
        self.seen.lock().expect("not poisoned").clone()
    }

    pub(super) fn asked(&self) -> usize {
        self.seen().len()
    }

    /// Files of the cache that are neither entries nor locks.
    pub(super) fn parts(&self) -> usize {
        let entry = self.cache().file(&self.pin(&[]).digest);
        let listed = std::fs::read_dir(entry.parent().expect("a folder")).expect("listed");
        listed.filter(|file| file.as_ref().expect("listed").path() != entry).count()
    }

    /// All warnings and activities told so far, a line each.
    pub(super) fn told(&mut self) -> String {
        let mut lines = Vec::new();
        while let Ok(told) = self.told.try_recv() {
            match told.event {
                Event::Warning { text } => lines.push(format!("warning: {text}")),
                Event::Progress { doing, .. } => lines.push(doing),
                _ => {}
            }
        }
        lines.join("\n")
    }
}
