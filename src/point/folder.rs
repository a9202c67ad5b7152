//! The folder of a cluster's points: each appears whole or not at all, and is hashed before it is used.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Of, Point, SCHEMA, Summed};
use crate::artifact::files::{in_parallel, sparse_sha256};
use crate::durable;
use crate::lab::name::PointName;
use crate::lab::pin::Digest;
use crate::machine::ability::Slot;

const POINT: &str = "point.json";

/// No point's name begins with a dot.
const SHARED: &str = ".disks";

/// Names the point that is being brought back, from before the first machine is ended until all run again.
const RETURNING: &str = ".returning";

/// Names the point that the lab descends from.
const HERE: &str = ".here";

/// The points of one cluster: `points/` of its folder, which need not be there.
#[derive(Clone, Debug)]
pub struct Points {
    root: PathBuf,
}

/// Why a point could not be found, read, written or used.
#[derive(Debug, thiserror::Error)]
pub enum PointError {
    /// There is none of this name.
    #[error("there is no point `{name}`{}", listed(.known))]
    NoSuch {
        /// The name asked for.
        name: PointName,
        /// Those that are there.
        known: Vec<PointName>,
    },
    /// There is one of this name already.
    #[error("there is a point `{name}` already")]
    Exists {
        /// The name.
        name: PointName,
    },
    /// Another calicolab wrote it, whose points this one does not know.
    #[error("`{}` has schema {found}, this calicolab knows {SCHEMA}", path.display())]
    Schema {
        /// The point's file.
        path: PathBuf,
        /// The schema it names.
        found: u64,
    },
    /// What says what it holds is no such thing.
    #[error("`{}` cannot be understood", path.display())]
    Broken {
        /// The point's file.
        path: PathBuf,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A file of it is not as it was written.
    #[error("`{}` is damaged: its sum is {got}, and {wanted} was written", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// The sum of what was written.
        wanted: String,
        /// That of what is there.
        got: String,
    },
    /// A file failed us.
    #[error("`{}` could not be {doing}", path.display())]
    Io {
        /// What was to be done to it.
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

fn listed(names: &[PointName]) -> String {
    let words: Vec<&str> = names.iter().map(PointName::as_str).collect();
    if words.is_empty() { String::new() } else { format!("; there is {}", words.join(", ")) }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PointError {
    let path = path.to_owned();
    move |source| PointError::Io { doing, path, source }
}

#[derive(Deserialize)]
struct Head {
    schema: u64,
}

impl Points {
    /// Of the cluster whose folder this is.
    pub fn of(cluster: &Path) -> Self {
        Self { root: cluster.join("points") }
    }

    /// Where one of them lies.
    pub fn folder(&self, name: &PointName) -> PathBuf {
        self.root.join(name.as_str())
    }

    /// Where what several stand on lies.
    pub fn shared(&self) -> PathBuf {
        self.root.join(SHARED)
    }

    /// Their names, in order.
    pub fn names(&self) -> Result<Vec<PointName>, PointError> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed("read", &self.root))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed("read", &self.root))?;
            names.extend(entry.file_name().to_str().and_then(|name| name.parse::<PointName>().ok()));
        }
        names.sort();
        Ok(names)
    }

    /// What one of them says of itself; its files are not looked at.
    pub fn read(&self, name: &PointName) -> Result<Point, PointError> {
        let path = self.folder(name).join(POINT);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(PointError::NoSuch { name: name.clone(), known: self.names()? });
            }
            bytes => bytes.map_err(failed("read", &path))?,
        };
        let broken = |source| PointError::Broken { path: path.clone(), source };
        let Head { schema } = serde_json::from_slice(&bytes).map_err(broken)?;
        if schema != u64::from(SCHEMA) {
            return Err(PointError::Schema { path, found: schema });
        }
        serde_json::from_slice(&bytes).map_err(broken)
    }

    /// All that can be read, the oldest first.
    pub fn readable(&self) -> Result<Vec<Point>, PointError> {
        let mut all: Vec<Point> = self.names()?.iter().filter_map(|name| self.read(name).ok()).collect();
        all.sort_by_key(|point| point.at);
        Ok(all)
    }

    /// Begin a point: a folder under another name, in place of what a killed run left there.
    pub fn begin(&self, name: &PointName) -> Result<Part, PointError> {
        if self.folder(name).exists() {
            return Err(PointError::Exists { name: name.clone() });
        }
        let part = Part { folder: self.root.join(format!(".{name}.part")), whole: self.folder(name) };
        part.clear().map_err(failed("removed", &part.folder))?;
        for folder in [&part.folder, &self.shared()] {
            durable::private_folder(folder).map_err(failed("made", folder))?;
        }
        Ok(part)
    }

    /// Whether every file of a point, and every one it stands on, is as it was written.
    pub async fn check(&self, point: &Point) -> Result<(), PointError> {
        let files = point.files.iter().map(|one| (self.path(&point.name, one), one.digest)).collect();
        let hashed =
            in_parallel(files, |(path, wanted): (PathBuf, Digest)| (sparse_sha256(&path), path, wanted), |_| ());
        for (got, path, wanted) in hashed.await {
            let (got, _) = got.map_err(failed("read", &path))?;
            if got != wanted {
                return Err(PointError::Damaged { path, wanted: wanted.to_string(), got: got.to_string() });
            }
        }
        Ok(())
    }

    fn path(&self, name: &PointName, file: &Summed) -> PathBuf {
        match file.of {
            Of::Point => self.folder(name).join(&file.file),
            Of::Points => self.shared().join(&file.file),
            Of::Cache => file.file.clone(),
        }
    }

    /// Remove a point: from its first moment on it is none any more.
    pub fn remove(&self, name: &PointName) -> Result<(), PointError> {
        let folder = self.folder(name);
        let gone = self.root.join(format!(".{name}.gone"));
        let removed = clear(&gone).and_then(|()| fs::rename(&folder, &gone)).and_then(|()| clear(&gone));
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(PointError::NoSuch { name: name.clone(), known: self.names()? })
            }
            removed => removed.map_err(failed("removed", &folder)),
        }
    }

    /// Remove what killed runs left half-written or half-removed. Whoever calls this is the only one at work here.
    pub fn clear_left(&self) -> Result<(), PointError> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(failed("read", &self.root))?,
        };
        for entry in entries {
            let path = entry.map_err(failed("read", &self.root))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with('.') && (name.ends_with(".part") || name.ends_with(".gone")) && path.is_dir() {
                clear(&path).map_err(failed("removed", &path))?;
            }
        }
        Ok(())
    }

    /// The point that the lab descends from.
    pub fn here(&self) -> Option<PointName> {
        self.noted(HERE)
    }

    /// From here on the lab descends from this point.
    pub fn set_here(&self, name: &PointName) -> Result<(), PointError> {
        self.note(HERE, name)
    }

    /// The point that a run began to bring back and did not come to the end of.
    pub fn returning(&self) -> Option<PointName> {
        self.noted(RETURNING)
    }

    /// From here on the machines may be neither what they were nor what they are to be.
    pub fn set_returning(&self, name: &PointName) -> Result<(), PointError> {
        self.note(RETURNING, name)
    }

    /// All machines are what they are to be.
    pub fn returned(&self) -> Result<(), PointError> {
        let path = self.root.join(RETURNING);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removed", &path)(error)),
            _ => Ok(()),
        }
    }

    fn noted(&self, file: &str) -> Option<PointName> {
        fs::read_to_string(self.root.join(file)).ok()?.trim().parse().ok()
    }

    fn note(&self, file: &str, name: &PointName) -> Result<(), PointError> {
        let path = self.root.join(file);
        durable::write(&path, format!("{name}\n").as_bytes(), 0o600).map_err(failed("written", &path))
    }
}

