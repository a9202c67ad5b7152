//! Where a registry has a file by its digest, and the way in: logins, tokens, and what its refusals mean.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use reqwest::Url;
use reqwest::header::HeaderValue;
use tokio::sync::Mutex;

use super::error::RegistryError;
use super::login::{Login, Logins};
use super::manifest::ACCEPT;
use crate::artifact::FetchError;
use crate::artifact::mirror::{Address, Mirrors};
use crate::lab::pin::Digest;

/// A token is asked for anew after this: a registry need not honour one for longer than a minute.
const FRESH: Duration = Duration::from_secs(50);

/// What a registry is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A manifest or a list of them.
    Manifest,
    /// A configuration or a layer.
    Blob,
}

/// One registry that may have an image.
#[derive(Clone, Debug)]
pub(super) struct Registry {
    reference: Reference,
    /// How people call the image.
    image: String,
    plain: bool,
    mirror: bool,
    user: Option<(String, String)>,
}

impl Registry {
    /// The registry that the image's name says.
    pub(super) fn own(reference: &Reference) -> Self {
        let plain = Url::parse(&format!("http://{}", reference.registry())).is_ok_and(|url| loopback(&url));
        Self { image: reference.to_string(), reference: reference.clone(), plain, mirror: false, user: None }
    }

    /// What mirrors that registry, in the order it is tried.
    pub(super) fn mirrors(reference: &Reference, mirrors: &Mirrors) -> Vec<Self> {
        let repository = format!("{}/{}", reference.registry(), reference.repository());
        let urls = mirrors.rewritten(&repository);
        urls.iter().filter_map(|url| Self::of_mirror(url, &reference.to_string())).collect()
    }

    /// A mirror's address of a repository: what comes after its host is the repository there.
    fn of_mirror(url: &str, image: &str) -> Option<Self> {
        let url = Url::parse(url).ok()?;
        let host = url.host_str()?;
        let registry = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let repository = url.path().trim_matches('/').to_owned();
        // Asked by digest only; the tag is for completeness.
        let reference = Reference::with_tag(registry, repository, "latest".into());
        let user = (!url.username().is_empty())
            .then(|| (url.username().to_owned(), url.password().unwrap_or_default().to_owned()));
        Some(Self { reference, image: image.into(), plain: url.scheme() == "http", mirror: true, user })
    }

    /// Its address of a file.
    pub(super) fn url(&self, kind: Kind, digest: &Digest) -> String {
        let word = match kind {
            Kind::Manifest => "manifests",
            Kind::Blob => "blobs",
        };
        format!("{}{}/{word}/{digest}", self.root(), self.reference.repository())
    }

    /// Its address of what the image's name means now: by its digest if it has one, else by its tag.
    fn named_url(&self) -> String {
        let name = self.reference.digest().or(self.reference.tag()).unwrap_or("latest");
        format!("{}{}/manifests/{name}", self.root(), self.reference.repository())
    }

    fn root(&self) -> String {
        let scheme = if self.plain { "http" } else { "https" };
        format!("{scheme}://{}/v2/", self.reference.resolve_registry())
    }

    /// What is said to it. A login goes to no server that would hand it on in clear text.
    async fn login(&self, logins: &Logins) -> Login {
        if let Some((user, password)) = &self.user {
            let auth = RegistryAuth::Basic(user.clone(), password.clone());
            return Login { auth, told: "with the login in the mirror's address".into() };
        }
        if self.plain && !Url::parse(&self.root()).is_ok_and(|url| loopback(&url)) {
            return Login { auth: RegistryAuth::Anonymous, told: "without a login, since it is not encrypted".into() };
        }
        logins.of(self.reference.registry()).await
    }
}

/// Whether the host is this one.
fn loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|addr| addr.is_loopback())
}

/// The way into one registry, which many files of an image take at once.
pub(super) struct Way<'a> {
    registry: Registry,
    logins: &'a Logins,
    stall: Duration,
    held: Mutex<Option<Held>>,
    given_up: AtomicBool,
}

/// What opened the way.
struct Held {
    since: Instant,
    header: Option<HeaderValue>,
    login: String,
}

impl<'a> Way<'a> {
    /// The way into `registry`; an answer takes `stall` at most.
    pub(super) fn new(registry: Registry, logins: &'a Logins, stall: Duration) -> Self {
        Self { registry, logins, stall, held: Mutex::new(None), given_up: AtomicBool::new(false) }
    }

    /// The address of a file, with the header that opens it.
    pub(super) async fn address(&self, kind: Kind, digest: &Digest) -> Result<Address, FetchError> {
        let address = self.opened(self.registry.url(kind, digest)).await?;
        Ok(match kind {
            Kind::Manifest => address.with_accept(ACCEPT),
            Kind::Blob => address,
        })
    }

    /// The address of what the image's name means now, with the header that opens it.
    pub(super) async fn named(&self) -> Result<Address, FetchError> {
        Ok(self.opened(self.registry.named_url()).await?.with_accept(ACCEPT))
    }

    async fn opened(&self, url: String) -> Result<Address, FetchError> {
        let address = if self.registry.mirror { Address::of_mirror(url) } else { Address::upstream(url) };
        let mut held = self.held.lock().await;
        let held = match &mut *held {
            Some(held) if held.since.elapsed() < FRESH => held,
            stale => stale.insert(self.open().await?),
        };
        Ok(match &held.header {
            Some(header) => address.with_authorization(header.clone()),
            None => address,
        })
    }

    /// Do without it for the rest of the image; whether that is news.
    pub(super) fn give_up(&self) -> bool {
        !self.given_up.swap(true, Ordering::Relaxed)
    }

