//! The faults that stand on a cluster, as its folder remembers them.

use std::path::{Path, PathBuf};

use crate::durable;
use crate::failure::{Exit, Failure};
use crate::fault::Active;

/// Where the faults of a cluster are remembered.
fn file(folder: &Path) -> PathBuf {
    folder.join("faults.json")
}

/// The faults that were made on a cluster and not cleared; one whose time has passed was undone by its nodes.
pub fn active(folder: &Path) -> Vec<Active> {
    let text = std::fs::read(file(folder)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Write down which stand.
pub(super) fn remember(folder: &Path, all: &[Active]) -> Result<(), Failure> {
    let bytes = serde_json::to_vec_pretty(all).map_err(std::io::Error::from);
    bytes.and_then(|bytes| durable::write(&file(folder), &bytes, 0o600)).map_err(|error| {
        Failure::new(Exit::Unexpected, "fault.remember", "remember the faults of the cluster").because(&error)
    })
}
