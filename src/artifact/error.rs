//! Why bytes could not be brought in, each with a stable id and, where there is one, what to do about it.

mod refusal;
pub(super) mod words;

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use refusal::Refusal;
use words::{after, each, join, mib, refusal};

use super::oci::error::{ImageError, RegistryError};
use crate::command::CommandError;
use crate::lab::name::LabName;
use crate::lab::pin::Digest;

/// Why bytes could not be brought in.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no place to keep files in.
    #[error("neither XDG_CACHE_HOME nor HOME names a folder to keep downloads in")]
    NoCache,
    /// A file of this host failed us.
    #[error("{doing} failed")]
    Io {
        /// What was being done, with the path.
        doing: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The disk is full, or was found too small before anything was written.
    #[error("no room in {}: {} MiB are needed, {} MiB are free", path.display(), mib(*needed), mib(*free))]
    DiskFull {
        /// The folder.
        path: PathBuf,
        /// Bytes that are needed there.
        needed: u64,
        /// Bytes that were free there.
        free: u64,
    },
    /// Files are missing and no connection may be opened.
    #[error("not in the cache, and this run is offline: {}", names.join(", "))]
    Offline {
        /// What is missing.
        names: Vec<String>,
    },
    /// The bytes are not those of the lock.
    #[error("{name}: {from} has {got}, wanted is {wanted}")]
    Mismatch {
        /// What the lab calls it.
        name: String,
        /// Where the bytes came from.
        from: String,
        /// The digest of the lock.
        wanted: Box<Digest>,
        /// The digest that was found.
        got: Box<Digest>,
    },
    /// A server refused.
    #[error("{url} {}", refusal(*status))]
    Status {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// A server has had enough of us, or of everybody behind our address.
    #[error("{url} limits how often it may be asked (status 429){}", after(*rest))]
    RateLimited {
        /// The address.
        url: String,
        /// How long it asks us to wait, if it says so.
        rest: Option<Duration>,
    },
    /// A server's certificate is signed by nobody this host trusts, is out of date, or is another host's.
    #[error("{url} shows a certificate that this host does not trust")]
    Untrusted {
        /// The address.
        url: String,
        /// The transport's reason.
        source: reqwest::Error,
    },
    /// An address leads to ever more others.
    #[error("{url} leads on and on, at last to {end}")]
    Redirects {
        /// The address.
        url: String,
        /// The last address it led to.
        end: String,
    },
    /// A server sent another part of a file than was asked for.
    #[error("{url} answers with another part of the file than was asked for")]
    Range {
        /// The address.
        url: String,
    },
    /// A server's file cannot be the pinned one.
    #[error("{url} has {got} bytes, pinned are {wanted}")]
    WrongLength {
        /// The address.
        url: String,
        /// The length it tells.
        got: u64,
        /// The pin's.
        wanted: u64,
    },
    /// A server's file came to its end too soon, as often as it was tried.
    #[error("{url} ends after {got} of {wanted} bytes")]
    Short {
        /// The address.
        url: String,
        /// How many came.
        got: u64,
        /// The pin's length.
        wanted: u64,
    },
    /// Several files could not be had, each for its own reason. All others are in the cache.
    #[error("{} files could not be had\n{}", failures.len(), each(failures))]
    Several {
        /// The reasons; at least two.
        failures: Vec<FetchError>,
    },
    /// A transfer broke off, as often as it was tried.
    #[error("{url} could not be read")]
    Transfer {
        /// The address.
        url: String,
        /// The transport's reason.
        source: reqwest::Error,
    },
    /// A server fell silent.
    #[error("{url} sent nothing for {} s", after.as_secs_f32())]
    Stalled {
        /// The address.
        url: String,
        /// How long was waited.
        after: Duration,
    },
    /// A server sends more than the lock allows.
    #[error("{url} sends more than the {limit} bytes that are expected")]
    TooLong {
        /// The address.
        url: String,
        /// The most that is read.
        limit: u64,
    },
    /// The kind of source cannot be fetched.
    #[error("{name} comes from {what}, which cannot be fetched")]
    NoWay {
        /// What the lab calls it.
        name: String,
        /// The kind of source.
        what: &'static str,
    },
    /// A registry does not give a container image.
    #[error(transparent)]
    Registry(RegistryError),
    /// A container image is not one that can be used.
    #[error("{name} cannot be used")]
    Image {
        /// What the lab calls it.
        name: String,
        /// Why not.
        source: ImageError,
    },
    /// The host has no Debian archive to take packages from.
    #[error("this host's apt has no Debian archive to take packages from: {why}")]
    NoArchive {
        /// What was looked for.
        why: String,
    },
    /// The archive no longer has the pinned versions.
    #[error("the archive no longer has {}", join(gone))]
    Gone {
        /// The lab whose lock names them.
        lab: LabName,
        /// What is gone.
        gone: Vec<Gone>,
    },
    /// A program of the host failed.
    #[error("{doing} failed")]
    Command {
        /// What was being done.
        doing: String,
        /// The program's failure.
        source: CommandError,
    },
    /// A package has no such file.
    #[error("{package} has no file `{path}`")]
    NoMember {
        /// The package's pin.
        package: String,
        /// The path that was looked for, from the root.
        path: String,
    },
    /// Two artifacts bring the same path.
    #[error("`{path}` comes from two artifacts")]
    Twice {
        /// The path, from the root.
        path: String,
    },
    /// A file is not what it should be inside, or could do harm: nothing of it is used.
    #[error("{archive}{}: {why}", if entry.is_empty() { String::new() } else { format!(", `{entry}`") })]
    Refused {
        /// How people call the file.
        archive: String,
        /// The entry in it; empty if it is the file itself.
        entry: String,
        /// What is wrong with it.
        why: Refusal,
    },
    /// The host lacks what building an image takes.
    #[error("this host cannot build the image: {}", lacks.iter().map(|lack| lack.what.as_str()).collect::<Vec<_>>().join("; "))]
    Lacking {
        /// What is missing, each with its remedy.
        lacks: Vec<Lacking>,
    },
    /// The recipe of an image is not whole.
    #[error("the recipe of image {image} is wrong: {why}")]
    Recipe {
        /// The image.
        image: String,
        /// What is missing or wrong.
        why: String,
    },
    /// Somebody else holds a lock for too long.
    #[error("waiting for another run took too long: {source}")]
    Waited {
        /// The last reason.
        #[source]
        source: crate::wait::WaitError,
    },
}

/// Why writing our own plain data as JSON cannot fail.
pub(super) const CANNOT_SERIALISE: &str = "plain data can be written";

/// A package whose pinned version left the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The package.
    pub package: String,
    /// The pinned version.
    pub wanted: String,
    /// The version the archive has now, if any.
    pub available: Option<String>,
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.package, self.wanted)?;
        match &self.available {
            Some(version) => write!(f, "(it has {version})"),
            None => f.write_str("(nor any other version)"),
        }
    }
}

