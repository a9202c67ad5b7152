//! Templates: machines saved while they waited for their seed, one for each kind; whole or not at all, hashed before use.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::FetchError;
use super::cache::Cache;
use super::error::CANNOT_SERIALISE;
use super::files::{self, EntryLock, blocking, failed};
use crate::durable;
use crate::event::Events;
use crate::lab::pin::Digest;

/// The folder of all templates, below the cache's.
pub(super) const FOLDER: &str = "templates";

/// What lies in a template's folder beside its files, and says what they are.
const LIST: &str = "template.json";

/// Raised when machines are made of other devices, or what waits in them is another thing.
const SCHEMA: u32 = 1;

/// What a template is of. Whatever is different in it makes another template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The folder of its image in the cache, which begins with the image's name.
    pub image: String,
    /// The files of its image.
    pub files: BTreeMap<String, Digest>,
    /// Processors.
    pub cpus: u16,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Disk in MiB, as the guest sees it.
    pub disk_mib: u64,
    /// The length of the disk on which its seed is to be.
    pub seed_bytes: u64,
    /// The tar of what nodes get, by its name in the cache: it is a disk of the machine.
    pub payload: Option<String>,
    /// What a machine that was saved can be brought back by (`QEMU` → `7.2.22`).
    pub fit: BTreeMap<String, String>,
}

impl Key {
    /// The name of its folder.
    pub fn name(&self) -> String {
        let text = serde_json::to_vec(&(SCHEMA, self)).expect(CANNOT_SERIALISE);
        let image = self.image.rsplit_once('-').map_or(self.image.as_str(), |(image, _)| image);
        format!("{image}-{}", &files::sha256_of(&text).hex()[..12])
    }
}

/// What lies in [`LIST`].
#[derive(Clone, Debug, Serialize, Deserialize)]
struct List {
    schema: u32,
    key: Key,
    made: Timestamp,
    files: BTreeMap<String, Digest>,
}

/// A template whose files were hashed in this run.
#[derive(Clone, Debug)]
pub struct Template {
    /// Where its files lie.
    pub folder: PathBuf,
    /// When it was made.
    pub made: Timestamp,
    /// The length of its files.
    pub bytes: u64,
}

/// How the template of a key stands.
#[derive(Debug)]
pub enum Stand {
    /// It is there, and whole.
    There(Template),
    /// It is not there; nobody else can make it meanwhile.
    ToMake(Making),
}

/// A template in the making. Dropped, it leaves nothing.
#[derive(Debug)]
pub struct Making {
    key: Key,
    part: PathBuf,
    to: PathBuf,
    _lock: EntryLock,
}

impl Cache {
    /// The template of this key. One that is damaged is named in a warning and removed.
    pub async fn template(&self, key: &Key, events: &Events) -> Result<Stand, FetchError> {
        let name = key.name();
        let to = self.root().join(FOLDER).join(&name);
        if let Look::Whole(template) = look(&to, Some(key)).await? {
            return Ok(Stand::There(template));
        }
        let subject = format!("template {name}");
        let lock = files::lock(&self.lock_file(&format!("template-{name}")), &subject, events).await?;
        let failed = failed(&format!("making {}", to.display()), self.root(), 0);
        match look(&to, Some(key)).await? {
            Look::Whole(template) => return Ok(Stand::There(template)),
            Look::Absent => {}
            Look::Damaged => {
                events.warn(format!("{subject} was damaged in the cache; it is removed and made again"));
                std::fs::remove_dir_all(&to).map_err(&failed)?;
            }
        }
        let part = to.with_file_name(format!(".{name}.part"));
        clear(&part).and_then(|()| durable::private_folder(&part)).map_err(&failed)?;
        Ok(Stand::ToMake(Making { key: key.clone(), part, to, _lock: lock }))
    }
}

impl Making {
    /// The folder for its files, for this user alone.
    pub fn folder(&self) -> &Path {
        &self.part
    }

    /// Keep the files that lie in the folder by now, which is all that the template is.
    pub async fn keep(self) -> Result<Template, FetchError> {
        let failed = failed(&format!("keeping {}", self.to.display()), &self.part, 0);
        let kept = blocking(move || -> io::Result<(PathBuf, Self)> {
            let mut list =
                List { schema: SCHEMA, key: self.key.clone(), made: Timestamp::now(), files: BTreeMap::new() };
            for entry in std::fs::read_dir(&self.part)? {
                let entry = entry?;
                std::fs::File::open(entry.path())?.sync_all()?;
                let name = entry.file_name().to_string_lossy().into_owned();
                list.files.insert(name, files::sha256(&entry.path())?.0);
            }
            let text = serde_json::to_vec_pretty(&list).expect(CANNOT_SERIALISE);
            durable::write(&self.part.join(LIST), &text, 0o600)?;
            std::fs::rename(&self.part, &self.to)?;
            durable::sync_folder(&self.to)?;
            Ok((self.to.clone(), self))
        });
        let (folder, making) = kept.await.map_err(&failed)?;
        match look(&folder, Some(&making.key)).await? {
            Look::Whole(template) => Ok(template),
            _ => Err(failed(io::Error::other("what was written is not what was kept"))),
        }
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        // What cannot be cleared now is cleared by the next that makes it.
        let _ = clear(&self.part);
    }
}

