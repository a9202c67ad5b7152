//! An OS image: built once on the host out of its own Debian archive, with kernel and initrd beside the disk; or downloaded.

mod any;
mod build;
mod download;
mod follow;
mod initrd;
mod kept;
pub mod needs;
mod recipe;
#[cfg(test)]
mod tests;
mod vagrant;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use any::{Ready, cached, ensure_any, has_one_stage, pin, recipe};
pub(super) use build::clear;
pub use download::Disk;
pub use kept::{FILES, Kept, all_kept, is_whole, kept};
pub use needs::lacks;
pub use recipe::{Recipe, RecipeFile};

use super::FetchError;
use super::apt::Archive;
use super::cache::Cache;
use super::error::CANNOT_SERIALISE;
use super::files::{self, blocking, failed};
use super::store::Reach;
use super::verified::Derived;
use crate::durable;
use crate::event::{Events, Step};
use crate::lab::pin::Digest;

/// The kernel's command line for a machine of this image: the disk is one file system, and what the kernel says is
/// worth its time on the console only when something is wrong.
pub const CMDLINE: &str = "root=/dev/vda rw console=ttyS0 quiet mitigations=off";

/// The whole disk, raw and sparse: one ext4 file system without a partition table.
pub const DISK: &str = "disk.raw";
const KERNEL: &str = "vmlinuz";
const INITRD: &str = "initrd";
const TREE: &str = "tree.tar";
const LIST: &str = "image.json";

/// An image that was built, or was built by an earlier run, and hashed in this one.
#[derive(Clone, Debug)]
pub struct Built {
    /// The disk, raw; its digest is that over its blocks that are not zero.
    pub disk: Derived,
    /// The kernel.
    pub kernel: Derived,
    /// The initrd, which mounts the first virtio disk and hands over.
    pub initrd: Derived,
    tree: (PathBuf, Digest),
}

impl Built {
    /// The root tree as a tar, hashed when asked for: only containers are made from it.
    pub async fn tree(&self) -> Result<Derived, FetchError> {
        let (path, wanted) = self.tree.clone();
        let at = path.clone();
        let (got, bytes) =
            blocking(move || files::sha256(&at)).await.map_err(failed("reading the image's tree", &path, 0))?;
        if got == wanted {
            return Ok(Derived::new(path, (got, bytes), self.disk.recipe()));
        }
        Err(FetchError::mismatch("the image's tree".into(), &path.display().to_string(), wanted, got))
    }
}

/// What lies in an image's folder (`image.json`).
#[derive(Serialize, Deserialize)]
struct List {
    schema: u32,
    recipe: Digest,
    built: jiff::Timestamp,
    files: BTreeMap<String, Digest>,
}

const LIST_SCHEMA: u32 = 1;

/// The image of `recipe`: the one in the cache, if its bytes are still what was built, else built now, by one run
/// while others wait. Takes a minute or two to build.
pub async fn ensure(
    cache: &Cache,
    archive: &Archive,
    recipe: &Recipe,
    reach: Reach,
    events: &Events,
) -> Result<Built, FetchError> {
    let subject = format!("image {}", recipe.name);
    let parsed = recipe.parse()?;
    let digest = recipe.digest();
    let folder = folder(cache, recipe);
    if let Some(built) = look(&folder, digest).await? {
        return Ok(built);
    }
    if reach == Reach::Offline {
        return Err(FetchError::Offline { names: vec![subject] });
    }
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let _lock = files::lock(&cache.lock_file(&format!("image-{name}")), &subject, events).await?;
    if let Some(built) = look(&folder, digest).await? {
        return Ok(built);
    }
    if folder.exists() {
        events.warn(format!("{subject} was damaged in the cache; it is removed and built again"));
        build::clear(&folder).await?;
    }
    needs::room(cache)?;
    let lacks = lacks(cache).await;
    if !lacks.is_empty() {
        return Err(FetchError::Lacking { lacks });
    }
    let part = folder.with_file_name(format!(".{name}.part"));
    let made = build::build(archive, recipe, &parsed, &part, events).await;
    let kept = match made {
        Ok(()) => keep(&part, &folder, digest).await,
        Err(error) => Err(error),
    };
    if let Err(error) = kept {
        // The first failure is the one to tell; what cannot be cleared now is cleared by the next build.
        let _ = build::clear(&part).await;
        return Err(needs::or_full(&part, error));
    }
    events.subject_done(Step::Fetch, &subject, "built");
    match look(&folder, digest).await? {
        Some(built) => Ok(built),
        None => {
            Err(FetchError::Recipe { image: recipe.name.clone(), why: "what was built is not what was kept".into() })
        }
    }
}

