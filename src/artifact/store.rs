//! The store of files under their digests; the only maker of [`Verified`].

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::future::try_join_all;

use super::FetchError;
use super::apt::Archive;
use super::files::{self, EntryLock, blocking, failed};
use super::http::{Manner, Transfer};
use crate::durable;
use crate::event::{Event, Events, Step};
use crate::lab::name::LabName;
use crate::lab::pin::{Digest, Pin, Source};

/// The most that is read of a file whose pin does not say how long it is.
const UNSIZED_CAP: u64 = 8 << 30;

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
}

impl Store {
    /// The cache for `lab`, which errors name; Debian packages come out of `archive`.
    pub fn new(cache: Cache, lab: LabName, reach: Reach, archive: Archive) -> Self {
        Self { cache, lab, reach, archive, manner: Manner::default() }
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

    /// The file if it is there and whole.
    async fn look(&self, pin: &Pin) -> Result<Option<Verified>, FetchError> {
        let path = self.cache.file(&pin.digest);
        match hashed(path.clone(), pin.digest).await {
            Ok((digest, bytes)) if digest == pin.digest => Ok(Some(Verified { pin: pin.clone(), path, bytes })),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FetchError::Io { doing: format!("reading {}", path.display()), source }),
        }
    }

    /// Fetch under the entries' locks, which are taken in one order so that no two runs wait for each other.
    async fn fetch_all(&self, mut pins: Vec<&Pin>, events: &Events) -> Result<Vec<Verified>, FetchError> {
        pins.sort_by_key(|pin| pin.digest.hex());
        pins.dedup_by_key(|pin| pin.digest);
        let mut locks: Vec<EntryLock> = Vec::new();
        let mut ready = Vec::new();
        let mut missing = Vec::new();
        for pin in pins {
            locks.push(files::lock(&self.cache.lock_file(&pin.digest.hex()), &label(pin), events).await?);
            if let Some(file) = self.look(pin).await? {
                ready.push(file);
            } else {
                self.discard_damaged(pin, events)?;
                missing.push(pin);
            }
        }
        let (packages, others): (Vec<&Pin>, _) =
            missing.into_iter().partition(|pin| matches!(pin.source, Source::Apt { .. }));
        let downloads = try_join_all(others.into_iter().map(|pin| self.download(pin, events)));
        let (packages, downloads) = tokio::join!(self.packages(&packages, events), downloads);
        ready.extend(packages?);
        ready.extend(downloads?);
        drop(locks);
        Ok(ready)
    }

