//! Debian packages by the host's own apt, in directories of our own, so that an ordinary user can.

mod index;
mod sources;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::OnceCell;

pub use index::Record;
pub use sources::{Part, Place, of_host};

use super::FetchError;
use super::cache::Cache;
use super::error::Gone;
use super::files::{self, EntryLock, failed};
use crate::command::{Argv, Output, run};
use crate::durable;
use crate::event::{Events, Step};
use crate::lab::name::LabName;
use crate::lab::pin::{Pin, Source};

/// A list older than this is fetched again before anything is downloaded by it.
const FRESH: Duration = Duration::from_secs(6 * 3600);
const UPDATE_LIMIT: Duration = Duration::from_secs(600);
const ASK_LIMIT: Duration = Duration::from_secs(120);
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(1800);

/// The archive packages come from.
#[derive(Clone, Debug, Default)]
pub struct Archive {
    places: Arc<OnceCell<Vec<Place>>>,
}

impl Archive {
    /// The one this host's apt is configured with; asked when first needed.
    pub fn of_host() -> Self {
        Self::default()
    }

    /// One at these places.
    pub fn at(places: Vec<Place>) -> Self {
        Self { places: Arc::new(OnceCell::new_with(Some(places))) }
    }

    /// Its addresses and keys.
    pub async fn places(&self) -> Result<&[Place], FetchError> {
        self.places.get_or_try_init(of_host).await.map(Vec::as_slice)
    }

    /// What the archive's signed index says about all versions of `packages` in `suite`, newest first. With
    /// [`Age::Any`] a list is fetched only if there is none.
    pub async fn records(
        &self,
        cache: &Cache,
        suite: &str,
        packages: &[String],
        age: Age,
        events: &Events,
    ) -> Result<Vec<Record>, FetchError> {
        let lists = Lists::open(cache, suite, self.places().await?, events).await?;
        if age == Age::Fresh || !lists.aged().is_some_and(|aged| age == Age::Any || aged < FRESH) {
            lists.update(events).await?;
        }
        lists.records(packages).await
    }

    /// Download Debian packages, each to the path beside its pin (on the cache's file system). The files are apt's:
    /// checked against the signed index, which was checked against the pins. Whoever uses them hashes them.
    pub(super) async fn download(
        &self,
        cache: &Cache,
        lab: &LabName,
        wanted: &[(&Pin, PathBuf)],
        events: &Events,
    ) -> Result<(), FetchError> {
        let mut suites: Vec<&str> = wanted.iter().map(|(pin, _)| package(pin).1).collect();
        suites.sort_unstable();
        suites.dedup();
        for suite in suites {
            let lists = Lists::open(cache, suite, self.places().await?, events).await?;
            let of: Vec<&(&Pin, PathBuf)> = wanted.iter().filter(|(pin, _)| package(pin).1 == suite).collect();
            let pins: Vec<&Pin> = of.iter().map(|(pin, _)| *pin).collect();
            for (file, (_, to)) in lists.bring(lab, &pins, events).await?.into_iter().zip(of) {
                // Still under the lock: the next run empties the folder.
                std::fs::rename(&file, to).map_err(failed(&format!("moving {}", file.display()), &file, 0))?;
            }
        }
        Ok(())
    }
}

/// How old a list may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// As old as it is.
    Any,
    /// Some hours.
    Hours,
    /// Fetched now.
    Fresh,
}

/// Package and suite of a Debian pin.
fn package(pin: &Pin) -> (&str, &str) {
    match &pin.source {
        Source::Apt { package, suite } => (package, suite),
        Source::Url { .. } | Source::Oci { .. } => unreachable!("only Debian packages are given to apt"),
    }
}

/// Our own directories of apt for one suite, held by this run alone.
struct Lists {
    root: PathBuf,
    _lock: EntryLock,
}

impl Lists {
    async fn open(cache: &Cache, suite: &str, places: &[Place], events: &Events) -> Result<Self, FetchError> {
        let sources = sources_file(suite, places);
        let mark = files::sha256_of(sources.as_bytes()).hex();
        let name = format!("{suite}-{}", &mark[..12]);
        let lock = files::lock(&cache.lock_file(&format!("apt-{name}")), "Debian's archive", events).await?;
        let root = cache.root().join("apt").join(name);
        let making = failed(&format!("making {}", root.display()), &root, 0);
        for folder in ["lists/partial", "archives/partial", "sources.d", "state"] {
            std::fs::create_dir_all(root.join(folder)).map_err(&making)?;
        }
        durable::write(&root.join("sources.d/debian.sources"), sources.as_bytes(), 0o644).map_err(&making)?;
        durable::write(&root.join("status"), b"", 0o644).map_err(&making)?;
        durable::write(&root.join("apt.conf"), configuration(&root).as_bytes(), 0o644).map_err(&making)?;
        Ok(Self { root, _lock: lock })
    }

