//! Registries that lie, refuse, want tokens or are only mirrors.

use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use calicolab::artifact::mirror::{Mirror, Mirrors};
use calicolab::lab::problem::Place;
use futures::stream;

use super::*;

/// A server that has one image and treats it as the repository's name says.
struct Server {
    host: String,
    asked: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone)]
struct Shelf {
    open: bool,
    files: Arc<Vec<Vec<u8>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// One that wants a token from everybody.
    async fn of(image: &Image) -> Self {
        Self::start(image, false).await
    }

    /// One that lets everybody in.
    async fn open(image: &Image) -> Self {
        Self::start(image, true).await
    }

    async fn start(image: &Image, open: bool) -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let host = listener.local_addr().expect("bound").to_string();
        let mut files = image.layers.clone();
        files.extend([image.config.clone(), image.manifest.clone()]);
        let shelf = Shelf { open, files: Arc::new(files), asked: Arc::default() };
        let asked = Arc::clone(&shelf.asked);
        let router = axum::Router::new().fallback(answer).with_state(shelf);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { host, asked }
    }

    fn pin(&self, repository: &str, digest: Digest) -> Pin {
        pin(format!("{}/{repository}:v1", self.host), Arch::Amd64, digest)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("not poisoned").clone()
    }
}

fn as_it_is(file: &[u8]) -> Response {
    file.to_vec().into_response()
}

fn turned(file: &[u8]) -> Response {
    file.iter().rev().copied().collect::<Vec<u8>>().into_response()
}

async fn answer(State(shelf): State<Shelf>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let host = request.headers()[header::HOST].to_str().expect("text").to_owned();
    let said = request.headers().get(header::AUTHORIZATION).map_or("", |said| said.to_str().expect("text"));
    shelf.asked.lock().expect("not poisoned").push(format!("{path} {said}"));
    let name = path.rsplit('/').next().unwrap_or_default().replace("sha256:", "");
    let file = shelf.files.iter().find(|file| sha256(file).hex() == name);
    let manifest = path.contains("/manifests/");
    match (file, path.split('/').nth(2).unwrap_or_default()) {
        (None, "") if path == "/v2/" && !shelf.open => challenge(&host),
        // The password itself goes to nobody but who gives the tokens.
        (None, _) if path == "/token" && said.starts_with("Basic ") => r#"{"token":"opaque"}"#.into_response(),
        (None, _) if path == "/token" => (StatusCode::UNAUTHORIZED, "who are you?").into_response(),
        (Some(file), "wrong-manifest") if manifest => turned(file),
        (Some(file), "wrong-layer") if !manifest => turned(file),
        (Some(_), "endless") => {
            let zeros = Bytes::from(vec![0; 65536]);
            let zeros = stream::repeat_with(move || Ok::<_, std::io::Error>(zeros.clone()));
            Body::from_stream(zeros).into_response()
        }
        (Some(_), "limited") => (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "3600")]).into_response(),
        (Some(_), "token") if said != "Bearer opaque" => challenge(&host),
        (Some(file), _) => as_it_is(file),
        (None, _) => StatusCode::NOT_FOUND.into_response(),
    }
}

fn challenge(host: &str) -> Response {
    let wants = format!(r#"Bearer realm="http://{host}/token",service="tests""#);
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, wants)]).into_response()
}

fn image() -> Image {
    Image::of(Family::Oci, "amd64", &[("file", &noise(50_000, 9))])
}

impl Home {
    /// Ask with the user's login for `server`.
    async fn get_as_user(&self, server: &Server, pin: &Pin) -> Result<Verified, FetchError> {
        let logins = Logins::at([self.docker_config(&server.host)]);
        self.store(Reach::Online).with_logins(logins).ensure(pin, &self.events).await
    }

    async fn get_by(&self, mirrors: &[String], pin: &Pin) -> Result<Verified, FetchError> {
        let named = Place::Flag { flag: "--mirror".into() };
        let mirrors = mirrors.iter().map(|text| Mirror::parse(text, named.clone()).expect(text));
        self.store(Reach::Online).with_mirrors(Mirrors::new(mirrors)).ensure(pin, &self.events).await
    }

    fn warnings(&mut self) -> Vec<String> {
        let told = std::iter::from_fn(|| self.told.try_recv().ok());
        let text = |told: Stamped| match told.event {
            Event::Warning { text } => Some(text),
            _ => None,
        };
        told.filter_map(text).collect()
    }
}

#[tokio::test]
async fn another_digest_than_was_asked_for_is_refused() {
    let image = image();
    let server = Server::of(&image).await;
    for repository in ["wrong-manifest", "wrong-layer"] {
        let home = Home::new();
        let error = home.get_as_user(&server, &server.pin(repository, image.digest())).await.expect_err(repository);
        assert_eq!(error.id(), "digest.mismatch", "{repository}");
        assert!(matches!(error, FetchError::Mismatch { .. }), "{repository}");
        assert!(!home.has(&image));
    }
}

