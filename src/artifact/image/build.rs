//! The building itself: mmdebstrap, the recipe's overlay and script, a file system, kernel and initrd.

use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::follow::follow;
use super::initrd::FromTree;
use super::needs::{ROOM, as_root, is_root};
use super::recipe::{Parsed, Recipe, RecipeFile};
use super::{DISK, INITRD, KERNEL, TREE};
use crate::artifact::FetchError;
use crate::artifact::apt::{self, Archive};
use crate::artifact::files::{blocking, failed, sha256_of};
use crate::command::{Argv, run};
use crate::event::{Events, Step};

const LIMIT: Duration = Duration::from_secs(3600);

/// Tree, overlay, script, file system, and the finished tree as a tar. It runs as root of a user namespace, so that
/// owners, setuid bits and capabilities are the image's. No device nodes: they cannot be made there, and the kernel
/// brings its own. What mmdebstrap was told about this host's proxies does not stay in the image.
///
/// The file system has no journal: a disk is never used again after a crash. Its tables are written now, since the
/// guest would write them at its first boot.
const FINISH: &str = r#"set -eu
tree=$1 base=$2 overlay=$3 customize=$4 disk=$5 size=$6 out=$7
mkdir "$tree"
tar -C "$tree" --numeric-owner --xattrs --xattrs-include='*' --exclude='./dev/*' -xpf "$base"
rm "$base"
rm -f "$tree/etc/apt/apt.conf.d/99mmdebstrap"
tar -C "$tree" --numeric-owner --keep-directory-symlink --no-overwrite-dir -xpf "$overlay"
echo "customizing" >&2
sh "$customize" "$tree"
echo "writing the disk" >&2
PATH=$PATH:/usr/sbin:/sbin
mke2fs -q -t ext4 -F -L root -m 0 -O ^has_journal,^metadata_csum \
  -E lazy_itable_init=0,root_owner=0:0 -d "$tree" "$disk" "${size}M"
echo "packing the tree" >&2
tar -C "$tree" --numeric-owner --xattrs --xattrs-include='*' --sort=name -cf "$out" .
rm -rf "$tree"
"#;

/// Build into `part`, which is cleared before; on success it holds the image's files and nothing else.
pub(super) async fn build(
    archive: &Archive,
    recipe: &Recipe,
    parsed: &Parsed,
    part: &Path,
    events: &Events,
) -> Result<(), FetchError> {
    clear(part).await?;
    let making = failed(&format!("making {}", part.display()), part, ROOM);
    std::fs::create_dir_all(part).map_err(&making)?;
    let tell = |doing: &str| events.progress(Step::Fetch, format!("image {}", recipe.name), doing);
    let base = part.join("base.tar");
    let scratch = Scratch::beside(part).await?;
    let ended = bootstrap(archive, recipe, parsed, &scratch.0, &base, &tell).await;
    scratch.clear().await?;
    ended?;
    let overlay = part.join("overlay.tar");
    write_overlay(&overlay, &parsed.overlay).map_err(&making)?;
    let customize = part.join("customize.sh");
    std::fs::write(&customize, &parsed.customize).map_err(&making)?;
    let size = recipe.disk_mib.to_string();
    let tree = part.join(TREE);
    let paths = [&part.join("tree"), &base, &overlay, &customize, &part.join(DISK)];
    let mut words: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    words.extend([size, tree.display().to_string()]);
    let argv = as_root(Argv::script(FINISH, words));
    let finishing = |source| FetchError::Command { doing: "making the image's disk".into(), source };
    follow(&argv, b"", Stdio::null(), LIMIT, |line| tell(line)).await.map_err(finishing)?;
    tell("taking kernel and initrd");
    direct_boot(recipe, parsed, part, tree).await?;
    std::fs::remove_file(&overlay).and_then(|()| std::fs::remove_file(&customize)).map_err(making)
}

/// Packages to a tar of a root tree.
async fn bootstrap(
    archive: &Archive,
    recipe: &Recipe,
    parsed: &Parsed,
    scratch: &Path,
    base: &Path,
    tell: &impl Fn(&str),
) -> Result<(), FetchError> {
    let sources = apt::sources_file(&recipe.suite, archive.places().await?);
    let output = File::create(base).map_err(failed(&format!("making {}", base.display()), base, ROOM))?;
    let mode = if is_root() { "root" } else { "unshare" };
    let argv = Argv::new("env")
        .arg(format!("TMPDIR={}", scratch.display()))
        .args(["mmdebstrap", "--variant=minbase", "--format=tar", "--skip=check/signed-by"])
        .args([format!("--mode={mode}"), format!("--architectures={}", apt::ARCH)])
        .args(["--aptopt=Apt::Install-Recommends \"false\"", "--aptopt=Acquire::Languages \"none\""])
        // The tree is thrown away after a crash, so dpkg need not wait for the disk.
        .arg("--dpkgopt=force-unsafe-io")
        .args(apt::transport().await?.into_iter().map(|line| format!("--aptopt={line}")))
        .args(parsed.dpkg_options.iter().map(|option| format!("--dpkgopt={option}")))
        .arg(format!("--include={}", parsed.packages.join(",")))
        .args([&recipe.suite, "-", "-"]);
    let heard = |line: &str| {
        if let Some(stage) = stage(line) {
            tell(stage);
        }
    };
    let failed = |source| FetchError::Command { doing: format!("building image {}", recipe.name), source };
    follow(&argv, sources.as_bytes(), output.into(), LIMIT, heard).await.map_err(failed)
}

