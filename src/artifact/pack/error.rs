//! Why a pack could not be made or unpacked, each with a stable id and, where there is one, what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use super::PACK_SCHEMA;
use crate::artifact::FetchError;
use crate::lab::pin::Digest;

/// Why a pack could not be made or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Something else than a pack.
    #[error("{} is no pack", path.display())]
    NotAPack {
        /// The file.
        path: PathBuf,
    },
    /// A pack of another version of calicolab.
    #[error("it is a pack of schema {schema}, and this calicolab reads schema {PACK_SCHEMA}")]
    Schema {
        /// Its schema.
        schema: u32,
    },
    /// Its end is not there.
    #[error("it ends after {got} of {wanted} bytes")]
    Truncated {
        /// Its length.
        got: u64,
        /// The length its list says.
        wanted: u64,
    },
    /// Bytes of a member are not those that were packed.
    #[error("it is damaged at {member}")]
    Damaged {
        /// The member.
        member: String,
    },
    /// A member comes to something else than the list says.
    #[error("{member} does not hold what the pack's list says: {why}")]
    Lies {
        /// The member.
        member: String,
        /// In which way.
        why: String,
    },
    /// A member's name leads nowhere a pack may write.
    #[error("it has a member `{name}`, which no pack may have")]
    Name {
        /// The name.
        name: String,
    },
    /// Its list is not one that a pack has.
    #[error("its list is wrong: {why}")]
    List {
        /// In which way.
        why: String,
    },
    /// The file is there already.
    #[error("{} is there already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Another run writes it.
    #[error("another run writes {}", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// A file of the cache is not what it was a moment ago.
    #[error("{label} was damaged in the cache: {} has {got}, wanted is {wanted}", path.display())]
    Altered {
        /// What it is.
        label: String,
        /// Where it lies.
        path: PathBuf,
        /// What it should be.
        wanted: Box<Digest>,
        /// What it is.
        got: Box<Digest>,
    },
    /// The disk is full, or was found too small before anything was written.
    #[error("no room in {}: {} MiB are needed, {} MiB are free", path.display(), needed.div_ceil(1 << 20), free >> 20)]
    DiskFull {
        /// The folder.
        path: PathBuf,
        /// Bytes that are needed there.
        needed: u64,
        /// Bytes that are free there.
        free: u64,
    },
    /// A file of this host failed us.
    #[error("{doing} failed")]
    Io {
        /// What was being done, with the path.
        doing: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The cache failed us.
    #[error("the cache could not be used")]
    Cache {
        /// Why.
        source: FetchError,
    },
}

impl PackError {
    /// The stable id.
    pub fn id(&self) -> &'static str {
        match self {
            Self::NotAPack { .. } => "pack.not-a-pack",
            Self::Schema { .. } => "pack.schema",
            Self::Truncated { .. } => "pack.truncated",
            Self::Damaged { .. } => "pack.damaged",
            Self::Lies { .. } | Self::Name { .. } | Self::List { .. } => "pack.refused",
            Self::Exists { .. } => "pack.exists",
            Self::Busy { .. } => "pack.busy",
            Self::Altered { .. } => "digest.mismatch",
            Self::DiskFull { .. } => "disk.full",
            Self::Io { .. } => "pack.io",
            Self::Cache { source } => source.id(),
        }
    }

    /// What to do about it, where that is known.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Schema { .. } => Some("unpack it with the calicolab it was made with, or make it anew".into()),
            Self::Truncated { .. } | Self::Damaged { .. } => Some("copy it again, and compare the copies".into()),
            Self::Exists { .. } => Some("--force replaces it".into()),
            Self::Altered { .. } => Some("calicolab cache verify --remove-damaged".into()),
            Self::DiskFull { path, needed, .. } => Some(format!(
                "free {} MiB in {}, or use a folder on a larger disk",
                needed.div_ceil(1 << 20),
                path.display()
            )),
            _ => None,
        }
    }

    /// An [`io::Error`] with what was being done; a full disk becomes its own kind, with `needed` bytes in `folder`.
    pub(super) fn io(doing: String, folder: &Path, needed: u64) -> impl Fn(io::Error) -> Self + use<> {
        let folder = folder.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                let free = crate::artifact::files::free_bytes(&folder);
                Self::DiskFull { path: folder.clone(), needed, free }
            }
            _ => Self::Io { doing: doing.clone(), source },
        }
    }
}