/// Where the image of `recipe` lies when it is built.
fn folder(cache: &Cache, recipe: &Recipe) -> PathBuf {
    cache.root().join("images").join(format!("{}-{}", recipe.name, &recipe.digest().hex()[..12]))
}

/// Hash what was built, list it, and give the folder its name.
async fn keep(part: &Path, folder: &Path, recipe: Digest) -> Result<(), FetchError> {
    let (from, to) = (part.to_owned(), folder.to_owned());
    let kept = blocking(move || {
        let mut list = List { schema: LIST_SCHEMA, recipe, built: jiff::Timestamp::now(), files: BTreeMap::new() };
        for name in [DISK, KERNEL, INITRD, TREE] {
            let path = from.join(name);
            std::fs::File::open(&path)?.sync_all()?;
            files::read_only(&path)?;
            list.files.insert(name.into(), sums(&path)?.0);
        }
        durable::write(&from.join(LIST), &serde_json::to_vec_pretty(&list).expect(CANNOT_SERIALISE), 0o644)?;
        std::fs::rename(&from, &to)?;
        std::fs::File::open(to.parent().unwrap_or(&to))?.sync_all()
    });
    kept.await.map_err(failed(&format!("keeping {}", folder.display()), folder, needs::ROOM))
}

fn sums(path: &Path) -> std::io::Result<(Digest, u64)> {
    if path.ends_with(DISK) { files::sparse_sha256(path) } else { files::sha256(path) }
}

/// The image in `folder`, if it is there and whole.
async fn look(folder: &Path, recipe: Digest) -> Result<Option<Built>, FetchError> {
    let at = folder.to_owned();
    let read = blocking(move || read(&at, recipe)).await;
    read.map_err(failed(&format!("reading {}", folder.display()), folder, 0))
}

/// The list in `folder`, if it is of this recipe.
fn listed(folder: &Path, recipe: Digest) -> std::io::Result<Option<List>> {
    let text = match std::fs::read(folder.join(LIST)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let list = serde_json::from_slice::<List>(&text).ok();
    Ok(list.filter(|list| (list.schema, list.recipe) == (LIST_SCHEMA, recipe)))
}

fn read(folder: &Path, recipe: Digest) -> std::io::Result<Option<Built>> {
    let Some(list) = listed(folder, recipe)? else { return Ok(None) };
    let mark = format!("image {recipe}");
    let file = |name: &str| {
        let path = folder.join(name);
        match sums(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(sums) => Ok((list.files.get(name) == Some(&sums.0)).then(|| Derived::new(path, sums, &mark))),
        }
    };
    // The disk's sum takes longest: the others come beside it.
    let (disk, rest) = std::thread::scope(|scope| {
        let rest = scope.spawn(|| Ok::<_, std::io::Error>((file(KERNEL)?, file(INITRD)?)));
        (file(DISK), rest.join().expect("hashing does not panic"))
    });
    let (kernel, initrd) = rest?;
    let tree = list.files.get(TREE).map(|digest| (folder.join(TREE), *digest));
    Ok(match (disk?, kernel, initrd, tree) {
        (Some(disk), Some(kernel), Some(initrd), Some(tree)) => Some(Built { disk, kernel, initrd, tree }),
        _ => None,
    })
}
