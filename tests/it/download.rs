//! Downloads from a real web server: ranges, certificates, proxies, and servers that go away.

mod kills;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use calicolab::artifact::FetchError;
use calicolab::artifact::apt::Archive;
use calicolab::artifact::http::Manner;
use calicolab::artifact::store::{Cache, Reach, Store};
use calicolab::event::{Event, Events};
use calicolab::lab::pin::{Arch, Digest, Pin, Source, Trust};
use sha2::Digest as _;

use crate::support::waiting::eventually;
use crate::support::web::Web;

/// Set for a run of this binary that fetches as a process of its own: the cache, a space, and the pin as JSON.
const ORDER: &str = "CALICOLAB_TEST_FETCH";

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

/// A folder for a cache, and where a pin's bytes are gathered in it.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn cache(&self) -> Cache {
        Cache::at(self.folder.path())
    }

    fn part(&self, pin: &Pin) -> PathBuf {
        self.cache().file(&pin.digest).with_extension("part")
    }

    /// The test `name` of this binary as a process that fetches `pin`; see [`as_told`].
    fn process(&self, name: &str, pin: &Pin) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        let order = format!("{} {}", self.folder.path().display(), serde_json::to_string(pin).expect("plain"));
        command.args(["--exact", "--nocapture", name]).env(ORDER, order).stdin(Stdio::null());
        for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(name);
        }
        command
    }
}

fn length(path: &Path) -> u64 {
    path.metadata().map_or(0, |meta| meta.len())
}

/// In a process made by [`Place::process`], fetch and end.
async fn as_told() {
    let Some(order) = std::env::var_os(ORDER) else { return };
    let order = order.to_string_lossy().into_owned();
    let (folder, pin) = order.split_once(' ').expect("a folder and a pin");
    let (events, _told) = Events::channel();
    let pin = serde_json::from_str(pin).expect("a pin");
    if let Err(error) = store(Cache::at(folder)).ensure(&pin, &events).await {
        panic!("[{}] {error}; {}", error.id(), error.remedy().unwrap_or_default());
    }
    std::process::exit(0);
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_real_server_goes_on_where_a_part_ends() {
    let (web, place, bytes) = (Web::plain("").await, Place::new(), content(3 << 20));
    web.file("file", &bytes);
    let pin = pin(format!("http://{}/file", web.address()), &bytes);
    std::fs::create_dir_all(place.part(&pin).parent().expect("a folder")).expect("made");
    std::fs::write(place.part(&pin), &bytes[..1_000_000]).expect("left behind");
    let (events, _told) = Events::channel();
    let file = store(place.cache()).ensure(&pin, &events).await.expect("fetched");
    assert_eq!(std::fs::read(file.path()).expect("there"), bytes);
    assert_eq!(web.requests(), ["206 bytes=1000000-"]);
}

#[tokio::test]
async fn a_server_that_goes_away_and_comes_back_is_gone_on_with() {
    let (mut web, place, bytes) = (Web::plain("limit_rate 4m;").await, Place::new(), content(12 << 20));
    web.file("file", &bytes);
    let pin = pin(format!("http://{}/file", web.address()), &bytes);
    let (stall, pause) = (Duration::from_secs(60), Duration::from_millis(100));
    let store = store(place.cache()).with_manner(Manner { stall, pause, attempts: 9, rest: stall });
    let (events, mut told) = Events::channel();
    let (wanted, part) = (pin.clone(), place.part(&pin));
    let fetching = tokio::spawn(async move { store.ensure(&wanted, &events).await });
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
    as_told().await;
    let (web, place, bytes) = (Web::plain("limit_rate 4m;").await, Place::new(), content(4 << 20));
    web.file("file", &bytes);
    let pin = pin(format!("http://{}/file", web.address()), &bytes);
    let start = || place.process("download::two_runs_at_once_make_one_download", &pin).spawn().expect("it starts");
    for mut run in [start(), start(), start()] {
        assert!(run.wait().expect("ended").success());
    }
    assert_eq!(web.requests(), ["200 -"]);
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_named_with_its_remedy() {
    const NAME: &str = "download::a_certificate_that_is_not_trusted_is_named_with_its_remedy";
    as_told().await;
    let (web, place, bytes) = (Web::with_certificate().await, Place::new(), content(1 << 20));
    web.file("file", &bytes);
    let pin = pin(format!("https://{}/file", web.address()), &bytes);
    let (events, _told) = Events::channel();
    let error = store(place.cache()).ensure(&pin, &events).await.expect_err("not trusted");
    assert!(matches!(error, FetchError::Untrusted { .. }), "{error:?}");
    let output = place.process(NAME, &pin).output().expect("it starts");
    assert!(!output.status.success());
    assert!(
        said(&output).contains("[download.untrusted]") && said(&output).contains("SSL_CERT_FILE"),
        "{}",
        said(&output)
    );
    let output = place.process(NAME, &pin).env("SSL_CERT_FILE", web.authority()).output().expect("it starts");
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(std::fs::read(place.cache().file(&pin.digest)).expect("there"), bytes);
}

#[tokio::test]
async fn the_proxy_of_the_environment_is_used() {
    const NAME: &str = "download::the_proxy_of_the_environment_is_used";
    as_told().await;
    let place = Place::new();
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
    let mut process = tokio::process::Command::from(place.process(NAME, &pin));
    let output = process.env("http_proxy", proxy).output().await.expect("it starts");
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(std::fs::read(place.cache().file(&pin.digest)).expect("there"), bytes);
}