/// What mmdebstrap is at, by the lines it prints; for people only.
fn stage(line: &str) -> Option<&'static str> {
    let stages = [
        ("I: running apt-get update", "reading the list of packages"),
        ("I: downloading packages", "downloading packages"),
        ("I: extracting archives", "unpacking"),
        ("I: installing essential", "installing the base"),
        ("I: installing remaining", "downloading and installing"),
        ("I: creating tarball", "packing the tree"),
    ];
    stages.iter().find(|(begin, _)| line.starts_with(begin)).map(|(_, stage)| *stage)
}

/// The recipe's files as a tar whose owner is root whatever this user is.
fn write_overlay(path: &Path, files: &[RecipeFile]) -> std::io::Result<()> {
    let mut tar = tar::Builder::new(File::create(path)?);
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(file.content.len() as u64);
        header.set_mode(if file.executable { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        tar.append_data(&mut header, &file.path, file.content.as_slice())?;
    }
    tar.into_inner().map(drop)
}

/// Kernel and initrd beside the disk.
async fn direct_boot(recipe: &Recipe, parsed: &Parsed, part: &Path, tree: PathBuf) -> Result<(), FetchError> {
    let reading = failed(&format!("reading {}", tree.display()), &tree, 0);
    let file = File::open(&tree).map_err(reading)?;
    let from = FromTree::read(recipe, &parsed.initrd, BufReader::with_capacity(1 << 20, file))?;
    let initrd = from.initrd(&parsed.initrd);
    let (kernel_at, initrd_at) = (part.join(KERNEL), part.join(INITRD));
    let written = blocking(move || {
        std::fs::write(kernel_at, from.kernel)?;
        std::fs::write(initrd_at, initrd)
    });
    written.await.map_err(failed("writing kernel and initrd", part, ROOM))
}

/// Remove a folder of a build, whoever owns what is in it; nothing there is fine.
pub(in crate::artifact) async fn clear(folder: &Path) -> Result<(), FetchError> {
    let at = folder.to_owned();
    let removed = blocking(move || match std::fs::remove_dir_all(&at) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        ended => ended,
    });
    match removed.await {
        Ok(()) => Ok(()),
        // A killed build leaves files of other ids, which only the root of a user namespace may remove.
        Err(_) if !is_root() => {
            let argv = as_root(Argv::new("rm").args(["-rf", "--"]).arg(folder.display().to_string()));
            let failed = |source| FetchError::Command { doing: format!("removing {}", folder.display()), source };
            run(&argv, LIMIT).await.and_then(|output| output.success(&argv)).map(drop).map_err(failed)
        }
        Err(source) => Err(FetchError::Io { doing: format!("removing {}", folder.display()), source }),
    }
}

/// The folder in which mmdebstrap unpacks: its processes run under other ids and must be able to pass through every
/// folder above.
struct Scratch(PathBuf);

impl Scratch {
    /// In `part` where other ids can reach that; else one of the same name each time, so that the next build finds
    /// what a killed one left.
    async fn beside(part: &Path) -> Result<Self, FetchError> {
        let uid = rustix::process::geteuid();
        let name = sha256_of(part.as_os_str().as_encoded_bytes()).hex();
        let apart = Path::new("/var/tmp").join(format!("calicolab-{}-{}", uid.as_raw(), &name[..12]));
        let folder = if is_root() || open_to_all(part) { part.join("scratch") } else { apart };
        let making = failed(&format!("making {}", folder.display()), &folder, ROOM);
        // Only what this user owns is cleared; a stranger's folder of that name makes the next line fail.
        if folder.symlink_metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == uid.as_raw()) {
            clear(&folder).await?;
        }
        std::fs::create_dir(&folder).map_err(&making)?;
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).map_err(&making)?;
        Ok(Self(folder))
    }

    async fn clear(self) -> Result<(), FetchError> {
        clear(&self.0).await
    }
}

/// Whether every folder on the way may be passed through by anybody.
fn open_to_all(folder: &Path) -> bool {
    folder.ancestors().all(|at| at.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_home_is_not_open_to_all() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("changed");
        let inner = folder.path().join("a");
        std::fs::create_dir(&inner).expect("made");
        assert!(open_to_all(&inner));
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).expect("changed");
        assert!(!open_to_all(&inner));
    }
}
