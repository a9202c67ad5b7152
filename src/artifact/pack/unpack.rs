//! A verified pack's bytes into the cache: what is there and whole stays, everything else is hashed as it is written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use super::PackError;
use super::coding::Disk;
use super::list::{Coding, Member, Place};
use super::read::Pack;
use crate::artifact::cache::Cache;
use crate::artifact::files::{self, blocking};
use crate::artifact::image;
use crate::durable;
use crate::event::{Events, Step};
use crate::lab::pin::Digest;

/// What became of a pack's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Files that were written.
    pub written: usize,
    /// Files that were in the cache already, whole.
    pub there: usize,
}

impl Pack {
    /// Bring the files of this pack, which was verified, into `cache`. What was written stays where that fails or is
    /// given up, and is whole.
    pub async fn unpack(&self, cache: &Cache, events: &Events) -> Result<Unpacked, PackError> {
        self.room(cache)?;
        let mut unpacked = Unpacked::default();
        let mut images: BTreeMap<String, Vec<(&'static str, Member)>> = BTreeMap::new();
        let (mut done, total) = (0, self.list().members.iter().map(Member::whole_bytes).sum());
        for member in &self.list().members {
            super::told(events, Step::Unpack, "unpacking", member.label(), member.bytes, (done, total));
            done += member.whole_bytes();
            match member.place()? {
                Place::Entry(digest) => {
                    if self.entry(cache, member, digest, events).await? {
                        unpacked.written += 1;
                    } else {
                        unpacked.there += 1;
                    }
                }
                Place::Image { folder, file } => images.entry(folder).or_default().push((file, member.clone())),
                Place::Text(_) => {}
            }
        }
        for (folder, members) in images {
            let number = members.len();
            if self.image(cache, &folder, members, events).await? {
                unpacked.written += number;
            } else {
                unpacked.there += number;
            }
        }
        Ok(unpacked)
    }

    /// Whether the cache's disk has room for what is not there yet.
    fn room(&self, cache: &Cache) -> Result<(), PackError> {
        let mut needed = 0;
        for member in &self.list().members {
            let there = match member.place()? {
                Place::Entry(digest) => cache.file(&digest).exists(),
                Place::Image { folder, .. } => cache.root().join("images").join(folder).exists(),
                Place::Text(_) => true,
            };
            needed += if there { 0 } else { member.whole_bytes() };
        }
        let free = files::free_bytes(cache.root());
        if free < needed { Err(PackError::DiskFull { path: cache.root().into(), needed, free }) } else { Ok(()) }
    }

    /// One file under its digest; whether it was written.
    async fn entry(&self, cache: &Cache, member: &Member, digest: Digest, events: &Events) -> Result<bool, PackError> {
        let of_cache = |source| PackError::Cache { source };
        let lock = cache.lock_file(&digest.hex());
        let _lock = files::lock(&lock, member.label(), events).await.map_err(of_cache)?;
        let (pack, member, path) = (self.clone(), member.clone(), cache.file(&digest));
        blocking(move || {
            if files::hash(&path, &digest).is_ok_and(|(got, _)| got == digest) {
                return Ok(false);
            }
            let failed = PackError::io(format!("writing {}", path.display()), folder_of(&path), member.whole_bytes());
            std::fs::create_dir_all(folder_of(&path)).map_err(&failed)?;
            let part = path.with_extension("part");
            pack.file(&member, &part)?;
            durable::settle(&part, &path).map_err(&failed)?;
            Ok(true)
        })
        .await
    }

    /// Write what `member` stands for to `part`, read-only. Nothing stays of what failed.
    fn file(&self, member: &Member, part: &Path) -> Result<(), PackError> {
        let failed = PackError::io(format!("writing {}", part.display()), folder_of(part), member.whole_bytes());
        match std::fs::remove_file(part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let written = (|| {
            let mut file = File::options().create_new(true).read(true).write(true).open(part).map_err(&failed)?;
            if member.holds.as_ref().is_some_and(|holds| holds.coding == Coding::ZstdBlocks) {
                let mut disk = Disk::new(&file);
                self.pour(member, &mut disk)?;
                disk.end().map_err(&failed)?;
            } else {
                self.pour(member, &mut file)?;
            }
            file.sync_all().and_then(|()| files::read_only(part)).map_err(&failed)
        })();
        if written.is_err() {
            // The first failure is the one to tell.
            let _ = std::fs::remove_file(part);
        }
        written.map_err(|error| match error {
            // Said of the pack's own folder; it is the cache's disk that is full.
            PackError::DiskFull { .. } => failed(io::ErrorKind::StorageFull.into()),
            other => other,
        })
    }

    /// A built image's folder, unless there is one that is whole; whether it was written.
    async fn image(
        &self,
        cache: &Cache,
        name: &str,
        members: Vec<(&'static str, Member)>,
        events: &Events,
    ) -> Result<bool, PackError> {
        let of_cache = |source| PackError::Cache { source };
        let lock = cache.lock_file(&format!("image-{name}"));
        let _lock = files::lock(&lock, name, events).await.map_err(of_cache)?;
        let folder = cache.root().join("images").join(name);
        if image::is_whole(&folder).await.map_err(of_cache)? {
            return Ok(false);
        }
        if folder.exists() {
            events.warn(format!("image {name} was damaged in the cache; it is replaced"));
            image::clear(&folder).await.map_err(of_cache)?;
        }
        let part = folder.with_file_name(format!(".{name}.part"));
        image::clear(&part).await.map_err(of_cache)?;
        let (pack, to) = (self.clone(), part.clone());
        let written = blocking(move || {
            let failed = PackError::io(format!("making {}", to.display()), &to, 0);
            std::fs::create_dir_all(&to).map_err(failed)?;
            members.iter().try_for_each(|(file, member)| pack.file(member, &to.join(file)))
        })
        .await;
        let settled = match written {
            Ok(()) if image::is_whole(&part).await.map_err(of_cache)? => {
                let failed = PackError::io(format!("keeping {}", folder.display()), &folder, 0);
                std::fs::rename(&part, &folder).and_then(|()| durable::sync_folder(&folder)).map_err(failed)
            }
            Ok(()) => {
                let why = "its files are not those of its image.json".into();
                Err(PackError::Lies { member: format!("cache/images/{name}"), why })
            }
            Err(error) => Err(error),
        };
        if settled.is_err() {
            // The first failure is the one to tell; what cannot be cleared now is cleared by the next run.
            let _ = image::clear(&part).await;
        }
        settled.map(|()| true)
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}
