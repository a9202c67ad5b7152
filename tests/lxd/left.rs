//! What a home's clusters have on the host and in the daemon: everything must be gone after `down`.

use std::fs;
use std::path::Path;

use calicolab::cluster::lease::Leases;

use crate::daemon::{names, ok};
use crate::lab::Lab;

/// A line for each thing that is left: instances, networks, profiles, projects, names of images, leases, files.
pub fn left(lab: &Lab) -> Vec<String> {
    let mut left = Vec::new();
    for kind in ["instances", "networks", "profiles", "projects"] {
        left.extend(names(kind).into_iter().map(|name| format!("{kind}: {name}")));
    }
    left.extend(ok(&["image", "alias", "list", "--format", "csv"]).lines().map(|line| format!("image alias {line}")));
    let folder = lab.home().display().to_string();
    let list = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    for lease in list(Leases::default_path()) {
        if fs::read_to_string(&lease).is_ok_and(|text| text.contains(&folder)) {
            left.push(format!("lease {}", lease.display()));
        }
    }
    left.extend(
        list(lab.temp()).chain(list(&lab.home().join("clusters"))).map(|path| format!("file {}", path.display())),
    );
    left
}
