//! The folder in which a user's clusters are remembered; only a locked one can be written.

mod left;

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::lease::Owner;
use super::lock::{self, Holder, Lock, LockError};
use super::state::{ClusterState, Minimal, Phase, STATE, folder};
use super::uid;
use super::{StateError, hex};
use crate::durable;
use crate::lab::name::ClusterName;

/// The most bytes the path of a socket may have (108 in the kernel, one of them the end).
pub const SOCKET_PATH: usize = 107;

/// The longest name in a folder of sockets: a node's of 63 characters and `.qmp`.
const SOCKET_NAME: usize = 63 + ".qmp".len();

const LOCK: &str = "lock";
const SOCKETS: &str = "sockets";

/// Where clusters are remembered, and in whose name they are locked.
#[derive(Clone, Debug)]
pub struct Home {
    root: PathBuf,
    sockets: PathBuf,
    verb: String,
}

/// A cluster as it is found without locking it.
#[derive(Debug)]
pub struct Found {
    /// Its name.
    pub name: ClusterName,
    /// What is remembered; an error if that cannot be read, which hides no cluster.
    pub state: Result<ClusterState, StateError>,
    /// Who works on it now, if anybody does.
    pub holder: Option<Holder>,
}

impl Home {
    /// `$CALICOLAB_HOME`, or `calicolab` in `$XDG_STATE_HOME` or `~/.local/state`. The only reader of the
    /// environment. `verb` is what others are told that holds a lock.
    pub fn from_env(verb: &str) -> Result<Self, StateError> {
        let var = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        // A relative path there is to be ignored (XDG base directories).
        let xdg = |name| var(name).filter(|path| path.is_absolute());
        let state = || xdg("XDG_STATE_HOME").or_else(|| Some(std::env::home_dir()?.join(".local/state")));
        let root = var("CALICOLAB_HOME")
            .or_else(|| Some(state()?.join("calicolab")))
            .filter(|root| !root.as_os_str().is_empty())
            .ok_or(StateError::Homeless)?;
        // After `sudo -E` the folder is another user's, and gone when that one logs out.
        let ours = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|there| there.is_dir() && there.uid() == uid());
        let sockets = xdg("XDG_RUNTIME_DIR")
            .filter(ours)
            .into_iter()
            .chain([std::env::temp_dir()])
            .find(|base| base.is_absolute() && fits(&base.join("cl-0123456789ab")))
            .unwrap_or_else(|| "/tmp".into());
        Self::at(&root, sockets, verb)
    }

    /// The home at `root` (which need not exist) with folders of sockets made below `sockets` (which must).
    pub fn at(root: &Path, sockets: impl Into<PathBuf>, verb: &str) -> Result<Self, StateError> {
        let root = canonical(root).map_err(StateError::io("found", root))?;
        Ok(Self { root, sockets: sockets.into(), verb: verb.into() })
    }

    /// The folder itself, without symbolic links.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of one cluster.
    pub fn folder(&self, cluster: &ClusterName) -> PathBuf {
        folder(&self.root, cluster)
    }

    /// What all that a cluster makes on this host is labelled with: `calicolab/<8 hex of this home>/<cluster>`.
    pub fn label(&self, cluster: &ClusterName) -> String {
        format!("{}{cluster}", self.labels())
    }

    /// What the labels of all its clusters begin with: `calicolab/<8 hex of this home>/`.
    pub fn labels(&self) -> String {
        labels(&self.root, &std::fs::read("/etc/machine-id").unwrap_or_default())
    }

    /// The folder for a cluster's sockets, made if it is not there: ours alone, and short enough for every node.
    pub fn sockets(&self, cluster: &ClusterName) -> Result<PathBuf, StateError> {
        let path = self.socket_path(cluster);
        if !fits(&path) {
            return Err(StateError::Long { path });
        }
        match std::fs::DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(StateError::io("made", path)(error));
            }
            _ => {}
        }
        let there = std::fs::symlink_metadata(&path).map_err(StateError::io("read", &path))?;
        if !there.is_dir() {
            return Err(StateError::Foreign { path, why: "is no folder".into() });
        }
        if there.uid() != uid() {
            return Err(StateError::Foreign { path, why: format!("belongs to the user with id {}", there.uid()) });
        }
        if there.permissions().mode() & 0o077 != 0 {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))
                .map_err(StateError::io("made private", &path))?;
        }
        Ok(path)
    }

    /// Where they are: where the cluster's maker put them, since the next run may have another environment.
    fn socket_path(&self, cluster: &ClusterName) -> PathBuf {
        std::fs::read_link(self.folder(cluster).join(SOCKETS)).unwrap_or_else(|_| {
            let mut hash = Sha256::new();
            hash.update(uid().to_be_bytes());
            hash.update(self.root.as_os_str().as_bytes());
            hash.update([0]);
            hash.update(cluster.as_str());
            self.sockets.join(format!("cl-{}", hex(&hash.finalize()[..6])))
        })
    }

    /// Begin a cluster: its folder is made and locked, and `state` written, before anything else of it exists.
    pub fn create(&self, state: ClusterState) -> Result<Locked, StateError> {
        let cluster = state.name.clone();
        let folder = self.folder(&cluster);
        let lock = loop {
            durable::private_folder(&folder).map_err(StateError::io("made", &folder))?;
            match self.take(&cluster) {
                // A `down` of the same name removed the folder just now.
                Err(StateError::NoSuch { .. }) => {}
                other => break other?,
            }
        };
        let file = folder.join(STATE);
        if file.try_exists().map_err(StateError::io("read", &file))? {
            return Err(StateError::Exists { cluster });
        }
        let sockets = self.socket_path(&cluster);
        let link = folder.join(SOCKETS);
        match std::os::unix::fs::symlink(&sockets, &link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(StateError::io("made", link)(error));
            }
            _ => {}
        }
        state.write(&file)?;
        durable::sync_folder(&folder).map_err(StateError::io("written", &folder))?;
        Ok(Locked { home: self.clone(), cluster, state, lock })
    }

    /// Lock a cluster that is there; does not wait. One whose maker died before writing its state is not there.
    pub fn lock(&self, cluster: &ClusterName) -> Result<Locked, StateError> {
        let lock = self.take_begun(cluster)?;
        let state = self.read(cluster)?;
        Ok(Locked { home: self.clone(), cluster: cluster.clone(), state, lock })
    }

    /// Lock whatever there is of a cluster, to undo it: its state may be another schema's, damaged or missing.
    pub fn lock_to_undo(&self, cluster: &ClusterName) -> Result<Locked<Minimal>, StateError> {
        let lock = self.take(cluster)?;
        let path = self.folder(cluster).join(STATE);
        let state = match std::fs::read(&path) {
            Ok(bytes) => Minimal::from_bytes(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Minimal::default(),
            Err(error) => return Err(StateError::io("read", path)(error)),
        };
        Ok(Locked { home: self.clone(), cluster: cluster.clone(), state, lock })
    }

    /// What is remembered of a cluster, without locking it.
    pub fn read(&self, cluster: &ClusterName) -> Result<ClusterState, StateError> {
        ClusterState::read(&self.folder(cluster).join(STATE)).map_err(|error| match error {
            StateError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => self.no_such(cluster),
            other => other,
        })
    }

    /// Who works on a cluster now, if anybody does.
    pub fn holder(&self, cluster: &ClusterName) -> Option<Holder> {
        lock::holder(&self.folder(cluster).join(LOCK))
    }

    /// All clusters by name, those too whose state cannot be read.
    pub fn list(&self) -> Result<Vec<Found>, StateError> {
        let clusters = self.root.join("clusters");
        let entries = match std::fs::read_dir(&clusters) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(StateError::io("read", &clusters))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(StateError::io("read", &clusters))?;
            names.extend(entry.file_name().to_str().and_then(|name| name.parse::<ClusterName>().ok()));
        }
        names.sort();
        Ok(names
            .into_iter()
            .map(|name| Found { state: self.read(&name), holder: self.holder(&name), name })
            // Removed since the folder was read.
            .filter(|found| self.folder(&found.name).exists())
            .collect())
    }

    fn take(&self, cluster: &ClusterName) -> Result<Lock, StateError> {
        let path = self.folder(cluster).join(LOCK);
        Lock::take(&path, &self.verb).map_err(|error| match error {
            LockError::Held(by) => StateError::Held { cluster: cluster.clone(), by },
            LockError::Io(error) if error.kind() == io::ErrorKind::NotFound => self.no_such(cluster),
            LockError::Io(error) => StateError::io("locked", path)(error),
        })
    }

    /// As [`take`](Self::take), but leaves no lock file where nothing was begun.
    fn take_begun(&self, cluster: &ClusterName) -> Result<Lock, StateError> {
        if self.folder(cluster).join(STATE).exists() { self.take(cluster) } else { Err(self.no_such(cluster)) }
    }

    fn no_such(&self, cluster: &ClusterName) -> StateError {
        StateError::NoSuch { cluster: cluster.clone(), home: self.root.clone() }
    }
}

