//! An advisory lock that dies with its process and says who holds it.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::StateError;
use crate::wait::{Asked, Patience, until};

/// A lock that is held until it is dropped, or its process ends in whatever way.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Who holds a lock: written into the locked file, so that the next one can be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// When that process began, in the kernel's ticks since boot: a pid alone may be another's by now.
    pub started: u64,
    /// The verb it runs (`up`).
    pub verb: String,
    /// Since when it holds the lock.
    pub since: jiff::Timestamp,
    /// The host it runs on.
    pub host: String,
}

/// Why a lock was not gained.
#[derive(Debug)]
pub enum LockError {
    /// Another holds it. Nobody that lives has signed for it in the instant before it does, and where a killed run has
    /// left a child.
    Held(Option<Holder>),
    /// The file could not be opened or locked.
    Io(io::Error),
}

impl Lock {
    /// Take the lock at `path`, making the file if need be; does not wait.
    pub fn take(path: &Path, verb: &str) -> Result<Self, LockError> {
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)
                .map_err(LockError::Io)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(LockError::Held(signature(&file).filter(Holder::lives))),
                Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
            }
            // The file may have been removed between opening and locking: then this lock keeps nobody out.
            if still_at(&file, path).map_err(LockError::Io)? {
                let lock = Self { file };
                lock.sign(&Holder::myself(verb)).map_err(LockError::Io)?;
                return Ok(lock);
            }
        }
    }

    fn sign(&self, holder: &Holder) -> io::Result<()> {
        self.file.set_len(0)?;
        (&self.file).write_all(&serde_json::to_vec(holder)?)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Whoever looks without locking shall not take a finished run for a running one.
        let _ = self.file.set_len(0);
    }
}

/// How long what a killed run had begun may take to let go of its lock: it does so when it becomes another program.
const LETS_GO: Patience = Patience { limit: Duration::from_secs(10), pause: Duration::from_millis(20) };

/// What `take` gives, asked again while nobody that lives has signed for the lock. Programs that a run starts do not
/// inherit its locks, but between fork and exec a child of a run that was killed has them.
pub async fn after_the_dead<T>(mut take: impl FnMut() -> Result<T, StateError>) -> Result<T, StateError> {
    let asked = until(LETS_GO, || {
        std::future::ready(match take() {
            Err(StateError::Held { by: None, .. }) => Asked::NotYet("nobody that lives holds its lock".into()),
            taken => Asked::Yes(taken),
        })
    });
    match asked.await {
        Ok(taken) => taken,
        Err(_) => take(),
    }
}

/// Who holds the lock at `path`, if a living process does. Only looks: a probing lock would make others fail.
pub fn holder(path: &Path) -> Option<Holder> {
    signature(&File::open(path).ok()?).filter(Holder::lives)
}

/// Whether `file` is (still) what stands at `path`.
pub(super) fn still_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn signature(mut file: &File) -> Option<Holder> {
    let mut text = Vec::new();
    file.read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

impl Holder {
    fn myself(verb: &str) -> Self {
        let pid = std::process::id();
        Self {
            pid,
            started: started(pid).unwrap_or_default(),
            verb: verb.into(),
            since: jiff::Timestamp::now(),
            host: host(),
        }
    }

    /// Another host's processes cannot be seen from here; they count as living.
    fn lives(&self) -> bool {
        self.host != host() || started(self.pid) == Some(self.started)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`calicolab {}` (pid {} on {}) since {:.0}", self.verb, self.pid, self.host, self.since)
    }
}

fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().into()
}

/// When a process began: field 22 of its `stat`, counted after the name, which may hold blanks and parentheses.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests;