#[tokio::test]
async fn a_manifest_without_end_is_cut_off() {
    let image = image();
    let server = Server::of(&image).await;
    let home = Home::new();
    let error = home.get_as_user(&server, &server.pin("endless", image.digest())).await.expect_err("endless");
    assert!(matches!(error, FetchError::TooLong { limit, .. } if limit == 4 << 20), "{error}");
}

#[tokio::test]
async fn a_limit_has_a_message_of_its_own() {
    let image = image();
    let server = Server::of(&image).await;
    let home = Home::new();
    let error = home.get_as_user(&server, &server.pin("limited", image.digest())).await.expect_err("limited");
    assert_eq!(error.id(), "registry.limit");
    assert!(error.to_string().ends_with("(status 429), and again only after 3600 s"), "{error}");
    assert!(error.remedy().is_some_and(|remedy| remedy.contains("--mirror") && remedy.contains("docker login")));
}

#[tokio::test]
async fn a_token_is_had_for_the_login_and_the_login_stays_there() {
    let image = image();
    let server = Server::of(&image).await;
    let mut home = Home::new();
    let pin = server.pin("token", image.digest());
    let error = home.get(&pin).await.expect_err("no token without a login");
    assert_eq!(error.id(), "registry.denied");
    home.get_as_user(&server, &pin).await.expect("with a token");
    assert!(home.has(&image));
    let secret = base64::engine::general_purpose::STANDARD.encode("user:secret");
    let heard: Vec<String> = server.asked().into_iter().filter(|line| line.contains(&secret)).collect();
    assert_eq!(heard, [format!("/token Basic {secret}")], "once for all files, and nowhere else");
    let told = std::iter::from_fn(|| home.told.try_recv().ok()).map(|told| format!("{told:?}"));
    assert!(told.chain([format!("{error:?}")]).all(|text| !text.contains("secret") && !text.contains("opaque")));
}

#[tokio::test]
async fn what_cannot_be_used_says_why_and_what_to_do() {
    let old = br#"{"schemaVersion":1,"name":"lab/old","tag":"v1","fsLayers":[],"history":[]}"#.to_vec();
    let image = Image { layers: Vec::new(), config: Vec::new(), manifest: old };
    let server = Server::of(&image).await;
    let home = Home::new();
    let error = home.get_as_user(&server, &server.pin("old", image.digest())).await.expect_err("too old");
    assert_eq!((error.id(), error.to_string().as_str()), ("image.unusable", "probe 1 cannot be used"));
    assert!(error.remedy().is_some_and(|remedy| remedy.contains("push it anew")));
    let error = home.get(&server.pin("Not A Name", sha256(b"absent"))).await.expect_err("no name");
    assert_eq!(error.id(), "registry.reference");
}

#[tokio::test]
async fn a_store_by_digest_is_enough_and_the_registry_is_not_asked() {
    let image = image();
    let server = Server::of(&image).await;
    let home = Home::new();
    // No such host is ever found.
    let pin = pin("registry.invalid/lab/probe:v1".into(), Arch::Amd64, image.digest());
    home.get_by(&[format!("*=http://{}", server.host)], &pin).await.expect("from the store");
    assert!(home.has(&image));
    assert!(server.asked().iter().all(|path| path.starts_with("/sha256/")), "{:?}", server.asked());
}

#[tokio::test]
async fn a_mirror_stands_in_for_a_registry_and_need_not_be_trusted() {
    let registry = Registry::open().await;
    let image = image();
    registry.push("lab/mirrored", &image).await;
    registry.push("far/lab/mirrored", &image).await;
    let prefix = format!("{}/lab", registry.host());
    let named = pin(format!("{prefix}/mirrored:v1"), Arch::Amd64, image.digest());

    // A real registry as the mirror of one that does not exist.
    let home = Home::new();
    let invalid = pin("registry.invalid/lab/mirrored:v1".into(), Arch::Amd64, image.digest());
    home.get_by(&[format!("registry.invalid=http://{}/far", registry.host())], &invalid).await.expect("mirrored");
    assert!(home.has(&image));

    // One that lies is told of, and its registry asked.
    let server = Server::open(&image).await;
    let mut home = Home::new();
    home.get_by(&[format!("{prefix}=http://{}/wrong-layer", server.host)], &named).await.expect("from the registry");
    assert!(home.has(&image));
    let warnings = home.warnings();
    assert!(
        warnings.iter().any(|text| text.contains(&server.host) && text.contains("wanted is sha256:")),
        "{warnings:?}"
    );

    // One that lets nobody in is told of once, and not asked for the next file.
    let server = Server::of(&image).await;
    let mut home = Home::new();
    home.get_by(&[format!("{prefix}=http://{}/x", server.host)], &named).await.expect("from the registry");
    assert_eq!((home.warnings().len(), server.asked().len()), (1, 2));
}
