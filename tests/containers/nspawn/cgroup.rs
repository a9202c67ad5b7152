//! One control group a node, in every hierarchy of this host.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use calicolab::wait::{Asked, Patience, until};

use super::names::Names;

/// A mounted hierarchy.
struct Hierarchy {
    /// The controllers, as the kernel writes them; empty for the unified one.
    controllers: String,
    /// The folder in the tree that is mounted.
    root: String,
    /// Where.
    at: PathBuf,
}

/// Whether this host has hierarchies of old, which a container is then told to use as well.
pub fn legacy() -> io::Result<bool> {
    Ok(hierarchies()?.iter().any(|one| one.controllers == "name=systemd"))
}

/// Move this process into a group of this name below its own, in every hierarchy: a container takes the group it is
/// started in, and two of them must not share one.
pub fn enter(name: &str) -> io::Result<()> {
    let mounted = hierarchies()?;
    for line in fs::read_to_string("/proc/self/cgroup")?.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let Some(hierarchy) = mounted.iter().find(|one| one.controllers == controllers) else { continue };
        let below = path.strip_prefix(&hierarchy.root).unwrap_or(path).trim_start_matches('/');
        let own = hierarchy.at.join(below);
        let folder = own.join(name);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if controllers.split(',').any(|one| one == "cpuset") {
            // A new group has no processors and no memory, and takes nobody in.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                fs::write(folder.join(file), fs::read(own.join(file))?)?;
            }
        }
        fs::write(folder.join("cgroup.procs"), std::process::id().to_string())?;
    }
    Ok(())
}

/// The groups of a cluster, wherever they lie: the run that made them may have been in another group than this one.
pub fn all(names: &Names) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for hierarchy in hierarchies()? {
        seek(&hierarchy.at, names, &mut found);
    }
    Ok(found)
}

/// Remove groups once nothing runs in them.
pub async fn remove(groups: Vec<PathBuf>, limit: Duration) -> io::Result<()> {
    let patience = Patience { limit, pause: Duration::from_millis(20) };
    for group in groups {
        let emptied = until(patience, async || match remove_tree(&group) {
            Ok(()) => Asked::Yes(()),
            Err(error) => Asked::NotYet(format!("{}: {error}", group.display())),
        });
        emptied.await.map_err(io::Error::other)?;
    }
    Ok(())
}

fn seek(folder: &Path, names: &Names, found: &mut Vec<PathBuf>) {
    // A group may vanish while it is being looked at.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if entry.file_name().to_str().is_some_and(|name| names.owns(name)) {
            found.push(entry.path());
        } else {
            seek(&entry.path(), names, found);
        }
    }
}

fn remove_tree(group: &Path) -> io::Result<()> {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(group) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn hierarchies() -> io::Result<Vec<Hierarchy>> {
    Ok(fs::read_to_string("/proc/self/mountinfo")?.lines().filter_map(hierarchy).collect())
}

/// A line of `mountinfo`: … ROOT PLACE OPTIONS [TAGS…] - KIND SOURCE SUPER-OPTIONS.
fn hierarchy(line: &str) -> Option<Hierarchy> {
    let (mount, system) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let (root, at) = (mount.next()?.to_owned(), PathBuf::from(mount.next()?));
    let mut system = system.split(' ');
    let controllers = match system.next()? {
        "cgroup2" => String::new(),
        "cgroup" => {
            let settings = ["rw", "ro", "xattr", "clone_children", "noprefix"];
            let all = system
                .nth(1)?
                .split(',')
                .filter(|word| !settings.contains(word) && !word.starts_with("release_agent="));
            all.collect::<Vec<_>>().join(",")
        }
        _ => return None,
    };
    Some(Hierarchy { controllers, root, at })
}
