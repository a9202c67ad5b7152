//! What a home's clusters leave in files, whatever made their machines: leases, sockets, folders of clusters.

use std::fs;
use std::path::{Path, PathBuf};

use calicolab::cluster::lease::Leases;

use crate::lab::Lab;

/// A line for each that is left.
pub fn left(lab: &Lab) -> Vec<String> {
    let home = lab.home().display().to_string();
    let ours = |lease: &PathBuf| fs::read_to_string(lease).is_ok_and(|text| text.contains(&home));
    let leases = list(Leases::default_path()).into_iter().filter(ours).map(|path| format!("lease {}", path.display()));
    let files = list(lab.temp()).into_iter().chain(list(&lab.home().join("clusters")));
    leases.chain(files.map(|path| format!("file {}", path.display()))).collect()
}

/// What lies in a folder; nothing where there is none.
pub fn list(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}
