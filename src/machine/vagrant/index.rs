//! Vagrant's list of every machine it has made for this user, from which one folder's are taken out. Vagrant itself
//! does so only from within that folder, and only of machines that it finds noted there.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::durable;
use crate::wait::{self, Asked, Patience};

/// Vagrant holds the list's lock for as long as it reads or writes it.
const LETS_GO: Patience = Patience { limit: Duration::from_secs(20), pause: Duration::from_millis(50) };

/// Why machines stay in the list: it is as it was.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Somebody else holds it.
    #[error("{STAY}: {} is locked ({why}); later: {PRUNE}", path.display())]
    Locked {
        /// The lock.
        path: PathBuf,
        /// For how long it was asked for.
        why: String,
    },
    /// It has another shape than the one that is known.
    #[error("{STAY}: {} {why}; what takes them out: {PRUNE}", path.display())]
    Strange {
        /// The list.
        path: PathBuf,
        /// In what way.
        why: String,
    },
    /// It could not be read or written.
    #[error("{STAY}: {}: {source}; what takes them out: {PRUNE}", path.display())]
    Io {
        /// The list, or its lock.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// What is so in each case.
const STAY: &str = "Vagrant's list of machines may still have this cluster's";

/// What takes every machine out of the list whose folder is gone.
const PRUNE: &str = "vagrant global-status --prune";

/// Take the machines of `folder` out of the list below `kept`, where Vagrant keeps what is not one folder's.
pub async fn forget(kept: &Path, folder: &Path) -> Result<(), IndexError> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| IndexError::Io { path, source }
    };
    // Whoever keeps his files elsewhere keeps the link to them.
    let path = match kept.join("data/machine-index/index").canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(failed(kept))?,
    };
    // Vagrant's own file for that, which it never removes.
    let beside = kept.join("data/machine-index");
    let _locked = lock(&beside.join("index.lock")).await?;
    let text = fs::read_to_string(&path).map_err(failed(&path))?;
    let (rest, ids) = match without(&text, folder) {
        Ok(Some(left)) => left,
        Ok(None) => return Ok(()),
        Err(why) => return Err(IndexError::Strange { path, why }),
    };
    let mode = fs::metadata(&path).map_err(failed(&path))?.permissions().mode() & 0o777;
    durable::write(&path, rest.to_string().as_bytes(), mode).map_err(failed(&path))?;
    for id in ids.iter().filter(|id| id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')) {
        unlocked(&beside.join(format!("{id}.lock")));
    }
    Ok(())
}

/// Hold the lock at `path` until the file is dropped.
async fn lock(path: &Path) -> Result<File, IndexError> {
    let failed = |source| IndexError::Io { path: path.into(), source };
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
    let held = wait::until(LETS_GO, async || match file.try_lock() {
        Ok(()) => Asked::Yes(Ok(())),
        Err(TryLockError::WouldBlock) => Asked::NotYet("another Vagrant may be at work".into()),
        Err(TryLockError::Error(error)) => Asked::Yes(Err(error)),
    });
    match held.await {
        Ok(held) => held.map_err(failed)?,
        Err(error) => return Err(IndexError::Locked { path: path.into(), why: error.to_string() }),
    }
    Ok(file)
}

/// Remove a machine's own lock, which a Vagrant that was killed has left. One that is held goes with its holder.
fn unlocked(path: &Path) {
    if let Ok(file) = File::open(path)
        && file.try_lock().is_ok()
    {
        // Empty, and of a machine that is in no list: of no harm where it stays.
        let _ = fs::remove_file(path);
    }
}