/// Something the host lacks for building an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// Stable id (`image.mmdebstrap`).
    pub id: &'static str,
    /// What is missing.
    pub what: String,
    /// What to do about it: a command where there is one.
    pub remedy: String,
}

impl FetchError {
    /// The stable id.
    pub fn id(&self) -> &'static str {
        match self {
            Self::NoCache => "cache.none",
            Self::Io { .. } | Self::Waited { .. } => "cache.io",
            Self::DiskFull { .. } => "disk.full",
            Self::Offline { .. } => "offline.missing",
            Self::Mismatch { .. } => "digest.mismatch",
            Self::WrongLength { .. } => "digest.length",
            Self::RateLimited { .. } => "download.rate-limited",
            Self::Untrusted { .. } => "download.untrusted",
            Self::Several { .. } => self.gravest().id(),
            Self::Status { .. }
            | Self::Transfer { .. }
            | Self::Stalled { .. }
            | Self::TooLong { .. }
            | Self::Redirects { .. }
            | Self::Range { .. }
            | Self::Short { .. } => "download.failed",
            Self::NoWay { .. } => "source.unsupported",
            Self::Registry(error) => error.id(),
            Self::Image { .. } => "image.unusable",
            Self::NoArchive { .. } => "apt.no-archive",
            Self::Gone { .. } => "apt.gone",
            Self::Command { .. } => "fetch.program",
            Self::NoMember { .. } | Self::Twice { .. } => "payload.member",
            Self::Refused { .. } => "archive.refused",
            Self::Lacking { .. } => "image.lacking",
            Self::Recipe { .. } => "image.recipe",
        }
    }

    /// Of several the one that counts: wrong bytes before all else, then the first. Else itself.
    pub fn gravest(&self) -> &Self {
        let Self::Several { failures } = self else { return self };
        let wrong = failures.iter().find(|one| matches!(one, Self::Mismatch { .. } | Self::WrongLength { .. }));
        wrong.or(failures.first()).map_or(self, Self::gravest)
    }

    /// The one failure, or all of them as one.
    pub(super) fn all_of(mut failures: Vec<Self>) -> Result<(), Self> {
        match failures.len() {
            0 => Ok(()),
            1 => Err(failures.remove(0)),
            _ => Err(Self::Several { failures }),
        }
    }

    /// What the transport says of `url`, by its kind.
    pub(super) fn of_transport(url: String, error: reqwest::Error) -> Self {
        if error.is_redirect() {
            let end = error.url().map_or_else(String::new, ToString::to_string);
            return Self::Redirects { url, end };
        }
        // The address stands in our own text already.
        let source = error.without_url();
        if distrusts(&source) { Self::Untrusted { url, source } } else { Self::Transfer { url, source } }
    }

    /// Whether nobody answered at the address.
    pub(super) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Transfer { source, .. } if source.is_connect())
    }

    pub(super) fn mismatch(name: String, from: &str, wanted: Digest, got: Digest) -> Self {
        Self::Mismatch { name, from: from.into(), wanted: Box::new(wanted), got: Box::new(got) }
    }

    /// What to do about it, where that is known.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Gone { lab, .. } => Some(format!("calicolab lock {lab} --apt-only --if-gone")),
            Self::NoCache => Some("set HOME or XDG_CACHE_HOME".into()),
            Self::DiskFull { path, needed, .. } => Some(format!(
                "free {} MiB in {} or set XDG_CACHE_HOME to a folder on a larger disk",
                mib(*needed),
                path.display()
            )),
            Self::Offline { .. } => Some("run once without --offline".into()),
            Self::NoArchive { .. } => {
                Some("run on Debian, or add Debian's sources and the package debian-archive-keyring".into())
            }
            Self::RateLimited { .. } | Self::Status { status: 401 | 403 | 404 | 410, .. } => Some(
                "fetch it from elsewhere: --mirror PREFIX=URL, or `calicolab mirror serve` on a machine that has it and --mirror '*=URL'"
                    .into(),
            ),
            Self::Untrusted { .. } => Some(
                "check the host's clock and name; if its authority is to be trusted, add it to the host's certificates or name its file in SSL_CERT_FILE"
                    .into(),
            ),
            Self::Registry(error) => error.remedy(),
            Self::Image { source, .. } => source.remedy(),
            Self::Several { failures } => {
                let mut all: Vec<String> = failures.iter().filter_map(Self::remedy).collect();
                all.dedup();
                (!all.is_empty()).then(|| all.join("; "))
            }
            Self::Lacking { lacks } => {
                Some(lacks.iter().map(|lack| lack.remedy.as_str()).collect::<Vec<_>>().join("; "))
            }
            _ => None,
        }
    }
}

/// OpenSSL's number for its part that speaks TLS, and that part's for a certificate it does not believe.
const TLS_DISTRUST: (i32, i32) = (20, 134);

/// Whether a certificate was the reason.
fn distrusts(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source())
        .filter_map(|error| error.downcast_ref::<openssl::error::ErrorStack>())
        .flat_map(openssl::error::ErrorStack::errors)
        .any(|error| (error.library_code(), error.reason_code()) == TLS_DISTRUST)
}
