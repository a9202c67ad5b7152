//! A run killed ten times at random moments: what it wrote is there, and is not fetched again.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;

use super::{content, fetching, length, part, pin};
use crate::cli::tiny::Tiny;
use crate::support::waiting::eventually;

const SIZE: usize = 24 << 20;
const PIECE: usize = 64 << 10;

/// How far the server runs ahead of what it sees in the file: a run that held back more would wait for ever.
const AHEAD: u64 = 256 << 10;

/// Where each answer began, and where the last one has come to.
#[derive(Default)]
struct Sent {
    begins: Vec<u64>,
    upto: u64,
    all: u64,
}

struct Server {
    bytes: Bytes,
    part: PathBuf,
    sent: Mutex<Sent>,
}

impl Server {
    fn sent(&self) -> std::sync::MutexGuard<'_, Sent> {
        self.sent.lock().expect("not poisoned")
    }

    fn answer(self: Arc<Self>, headers: &HeaderMap) -> Response {
        let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
        let from = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let begin: usize = from.unwrap_or(0);
        {
            let mut sent = self.sent();
            sent.begins.push(begin as u64);
            sent.upto = begin as u64;
        }
        let span = [(header::CONTENT_RANGE, format!("bytes {begin}-{}/{SIZE}", SIZE - 1))];
        let rest = (header::CONTENT_LENGTH, (SIZE - begin).to_string());
        let pieces = futures::stream::iter((begin..SIZE).step_by(PIECE)).then(move |at| {
            let server = Arc::clone(&self);
            async move {
                let close = || (at as u64 <= length(&server.part) + AHEAD).then_some(());
                eventually("what was sent is in the file", close).await;
                let piece = server.bytes.slice(at..(at + PIECE).min(SIZE));
                let mut sent = server.sent();
                sent.upto += piece.len() as u64;
                sent.all += piece.len() as u64;
                Ok::<_, std::io::Error>(piece)
            }
        });
        let body = Body::from_stream(pieces);
        match from {
            Some(_) => (StatusCode::PARTIAL_CONTENT, span, [rest], body).into_response(),
            None => ([rest], body).into_response(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_kills_and_no_byte_is_fetched_twice_beyond_one_buffer() {
    let bytes = content(SIZE);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let pin = pin(format!("http://{}/", listener.local_addr().expect("bound")), &bytes);
    let lab = Tiny::wanting(&pin);
    let part = part(&lab.cache(), &pin);
    let server = Arc::new(Server { bytes: bytes.clone().into(), part: part.clone(), sent: Mutex::default() });
    let serving = Arc::clone(&server);
    let router = axum::Router::new().fallback(async move |headers: HeaderMap| serving.answer(&headers));
    tokio::spawn(async move { axum::serve(listener, router).await });

    let mut lengths = vec![0];
    for kill in 1..=10 {
        let mut run = fetching(&lab).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        // Somewhere in the next tenth of the file, to the byte.
        let random = getrandom::u32().expect("randomness") as usize % (SIZE / 11);
        let moment = ((kill - 1) * SIZE / 11 + random) as u64;
        eventually("the moment of the kill", || {
            assert!(run.try_wait().expect("asked").is_none(), "it ended by itself");
            (server.sent().begins.len() == kill && length(&part) >= moment).then_some(())
        })
        .await;
        run.kill().expect("killed");
        run.wait().expect("reaped");
        let (there, upto) = (length(&part), server.sent().upto);
        assert!(upto - there <= AHEAD + PIECE as u64, "{} bytes were held back", upto - there);
        lengths.push(there);
    }
    let status = tokio::process::Command::from(fetching(&lab)).status().await.expect("it starts");
    assert!(status.success());
    assert_eq!(std::fs::read(lab.cache().file(&pin.digest)).expect("there"), bytes);
    let sent = server.sent();
    assert_eq!(sent.begins, lengths, "each run goes on exactly where the last one was killed");
    let twice = sent.all - SIZE as u64;
    assert!(twice <= 10 * (AHEAD + PIECE as u64), "{twice} bytes were fetched twice");
}
