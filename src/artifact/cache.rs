//! The cache: a folder of files under their digests; what it holds, and whether that still is what it is named after.

use std::path::{Path, PathBuf};

use super::FetchError;
use super::files::{self, blocking, failed, in_parallel};
use crate::durable;
use crate::event::{Event, Events, Step};
use crate::lab::pin::Digest;

/// The folder shared by all runs of a user: `$XDG_CACHE_HOME/calicolab`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The user's own: `$XDG_CACHE_HOME/calicolab`, else `$HOME/.cache/calicolab`.
    pub fn from_env() -> Result<Self, FetchError> {
        let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
        base.map(|base| Self { root: base.join("calicolab") }).ok_or(FetchError::NoCache)
    }

    /// A folder of the caller's choice.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the file of this digest lies, if it is there: `sha256/aa/<hex>`.
    pub fn file(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.root.join(digest.algorithm()).join(&hex[..2]).join(hex)
    }

    /// Take in a file of the user's own, which may change where it lies; its digest and length.
    pub fn adopt(&self, own: &Path) -> std::io::Result<(Digest, u64)> {
        let (digest, bytes) = files::sha256(own)?;
        let path = self.file(&digest);
        if path.is_file() {
            return Ok((digest, bytes));
        }
        let part = path.with_extension(format!("own-{}", std::process::id()));
        std::fs::create_dir_all(path.parent().unwrap_or(&self.root))?;
        std::fs::copy(own, &part)?;
        if files::sha256(&part)?.0 != digest {
            std::fs::remove_file(&part)?;
            return Err(std::io::Error::other("it changed while it was read"));
        }
        files::read_only(&part)?;
        durable::settle(&part, &path)?;
        Ok((digest, bytes))
    }

    /// The file whose lock guards the entry `name`.
    pub(super) fn lock_file(&self, name: &str) -> PathBuf {
        self.root.join("locks").join(name)
    }
}

/// One file of the cache, by its name; not hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The digest it is named after.
    pub digest: Digest,
    /// Where it lies.
    pub path: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
}

/// A file of the cache after hashing.
#[derive(Debug)]
pub struct Checked {
    /// The file.
    pub entry: Entry,
    /// What was found.
    pub state: EntryState,
}

/// How a file of the cache was found.
#[derive(Debug)]
pub enum EntryState {
    /// Its bytes are those it is named after.
    Right,
    /// They are others.
    Damaged {
        /// The digest they have.
        got: Digest,
    },
    /// They cannot be read.
    Unreadable {
        /// The system's reason.
        why: std::io::Error,
    },
}

impl Cache {
    /// All files below `sha256/` and `sha512/`, the largest first. What has no digest for a name (a file in the
    /// making) is left out; no cache at all is an empty one.
    pub async fn entries(&self) -> Result<Vec<Entry>, FetchError> {
        let root = self.root().to_owned();
        let failed = failed(&format!("listing {}", root.display()), &root, 0);
        let listed = blocking(move || -> std::io::Result<Vec<Entry>> {
            let mut all = list(&root, "sha256")?;
            all.extend(list(&root, "sha512")?);
            Ok(all)
        });
        let mut all = listed.await.map_err(failed)?;
        all.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.path.cmp(&b.path)));
        Ok(all)
    }

    /// Hash every file of the cache, the largest first, on all processors. Changes nothing.
    pub async fn verify(&self, events: &Events) -> Result<Vec<Checked>, FetchError> {
        let entries = self.entries().await?;
        let total: u64 = entries.iter().map(|entry| entry.bytes).sum();
        let mut have = 0;
        let checked = in_parallel(entries, check, |one: &Checked| {
            have += one.entry.bytes;
            let (subject, doing) = ("the cache".to_owned(), "hashing".to_owned());
            events.tell(Event::Progress { step: Step::Check, subject, doing, done: Some((have, total)) });
        });
        Ok(checked.await)
    }
}

fn check(entry: Entry) -> Checked {
    let state = match files::hash(&entry.path, &entry.digest) {
        Ok((got, _)) if got == entry.digest => EntryState::Right,
        Ok((got, _)) => EntryState::Damaged { got },
        Err(why) => EntryState::Unreadable { why },
    };
    Checked { entry, state }
}

fn list(root: &Path, algorithm: &str) -> std::io::Result<Vec<Entry>> {
    let mut all = Vec::new();
    for folder in listing(&root.join(algorithm))? {
        if !folder.file_type()?.is_dir() {
            continue;
        }
        for file in listing(&folder.path())? {
            let name = file.file_name();
            let digest = name.to_str().and_then(|hex| format!("{algorithm}:{hex}").parse().ok());
            let Some(digest) = digest else { continue };
            match file.metadata() {
                Ok(meta) if meta.is_file() => all.push(Entry { digest, path: file.path(), bytes: meta.len() }),
                // A link is not ours; what is gone was removed by another run.
                _ => {}
            }
        }
    }
    Ok(all)
}

fn listing(folder: &Path) -> std::io::Result<Vec<std::fs::DirEntry>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::files::sha256_of;

    #[tokio::test]
    async fn every_file_is_hashed_and_told_of_the_largest_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::at(folder.path());
        let (events, _told) = Events::channel();
        assert!(cache.verify(&events).await.expect("an empty cache").is_empty());
        for (text, holds) in [("right", "right"), ("damaged by hand", "damaged by hanD"), ("other", "other")] {
            let path = cache.file(&sha256_of(text.as_bytes()));
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path.with_extension("part"), "in the making").expect("written");
            std::fs::write(path, holds).expect("written");
        }
        let checked = cache.verify(&events).await.expect("listed");
        assert_eq!(checked.iter().map(|one| one.entry.bytes).collect::<Vec<_>>(), [15, 5, 5]);
        assert!(matches!(&checked[0].state, EntryState::Damaged { got } if *got == sha256_of(b"damaged by hanD")));
        assert!(checked[1..].iter().all(|one| matches!(one.state, EntryState::Right)));
    }
}
