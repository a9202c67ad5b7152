//! The store of files under their digests; the only maker of [`Verified`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::StreamExt as _;
use futures::future::try_join_all;
use futures::stream::FuturesUnordered;

use super::FetchError;
use super::apt::Archive;
use super::fetch::{Blob, Line, Order, UNSIZED_CAP, told_of_next};
use super::files::{self, EntryLock};
use super::http::Manner;
use super::mirror::{Address, Mirrors};
use super::oci::Logins;
use crate::event::{Event, Events, Step};
use crate::lab::name::LabName;
use crate::lab::pin::{Digest, Pin, Source};

/// The folder shared by all runs of a user: `$XDG_CACHE_HOME/calicolab`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The user's own: `$XDG_CACHE_HOME/calicolab`, else `$HOME/.cache/calicolab`.
    pub fn from_env() -> Result<Self, FetchError> {
        let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
        base.map(|base| Self { root: base.join("calicolab") }).ok_or(FetchError::NoCache)
    }

    /// A folder of the caller's choice.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the file of this digest lies, if it is there: `sha256/aa/<hex>`.
    pub fn file(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.root.join(digest.algorithm()).join(&hex[..2]).join(hex)
    }

    /// The file whose lock guards the entry `name`.
    pub(super) fn lock_file(&self, name: &str) -> PathBuf {
        self.root.join("locks").join(name)
    }
}

/// A pinned file whose bytes were hashed in this run and are the pin's.
#[derive(Clone, Debug)]
pub struct Verified {
    pin: Pin,
    path: PathBuf,
    bytes: u64,
}

impl Verified {
    /// What was asked for.
    pub fn pin(&self) -> &Pin {
        &self.pin
    }

    /// Where it lies, read-only.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// A file made here from verified ones by a named recipe, hashed in this run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    path: PathBuf,
    digest: Digest,
    bytes: u64,
    recipe: String,
}

impl Derived {
    pub(super) fn new(path: PathBuf, (digest, bytes): (Digest, u64), recipe: &str) -> Self {
        Self { path, digest, bytes, recipe: recipe.into() }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its own sum; of a disk, the sum over its blocks that are not zero.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The recipe it was made by, with the recipe's digest.
    pub fn recipe(&self) -> &str {
        &self.recipe
    }
}

/// Whether connections may be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// They may.
    Online,
    /// Only what is in the cache may be used.
    Offline,
}

/// The cache as one lab uses it.
#[derive(Clone, Debug)]
pub struct Store {
    cache: Cache,
    lab: LabName,
    reach: Reach,
    archive: Archive,
    manner: Manner,
    mirrors: Mirrors,
    logins: Logins,
    line: Arc<Line>,
}

impl Store {
    /// The cache for `lab`, which errors name; Debian packages come out of `archive`.
    pub fn new(cache: Cache, lab: LabName, reach: Reach, archive: Archive) -> Self {
        let (manner, mirrors, line) = (Manner::default(), Mirrors::default(), Arc::default());
        Self { cache, lab, reach, archive, manner, mirrors, logins: Logins::from_env(), line }
    }

    /// The same with logins to registries from elsewhere than the user's own files.
    #[must_use]
    pub fn with_logins(mut self, logins: Logins) -> Self {
        self.logins = logins;
        self
    }

    /// The same with mirrors, which are asked before any upstream.
    #[must_use]
    pub fn with_mirrors(mut self, mirrors: Mirrors) -> Self {
        self.mirrors = mirrors;
        self
    }

    /// The same with other patience for servers.
    #[must_use]
    pub fn with_manner(mut self, manner: Manner) -> Self {
        self.manner = manner;
        self
    }

    /// The folder behind it.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Whether it may open connections.
    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// One file; see [`ensure_all`](Self::ensure_all).
    pub async fn ensure(&self, pin: &Pin, events: &Events) -> Result<Verified, FetchError> {
        let mut all = self.ensure_all(std::slice::from_ref(pin), events).await?;
        Ok(all.pop().expect("one pin gives one file"))
    }