    fn discard_damaged(&self, pin: &Pin, events: &Events) -> Result<(), FetchError> {
        let path = self.cache.file(&pin.digest);
        match std::fs::remove_file(&path) {
            Ok(()) => {
                events.warn(format!("{} was damaged in the cache; it is removed and fetched again", label(pin)));
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(FetchError::Io { doing: format!("removing damaged {}", path.display()), source }),
        }
    }

    async fn packages(&self, pins: &[&Pin], events: &Events) -> Result<Vec<Verified>, FetchError> {
        if pins.is_empty() {
            return Ok(Vec::new());
        }
        let parts: Vec<PathBuf> = pins.iter().map(|pin| self.part(pin)).collect::<Result<_, _>>()?;
        let wanted: Vec<(&Pin, PathBuf)> = pins.iter().copied().zip(parts).collect();
        self.archive.download(&self.cache, &self.lab, &wanted, events).await?;
        try_join_all(wanted.iter().map(|(pin, part)| self.adopt(pin, part, "Debian's archive", events))).await
    }

    async fn download(&self, pin: &Pin, events: &Events) -> Result<Verified, FetchError> {
        let urls = match &pin.source {
            Source::Url { urls, .. } => urls,
            Source::Apt { .. } => return Err(FetchError::NoWay { name: label(pin), what: "a Debian archive" }),
            Source::Oci { .. } => return Err(FetchError::NoWay { name: label(pin), what: "a container registry" }),
        };
        let client = client();
        let mut last = FetchError::NoWay { name: label(pin), what: "no address at all" };
        for (place, url) in urls.iter().enumerate() {
            let part = self.part(pin)?;
            let mut tell = teller(pin, events);
            let cap = pin.bytes.unwrap_or(UNSIZED_CAP);
            let begun = part.exists();
            let transfer = Transfer { client: &client, manner: self.manner, url, into: &part, cap };
            let mut ended = transfer.run(&mut tell).await;
            if ended.is_ok() {
                ended = match self.adopt(pin, &part, url, events).await {
                    // The beginning may be of another run's making; only a whole transfer speaks for the server.
                    Err(FetchError::Mismatch { .. }) if begun => match transfer.run(&mut tell).await {
                        Ok(()) => return self.adopt(pin, &part, url, events).await,
                        Err(error) => Err(error),
                    },
                    Err(error) => Err(error),
                    Ok(file) => return Ok(file),
                };
            }
            let Err(error) = ended else { continue };
            if matches!(error, FetchError::TooLong { .. } | FetchError::DiskFull { .. }) {
                // Too long a file is no beginning of the pin's; and a full disk needs what is there.
                let _ = std::fs::remove_file(&part);
            }
            if place + 1 < urls.len() {
                events.warn(format!("{}: {error}; the next address is tried", label(pin)));
            }
            last = error;
        }
        Err(last)
    }

    /// The place where the entry's bytes are gathered. The holder of the entry's lock owns it: what a killed run
    /// left there is gone on from or written over.
    fn part(&self, pin: &Pin) -> Result<PathBuf, FetchError> {
        let path = self.cache.file(&pin.digest);
        let folder = path.parent().expect("an entry lies in a folder");
        std::fs::create_dir_all(folder).map_err(failed(&format!("making {}", folder.display()), folder, 0))?;
        Ok(path.with_extension("part"))
    }

    /// Hash a gathered file and, if it is the pin's, give it its name.
    async fn adopt(&self, pin: &Pin, part: &Path, from: &str, events: &Events) -> Result<Verified, FetchError> {
        let reading = failed(&format!("reading {}", part.display()), part, 0);
        let (got, bytes) = hashed(part.into(), pin.digest).await.map_err(&reading)?;
        if got != pin.digest {
            std::fs::remove_file(part).map_err(&reading)?;
            return Err(FetchError::mismatch(label(pin), from, pin.digest, got));
        }
        let path = self.cache.file(&pin.digest);
        let (from, to) = (part.to_owned(), path.clone());
        let settled = blocking(move || files::read_only(&from).and_then(|()| durable::settle(&from, &to))).await;
        settled.map_err(failed(&format!("keeping {}", path.display()), &path, bytes))?;
        events.subject_done(Step::Fetch, label(pin), format!("{} KiB, digest as pinned", bytes.div_ceil(1024)));
        Ok(Verified { pin: pin.clone(), path, bytes })
    }
}

/// How people call a pinned file.
pub(super) fn label(pin: &Pin) -> String {
    format!("{} {}", pin.name, pin.version)
}

async fn hashed(path: PathBuf, like: Digest) -> std::io::Result<(Digest, u64)> {
    blocking(move || files::hash(&path, &like)).await
}

fn client() -> reqwest::Client {
    let agent = concat!("calicolab/", env!("CARGO_PKG_VERSION"));
    reqwest::Client::builder().user_agent(agent).build().expect("the TLS library starts")
}

/// Tells of a transfer some times a second, not at every piece.
fn teller<'a>(pin: &'a Pin, events: &'a Events) -> impl FnMut(u64, Option<u64>) + Send + 'a {
    let mut told: Option<Instant> = None;
    move |have, total| {
        if told.is_none_or(|at| at.elapsed() > Duration::from_millis(200)) {
            told = Some(Instant::now());
            let done = total.or(pin.bytes).map(|total| (have, total));
            events.tell(Event::Progress { step: Step::Fetch, subject: label(pin), doing: "downloading".into(), done });
        }
    }
}

#[cfg(test)]
mod tests;
