//! Container images out of a real registry: by digest, shared, resumed, behind a login, and out of ones that lie.

mod archive;
mod engine;
mod lying;

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use calicolab::artifact::FetchError;
use calicolab::artifact::apt::Archive;
use calicolab::artifact::cache::Cache;
use calicolab::artifact::http::Manner;
use calicolab::artifact::oci::{self, Logins};
use calicolab::artifact::store::{Reach, Store};
use calicolab::artifact::verified::Verified;
use calicolab::event::{Event, Events, Stamped};
use calicolab::lab::pin::{Arch, Digest, Pin, Source, Trust};

use crate::support::registry::{Family, Image, LOGIN, Registry, list, sha256};

/// A cache of its own, and what is told while it is filled.
struct Home {
    folder: tempfile::TempDir,
    events: Events,
    told: tokio::sync::mpsc::UnboundedReceiver<Stamped>,
}

impl Home {
    fn new() -> Self {
        let (events, told) = Events::channel();
        Self { folder: tempfile::tempdir().expect("a folder"), events, told }
    }

    fn cache(&self) -> Cache {
        Cache::at(self.folder.path().join("cache"))
    }

    fn store(&self, reach: Reach) -> Store {
        let manner = Manner {
            stall: Duration::from_secs(60),
            pause: Duration::from_millis(5),
            attempts: 3,
            rest: Duration::from_millis(50),
        };
        Store::new(self.cache(), "test".parse().expect("a name"), reach, Archive::at(Vec::new()))
            .with_manner(manner)
            .with_logins(Logins::default())
    }

    async fn get(&self, pin: &Pin) -> Result<Verified, FetchError> {
        self.store(Reach::Online).ensure(pin, &self.events).await
    }

    fn bytes(&self, digest: &Digest) -> Option<Vec<u8>> {
        std::fs::read(self.cache().file(digest)).ok()
    }

    /// Whether every file of the image is there.
    fn has(&self, image: &Image) -> bool {
        let mut files = image.layers.iter().chain([&image.config, &image.manifest]);
        files.all(|file| self.bytes(&sha256(file)).as_ref() == Some(file))
    }

    /// A file as docker writes it, with a login for `registry`.
    fn docker_config(&self, registry: &str) -> PathBuf {
        let login = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", LOGIN.0, LOGIN.1));
        let text = serde_json::json!({ "auths": { registry: { "auth": login } } });
        let path = self.folder.path().join("config.json");
        std::fs::write(&path, text.to_string()).expect("written");
        path
    }
}

fn pin(reference: String, arch: Arch, digest: Digest) -> Pin {
    Pin {
        name: "probe".into(),
        version: "1".into(),
        arch,
        source: Source::Oci { reference },
        digest,
        bytes: None,
        trust: Trust::Published,
        found: "here".into(),
    }
}

/// Bytes in which no two places are alike, and which cannot be packed.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let word = |n: u64| {
        let mixed = (n ^ seed << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_le_bytes()
    };
    (0..length as u64 / 8).flat_map(word).collect()
}

#[tokio::test]
async fn images_come_by_their_own_digest_and_by_that_of_a_list() {
    let registry = Registry::open().await;
    for family in [Family::Oci, Family::Docker] {
        let (home, other) = (Home::new(), Home::new());
        let ours = Image::of(family, "amd64", &[("base", b"base"), ("ours", &noise(200_000, 1))]);
        let theirs = Image::of(family, "arm64", &[("base", b"base"), ("theirs", b"theirs")]);
        let repository = format!("lab/{family:?}").to_lowercase();
        registry.push(&repository, &ours).await;
        registry.push(&repository, &theirs).await;
        let both = list(family, &[("arm64", &theirs), ("amd64", &ours)]);
        registry.push_manifest(&repository, &both).await;
        let reference = format!("{}/{repository}:v1", registry.host());

        let verified = home.get(&pin(reference.clone(), Arch::Amd64, ours.digest())).await.expect("by its own digest");
        assert!(home.has(&ours));
        assert_eq!(std::fs::read(verified.path()).expect("there"), ours.manifest);

        let listed = pin(reference, Arch::All, sha256(&both));
        other.get(&listed).await.expect("by that of the list");
        assert!(other.has(&ours) && !other.has(&theirs));
        let contents = oci::contents(&other.cache(), &listed).await.expect("read").expect("there");
        // List, manifest, configuration, two layers.
        assert_eq!(contents.files().len(), 5);

        // Nothing is asked for a second time, and all is hashed again.
        let before = registry.asked(&ours.digest()).await.len();
        home.get(verified.pin()).await.expect("there");
        assert_eq!(registry.asked(&ours.digest()).await.len(), before);
    }
}