    /// All `pins`, in their order, hashed in this run. What is there and whole is used; what is damaged is removed,
    /// told of and fetched again; what is missing is fetched, all Debian packages by one run of apt. Two runs that
    /// want the same file fetch it once.
    pub async fn ensure_all(&self, pins: &[Pin], events: &Events) -> Result<Vec<Verified>, FetchError> {
        let found = try_join_all(pins.iter().map(|pin| self.look(pin))).await?;
        let wanted: Vec<&Pin> =
            pins.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(pin, _)| pin).collect();
        if wanted.is_empty() {
            return Ok(found.into_iter().flatten().collect());
        }
        if self.reach == Reach::Offline {
            return Err(FetchError::Offline { names: wanted.iter().map(|pin| label(pin)).collect() });
        }
        let fetched = self.fetch_all(wanted, events).await?;
        let same = |pin: &Pin| fetched.iter().find(|file| file.pin.digest == pin.digest).cloned();
        let all = pins
            .iter()
            .zip(found)
            .map(|(pin, found)| found.or_else(|| same(pin).map(|file| Verified { pin: pin.clone(), ..file })));
        Ok(all.map(|file| file.expect("what was not found was fetched")).collect())
    }

    async fn look(&self, pin: &Pin) -> Result<Option<Verified>, FetchError> {
        let found = match &pin.source {
            Source::Oci { .. } => self.pulled(pin).await?,
            Source::Url { .. } | Source::Apt { .. } => self.there(&pin.digest).await?,
        };
        Ok(found.map(|blob| verified(pin, blob)))
    }

    /// Fetch under the entries' locks, which are taken in one order so that no two runs wait for each other. All is
    /// tried, whatever fails: the next run has so much less to do.
    async fn fetch_all(&self, mut pins: Vec<&Pin>, events: &Events) -> Result<Vec<Verified>, FetchError> {
        pins.sort_by_key(|pin| pin.digest.hex());
        pins.dedup_by_key(|pin| pin.digest);
        let mut locks: Vec<EntryLock> = Vec::new();
        let mut ready = Vec::new();
        let mut missing = Vec::new();
        // An image takes the locks of its files, one after the other, since other images have some of the same.
        let (images, pins): (Vec<&Pin>, Vec<&Pin>) =
            pins.into_iter().partition(|pin| matches!(pin.source, Source::Oci { .. }));
        for pin in pins {
            locks.push(files::lock(&self.cache.lock_file(&pin.digest.hex()), &label(pin), events).await?);
            match self.look(pin).await? {
                Some(file) => ready.push(file),
                None => missing.push(pin),
            }
        }
        self.room(missing.iter().map(|pin| (pin.digest, pin.bytes)))?;
        // The largest first: a long one begun last would have the line for itself at the end.
        missing.sort_by_key(|pin| std::cmp::Reverse(pin.bytes.unwrap_or(u64::MAX)));
        let (packages, others): (Vec<&Pin>, _) =
            missing.into_iter().partition(|pin| matches!(pin.source, Source::Apt { .. }));
        let downloads: FuturesUnordered<_> =
            others.into_iter().chain(images).map(|pin| self.download(pin, events)).collect();
        let (packages, downloads) = tokio::join!(self.packages(packages, events), downloads.collect::<Vec<_>>());
        let mut failures = Vec::new();
        for ended in packages.into_iter().chain(downloads) {
            match ended {
                Ok(file) => ready.push(file),
                Err(error) => failures.push(error),
            }
        }
        drop(locks);
        FetchError::all_of(failures).map(|()| ready)
    }

    /// Debian packages: from stores by digest where there are any, the others by one run of apt.
    async fn packages(&self, pins: Vec<&Pin>, events: &Events) -> Vec<Result<Verified, FetchError>> {
        // Without upstream addresses only mirrors are asked.
        let ask = |pin| async move { (pin, self.fetch(&self.order(pin, &[]), events).await) };
        let asked: FuturesUnordered<_> = pins.into_iter().map(ask).collect();
        let (mut ready, mut left) = (Vec::new(), Vec::new());
        for (pin, ended) in asked.collect::<Vec<_>>().await {
            match ended {
                Ok(blob) => ready.push(Ok(verified(pin, blob))),
                Err(error @ FetchError::DiskFull { .. }) => ready.push(Err(error)),
                Err(error) => {
                    if !matches!(error, FetchError::NoWay { .. }) {
                        told_of_next(&label(pin), true, &error, events);
                    }
                    left.push(pin);
                }
            }
        }
        if !left.is_empty() {
            match self.by_apt(&left, events).await {
                Ok(files) => ready.extend(files.into_iter().map(Ok)),
                Err(error) => ready.push(Err(error)),
            }
        }
        ready
    }

    async fn by_apt(&self, pins: &[&Pin], events: &Events) -> Result<Vec<Verified>, FetchError> {
        let parts: Vec<PathBuf> = pins.iter().map(|pin| self.part(&pin.digest)).collect::<Result<_, _>>()?;
        let wanted: Vec<(&Pin, PathBuf)> = pins.iter().copied().zip(parts).collect();
        self.archive.download(&self.cache, &self.lab, &wanted, events).await?;
        let adopted = wanted.iter().map(async |(pin, part)| {
            let blob = self.adopt_unread(&self.order(pin, &[]), part, "Debian's archive", events).await?;
            Ok(verified(pin, blob))
        });
        try_join_all(adopted).await
    }

    async fn download(&self, pin: &Pin, events: &Events) -> Result<Verified, FetchError> {
        let urls = match &pin.source {
            Source::Url { urls, .. } => urls,
            Source::Apt { .. } => return Err(FetchError::NoWay { name: label(pin), what: "a Debian archive" }),
            // In a box, since every story holds this future within its own.
            Source::Oci { .. } => return Ok(verified(pin, Box::pin(self.pull(pin, events)).await?)),
        };
        // Told before its turn has come, so that who listens knows how much there is in all.
        let (subject, doing) = (label(pin), "downloading".into());
        let done = pin.bytes.map(|bytes| (0, bytes));
        events.tell(Event::Progress { step: Step::Fetch, subject, doing, done });
        let upstream: Vec<Address> = urls.iter().map(Address::upstream).collect();
        Ok(verified(pin, self.fetch(&self.order(pin, &upstream), events).await?))
    }

    fn order(&self, pin: &Pin, upstream: &[Address]) -> Order {
        let addresses = self.mirrors.addresses(&pin.digest, upstream);
        Order { label: label(pin), digest: pin.digest, bytes: pin.bytes, most: UNSIZED_CAP, addresses }
    }

    pub(super) fn logins(&self) -> &Logins {
        &self.logins
    }

    pub(super) fn mirrors(&self) -> &Mirrors {
        &self.mirrors
    }

    pub(super) fn manner(&self) -> Manner {
        self.manner
    }

    pub(super) fn line(&self) -> &Line {
        &self.line
    }
}

fn verified(pin: &Pin, blob: Blob) -> Verified {
    Verified { pin: pin.clone(), path: blob.path, bytes: blob.bytes }
}

/// How people call a pinned file.
pub(super) fn label(pin: &Pin) -> String {
    format!("{} {}", pin.name, pin.version)
}

#[cfg(test)]
mod tests;
