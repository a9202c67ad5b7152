//! What this host remembers of clusters: their state, who works on them, and what they lease.

pub mod home;
pub mod lease;
pub mod lock;
pub mod routes;
pub mod state;

use std::path::PathBuf;

use crate::lab::name::ClusterName;
use crate::lab::pin::hex;
use lock::Holder;

/// Our effective user.
fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Why a cluster's state could not be found, locked, read, written or removed.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another run works on it.
    #[error("cluster `{cluster}` is in use{}", by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default())]
    Held {
        /// The cluster.
        cluster: ClusterName,
        /// Who; none in the instant between locking and signing, and where a killed run has left a child.
        by: Option<Holder>,
    },
    /// There is none of this name.
    #[error("there is no cluster `{cluster}` in `{}`", home.display())]
    NoSuch {
        /// The name asked for.
        cluster: ClusterName,
        /// Where was looked.
        home: PathBuf,
    },
    /// There is one of this name already.
    #[error("there is a cluster `{cluster}` already")]
    Exists {
        /// The name.
        cluster: ClusterName,
    },
    /// A later calicolab wrote the state.
    #[error("`{}` has schema {found}, this calicolab knows {}", path.display(), state::SCHEMA)]
    Schema {
        /// The state file.
        path: PathBuf,
        /// The schema it names.
        found: u64,
    },
    /// The state is no state.
    #[error("`{}` cannot be understood", path.display())]
    Broken {
        /// The state file.
        path: PathBuf,
        /// What the parser says, with line and column.
        source: serde_json::Error,
    },
    /// A file or folder failed us.
    #[error("`{}` could not be {doing}", path.display())]
    Io {
        /// What was to be done to it (`read`, `written`, …).
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Something stands where our folder of sockets belongs, and it is not ours.
    #[error("`{}` {why}, so no socket is put there", path.display())]
    Foreign {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The path is too long for a socket in it.
    #[error("`{}` is too long for sockets in it, whose paths may have {} bytes", path.display(), home::SOCKET_PATH)]
    Long {
        /// The folder.
        path: PathBuf,
    },
    /// Nothing says where the state is kept.
    #[error("none of CALICOLAB_HOME, XDG_STATE_HOME and HOME says where clusters are remembered")]
    Homeless,
    /// Some of a cluster's files could not be removed; all were tried.
    #[error("not everything could be removed: {}", list(.0))]
    Left(Vec<(PathBuf, std::io::Error)>),
}

impl StateError {
    /// A closure that gives an I/O error its noun.
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}

fn list(left: &[(PathBuf, std::io::Error)]) -> String {
    left.iter().map(|(path, why)| format!("`{}` ({why})", path.display())).collect::<Vec<_>>().join(", ")
}

/// `BYTES` bytes of the kernel's random source, as lower-case hex.
pub fn random_hex<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).expect("the kernel's random source does not fail for a few bytes");
    hex(&bytes)
}

/// 32 random bits.
fn random() -> u32 {
    getrandom::u32().expect("the kernel's random source does not fail for a few bytes")
}

/// A random number below `end` (0 if that is 0), which is small beside 2^32: the bias does not matter for choosing.
fn random_below(end: usize) -> usize {
    random() as usize % end.max(1)
}

#[cfg(test)]
pub(crate) mod example;