    /// Whether somebody gave it up.
    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Whether what opened the way when `asked` was sent may have become too old since.
    pub(super) fn has_aged(asked: Instant) -> bool {
        asked.elapsed() >= FRESH
    }

    /// What the registry's refusal of a file means.
    pub(super) async fn meaning(&self, error: FetchError, digest: Option<&Digest>) -> FetchError {
        let (registry, image) = (self.registry.reference.registry().to_owned(), self.registry.image.clone());
        FetchError::Registry(match error {
            FetchError::Status { status: 401 | 403, .. } => {
                let login = self.held.lock().await.as_ref().map(|held| held.login.clone()).unwrap_or_default();
                RegistryError::Denied { registry, image, login }
            }
            FetchError::Status { status: 404, .. } => {
                RegistryError::Absent { registry, image, digest: digest.copied().map(Box::new) }
            }
            FetchError::RateLimited { rest, .. } => RegistryError::TooMany { registry, image, rest },
            other => return other,
        })
    }

    /// Ask the registry what it wants, and get it.
    async fn open(&self) -> Result<Held, FetchError> {
        let Registry { reference, plain, image, .. } = &self.registry;
        let registry = reference.registry().to_owned();
        let token = |source| {
            let (registry, source) = (registry.clone(), Box::new(source));
            FetchError::Registry(RegistryError::Token { registry, source })
        };
        let config = ClientConfig {
            protocol: if *plain { ClientProtocol::Http } else { ClientProtocol::Https },
            user_agent: concat!("calicolab/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let client = Client::try_from(config).map_err(token)?;
        let ask = async {
            let login = self.registry.login(self.logins).await;
            (client.auth(reference, &login.auth, RegistryOperation::Pull).await, login)
        };
        let (answer, login) = tokio::time::timeout(self.stall, ask)
            .await
            .map_err(|_| FetchError::Stalled { url: self.registry.root(), after: self.stall })?;
        let header = match (answer, &login.auth) {
            (Ok(Some(bearer)), _) => Some(format!("Bearer {bearer}")),
            (Ok(None), RegistryAuth::Basic(user, password)) => Some(format!(
                "Basic {}",
                base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))
            )),
            (Ok(None), _) => None,
            (Err(OciDistributionError::AuthenticationFailure(_)), _) => {
                let (image, login) = (image.clone(), login.told);
                return Err(FetchError::Registry(RegistryError::Denied { registry, image, login }));
            }
            (Err(OciDistributionError::RequestError(error)), _) => {
                return Err(FetchError::of_transport(self.registry.root(), error));
            }
            (Err(error), _) => return Err(token(error)),
        };
        // What is no header is no token either, and the registry will say so.
        let header = header.and_then(|text| HeaderValue::try_from(text).ok());
        Ok(Held { since: Instant::now(), header, login: login.told })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::mirror::Mirror;
    use crate::lab::problem::Place;

    fn urls(reference: &str, mirrors: &[&str]) -> Vec<String> {
        let named = Place::Flag { flag: "--mirror".into() };
        let mirrors = Mirrors::new(mirrors.iter().map(|text| Mirror::parse(text, named.clone()).expect(text)));
        let digest = Digest::Sha256([1; 32]);
        let reference = reference.parse().expect(reference);
        let places = Registry::mirrors(&reference, &mirrors).into_iter().chain([Registry::own(&reference)]);
        let urls = places.map(|place| place.url(Kind::Blob, &digest).replace(&digest.to_string(), "D"));
        urls.collect()
    }

    #[test]
    fn names_lead_to_addresses_and_mirrors_come_first() {
        let quay = "quay.example/calico/node:v3.0.3";
        assert_eq!(urls(quay, &[]), ["https://quay.example/v2/calico/node/blobs/D"]);
        assert_eq!(
            urls(
                quay,
                &["quay.example/calico=http://one.example:5000/c", "*=http://by-digest.example", "z.example=http://z"]
            ),
            ["http://one.example:5000/v2/c/node/blobs/D", "https://quay.example/v2/calico/node/blobs/D"]
        );
        assert_eq!(
            urls("busybox:1.28", &["docker.io=https://user:word@two.example/hub"])[0],
            "https://two.example/v2/hub/library/busybox/blobs/D"
        );
    }

    #[test]
    fn only_this_host_is_spoken_to_in_clear_text() {
        for (reference, scheme) in [
            ("127.0.0.1:5000/x/y:1", "http"),
            ("127.9.9.9/x/y:1", "http"),
            ("localhost:5000/x:1", "http"),
            ("127.example/x:1", "https"),
            ("localhost.example/x:1", "https"),
            ("10.0.0.1:5000/x:1", "https"),
        ] {
            let url = &urls(reference, &[])[0];
            assert_eq!(url.split("://").next(), Some(scheme), "{url}");
        }
        assert!(loopback(&Url::parse("http://[::1]:5000/").expect("an address")));
    }

    #[tokio::test]
    async fn no_login_leaves_in_clear_text() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.json");
        let auth = r#"{"auths":{"one.example":{"auth":"dXNlcjpzZWNyZXQ="},"127.0.0.1:5":{"auth":"dXNlcjpzZWNyZXQ="}}}"#;
        std::fs::write(&path, auth).expect("written");
        let logins = Logins::at([path]);
        for (url, given) in
            [("http://one.example/x", false), ("https://one.example/x", true), ("http://127.0.0.1:5/x", true)]
        {
            let place = Registry::of_mirror(url, "x").expect("an address");
            assert_eq!(place.login(&logins).await.auth != RegistryAuth::Anonymous, given, "{url}");
        }
    }
}