/// Whether the template in `folder` has all its files and each is what its list says.
pub async fn is_whole(folder: &Path) -> Result<bool, FetchError> {
    Ok(matches!(look(folder, None).await?, Look::Whole(_)))
}

/// The folder of the image, below `images` of the cache, that the template in `folder` was made from.
pub fn image_of(folder: &Path) -> Option<String> {
    Some(listed(folder).ok()??.key.image)
}

/// How a folder of a template was found.
enum Look {
    Absent,
    Damaged,
    Whole(Template),
}

async fn look(folder: &Path, key: Option<&Key>) -> Result<Look, FetchError> {
    let (at, key) = (folder.to_owned(), key.cloned());
    let looked = blocking(move || {
        if !at.exists() {
            return Ok(Look::Absent);
        }
        let Some(list) = listed(&at)? else { return Ok(Look::Damaged) };
        if key.is_some_and(|key| key != list.key) {
            return Ok(Look::Damaged);
        }
        let mut all = 0;
        for (name, wanted) in &list.files {
            match files::sha256(&at.join(name)) {
                Ok((got, bytes)) if got == *wanted => all += bytes,
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => return Ok(Look::Damaged),
            }
        }
        Ok(Look::Whole(Template { folder: at, made: list.made, bytes: all }))
    });
    looked.await.map_err(failed(&format!("reading {}", folder.display()), folder, 0))
}

/// The list in `folder`, if it is one of ours.
fn listed(folder: &Path) -> io::Result<Option<List>> {
    let text = match std::fs::read(folder.join(LIST)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    // A list may be of anybody's making: it names files of its own folder.
    let own = |name: &String| Path::new(name).file_name().is_some_and(|word| word == name.as_str());
    let list = serde_json::from_slice::<List>(&text).ok();
    Ok(list.filter(|list| list.schema == SCHEMA && list.files.keys().all(own)))
}

fn clear(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key {
            image: "debian-12-0123456789ab".into(),
            files: [("disk.raw".to_owned(), files::sha256_of(b"disk"))].into(),
            cpus: 1,
            memory_mib: 512,
            disk_mib: 4096,
            seed_bytes: 2 << 20,
            payload: Some("payload.tar".into()),
            fit: [("QEMU".to_owned(), "7.2.22".to_owned())].into(),
        }
    }

    async fn made(cache: &Cache, events: &Events) -> Template {
        let Stand::ToMake(making) = cache.template(&key(), events).await.expect("looked") else { panic!("is there") };
        std::fs::write(making.folder().join("memory"), b"memory").expect("written");
        making.keep().await.expect("kept")
    }

    #[tokio::test]
    async fn a_template_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let (cache, events) = (Cache::at(folder.path()), Events::channel().0);
        let Stand::ToMake(broken_off) = cache.template(&key(), &events).await.expect("looked") else { panic!("there") };
        let part = broken_off.folder().to_owned();
        std::fs::write(part.join("memory"), b"mem").expect("written");
        drop(broken_off);
        assert!(!part.exists());

        let template = made(&cache, &events).await;
        assert_eq!((template.bytes, part.exists()), (6, false));
        assert!(is_whole(&template.folder).await.expect("read"));
        assert_eq!(image_of(&template.folder), Some(key().image));
        assert!(matches!(cache.template(&key(), &events).await.expect("looked"), Stand::There(_)));
        let other = Key { fit: [("QEMU".to_owned(), "8.0.0".to_owned())].into(), ..key() };
        assert!(matches!(cache.template(&other, &events).await.expect("looked"), Stand::ToMake(_)));
    }

    #[tokio::test]
    async fn a_damaged_one_is_named_and_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let (events, mut told) = Events::channel();
        let cache = Cache::at(folder.path());
        let template = made(&cache, &events).await;
        std::fs::write(template.folder.join("memory"), b"mEmory").expect("written");
        assert!(!is_whole(&template.folder).await.expect("read"));
        assert!(matches!(cache.template(&key(), &events).await.expect("looked"), Stand::ToMake(_)));
        assert!(!template.folder.exists());
        let told = told.recv().await.expect("told").event;
        assert!(format!("{told:?}").contains(&key().name()), "{told:?}");
    }

    #[tokio::test]
    async fn two_at_once_make_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let (cache, events) = (Cache::at(folder.path()), Events::channel().0);
        let Stand::ToMake(first) = cache.template(&key(), &events).await.expect("looked") else { panic!("is there") };
        let wanted = key();
        let second = cache.template(&wanted, &events);
        let first = async {
            std::fs::write(first.folder().join("memory"), b"memory").expect("written");
            first.keep().await.expect("kept")
        };
        let (second, first) = tokio::join!(second, first);
        let Stand::There(second) = second.expect("looked") else { panic!("made twice") };
        assert_eq!(second.made, first.made);
    }

    #[test]
    fn every_part_of_a_key_makes_another_name() {
        let changes: [fn(&mut Key); 7] = [
            |key| key.image = "debian-12-ba9876543210".into(),
            |key| key.cpus += 1,
            |key| key.memory_mib += 1,
            |key| key.disk_mib += 1,
            |key| key.seed_bytes += 1,
            |key| key.payload = None,
            |key| drop(key.fit.insert("processor".into(), "another".into())),
        ];
        for change in changes {
            let mut other = key();
            change(&mut other);
            assert_ne!(other.name(), key().name());
        }
    }
}
