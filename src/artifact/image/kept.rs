//! The images that lie in the cache: listed by what their `image.json` says, hashed when asked for.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{DISK, INITRD, KERNEL, LIST, LIST_SCHEMA, List, Recipe, TREE, sums};
use crate::artifact::FetchError;
use crate::artifact::cache::Cache;
use crate::artifact::files::{self, blocking, failed, in_parallel};
use crate::lab::pin::Digest;

/// Every file of a built image's folder, in the order of their names.
pub const FILES: [&str; 5] = [DISK, LIST, INITRD, TREE, KERNEL];

/// A folder of the cache for an image, built or unpacked; not hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Where it lies: `images/IMAGE-DIGEST`, with the beginning of the digest of its recipe or of what was downloaded.
    pub folder: PathBuf,
    /// The digest of the recipe it was made by; none where no list says.
    pub recipe: Option<Digest>,
    /// When it was built; of a folder without a list, when it was changed.
    pub built: jiff::Timestamp,
    /// The bytes it takes on disk.
    pub bytes: u64,
    /// Its files with their digests; of a raw disk the sum over its blocks that are not zero.
    pub files: BTreeMap<String, Digest>,
    /// Whether all files that its list names are there.
    pub complete: bool,
}

impl Kept {
    /// The folder's name.
    pub fn name(&self) -> String {
        self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The image's name in `images.yaml`: the folder's without the digest's beginning.
    pub fn image(&self) -> String {
        let name = self.name();
        name.rsplit_once('-').map_or(name.clone(), |(image, _)| image.to_owned())
    }
}

/// The image of `recipe`, if all its files are there; not hashed.
pub fn kept(cache: &Cache, recipe: &Recipe) -> Option<Kept> {
    let kept = read(super::folder(cache, recipe)).ok()?;
    (kept.complete && kept.recipe == Some(recipe.digest())).then_some(kept)
}

/// All images of the cache, those too that are not whole.
pub fn all_kept(cache: &Cache) -> Result<Vec<Kept>, FetchError> {
    let root = cache.root().join("images");
    let failed = failed(&format!("listing {}", root.display()), &root, 0);
    let entries = match std::fs::read_dir(&root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(&failed)?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry.map_err(&failed)?.path();
        // What begins with a dot is in the making.
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !hidden {
            all.push(read(path).map_err(&failed)?);
        }
    }
    all.sort_by(|a, b| a.folder.cmp(&b.folder));
    Ok(all)
}

/// Hash the image in `folder`; whether it has all its files and each is what its list says.
pub async fn is_whole(folder: &Path) -> Result<bool, FetchError> {
    let failed = failed(&format!("reading {}", folder.display()), folder, 0);
    let at = folder.to_owned();
    let kept = match blocking(move || read(at)).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        kept => kept.map_err(&failed)?,
    };
    if !kept.complete {
        return Ok(false);
    }
    let wanted = kept.files.iter().filter(|(name, _)| *name != LIST);
    let wanted = wanted.map(|(name, digest)| (kept.folder.join(name), *digest)).collect();
    let hashed = in_parallel(wanted, |(path, digest): (PathBuf, _)| sums(&path).map(|got| got.0 == digest), |_| ());
    hashed.await.into_iter().try_fold(true, |whole, right| Ok(whole && right?)).map_err(failed)
}

fn read(folder: PathBuf) -> io::Result<Kept> {
    let meta = std::fs::metadata(&folder)?;
    let text = match std::fs::read(folder.join(LIST)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        text => text?,
    };
    let list = serde_json::from_slice::<List>(&text).ok().filter(|list| list.schema == LIST_SCHEMA);
    let mut files = BTreeMap::new();
    if let Some(list) = &list {
        files.extend(list.files.iter().map(|(name, digest)| (name.clone(), *digest)));
        files.insert(LIST.into(), files::sha256_of(&text));
    }
    // A list may be of anybody's making: it names files of its own folder.
    let own = |name: &String| Path::new(name).file_name().is_some_and(|word| word == name.as_str());
    let complete = !files.is_empty() && files.keys().all(|name| own(name) && folder.join(name).is_file());
    let mut bytes = 0;
    for entry in std::fs::read_dir(&folder)? {
        bytes += entry?.metadata()?.blocks() * 512;
    }
    let changed = jiff::Timestamp::new(meta.mtime(), 0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let built = list.as_ref().map_or(changed, |list| list.built);
    Ok(Kept { folder, recipe: list.map(|list| list.recipe), built, bytes, files, complete })
}
