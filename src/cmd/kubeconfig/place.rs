//! The user's kubeconfig on this host: which file it is, held by kubectl's own lock, written whole; what was in it before.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::durable;
use crate::wait::{self, Asked, Patience, WaitError};

/// The file that kubectl would write to: the first of `KUBECONFIG`, else the one below the home.
pub fn users() -> Option<PathBuf> {
    let named = std::env::var_os("KUBECONFIG");
    let named = named.iter().flat_map(|all| std::env::split_paths(all)).find(|path| !path.as_os_str().is_empty());
    let path = named.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".kube/config")))?;
    std::path::absolute(path).ok()
}

/// Why the user's file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// A file failed us.
    #[error("`{}` could not be {doing}", path.display())]
    Io {
        /// What was to be done to it.
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// kubectl, or another run, is at it; or a killed kubectl was.
    #[error("somebody is writing to it, or was killed while writing: `{}` is there", path.display())]
    Held {
        /// The lock.
        path: PathBuf,
        /// How long was waited.
        source: WaitError,
    },
}

/// A kubeconfig that nobody else writes to.
#[derive(Debug)]
pub struct Held {
    /// Where a link leads to, so that it stays a link.
    path: PathBuf,
    lock: PathBuf,
}

/// How long kubectl may be at it.
const PATIENCE: Patience = Patience { limit: Duration::from_secs(5), pause: Duration::from_millis(50) };

impl Held {
    /// Take it, as kubectl does: by a file beside it that only one can make.
    pub async fn take(path: &Path) -> Result<Self, PlaceError> {
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let failed = |doing, path: &Path, source| PlaceError::Io { doing, path: path.into(), source };
        if let Some(folder) = path.parent() {
            durable::private_folder(folder).map_err(|error| failed("made", folder, error))?;
        }
        let mut lock = path.clone().into_os_string();
        lock.push(".lock");
        let lock = PathBuf::from(lock);
        let mut unmade = None;
        let taken = wait::until(PATIENCE, || {
            std::future::ready(match OpenOptions::new().write(true).create_new(true).open(&lock).map(drop) {
                Ok(()) => Asked::Yes(()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Asked::NotYet("it stays there".into()),
                Err(error) => {
                    let why = error.to_string();
                    unmade = Some(error);
                    Asked::Never(why)
                }
            })
        });
        match (taken.await, unmade) {
            (Ok(()), _) => Ok(Self { path, lock }),
            (Err(_), Some(error)) => Err(failed("made", &lock, error)),
            (Err(source), None) => Err(PlaceError::Held { path: lock, source }),
        }
    }

    /// What is in it; none if it is not there.
    pub fn text(&self) -> Result<Option<String>, PlaceError> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(PlaceError::Io { doing: "read", path: self.path.clone(), source }),
        }
    }

    /// Put this into it, whole or not at all, for its owner alone; none removes it.
    pub fn put(&self, text: Option<&str>) -> Result<(), PlaceError> {
        let written = match text {
            Some(text) => durable::write(&self.path, text.as_bytes(), 0o600),
            None => std::fs::remove_file(&self.path),
        };
        written.map_err(|source| PlaceError::Io { doing: "written", path: self.path.clone(), source })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.lock);
    }
}

/// What a cluster remembers of the file that it was merged into; for its owner alone, since that holds secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The file.
    pub file: PathBuf,
    /// What it was before.
    pub before: Before,
    /// What it was made to be.
    pub wrote: String,
    /// The context that was the current one, where ours took its place.
    pub replaced: Option<String>,
}

/// What a file was before it was written to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Before {
    /// Not there.
    Absent,
    /// This text.
    Text(String),
    /// Something that others wrote to since we first did: nothing that one would want back as it was.
    Shared,
}

fn remembered(folder: &Path) -> PathBuf {
    folder.join("kubeconfig.merged")
}

impl Memory {
    /// What the cluster in `folder` remembers; none if it was merged nowhere.
    pub fn read(folder: &Path) -> Option<Self> {
        serde_json::from_reader(File::open(remembered(folder)).ok()?).ok()
    }

    /// Remember it.
    pub fn write(&self, folder: &Path) -> Result<(), PlaceError> {
        let path = remembered(folder);
        let bytes = serde_json::to_vec(self).map_err(io::Error::from);
        let written = bytes.and_then(|bytes| durable::write(&path, &bytes, 0o600));
        written.map_err(|source| PlaceError::Io { doing: "written", path, source })
    }

    /// Forget it; fine if there is nothing.
    pub fn forget(folder: &Path) -> Result<(), PlaceError> {
        let path = remembered(folder);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(PlaceError::Io { doing: "removed", path, source })
            }
            _ => Ok(()),
        }
    }
}
