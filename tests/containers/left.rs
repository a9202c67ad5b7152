//! What a home's clusters have on the host: everything must be gone after `down`.

use std::fs;
use std::path::Path;

use calicolab::cluster::home::Home;

use crate::files::{self, list};
use crate::lab::Lab;

/// A line for each thing that is left: processes, mounts, namespaces, control groups, leases, files.
pub fn left(lab: &Lab) -> Vec<String> {
    let home = Home::at(lab.home(), lab.temp(), "test").expect("the home is there");
    let label = home.label(&"any".parse().expect("a name"));
    let label = label.strip_suffix("/any").expect("it ends with the cluster's name");
    let folder = home.root().display().to_string();
    let words = [label.to_owned(), label.replace('/', "."), folder.clone()];
    let ours = |text: &str| words.iter().any(|word| text.contains(word));

    let mut left = Vec::new();
    for entry in list("/proc".as_ref()) {
        let line = fs::read(entry.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if ours(&line) {
            left.push(format!("process {}: {line}", entry.display()));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("procfs");
    left.extend(mounts.lines().filter(|line| ours(line)).map(|line| format!("mount {line}")));
    for folder in ["/run/netns", "/run/systemd/nspawn/propagate", "/run/systemd/nspawn/unix-export"] {
        left.extend(named(folder.as_ref(), &ours));
    }
    groups("/sys/fs/cgroup".as_ref(), &ours, &mut left);
    left.extend(files::left(lab));
    left
}

fn named(folder: &Path, ours: &impl Fn(&str) -> bool) -> Vec<String> {
    list(folder).into_iter().map(|path| path.display().to_string()).filter(|path| ours(path)).collect()
}

fn groups(folder: &Path, ours: &impl Fn(&str) -> bool, left: &mut Vec<String>) {
    for path in list(folder) {
        if path.is_dir() && !path.is_symlink() {
            let name = path.display().to_string();
            if ours(&name) {
                left.push(format!("control group {name}"));
            } else {
                groups(&path, ours, left);
            }
        }
    }
}
