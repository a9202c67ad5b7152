//! What an image is made of: a folder of files, parsed before anything is built.

use crate::artifact::FetchError;
use crate::artifact::files::sha256_of;
use crate::lab::pin::Digest;

/// Raised when the same files shall give another image.
const VERSION: u32 = 1;

/// Size of the file system; a machine's overlay may be larger, what is not used takes no room.
const DISK_MIB: u64 = 4096;

/// An image's name and the files of its recipe folder:
///
/// * `packages.txt`: Debian packages, one a line; `#` begins a comment;
/// * `dpkg.cfg`: options of dpkg while it installs, likewise;
/// * `rootfs/…`: files laid over the tree, owned by root;
/// * `customize.sh`: run by `sh` as root of a user namespace, with the tree's path as `$1`;
/// * `initrd/init`, `initrd/modules.txt`: the initrd's init, and its kernel modules in the order they are loaded.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Its key in `images.yaml`.
    pub name: String,
    /// The Debian suite.
    pub suite: String,
    /// Size of the disk as a machine sees it, in MiB; what is not used takes no room.
    pub disk_mib: u64,
    /// The recipe folder's files.
    pub files: Vec<RecipeFile>,
}

/// One file of a recipe.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecipeFile {
    /// Path within the recipe folder.
    pub path: String,
    /// What it holds.
    pub content: Vec<u8>,
    /// Whether it may be run.
    pub executable: bool,
}

/// What a recipe says of the initrd.
pub(super) struct Initrd {
    /// The init, a script.
    pub init: Vec<u8>,
    /// Names of modules, without path and `.ko`, in the order they are loaded.
    pub modules: Vec<String>,
}

/// A recipe that is whole.
pub(super) struct Parsed {
    pub packages: Vec<String>,
    pub dpkg_options: Vec<String>,
    pub customize: Vec<u8>,
    pub overlay: Vec<RecipeFile>,
    pub initrd: Initrd,
}

impl Recipe {
    /// The recipe of image `name` from the files of its folder.
    pub fn new(name: &str, suite: &str, files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let files = files.into_iter().map(|(path, content)| RecipeFile { path, content, executable: false });
        Self { name: name.into(), suite: suite.into(), disk_mib: DISK_MIB, files: files.collect() }
    }

    /// Over everything the image depends on but the archive's state.
    pub fn digest(&self) -> Digest {
        let mut files: Vec<&RecipeFile> = self.files.iter().collect();
        files.sort();
        let head = format!("{VERSION} {} {} {}", self.name, self.suite, self.disk_mib);
        let lines =
            files.iter().map(|file| format!("{:?} {} {}", file.path, file.executable, sha256_of(&file.content)));
        sha256_of(std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n").as_bytes())
    }

    pub(super) fn parse(&self) -> Result<Parsed, FetchError> {
        let overlay = self
            .files
            .iter()
            .filter_map(|file| Some(RecipeFile { path: file.path.strip_prefix("rootfs/")?.into(), ..file.clone() }));
        Ok(Parsed {
            packages: self.lines("packages.txt")?,
            dpkg_options: self.lines("dpkg.cfg")?,
            customize: self.file("customize.sh")?.to_vec(),
            overlay: overlay.collect(),
            initrd: Initrd { init: self.file("initrd/init")?.to_vec(), modules: self.lines("initrd/modules.txt")? },
        })
    }

    fn file(&self, path: &str) -> Result<&[u8], FetchError> {
        let found = self.files.iter().find(|file| file.path == path);
        found.map(|file| file.content.as_slice()).ok_or_else(|| self.wrong(format!("there is no {path}")))
    }

    /// The lines of a list, without comments and empty ones.
    fn lines(&self, path: &str) -> Result<Vec<String>, FetchError> {
        let text = std::str::from_utf8(self.file(path)?).map_err(|_| self.wrong(format!("{path} is not UTF-8")))?;
        let words = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        Ok(words.filter(|word| !word.is_empty()).map(str::to_owned).collect())
    }

    pub(super) fn wrong(&self, why: String) -> FetchError {
        FetchError::Recipe { image: self.name.clone(), why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        let file =
            |path: &str, content: &str| RecipeFile { path: path.into(), content: content.into(), executable: false };
        let files = vec![
            file("packages.txt", "# kernel\nlinux # why\n\n"),
            file("dpkg.cfg", ""),
            file("customize.sh", ":"),
            file("rootfs/etc/a", "a"),
            file("initrd/init", "#!/bin/sh"),
            file("initrd/modules.txt", "virtio"),
        ];
        Recipe { name: "test".into(), suite: "bookworm".into(), disk_mib: 64, files }
    }

    #[test]
    fn a_recipe_says_which_file_it_lacks() {
        let parsed = recipe().parse().expect("whole");
        assert_eq!((parsed.packages, parsed.overlay[0].path.as_str()), (vec!["linux".to_owned()], "etc/a"));
        for at in [0, 1, 2, 4, 5] {
            let mut lacking = recipe();
            let path = lacking.files.remove(at).path;
            let error = lacking.parse().err().expect("not whole").to_string();
            assert!(error.contains(&path), "{error}");
        }
    }

    #[test]
    fn the_digest_knows_every_part_and_not_their_order() {
        let first = recipe().digest();
        let mut turned = recipe();
        turned.files.reverse();
        assert_eq!(first, turned.digest());
        let changes: [fn(&mut Recipe); 4] = [
            |recipe| recipe.suite = "trixie".into(),
            |recipe| recipe.disk_mib += 1,
            |recipe| recipe.files[3].content.push(b'x'),
            |recipe| recipe.files[3].executable = true,
        ];
        for change in changes {
            let mut other = recipe();
            change(&mut other);
            assert_ne!(first, other.digest());
        }
    }
}