#[tokio::test]
async fn a_layer_that_images_share_is_fetched_once() {
    let registry = Registry::open().await;
    let base = noise(400_000, 2);
    let images: Vec<Image> =
        (0..4u8).map(|n| Image::of(Family::Oci, "amd64", &[("base", &base), ("own", &[n; 100])])).collect();
    for image in &images {
        registry.push("lab/shared", image).await;
    }
    let mut home = Home::new();
    let reference = format!("{}/lab/shared:v1", registry.host());
    let pins: Vec<Pin> = images.iter().map(|image| pin(reference.clone(), Arch::Amd64, image.digest())).collect();
    // Four images at once, and as another run would ask for them at the same time.
    let (one, two) = (home.store(Reach::Online), home.store(Reach::Online));
    let (first, second) = tokio::join!(one.ensure_all(&pins, &home.events), two.ensure_all(&pins, &home.events));
    assert_eq!((first.expect("fetched").len(), second.expect("fetched").len()), (4, 4));
    assert!(images.iter().all(|image| home.has(image)));
    assert_eq!(registry.sent(&sha256(&images[0].layers[0])).await, 1);

    // One bar an image, which ends with all its bytes.
    let mut last = None;
    while let Ok(told) = home.told.try_recv() {
        if let Event::Progress { subject, done: Some(done), .. } = told.event {
            assert_eq!(subject, "probe 1");
            last = Some(done);
        }
    }
    assert!(last.is_some_and(|(have, total)| have == total && total > images[0].layers[0].len() as u64), "{last:?}");
}

#[tokio::test]
async fn a_killed_run_is_gone_on_from() {
    let registry = Registry::open().await;
    let image = Image::of(Family::Docker, "amd64", &[("large", &noise(1_000_000, 3))]);
    registry.push("lab/large", &image).await;
    let home = Home::new();
    let layer = sha256(&image.layers[0]);
    let part = home.cache().file(&layer).with_extension("part");
    std::fs::create_dir_all(part.parent().expect("a folder")).expect("made");
    std::fs::write(&part, &image.layers[0][..700_000]).expect("written");
    let pin = pin(format!("{}/lab/large:v1", registry.host()), Arch::Amd64, image.digest());
    home.get(&pin).await.expect("fetched");
    assert!(home.has(&image));
    let rest = format!("\" 206 {} ", image.layers[0].len() - 700_000);
    let asked = registry.asked(&layer).await;
    assert!(asked.len() == 1 && asked[0].contains(&rest), "{asked:?}");
}

#[tokio::test]
async fn a_damaged_layer_is_healed_and_said() {
    let registry = Registry::open().await;
    let image = Image::of(Family::Oci, "amd64", &[("file", &noise(100_000, 4))]);
    registry.push("lab/damaged", &image).await;
    let mut home = Home::new();
    let pin = pin(format!("{}/lab/damaged:v1", registry.host()), Arch::Amd64, image.digest());
    home.get(&pin).await.expect("fetched");
    for file in [&image.layers[0], &image.manifest] {
        let path = home.cache().file(&sha256(file));
        std::fs::remove_file(&path).expect("removed");
        std::fs::write(&path, &file[1..]).expect("damaged");
        home.get(&pin).await.expect("healed");
        assert!(home.has(&image));
        let mut warned = false;
        while let Ok(told) = home.told.try_recv() {
            warned |= matches!(told.event, Event::Warning { text } if text.contains("probe 1 was damaged"));
        }
        assert!(warned);
    }
}

#[tokio::test]
async fn a_closed_registry_wants_the_users_login() {
    let registry = Registry::closed().await;
    let image = Image::of(Family::Oci, "amd64", &[("file", b"content")]);
    registry.push("lab/closed", &image).await;
    let home = Home::new();
    let pin = pin(format!("{}/lab/closed:v1", registry.host()), Arch::Amd64, image.digest());
    let error = home.get(&pin).await.expect_err("nobody is let in without");
    assert_eq!(error.id(), "registry.denied");
    let host = registry.host();
    assert_eq!(error.to_string(), format!("{host} does not give {host}/lab/closed:v1 to us without a login"));
    assert_eq!(error.remedy(), Some(format!("docker login {host}")));

    let logins = Logins::at([home.docker_config(registry.host())]);
    let store = home.store(Reach::Online).with_logins(logins);
    store.ensure(&pin, &home.events).await.expect("let in");
    assert!(home.has(&image));
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let registry = Registry::open().await;
    let home = Home::new();
    let pin = pin(format!("{}/lab/absent:v1", registry.host()), Arch::Amd64, Digest::Sha256([7; 32]));
    let error = home.get(&pin).await.expect_err("absent");
    let host = registry.host();
    let hex = "07".repeat(32);
    assert_eq!(error.to_string(), format!("{host} has no {host}/lab/absent:v1 with sha256:{hex}"));
    assert_eq!(error.id(), "registry.absent");
}

#[tokio::test]
async fn offline_says_which_images_are_missing_and_asks_nobody() {
    let registry = Registry::open().await;
    let (whole, part) = (
        Image::of(Family::Oci, "amd64", &[("file", b"whole")]),
        Image::of(Family::Oci, "amd64", &[("file", b"part"), ("other", b"other")]),
    );
    let home = Home::new();
    let mut pins = Vec::new();
    for (image, name) in [(&whole, "whole"), (&part, "part")] {
        registry.push("lab/offline", image).await;
        let mut pin = pin(format!("{}/lab/offline:v1", registry.host()), Arch::Amd64, image.digest());
        pin.name = name.into();
        home.get(&pin).await.expect("fetched");
        pins.push(pin);
    }
    let layer = sha256(&part.layers[1]);
    std::fs::remove_file(home.cache().file(&layer)).expect("removed");
    let sent = registry.asked(&layer).await.len();
    let error = home.store(Reach::Offline).ensure_all(&pins, &home.events).await.expect_err("a layer is missing");
    assert!(matches!(error, FetchError::Offline { names } if names == ["part 1"]));
    assert_eq!(registry.asked(&layer).await.len(), sent);
    home.store(Reach::Offline).ensure(&pins[0], &home.events).await.expect("whole");
}
