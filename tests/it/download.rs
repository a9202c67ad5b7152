//! Downloads from a real web server: ranges, certificates, proxies, and servers that go away.

mod kills;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use calicolab::artifact::FetchError;
use calicolab::artifact::apt::Archive;
use calicolab::artifact::cache::Cache;
use calicolab::artifact::http::Manner;
use calicolab::artifact::store::{Reach, Store};
use calicolab::event::{Event, Events};
use calicolab::failure::Exit;
use calicolab::lab::pin::{Arch, Digest, Pin, Source, Trust};
use sha2::Digest as _;

use crate::cli::Said;
use crate::cli::tiny::Tiny;
use crate::support::waiting::eventually;
use crate::support::web::Web;

/// Bytes in which no two places are alike.
fn content(length: usize) -> Vec<u8> {
    (0..length / 8).flat_map(|n| (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect()
}

fn pin(url: String, bytes: &[u8]) -> Pin {
    Pin {
        name: "file".into(),
        version: "1".into(),
        arch: Arch::All,
        source: Source::Url { urls: vec![url], sums: None },
        digest: Digest::Sha256(sha2::Sha256::digest(bytes).into()),
        bytes: Some(bytes.len() as u64),
        trust: Trust::Published,
        found: "here".into(),
    }
}

fn store(cache: Cache) -> Store {
    Store::new(cache, "test".parse().expect("a name"), Reach::Online, Archive::at(Vec::new()))
}

/// Where the bytes of `pin` are gathered.
fn part(cache: &Cache, pin: &Pin) -> PathBuf {
    cache.file(&pin.digest).with_extension("part")
}

/// A cache of one's own, as long as the folder is there.
fn place() -> (tempfile::TempDir, Cache) {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = Cache::at(folder.path());
    (folder, cache)
}

/// The program, about to fetch the lab that wants one file more, by no proxy.
fn fetching(lab: &Tiny) -> Command {
    let mut command = lab.command(&["fetch", "tiny"]);
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command
}

fn length(path: &Path) -> u64 {
    path.metadata().map_or(0, |meta| meta.len())
}

#[tokio::test]
async fn a_real_server_goes_on_where_a_part_ends() {
    let (web, (_folder, cache), bytes) = (Web::plain("").await, place(), content(3 << 20));
    web.file("file", &bytes);
    let pin = pin(format!("http://{}/file", web.address()), &bytes);
    let part = part(&cache, &pin);
    std::fs::create_dir_all(part.parent().expect("a folder")).expect("made");
    std::fs::write(part, &bytes[..1_000_000]).expect("left behind");
    let (events, _told) = Events::channel();
    let file = store(cache).ensure(&pin, &events).await.expect("fetched");
    assert_eq!(std::fs::read(file.path()).expect("there"), bytes);
    assert_eq!(web.requests(), ["206 bytes=1000000-"]);
}

#[tokio::test]
async fn a_server_that_goes_away_and_comes_back_is_gone_on_with() {
    let (mut web, (_folder, cache), bytes) = (Web::plain("limit_rate 4m;").await, place(), content(12 << 20));
    web.file("file", &bytes);
    let pin = pin(format!("http://{}/file", web.address()), &bytes);
    let (stall, pause) = (Duration::from_secs(60), Duration::from_millis(100));
    let part = part(&cache, &pin);
    let store = store(cache).with_manner(Manner { stall, pause, attempts: 9, rest: stall });
    let (events, mut told) = Events::channel();
    let fetching = tokio::spawn(async move { store.ensure(&pin, &events).await });
    eventually("a beginning is there", || (length(&part) > 1 << 20).then_some(())).await;
    web.end();
    let waits =
        |event: Event| matches!(event, Event::Progress { doing, .. } if doing.contains("again in")).then_some(());
    eventually("the transfer rests", || told.try_recv().ok().and_then(|told| waits(told.event))).await;
    let had = length(&part);
    web.begin().await;
    fetching.await.expect("no panic").expect("fetched in the end");
    // nginx was killed before it could write of the first.
    assert_eq!(web.requests(), [format!("206 bytes={had}-")]);
}

#[tokio::test]
async fn two_runs_at_once_make_one_download() {
    let (web, bytes) = (Web::plain("limit_rate 4m;").await, content(4 << 20));
    web.file("file", &bytes);
    let lab = Tiny::wanting(&pin(format!("http://{}/file", web.address()), &bytes));
    let start = || fetching(&lab).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    for mut run in [start(), start(), start()] {
        assert!(run.wait().expect("ended").success());
    }
    assert_eq!(web.requests(), ["200 -"]);
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_named_with_its_remedy() {
    let (web, (_folder, cache), bytes) = (Web::with_certificate().await, place(), content(1 << 20));
    web.file("file", &bytes);
    let pin = pin(format!("https://{}/file", web.address()), &bytes);
    let (events, _told) = Events::channel();
    let error = store(cache).ensure(&pin, &events).await.expect_err("not trusted");
    assert!(matches!(error, FetchError::Untrusted { .. }), "{error:?}");
    let lab = Tiny::wanting(&pin);
    Said::by(&mut fetching(&lab), Exit::Download.code()).tells(&["error[download.untrusted]", "SSL_CERT_FILE"]);
    Said::by(fetching(&lab).env("SSL_CERT_FILE", web.authority()), Exit::Done.code());
    assert_eq!(std::fs::read(lab.cache().file(&pin.digest)).expect("there"), bytes);
}

#[tokio::test]
async fn the_proxy_of_the_environment_is_used() {
    let bytes = content(1 << 20);
    let served = bytes.clone();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let proxy = format!("http://{}", listener.local_addr().expect("bound"));
    // Only a proxy is asked with the whole address.
    let serve = async move |uri: axum::http::Uri| {
        let asked = uri == "http://upstream.example/file";
        if asked { Ok(served) } else { Err(axum::http::StatusCode::BAD_GATEWAY) }
    };
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(serve)).await });
    let pin = pin("http://upstream.example/file".into(), &bytes);
    let lab = Tiny::wanting(&pin);
    let mut process = tokio::process::Command::from(fetching(&lab));
    let output = process.env("http_proxy", proxy).output().await.expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read(lab.cache().file(&pin.digest)).expect("there"), bytes);
}
