//! The folder that holds a host's leases: one writer at a time, whatever its user, and files that appear whole.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Lease, LeaseError, Owner, What, clash};
use crate::cluster::lock::still_at;
use crate::cluster::state::Minimal;
use crate::cluster::state::state_file;
use crate::cluster::uid;
use crate::lab::name::ClusterName;
use crate::wait::{Asked, Patience, until};

/// Leasing takes milliseconds; whoever takes longer is stuck.
const PATIENCE: Patience = Patience { limit: Duration::from_secs(10), pause: Duration::from_millis(10) };

/// Everybody may add, only its user may remove a file: as in the temp directory.
const MODE: u32 = 0o1777;

/// A lease and its file.
pub(super) struct Entry {
    pub lease: Lease,
    path: PathBuf,
}

impl Lease {
    fn is_of(&self, owner: &Owner) -> bool {
        self.owner.as_ref().is_some_and(|by| by.home == owner.home && by.id == owner.id)
    }
}

/// The right to change the folder, until it is dropped or the process ends: a lock on the folder itself, which
/// every user can open.
pub(super) struct Guard {
    folder: PathBuf,
    leases: Vec<Entry>,
    made: Vec<What>,
    _lock: File,
}

impl Guard {
    /// Wait for it; then clear away what was abandoned.
    pub async fn take(folder: &Path) -> Result<Self, LeaseError> {
        let taken = until(PATIENCE, || async {
            match try_take(folder) {
                Ok(Some(lock)) => Asked::Yes(Ok(lock)),
                Ok(None) => Asked::NotYet("it is locked".into()),
                Err(error) => Asked::Yes(Err(error)),
            }
        });
        let lock = taken.await.map_err(|source| LeaseError::Busy { folder: folder.into(), source })??;
        sweep(folder)?;
        Ok(Self { folder: folder.into(), leases: read(folder)?, made: Vec::new(), _lock: lock })
    }

    /// The lease that stands in the way of another one for `what`.
    pub fn clash(&self, what: What) -> Option<&Lease> {
        self.leases.iter().map(|entry| &entry.lease).find(|lease| clash(std::slice::from_ref(lease), what).is_some())
    }

    /// Lease `what` to `owner`, unless something is in the way.
    pub fn take_one(&mut self, what: What, owner: &Owner) -> Result<(), LeaseError> {
        if let Some(lease) = self.clash(what) {
            return Err(LeaseError::Taken { what: lease.what, by: lease.owner.clone() });
        }
        let path = self.folder.join(what.file_name());
        match put(&path, owner) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(LeaseError::Taken { what, by: None });
            }
            Err(source) => return Err(LeaseError::Io { doing: "written", path, source }),
        }
        self.made.push(what);
        self.leases.push(Entry { lease: Lease { what, owner: Some(owner.clone()) }, path });
        Ok(())
    }

    /// Have `what` leased to `owner`, now or already.
    pub fn hold(&mut self, what: What, owner: &Owner) -> Result<(), LeaseError> {
        let held = self.leases.iter().any(|entry| entry.lease.is_of(owner) && entry.lease.what == what);
        if held { Ok(()) } else { self.take_one(what, owner) }
    }

    /// Give back `what`, if `owner` has it.
    pub fn drop_one(&mut self, what: What, owner: &Owner) -> Result<(), LeaseError> {
        self.drop_where(|lease| lease.is_of(owner) && lease.what == what)
    }

    /// Give back all that a cluster holds.
    pub fn give_back(&mut self, home: &Path, cluster: &ClusterName) -> Result<(), LeaseError> {
        self.drop_where(|lease| lease.owner.as_ref().is_some_and(|by| by.home == home && by.cluster == *cluster))
    }

    /// Undo what was leased through this guard.
    pub fn take_back_all(&mut self) {
        let made = std::mem::take(&mut self.made);
        // What stays is given back by `down`, or with the cluster's end is nobody's.
        let _ = self.drop_where(|lease| made.contains(&lease.what));
    }

    /// Leave no empty folder behind. Nobody can be about to write into it: that takes this guard.
    pub fn remove_if_empty(self) {
        // It may be another user's, or hold leases.
        let _ = std::fs::remove_dir(&self.folder);
    }

    /// Try all, tell of the first that could not be given back.
    fn drop_where(&mut self, wanted: impl Fn(&Lease) -> bool) -> Result<(), LeaseError> {
        let mut first = Ok(());
        self.leases.retain(|Entry { lease, path }| {
            if !wanted(lease) {
                return true;
            }
            match std::fs::remove_file(path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    if first.is_ok() {
                        first = Err(LeaseError::Io { doing: "removed", path: path.clone(), source });
                    }
                    true
                }
                _ => false,
            }
        });
        first
    }
}

