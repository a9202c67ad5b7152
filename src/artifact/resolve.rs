//! Digests out of upstreams' own records: lists of sums beside their releases, and registries' manifests.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use reqwest::Response;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::FetchError;
use super::files::failed;
use super::store::Cache;
use crate::durable;
use crate::event::{Event, Events, Step};
use crate::lab::pin::{Arch, Digest, hex};

mod sums;

pub use sums::digests_of;

/// The most that is read of a list of sums, in bytes.
const LIST_CAP: u64 = 4 << 20;

/// The most that is read of a file nobody published a sum of, in bytes.
const FILE_CAP: u64 = 8 << 30;

/// Longest silence of a server, and longest time for all of a list or a manifest.
const SILENCE: Duration = Duration::from_secs(30);
const WHOLE: Duration = Duration::from_secs(60);

/// How often a transfer tells how far it is.
const TELL: Duration = Duration::from_millis(200);

/// Why an upstream gave no digest.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Its server failed us.
    #[error(transparent)]
    Fetch(FetchError),
    /// Its list is silent on the file.
    #[error("{list} has no sum of {file}")]
    NotListed {
        /// The list's address.
        list: String,
        /// The file's.
        file: String,
    },
    /// Its list has several sums of one kind for the file.
    #[error("{list} contradicts itself on {file}")]
    Contradiction {
        /// The list's address.
        list: String,
        /// The file's.
        file: String,
    },
    /// What is asked for is no name of an image.
    #[error("`{reference}` names no container image")]
    NoReference {
        /// The name.
        reference: String,
    },
    /// A registry failed us.
    #[error("the registry gave no manifest of {reference}")]
    Registry {
        /// The image.
        reference: String,
        /// Why.
        source: Box<OciDistributionError>,
    },
    /// A registry fell silent.
    #[error("the registry did not answer for {reference} within {} s", WHOLE.as_secs())]
    Silent {
        /// The image.
        reference: String,
    },
    /// A manifest that no runtime of today takes.
    #[error("{reference} has a manifest of the first format, which runtimes take no more")]
    FirstFormat {
        /// The image.
        reference: String,
    },
    /// An image that is not for this processor.
    #[error("{reference} is not made for {arch}", arch = arch.words().0)]
    NoPlatform {
        /// The image.
        reference: String,
        /// The processor.
        arch: Arch,
    },
}

/// What a registry has under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// Of the manifest, or of the list of manifests.
    pub digest: Digest,
    /// Whether it is a list, with a manifest for each processor.
    pub list: bool,
}

/// The digests that the list at `list` gives for the file at `file`, one of each algorithm.
pub async fn listed(client: &reqwest::Client, list: &str, file: &str) -> Result<Vec<Digest>, ResolveError> {
    chosen(&text(client, list).await.map_err(ResolveError::Fetch)?, list, file)
}

fn chosen(text: &str, list: &str, file: &str) -> Result<Vec<Digest>, ResolveError> {
    let path = reqwest::Url::parse(file).map_or_else(|_| file.to_owned(), |url| url.path().to_owned());
    let found = digests_of(text, &path);
    let (list, file) = (list.to_owned(), file.to_owned());
    if found.is_empty() {
        return Err(ResolveError::NotListed { list, file });
    }
    if found.windows(2).any(|two| two[0].algorithm() == two[1].algorithm()) {
        return Err(ResolveError::Contradiction { list, file });
    }
    Ok(found)
}

/// A client for small questions.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .user_agent(concat!("calicolab/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::limited(5))
        .connect_timeout(SILENCE)
        .read_timeout(SILENCE)
        .build()
        .expect("the TLS library starts")
}

