//! Files written out for people to edit: all or none, and never over what they have changed.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::LibraryError;

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

/// Write beside, sync, rename: a reader sees the old file or the new one, whole.
fn write_one(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.{}", std::process::id()));
    let written = File::create_new(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    });
    if written.is_err() {
        // Whatever could be made of it is of no use; the reason is told already.
        let _ = fs::remove_file(&beside);
    }
    written
}