/// The leases in `folder`, without those that their owners abandoned and that we could remove.
pub(super) fn read(folder: &Path) -> Result<Vec<Entry>, LeaseError> {
    let error = |source| LeaseError::Io { doing: "read", path: folder.into(), source };
    let files = match std::fs::read_dir(folder) {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(error)?,
    };
    let mut entries = Vec::new();
    for file in files {
        let file = file.map_err(error)?;
        let Some(what) = file.file_name().to_str().and_then(What::from_file_name) else { continue };
        let path = file.path();
        if !abandoned(&path) {
            entries.push(Entry { lease: Lease { what, owner: owner(&path) }, path });
        }
    }
    Ok(entries)
}

/// The files of leases that their owners abandoned and that we may remove.
pub(super) fn left(folder: &Path) -> Result<Vec<PathBuf>, LeaseError> {
    let files = match std::fs::read_dir(folder) {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|source| LeaseError::Io { doing: "read", path: folder.into(), source })?,
    };
    let mut left: Vec<PathBuf> = files.flatten().map(|file| file.path()).filter(|path| abandoned(path)).collect();
    left.sort();
    Ok(left)
}

/// Open and lock the folder, making it if need be; `None` while another has it.
fn try_take(folder: &Path) -> Result<Option<File>, LeaseError> {
    let error = |doing| move |source| LeaseError::Io { doing, path: folder.into(), source };
    make(folder).map_err(error("made"))?;
    let there = std::fs::symlink_metadata(folder).map_err(error("read"))?;
    if !there.is_dir() {
        return Err(LeaseError::Unfit { folder: folder.into(), why: "is no folder" });
    }
    if there.mode() & 0o1002 != 0o1002 && there.uid() != uid() {
        return Err(LeaseError::Unfit { folder: folder.into(), why: "is not writable for all (mode 1777)" });
    }
    let lock = match File::open(folder) {
        // Its last lease was given back just now.
        Err(gone) if gone.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(error("opened"))?,
    };
    match lock.try_lock() {
        Ok(()) => Ok(still_at(&lock, folder).map_err(error("read"))?.then_some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(error("locked")(source)),
    }
}

/// Make the folder with its mode from the first moment on, whatever the umask: made beside, then renamed.
fn make(folder: &Path) -> io::Result<()> {
    if folder.symlink_metadata().is_ok() {
        return Ok(());
    }
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.with_file_name(format!(".{name}.{}", super::super::random_hex::<8>()));
    DirBuilder::new().mode(0o700).create(&beside)?;
    let renamed = std::fs::set_permissions(&beside, Permissions::from_mode(MODE)).and_then(|()| {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        renameat_with(CWD, &beside, CWD, folder, RenameFlags::NOREPLACE).map_err(Into::into)
    });
    if renamed.is_err() {
        let _ = std::fs::remove_dir(&beside);
    }
    match renamed {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Write a lease that appears whole, or fails because there is one of its name.
fn put(path: &Path, owner: &Owner) -> io::Result<()> {
    let beside = path.with_file_name(format!(".{}", super::super::random_hex::<8>()));
    let filled = fill(&beside, owner).and_then(|()| std::fs::hard_link(&beside, path));
    // Were it to stay, the next writer would sweep it away.
    let _ = std::fs::remove_file(&beside);
    filled
}

fn fill(path: &Path, owner: &Owner) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    // Whatever the umask, other users must see whose it is.
    file.set_permissions(Permissions::from_mode(0o644))?;
    file.write_all(&serde_json::to_vec(owner)?)?;
    file.sync_all()
}

/// Remove leases that nobody holds any more, and what a killed writer left: only the guard's holder makes such files.
fn sweep(folder: &Path) -> Result<(), LeaseError> {
    let error = |source| LeaseError::Io { doing: "read", path: folder.into(), source };
    for file in std::fs::read_dir(folder).map_err(error)? {
        let path = file.map_err(error)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || abandoned(&path) {
            // Another user's is that user's to remove.
            let _ = std::fs::remove_file(&path);
        }
    }
    Ok(())
}

fn owner(path: &Path) -> Option<Owner> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Whether the lease is one we may remove, and its owner is surely gone: its state is not there, or another
/// cluster's. A state that cannot be looked at is no proof of anything.
fn abandoned(path: &Path) -> bool {
    let ours = path.symlink_metadata().is_ok_and(|there| uid() == 0 || there.uid() == uid());
    let Some(owner) = owner(path).filter(|_| ours) else { return false };
    match std::fs::read(state_file(&owner.home, &owner.cluster)) {
        Ok(bytes) => Minimal::from_bytes(&bytes).id.is_some_and(|id| id != owner.id),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}
