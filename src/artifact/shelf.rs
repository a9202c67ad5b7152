//! Everything that lies in the cache and can be taken out of it: files by digest, images, derived files, what was left in the making.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::FetchError;
use super::cache::Cache;
use super::files::{self, blocking, failed};
use super::{image, template};
use crate::lab::pin::Digest;

/// What a thing in the cache is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A file under its digest.
    File,
    /// An OS image, built or unpacked.
    Image,
    /// A machine that was booted to where it waits for its seed, and saved there.
    Template,
    /// Made here from files under their digests, and made again where it is missed.
    Derived,
    /// The lists and downloads of the host's apt.
    Lists,
    /// In the making: at work, or left by a run that was killed.
    Part,
}

impl Kind {
    /// The word people see.
    pub fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Image => "image",
            Self::Template => "template",
            Self::Derived => "derived",
            Self::Lists => "lists",
            Self::Part => "part",
        }
    }
}

/// One thing in the cache, by its name; not hashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Thing {
    /// What it is.
    pub kind: Kind,
    /// Its path below the cache's folder.
    pub name: String,
    /// Where it lies.
    #[serde(skip)]
    pub path: PathBuf,
    /// Its digest, of a file under its digest.
    pub digest: Option<Digest>,
    /// The bytes it takes on disk.
    pub bytes: u64,
    /// When it was last changed.
    pub changed: jiff::Timestamp,
    /// The lock that guards it.
    #[serde(skip)]
    lock: PathBuf,
}

/// What became of a thing that was to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It is gone.
    Removed,
    /// Another run is at it.
    Held,
}

impl Cache {
    /// Everything in the cache, by kind and name. No cache at all is an empty one.
    pub async fn things(&self) -> Result<Vec<Thing>, FetchError> {
        let failed = failed(&format!("listing {}", self.root().display()), self.root(), 0);
        let entries = self.entries().await?;
        let cache = self.clone();
        let images = image::all_kept(self)?;
        let listed = blocking(move || -> io::Result<Vec<Thing>> {
            let mut all = Vec::new();
            for entry in entries {
                all.extend(cache.thing(Kind::File, entry.path, Some(entry.digest), &entry.digest.hex())?);
            }
            for kept in images {
                let lock = format!("image-{}", kept.name());
                all.extend(cache.thing(Kind::Image, kept.folder, None, &lock)?);
            }
            for path in listing(&cache.root().join(template::FOLDER))? {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let part = name.strip_prefix('.').and_then(|name| name.strip_suffix(".part"));
                let kind = if part.is_some() { Kind::Part } else { Kind::Template };
                let lock = format!("template-{}", part.unwrap_or(&name));
                all.extend(cache.thing(kind, path, None, &lock)?);
            }
            cache.parts(&mut all)?;
            let locks = listing(&cache.root().join("locks"))?;
            let locks =
                locks.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned());
            let locks: Vec<String> = locks.collect();
            for folder in ["payload", "derived", "tars"] {
                for path in listing(&cache.root().join(folder))? {
                    // A lock has the whole of a digest in its name, a derived file its beginning.
                    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                    let stem = locks.iter().find(|name| name.starts_with(&stem)).cloned().unwrap_or(stem);
                    let kind = if is_part(&path) { Kind::Part } else { Kind::Derived };
                    all.extend(cache.thing(kind, path, None, &stem)?);
                }
            }
            for path in listing(&cache.root().join("apt"))? {
                let lock = format!("apt-{}", path.file_name().unwrap_or_default().to_string_lossy());
                all.extend(cache.thing(Kind::Lists, path, None, &lock)?);
            }
            Ok(all)
        });
        let mut all = listed.await.map_err(failed)?;
        all.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        Ok(all)
    }

    /// What is in the making beside files and images.
    fn parts(&self, all: &mut Vec<Thing>) -> io::Result<()> {
        for algorithm in ["sha256", "sha512"] {
            for folder in listing(&self.root().join(algorithm))? {
                for path in listing(&folder)?.into_iter().filter(|path| is_part(path)) {
                    let lock = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                    all.extend(self.thing(Kind::Part, path, None, &lock)?);
                }
            }
        }
        for path in listing(&self.root().join("images"))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(name) = name.strip_prefix('.').and_then(|name| name.strip_suffix(".part")) {
                all.extend(self.thing(Kind::Part, path.clone(), None, &format!("image-{name}"))?);
            }
        }
        for path in listing(&self.root().join("unpinned"))? {
            let lock = format!("unpinned-{}", path.file_stem().unwrap_or_default().to_string_lossy());
            all.extend(self.thing(Kind::Part, path, None, &lock)?);
        }
        Ok(())
    }

    /// One thing; nothing if it is gone already, or a link, which is not ours.
    fn thing(&self, kind: Kind, path: PathBuf, digest: Option<Digest>, lock: &str) -> io::Result<Option<Thing>> {
        let meta = match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            meta => meta?,
        };
        if meta.is_symlink() {
            return Ok(None);
        }
        let name = path.strip_prefix(self.root()).unwrap_or(&path).display().to_string();
        let changed = jiff::Timestamp::new(meta.mtime(), 0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let bytes = taken(&path)?;
        Ok(Some(Thing { kind, name, path, digest, bytes, changed, lock: self.lock_file(lock) }))
    }

    /// Take a thing out of the cache, unless another run holds its lock.
    pub async fn remove(&self, thing: &Thing) -> Result<Gone, FetchError> {
        let failed = failed(&format!("removing {}", thing.path.display()), &thing.path, 0);
        let Some(_lock) = files::try_lock(&thing.lock).map_err(&failed)? else { return Ok(Gone::Held) };
        if thing.path.is_dir() {
            // Out of the way in one moment: nobody shall find half an image.
            let name = thing.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let hidden = name.starts_with('.');
            let aside = if hidden { thing.path.clone() } else { thing.path.with_file_name(format!(".{name}.part")) };
            if !hidden {
                image::clear(&aside).await?;
                std::fs::rename(&thing.path, &aside).map_err(&failed)?;
            }
            image::clear(&aside).await?;
            return Ok(Gone::Removed);
        }
        match std::fs::remove_file(&thing.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(Gone::Removed),
        }
    }
}

fn is_part(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "part")
}

/// The bytes that a file, or everything in a folder, takes on disk.
fn taken(path: &Path) -> io::Result<u64> {
    let meta = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        meta => meta?,
    };
    let mut bytes = meta.blocks() * 512;
    // A folder of other ids, left by a killed build, is not ours to read.
    if meta.is_dir() {
        for inner in listing(path).unwrap_or_default() {
            bytes += taken(&inner)?;
        }
    }
    Ok(bytes)
}

/// What lies in a folder; nothing if there is no folder.
fn listing(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