/// The list without the machines of `folder`, and their ids; nothing if it has none of them. If it is not understood:
/// why, unless `folder` is nowhere in it.
fn without(text: &str, folder: &Path) -> Result<Option<(Value, Vec<String>)>, String> {
    let quoted = Value::from(folder.to_string_lossy()).to_string();
    if !text.contains(quoted.trim_matches('"')) {
        return Ok(None);
    }
    let mut list: Value = serde_json::from_str(text).map_err(|error| format!("cannot be read ({error})"))?;
    if list["version"] != 1 {
        return Err(format!("has the version {}, and 1 is known", list["version"]));
    }
    let machines = list["machines"].as_object_mut().ok_or("has no machines by their ids")?;
    let ours = |machine: &Value| machine["vagrantfile_path"].as_str().is_some_and(|path| Path::new(path) == folder);
    let ids: Vec<String> = machines.iter().filter(|(_, one)| ours(one)).map(|(id, _)| id.clone()).collect();
    machines.retain(|_, machine| !ours(machine));
    Ok((!ids.is_empty()).then_some((list, ids)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const OURS: &str = "/home/me/.local/state/calicolab/clusters/primer/vm/vagrant";

    fn machine(name: &str, folder: &str) -> Value {
        json!({
            "local_data_path": format!("{folder}/.vagrant"), "name": name, "provider": "libvirt", "state": "running",
            "vagrantfile_name": null, "vagrantfile_path": folder, "updated_at": null,
            "extra_data": {"box": {"name": "a/b", "provider": "libvirt", "version": "0"}, "n": 1.5},
        })
    }

    /// Two machines of ours among those of others.
    fn list() -> Value {
        json!({"version": 1, "more": [1], "machines": {
            "aa11": machine("calico-01", OURS), "bb22": machine("calico-01", "/home/me/mine"),
            "cc33": machine("calico-02", OURS), "dd44": machine("n", &format!("{OURS}-2")),
            "ee55": {"name": "half", "local_data_path": format!("{OURS}/.vagrant")},
        }})
    }

    /// A home of Vagrant's with this list, and the list's path.
    fn kept(text: &str) -> (tempfile::TempDir, PathBuf) {
        let kept = tempfile::tempdir().expect("a temporary folder");
        let path = kept.path().join("data/machine-index/index");
        fs::create_dir_all(path.parent().expect("it has one")).expect("made");
        fs::write(&path, text).expect("written");
        (kept, path)
    }

    fn of(path: &Path) -> Value {
        serde_json::from_slice(&fs::read(path).expect("it is there")).expect("JSON")
    }

    #[tokio::test]
    async fn only_the_folders_own_machines_go() {
        let (kept, path) = kept(&list().to_string());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("set");
        let beside = path.parent().expect("it has one");
        for id in ["aa11", "bb22", "cc33"] {
            fs::write(beside.join(format!("{id}.lock")), "").expect("written");
        }
        let held = File::open(beside.join("cc33.lock")).expect("there");
        held.lock().expect("nobody has it");
        forget(kept.path(), Path::new(OURS)).await.expect("taken out");

        let mut wanted = list();
        let machines = wanted["machines"].as_object_mut().expect("machines");
        assert!(machines.remove("aa11").is_some() && machines.remove("cc33").is_some());
        assert_eq!(of(&path), wanted);
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o640);
        let mut there: Vec<String> = fs::read_dir(beside)
            .expect("listed")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        there.sort();
        assert_eq!(there, ["bb22.lock", "cc33.lock", "index", "index.lock"]);
    }

    #[tokio::test]
    async fn a_link_to_the_list_stays_one() {
        let (kept, path) = kept("");
        let elsewhere = kept.path().join("elsewhere");
        fs::write(&elsewhere, list().to_string()).expect("written");
        fs::remove_file(&path).expect("removed");
        std::os::unix::fs::symlink(&elsewhere, &path).expect("linked");
        forget(kept.path(), Path::new(OURS)).await.expect("taken out");
        assert!(fs::symlink_metadata(&path).expect("there").is_symlink());
        assert_eq!(of(&elsewhere)["machines"].as_object().expect("machines").len(), 3);
    }

    #[tokio::test]
    async fn what_has_nothing_of_the_folder_is_not_written() {
        for text in ["", "null", "{ \"version\" : 1 }", "{\"version\": 7", &list().to_string()] {
            let (kept, path) = kept(text);
            forget(kept.path(), Path::new("/home/me/other")).await.expect("nothing to do");
            assert_eq!(fs::read_to_string(path).expect("there"), text);
        }
        let empty = tempfile::tempdir().expect("a temporary folder");
        forget(empty.path(), Path::new(OURS)).await.expect("nothing to do");
        assert_eq!(fs::read_dir(empty.path()).expect("listed").count(), 0);
    }

    #[tokio::test]
    async fn what_is_not_understood_stays_and_the_remedy_is_told() {
        let mut newer = list();
        newer["version"] = 2.into();
        let mut torn = list().to_string();
        torn.truncate(torn.len() - 9);
        let listed = json!({"version": 1, "machines": [machine("calico-01", OURS)]});
        for (text, why) in [
            (newer.to_string(), "has the version 2, and 1 is known"),
            (torn, "cannot be read (EOF while parsing"),
            (listed.to_string(), "has no machines by their ids"),
        ] {
            let (kept, path) = kept(&text);
            let told = forget(kept.path(), Path::new(OURS)).await.expect_err("it is strange").to_string();
            let place = path.canonicalize().expect("there").display().to_string();
            assert!(told.contains(why) && told.contains(&place) && told.ends_with(PRUNE), "{told}");
            assert_eq!(fs::read_to_string(path).expect("there"), text);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_lock_is_waited_for_but_not_for_ever() {
        let (kept, path) = kept(&list().to_string());
        let theirs = File::create(path.with_file_name("index.lock")).expect("made");
        theirs.lock().expect("nobody has it");
        let told = forget(kept.path(), Path::new(OURS)).await.expect_err("it is held").to_string();
        assert!(told.contains("index.lock is locked") && told.ends_with(PRUNE), "{told}");
        assert_eq!(of(&path), list());

        let lets_go = async {
            tokio::time::sleep(Duration::from_secs(3)).await; // on a clock that stands still: nobody waits
            drop(theirs);
        };
        let (forgotten, ()) = tokio::join!(forget(kept.path(), Path::new(OURS)), lets_go);
        forgotten.expect("taken out");
        assert_eq!(of(&path)["machines"].as_object().expect("machines").len(), 3);
    }
}
