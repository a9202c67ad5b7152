//! What building an image takes of the host, asked before anything is written.

use std::path::Path;
use std::time::Duration;

use crate::artifact::FetchError;
use crate::artifact::cache::Cache;
use crate::artifact::error::Lacking;
use crate::artifact::files::free_bytes;
use crate::command::{Argv, find, run};

/// Most bytes that lie in the cache at one time while an image is built.
pub(super) const ROOM: u64 = 2 << 30;

/// Less room than this after a failure means that the disk was full.
const FULL: u64 = 64 << 20;

/// Memory that package installation takes at its worst, in KiB.
const MEMORY_KIB: u64 = 400 << 10;

/// Programs and the packages that bring them.
const PROGRAMS: [(&str, &str, &str); 4] = [
    ("image.mmdebstrap", "mmdebstrap", "mmdebstrap"),
    ("image.mke2fs", "mke2fs", "e2fsprogs"),
    ("image.tar", "tar", "tar"),
    ("image.gpgv", "gpgv", "gpgv"),
];

/// Whether this process is root, who needs no user namespace.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// `argv` as root of a user namespace that has all of this user's subordinate ids; as it is for root.
pub(super) fn as_root(argv: Argv) -> Argv {
    if is_root() {
        return argv;
    }
    Argv::new("unshare").args(["--map-root-user", "--map-auto"]).args(argv.words().iter().cloned())
}

/// What the host is missing for building an image, each with its remedy; changes nothing.
pub async fn lacks(cache: &Cache) -> Vec<Lacking> {
    let mut lacks: Vec<Lacking> = PROGRAMS
        .iter()
        .filter(|(_, program, _)| find(program).is_none())
        .map(|(id, program, package)| missing(id, program, package))
        .collect();
    if !is_root() {
        if find("newuidmap").is_none() {
            lacks.push(missing("image.newuidmap", "newuidmap", "uidmap"));
        } else if !has_subordinate_ids() {
            lacks.push(Lacking {
                id: "image.subuid",
                what: "this user has no subordinate ids in /etc/subuid and /etc/subgid".into(),
                remedy: "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER".into(),
            });
        } else if !namespaces_work().await {
            lacks.push(Lacking {
                id: "image.userns",
                what: "this user cannot make user namespaces".into(),
                remedy: "sudo sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000".into(),
            });
        }
    }
    let free = free_bytes(cache.root());
    if free < ROOM {
        lacks.push(Lacking {
            id: "image.disk",
            what: format!("{} MiB of disk in {}; {} MiB are free", ROOM >> 20, cache.root().display(), free >> 20),
            remedy: "free some, or set XDG_CACHE_HOME to a folder on a larger disk".into(),
        });
    }
    if let Some(kib) = available_memory_kib().filter(|kib| *kib < MEMORY_KIB) {
        lacks.push(Lacking {
            id: "image.memory",
            what: format!("{} MiB of memory; {} MiB are available", MEMORY_KIB >> 10, kib >> 10),
            remedy: "end something that uses memory".into(),
        });
    }
    lacks
}

fn missing(id: &'static str, program: &str, package: &str) -> Lacking {
    Lacking { id, what: format!("the program {program}"), remedy: format!("sudo apt-get install {package}") }
}

/// [`FetchError::DiskFull`] if the cache's disk has no room for an image.
pub(super) fn room(cache: &Cache) -> Result<(), FetchError> {
    let free = free_bytes(cache.root());
    if free < ROOM { Err(FetchError::DiskFull { path: cache.root().into(), needed: ROOM, free }) } else { Ok(()) }
}

/// What a failed build comes to: a disk that is full now is the reason, whatever program fell over it.
pub(super) fn or_full(part: &Path, error: FetchError) -> FetchError {
    let (needed, folder) = (ROOM, part.parent().unwrap_or(part).to_owned());
    match &error {
        FetchError::Command { .. } | FetchError::Io { .. } if free_bytes(&folder) < FULL => {
            FetchError::DiskFull { free: free_bytes(&folder), path: folder, needed }
        }
        _ => error,
    }
}

/// Whether both tables have a line for this user, by name or number.
fn has_subordinate_ids() -> bool {
    let uid = rustix::process::getuid().as_raw().to_string();
    let name = user_name(&uid);
    ["/etc/subuid", "/etc/subgid"].iter().all(|table| {
        let text = std::fs::read_to_string(table).unwrap_or_default();
        text.lines().filter_map(|line| line.split(':').next()).any(|who| who == uid || Some(who) == name.as_deref())
    })
}

fn user_name(uid: &str) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    })
}

async fn namespaces_work() -> bool {
    let argv = as_root(Argv::new("true"));
    run(&argv, Duration::from_secs(10)).await.is_ok_and(|output| output.ok())
}

fn available_memory_kib() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse().ok()
}