/// Other servers see homes of many hosts, of which most have the same path.
fn labels(root: &Path, host: &[u8]) -> String {
    let hash = Sha256::new().chain_update(root.as_os_str().as_bytes()).chain_update([0]).chain_update(host).finalize();
    format!("calicolab/{}/", hex(&hash[..4]))
}

/// A cluster that nobody else can write while this value lives.
#[derive(Debug)]
pub struct Locked<S = ClusterState> {
    home: Home,
    cluster: ClusterName,
    state: S,
    lock: Lock,
}

impl<S> Locked<S> {
    /// The cluster's folder.
    pub fn folder(&self) -> PathBuf {
        self.home.folder(&self.cluster)
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    /// What is remembered of it.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// Forget the cluster: every file of it goes, the state last, so that a run that dies in the middle is
    /// followed by another `down`. For when nothing is left on the host but these files.
    pub fn remove(self) -> Result<(), StateError> {
        let folder = self.folder();
        let mut left = Vec::new();
        let sockets = self.home.socket_path(&self.cluster);
        if std::fs::symlink_metadata(&sockets).is_ok_and(|there| there.is_dir() && there.uid() == uid()) {
            gone(&sockets, std::fs::remove_dir_all(&sockets), &mut left);
        }
        let entries = std::fs::read_dir(&folder).map_err(StateError::io("read", &folder))?;
        for entry in entries {
            let entry = entry.map_err(StateError::io("read", &folder))?;
            let (name, path) = (entry.file_name(), entry.path());
            // The link to the sockets stays with the state: the next `down` finds them by it.
            if [STATE, LOCK, SOCKETS].map(OsStr::new).contains(&name.as_os_str()) {
                continue;
            }
            let folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let removed = if folder { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            gone(&path, removed, &mut left);
        }
        for name in [SOCKETS, STATE, LOCK] {
            if left.is_empty() {
                gone(&folder.join(name), std::fs::remove_file(folder.join(name)), &mut left);
            }
        }
        if left.is_empty() {
            // Not empty means that a new cluster of this name has begun, which the lock no longer forbids.
            match std::fs::remove_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                removed => gone(&folder, removed, &mut left),
            }
        }
        drop(self.lock);
        if left.is_empty() { Ok(()) } else { Err(StateError::Left(left)) }
    }
}

impl Locked {
    /// Change what is remembered. If it cannot be written, the change is kept here and goes with the next one.
    pub fn record(&mut self, change: impl FnOnce(&mut ClusterState)) -> Result<(), StateError> {
        change(&mut self.state);
        self.state.changed = jiff::Timestamp::now();
        self.state.write(&self.folder().join(STATE))
    }

