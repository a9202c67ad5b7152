//! Folders of sockets that no cluster needs any more.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Home, StateError, uid};
use crate::lab::name::ClusterName;

/// A run that has just made its folder has no socket in it yet.
const SETTLED: Duration = Duration::from_secs(3600);

impl Home {
    /// The folders of sockets of this user, beside those of `remembered` clusters, in which nobody has listened for an
    /// hour. They may be another home's: a cluster whose machines are off makes its own again when they start.
    pub fn left_sockets(&self, remembered: &[ClusterName]) -> Result<Vec<PathBuf>, StateError> {
        let kept: Vec<PathBuf> = remembered.iter().map(|cluster| self.socket_path(cluster)).collect();
        let entries = match std::fs::read_dir(&self.sockets) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(StateError::io("read", &self.sockets))?,
        };
        let folders = entries.flatten().map(|entry| entry.path());
        let mut left: Vec<PathBuf> = folders.filter(|path| !kept.contains(path) && is_left(path)).collect();
        left.sort();
        Ok(left)
    }
}

fn is_left(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix("cl-"));
    let named = name.is_some_and(|hex| hex.len() == 12 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let Ok(there) = path.symlink_metadata() else { return false };
    let old = |changed: SystemTime| changed.elapsed().is_ok_and(|age| age >= SETTLED);
    if !(named && there.is_dir() && there.uid() == uid() && there.modified().is_ok_and(old)) {
        return false;
    }
    let Ok(inside) = std::fs::read_dir(path) else { return false };
    !inside.flatten().any(|entry| UnixStream::connect(entry.path()).is_ok())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_folder_in_which_nobody_listens_is_left_after_an_hour() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::at(&folder.path().join("home"), folder.path(), "test").expect("a home");
        let made = |name: &str, age: u64| {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).expect("made");
            let then = SystemTime::now() - Duration::from_secs(age);
            (path.clone(), move || {
                std::fs::File::open(&path).and_then(|open| open.set_modified(then)).expect("its date");
            })
        };
        let (old, age) = made("cl-0123456789ab", 7200);
        drop(UnixListener::bind(old.join("n1.qmp")).expect("a socket that nobody listens at"));
        age();
        let (alive, age) = made("cl-0123456789ac", 7200);
        let _listens = UnixListener::bind(alive.join("n1.qmp")).expect("a socket");
        age();
        let (_, age) = made("cl-0123456789ad", 60);
        age();
        for other in ["cl-short", "xx-0123456789ab", "cl-0123456789xy"] {
            made(other, 7200).1();
        }
        let known: ClusterName = "known".parse().expect("a name");
        let own = home.sockets(&known).expect("made");
        std::fs::File::open(&own).and_then(|open| open.set_modified(SystemTime::UNIX_EPOCH)).expect("its date");
        assert_eq!(home.left_sockets(&[known]).expect("read"), [old]);
    }
}