async fn text(client: &reqwest::Client, url: &str) -> Result<String, FetchError> {
    let reading = async {
        let mut response = asked(client, url, LIST_CAP).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken(url))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > LIST_CAP {
                return Err(FetchError::TooLong { url: url.into(), limit: LIST_CAP });
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let stalled = || FetchError::Stalled { url: url.into(), after: WHOLE };
    tokio::time::timeout(WHOLE, reading).await.unwrap_or_else(|_| Err(stalled()))
}

async fn asked(client: &reqwest::Client, url: &str, limit: u64) -> Result<Response, FetchError> {
    let response = client.get(url).send().await.map_err(broken(url))?;
    let status = response.status();
    if !status.is_success() {
        return Err(FetchError::Status { url: url.into(), status: status.as_u16() });
    }
    match response.content_length() {
        Some(length) if length > limit => Err(FetchError::TooLong { url: url.into(), limit }),
        _ => Ok(response),
    }
}

fn broken(url: &str) -> impl Fn(reqwest::Error) -> FetchError {
    let url = url.to_owned();
    // The address stands in our own text already.
    move |source| FetchError::Transfer { url: url.clone(), source: source.without_url() }
}

/// Fetch the file at the first of `urls` that gives it, hash it, and keep it in the cache: its digest, its length, and
/// the address. Nobody vouches for these bytes; they are only the same from here on.
pub async fn first_use(
    client: &reqwest::Client,
    cache: &Cache,
    urls: &[String],
    events: &Events,
) -> Result<(Digest, u64, String), FetchError> {
    let mut last = FetchError::NoWay { name: "the file".into(), what: "no address at all" };
    for url in urls {
        match fetched(client, cache, url, events).await {
            Ok((digest, bytes)) => return Ok((digest, bytes, url.clone())),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn fetched(
    client: &reqwest::Client,
    cache: &Cache,
    url: &str,
    events: &Events,
) -> Result<(Digest, u64), FetchError> {
    let mut response = asked(client, url, FILE_CAP).await?;
    let total = response.content_length();
    let part = Part::of(cache, url);
    let folder = part.0.parent().unwrap_or(&part.0).to_owned();
    let writing = failed(&format!("writing {}", part.0.display()), &folder, total.unwrap_or(0));
    tokio::fs::create_dir_all(&folder).await.map_err(&writing)?;
    let mut file = tokio::fs::File::create(&part.0).await.map_err(&writing)?;
    let (mut sum, mut have, mut told) = (Sha256::new(), 0u64, None::<Instant>);
    while let Some(chunk) = response.chunk().await.map_err(broken(url))? {
        have += chunk.len() as u64;
        if have > FILE_CAP {
            return Err(FetchError::TooLong { url: url.into(), limit: FILE_CAP });
        }
        sum.update(&chunk);
        file.write_all(&chunk).await.map_err(&writing)?;
        if told.is_none_or(|at| at.elapsed() > TELL) {
            told = Some(Instant::now());
            let done = total.map(|total| (have, total));
            events.tell(Event::Progress { step: Step::Fetch, subject: url.into(), doing: "downloading".into(), done });
        }
    }
    file.flush().await.map_err(&writing)?;
    drop(file);
    let digest = Digest::Sha256(sum.finalize().into());
    let kept = cache.file(&digest);
    let settled = async {
        tokio::fs::create_dir_all(kept.parent().unwrap_or(&kept)).await?;
        super::files::read_only(&part.0)?;
        durable::settle(&part.0, &kept)
    };
    settled.await.map_err(&writing)?;
    Ok((digest, have))
}

/// A file under way, which goes with the attempt.
struct Part(PathBuf);

impl Part {
    fn of(cache: &Cache, url: &str) -> Self {
        let name = hex(&Sha256::digest(url)[..8]);
        Self(cache.root().join("first-use").join(format!("{name}-{}.part", std::process::id())))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It is gone already if all went well.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What the registry has under `reference`: the list for all processors if `arch` is that, else the manifest for one.
pub async fn oci_digest(reference: &str, arch: Arch) -> Result<Tagged, ResolveError> {
    let image: Reference = reference.parse().map_err(|_| ResolveError::NoReference { reference: reference.into() })?;
    let mut config = ClientConfig::default();
    if local(image.registry()) {
        config.protocol = ClientProtocol::HttpsExcept(vec![image.resolve_registry().into()]);
    }
    (config.connect_timeout, config.read_timeout) = (Some(SILENCE), Some(SILENCE));
    config.user_agent = concat!("calicolab/", env!("CARGO_PKG_VERSION"));
    let client = Client::new(config);
    let asking = client.pull_manifest_raw(&image, &RegistryAuth::Anonymous, &MEDIA_TYPES);
    let (bytes, _) = tokio::time::timeout(WHOLE, asking)
        .await
        .map_err(|_| ResolveError::Silent { reference: reference.into() })?
        .map_err(|source| ResolveError::Registry { reference: reference.into(), source: Box::new(source) })?;
    manifest(&bytes, reference, arch)
}

const MEDIA_TYPES: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// A registry on this host, to which one speaks without TLS.
fn local(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// A manifest's own digest, or that of the one for `arch` in a list. The bytes are hashed here: what a registry says
/// of them counts for nothing.
fn manifest(bytes: &[u8], reference: &str, arch: Arch) -> Result<Tagged, ResolveError> {
    let digest = Digest::Sha256(Sha256::digest(bytes).into());
    let read: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    if read["schemaVersion"] != 2 {
        return Err(ResolveError::FirstFormat { reference: reference.into() });
    }
    let Some(children) = read["manifests"].as_array() else { return Ok(Tagged { digest, list: false }) };
    if arch == Arch::All {
        return Ok(Tagged { digest, list: true });
    }
    let ours = |child: &&serde_json::Value| {
        child["platform"]["os"] == "linux" && child["platform"]["architecture"] == arch.words().0
    };
    let child = children.iter().find(ours).and_then(|child| child["digest"].as_str()?.parse().ok());
    child
        .map(|digest| Tagged { digest, list: false })
        .ok_or_else(|| ResolveError::NoPlatform { reference: reference.into(), arch })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_a_manifest_for_each_processor() {
        let child = format!("sha256:{}", "0a".repeat(32));
        let list = serde_json::json!({"schemaVersion": 2, "manifests": [
            {"digest": "sha256:1", "platform": {"os": "windows", "architecture": "amd64"}},
            {"digest": child, "platform": {"os": "linux", "architecture": "amd64"}},
        ]})
        .to_string();
        let whole = manifest(list.as_bytes(), "x.example/a:1", Arch::All).expect("a list");
        assert_eq!(whole, Tagged { digest: Digest::Sha256(Sha256::digest(&list).into()), list: true });
        let one = manifest(list.as_bytes(), "x.example/a:1", Arch::Amd64).expect("there");
        assert_eq!(one, Tagged { digest: child.parse().expect("a digest"), list: false });
        let error = manifest(list.as_bytes(), "x.example/a:1", Arch::Arm64).expect_err("not there");
        assert_eq!(error.to_string(), "x.example/a:1 is not made for arm64");
        let old = manifest(br#"{"schemaVersion": 1}"#, "x.example/a:1", Arch::All);
        assert!(matches!(old, Err(ResolveError::FirstFormat { .. })));
    }

    #[test]
    fn a_list_that_contradicts_itself_is_no_record() {
        let (a, b) = ("0a".repeat(32), "0b".repeat(32));
        let list = "https://x.example/SHA256SUMS";
        let told = |text: &str| chosen(text, list, "https://x.example/v1/a").map_err(|error| error.to_string());
        assert_eq!(
            told(&format!("{a}  a\n{b}  a\n")),
            Err(format!("{list} contradicts itself on https://x.example/v1/a"))
        );
        assert_eq!(told(&format!("{a}  b\n")), Err(format!("{list} has no sum of https://x.example/v1/a")));
        assert_eq!(told(&a).map(|digests| digests.len()), Ok(1));
    }
}