    /// In whose name the cluster leases.
    pub fn owner(&self) -> Owner {
        Owner {
            uid: uid(),
            home: self.home.root.clone(),
            cluster: self.cluster.clone(),
            id: self.state.id.clone(),
            since: jiff::Timestamp::now(),
        }
    }
}

impl Locked<Minimal> {
    /// Remember that the undoing has begun, where the state is one that can be written; else nothing is changed.
    pub fn record_destroying(&self) -> Result<(), StateError> {
        let path = self.folder().join(STATE);
        match ClusterState::read(&path) {
            Ok(mut state) => {
                state.phase = Phase::Destroying;
                state.changed = jiff::Timestamp::now();
                state.write(&path)
            }
            Err(_) => Ok(()),
        }
    }
}

fn fits(folder: &Path) -> bool {
    folder.as_os_str().len() + 1 + SOCKET_NAME <= SOCKET_PATH
}

fn gone(path: &Path, removed: io::Result<()>, left: &mut Vec<(PathBuf, io::Error)>) {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => left.push((path.into(), error)),
        _ => {}
    }
}

/// The path without symbolic links as far as it exists, so that it stays the same when the rest comes to exist.
fn canonical(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    for above in path.ancestors() {
        match above.canonicalize() {
            Ok(real) => {
                let below = path.strip_prefix(above).map_err(io::Error::other)?;
                // `join` of nothing would end the path with a slash, which would be another label.
                return Ok(if below.as_os_str().is_empty() { real } else { real.join(below) });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests;
