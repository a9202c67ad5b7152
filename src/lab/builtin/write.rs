//! Files written out for people to edit: all or none, and never over what they have changed.

use std::fs;
use std::path::{Path, PathBuf};

use super::LibraryError;
use crate::durable;

/// What happens to files that are there already and differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// They stay, and nothing at all is written.
    Keep,
    /// They are overwritten.
    Replace,
}

/// Write `files`, making their folders. Returns those that were not there with the same bytes.
pub(crate) fn write_all(files: Vec<(PathBuf, Vec<u8>)>, existing: Existing) -> Result<Vec<PathBuf>, LibraryError> {
    let mut wanted = Vec::new();
    let mut differ = Vec::new();
    for (path, bytes) in files {
        match fs::read(&path) {
            Ok(there) if there == bytes => {}
            Ok(_) => {
                differ.push(path.clone());
                wanted.push((path, bytes));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => wanted.push((path, bytes)),
            Err(source) => return Err(LibraryError::Read { path, source }),
        }
    }
    if existing == Existing::Keep && !differ.is_empty() {
        return Err(LibraryError::Differ { files: differ });
    }
    for (path, bytes) in &wanted {
        write_one(path, bytes).map_err(|source| LibraryError::Write { path: path.clone(), source })?;
    }
    Ok(wanted.into_iter().map(|(path, _)| path).collect())
}

fn write_one(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or_else(|| Path::new(".")))?;
    durable::write(path, bytes, 0o644)
}