/// A point in the making; what is not finished is removed.
#[derive(Debug)]
pub struct Part {
    folder: PathBuf,
    whole: PathBuf,
}

impl Part {
    /// Its folder, for this user alone.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a provider may put its files.
    pub fn slot<'a>(&'a self, id: &'a str, shared: &'a Path) -> Slot<'a> {
        Slot { id, folder: &self.folder, shared }
    }

    /// Hash all files of this folder, these shared ones and these of the cache.
    pub async fn sums(
        &self,
        shared: &Path,
        disks: Vec<PathBuf>,
        cached: Vec<PathBuf>,
    ) -> Result<Vec<Summed>, PointError> {
        let mut own = Vec::new();
        walk(&self.folder, Path::new(""), &mut own).map_err(failed("read", &self.folder))?;
        let own = own.into_iter().map(|file| (Of::Point, self.folder.join(&file), file));
        let disks = disks.into_iter().map(|file| (Of::Points, shared.join(&file), file));
        let cached = cached.into_iter().map(|file| (Of::Cache, file.clone(), file));
        let hashed = in_parallel(
            own.chain(disks).chain(cached).collect(),
            |(of, path, file): (Of, PathBuf, PathBuf)| {
                // What a point stands on must outlive a power cut as long as the point itself.
                let synced =
                    if of == Of::Cache { Ok(()) } else { fs::File::open(&path).and_then(|file| file.sync_all()) };
                let summed = synced.and_then(|()| Ok((sparse_sha256(&path)?.0, fs::metadata(&path)?.blocks() * 512)));
                (summed.map(|(digest, bytes)| Summed { of, file, digest, bytes }), path)
            },
            |_| (),
        );
        hashed.await.into_iter().map(|(summed, path)| summed.map_err(failed("read", &path))).collect()
    }

    /// From here on it is a point.
    pub fn finish(self, point: &Point) -> Result<(), PointError> {
        let path = self.folder.join(POINT);
        let bytes = serde_json::to_vec_pretty(point).map_err(io::Error::from);
        let written = bytes.and_then(|bytes| durable::write(&path, &bytes, 0o600));
        written.and_then(|()| durable::settle(&self.folder, &self.whole)).map_err(failed("written", &self.whole))
    }

    fn clear(&self) -> io::Result<()> {
        clear(&self.folder)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next point of this name.
        let _ = self.clear();
    }
}

fn clear(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// All files below a folder, by their paths in it.
fn walk(root: &Path, at: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(at))? {
        let entry = entry?;
        let path = at.join(entry.file_name());
        if entry.file_type()?.is_dir() { walk(root, &path, files)? } else { files.push(path) }
    }
    Ok(())
}

#[cfg(test)]
pub(super) use tests::example;

#[cfg(test)]
mod tests;
