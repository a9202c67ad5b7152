//! What a home's clusters have on the host and in the daemon: everything must be gone after `down`.

use crate::daemon::{names, ok};
use crate::files;
use crate::lab::Lab;

/// A line for each thing that is left: instances, networks, profiles, projects, names of images, leases, files.
pub fn left(lab: &Lab) -> Vec<String> {
    let mut left = Vec::new();
    for kind in ["instances", "networks", "profiles", "projects"] {
        left.extend(names(kind).into_iter().map(|name| format!("{kind}: {name}")));
    }
    left.extend(ok(&["image", "alias", "list", "--format", "csv"]).lines().map(|line| format!("image alias {line}")));
    left.extend(files::left(lab));
    left
}