    fn stamp(&self) -> PathBuf {
        self.root.join("updated")
    }

    /// Age of the list, if there is one.
    fn aged(&self) -> Option<Duration> {
        let at = std::fs::metadata(self.stamp()).and_then(|meta| meta.modified()).ok()?;
        // A clock that went back makes no list old.
        Some(SystemTime::now().duration_since(at).unwrap_or_default())
    }

    async fn apt(&self, program: &str, words: Argv, limit: Duration) -> Result<(Argv, Output), FetchError> {
        // LC_ALL for what apt prints; -c is read after the host's own files, so it has the last word.
        let argv =
            Argv::new("env").args(["LC_ALL=C", program, "-c"]).arg(self.root.join("apt.conf").display().to_string());
        let argv = argv.args(words.words().iter().cloned());
        let failed = |source| FetchError::Command { doing: format!("running this host's {program}"), source };
        run(&argv, limit).await.map(|output| (argv, output)).map_err(failed)
    }

    /// Fetch the lists again; apt checks their signatures by the archive's keys.
    async fn update(&self, events: &Events) -> Result<(), FetchError> {
        events.progress(Step::Fetch, "Debian's archive", "refreshing the list of packages");
        let _ = std::fs::remove_file(self.stamp());
        let (argv, output) = self.apt("apt-get", Argv::new("-q").arg("update"), UPDATE_LIMIT).await?;
        output
            .success(&argv)
            .map_err(|source| FetchError::Command { doing: "refreshing the list of Debian packages".into(), source })?;
        durable::write(&self.stamp(), b"", 0o644).map_err(failed("noting the list's age", &self.root, 0))
    }

    async fn records(&self, packages: &[String]) -> Result<Vec<Record>, FetchError> {
        if packages.is_empty() {
            return Ok(Vec::new());
        }
        // Status 100 also means that one of them is unknown; what is known is printed all the same.
        let (_, output) = self.apt("apt-cache", Argv::new("show").args(packages.iter().cloned()), ASK_LIMIT).await?;
        Ok(index::records(&output.stdout))
    }

    /// Check `pins` against the list and download them. A list of some hours may be behind the archive: it is
    /// refreshed before anything is said to be gone or cannot be downloaded.
    async fn bring(&self, lab: &LabName, pins: &[&Pin], events: &Events) -> Result<Vec<PathBuf>, FetchError> {
        let mut behind = self.aged().is_some_and(|aged| aged <= FRESH);
        if !behind {
            self.update(events).await?;
        }
        loop {
            let tried = match self.check(lab, pins).await {
                Ok(()) => self.download(pins, events).await,
                Err(error) => Err(error),
            };
            match tried {
                Err(FetchError::Gone { .. } | FetchError::Command { .. }) if behind => {
                    self.update(events).await?;
                    behind = false;
                }
                ended => return ended,
            }
        }
    }

    /// Whether the list has all `pins`, by version and digest.
    async fn check(&self, lab: &LabName, pins: &[&Pin]) -> Result<(), FetchError> {
        let packages: Vec<String> = pins.iter().map(|pin| package(pin).0.to_owned()).collect();
        let records = self.records(&packages).await?;
        let gone = gone(pins, &records);
        if gone.is_empty() {
            return pins.iter().try_for_each(|pin| agrees(pin, &records));
        }
        Err(FetchError::Gone { lab: lab.clone(), gone })
    }

    async fn download(&self, pins: &[&Pin], events: &Events) -> Result<Vec<PathBuf>, FetchError> {
        let folder = self.root.join("download");
        let making = failed(&format!("making {}", folder.display()), &folder, 0);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(making(error)),
            _ => std::fs::create_dir_all(&folder).map_err(&making)?,
        }
        let total: u64 = pins.iter().filter_map(|pin| pin.bytes).sum();
        let doing = format!("{} packages, {} MiB", pins.len(), total >> 20);
        events.progress(Step::Fetch, "Debian's archive", doing);
        let words = pins.iter().map(|pin| format!("{}={}", package(pin).0, pin.version));
        // `apt-get download` writes to the working directory.
        let argv = Argv::script("cd \"$1\" && shift && exec \"$@\"", [folder.display().to_string()])
            .args(["env", "LC_ALL=C", "apt-get", "-q", "-c"])
            .arg(self.root.join("apt.conf").display().to_string())
            .arg("download")
            .args(words);
        let broke = |source| FetchError::Command { doing: "downloading Debian packages".into(), source };
        let ended = run(&argv, DOWNLOAD_LIMIT).await.and_then(|output| output.success(&argv)).map_err(broke);
        if let Err(error) = ended {
            let free = files::free_bytes(&folder);
            // Apt's words are not ours to read; a disk without room for what was asked is reason enough.
            return Err(if free < total { FetchError::DiskFull { path: folder, needed: total, free } } else { error });
        }
        pins.iter().map(|pin| downloaded(&folder, pin).ok_or_else(|| self.unseen(pin))).collect()
    }

    fn unseen(&self, pin: &Pin) -> FetchError {
        let doing = format!("finding the file of {} that apt downloaded to {}", pin.name, self.root.display());
        FetchError::Io { doing, source: std::io::ErrorKind::NotFound.into() }
    }
}

/// Pins whose version the index does not have.
fn gone(pins: &[&Pin], records: &[Record]) -> Vec<Gone> {
    let of = |pin: &Pin| records.iter().filter(|record| record.package == package(pin).0).collect::<Vec<_>>();
    pins.iter()
        .filter_map(|pin| {
            let of = of(pin);
            let there = of.iter().any(|record| record.version == pin.version);
            (!there).then(|| Gone {
                package: package(pin).0.into(),
                wanted: pin.version.clone(),
                available: of.first().map(|record| record.version.clone()),
            })
        })
        .collect()
}

/// Whether the signed index has the pin's version with the pin's digest.
fn agrees(pin: &Pin, records: &[Record]) -> Result<(), FetchError> {
    let same = |record: &&Record| record.package == package(pin).0 && record.version == pin.version;
    let mut digests = records.iter().filter(same).map(|record| record.digest);
    match digests.next() {
        Some(got) if got != pin.digest && !digests.any(|other| other == pin.digest) => {
            Err(FetchError::mismatch(pin.label(), "the archive's signed index", pin.digest, got))
        }
        _ => Ok(()),
    }
}

/// The file apt wrote for a pin: `package_version_arch.deb`, with the version's colon escaped.
fn downloaded(folder: &Path, pin: &Pin) -> Option<PathBuf> {
    let stem = format!("{}_{}_", package(pin).0, pin.version.replace(':', "%3a"));
    let names = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let mut fitting =
        names.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&stem)));
    fitting.next()
}

/// The archive's places for `suite` as a sources file of ours.
pub(super) fn sources_file(suite: &str, places: &[Place]) -> String {
    let stanzas = places.iter().map(|place| {
        format!(
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\nArchitectures: {ARCH}\nTargets: Packages\nSigned-By: {}\n",
            place.uri,
            place.part.release(suite),
            place.keyring.display(),
        )
    });
    stanzas.collect::<Vec<_>>().join("\n")
}

/// The nodes' processor in Debian's word.
pub(super) const ARCH: &str = "amd64";

/// The host's own settings of how archives are reached (proxies, checks of dates), as lines of a configuration: what
/// a program needs that brings its own configuration.
pub(super) async fn transport() -> Result<Vec<String>, FetchError> {
    let argv = Argv::new("apt-config").args(["dump", "--no-empty", "--format", "%f \"%v\";%n", "Acquire"]);
    let failed = |source| FetchError::Command { doing: "asking this host's apt for its proxies".into(), source };
    let text = run(&argv, ASK_LIMIT).await.and_then(|output| output.success(&argv)).map_err(failed)?;
    let kept = ["Acquire::http::", "Acquire::https::", "Acquire::Check-Valid-Until ", "Acquire::Check-Date "];
    Ok(text.lines().filter(|line| kept.iter().any(|begin| line.starts_with(begin))).map(str::to_owned).collect())
}

/// The configuration that puts everything apt writes below `root` and leaves the host's proxies and credentials.
fn configuration(root: &Path) -> String {
    let root = root.display();
    format!(
        r#"// Nothing the host's files say may run programs or loosen the check of signatures.
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
APT::Get::AllowUnauthenticated "false";
// A list that cannot be fetched is a failure, not a warning.
APT::Update::Error-Mode "any";
// Our folders belong to this user, who need not be able to become another.
APT::Sandbox::User "";
APT::Architecture "{ARCH}";
#clear APT::Architectures;
APT::Architectures {{ "{ARCH}"; }};
Acquire::Languages "none";
Acquire::Retries "3";
Dir::State "{root}/state";
Dir::State::lists "{root}/lists";
Dir::State::status "{root}/status";
Dir::Cache "{root}";
Dir::Cache::archives "{root}/archives";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{root}/sources.d";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
"#
    )
}
