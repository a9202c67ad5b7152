//! The image of our store as a box of Vagrant's.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::client::{Client, VAGRANT};
use super::failed;
use crate::command::{self, Argv};
use crate::durable;
use crate::lab::pin::Digest;
use crate::machine::{Image, Names, ProviderError};

/// A disk of some GiB is read, shrunk and written in this time.
const LIMIT: Duration = Duration::from_secs(300);

/// The cluster's box: a name of its own, so that no two clusters use one disk.
pub fn name(names: &Names) -> String {
    format!("calicolab/{}", names.base())
}

/// Whether a volume is the box's disk, which Vagrant itself brings into a pool.
pub fn is_disk(names: &Names, volume: &str) -> bool {
    volume.starts_with(&format!("{}_vagrant_box_image_", in_files(names)))
}

/// The name as Vagrant and its plugin write it where a slash cannot be.
fn in_files(names: &Names) -> String {
    name(names).replace('/', "-VAGRANTSLASH-")
}

/// Take the box from Vagrant, by a call in `folder`, which need not be there. What lies below `kept` (where Vagrant
/// keeps boxes) is looked at first, since a call takes seconds.
pub async fn remove(kept: &Path, folder: &Path, names: &Names) -> Result<(), ProviderError> {
    let path = kept.join("boxes").join(in_files(names));
    if !path.exists() {
        return Ok(());
    }
    if is_whole(&path) && command::find(VAGRANT).is_some() {
        durable::private_folder(folder).map_err(failed("making", folder))?;
        // Without one Vagrant would read the next above; that of the machines is of no more use.
        let sheet = folder.join("Vagrantfile");
        durable::write(&sheet, b"", 0o600).map_err(failed("writing", &sheet))?;
        let words = ["box", "remove", &name(names), "--all", "--force"];
        Client::at(folder).verb(&words, "removing the box").await?;
    }
    // Of one that was never given to its end Vagrant knows nothing.
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removing", &path)(error)),
        _ => Ok(()),
    }
}

/// Whether Vagrant sees a box in this folder: one of a provider, in some version.
fn is_whole(path: &Path) -> bool {
    let below = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    below(path).any(|version| below(&version).any(|provider| provider.join("metadata.json").is_file()))
}

/// The image's disk as a box has it, in `folder`; made under another name and renamed. And its size as a machine
/// sees it.
pub async fn disk(image: &Image, folder: &Path) -> Result<(PathBuf, u64), ProviderError> {
    let (disk, part) = (folder.join("box.img"), folder.join("box.img.part"));
    if !disk.exists() {
        let argv = Argv::new("qemu-img")
            .args(["convert", "-q", "-f", image.format, "-O", "qcow2", "-c", "-o", "compression_type=zstd"])
            .arg(text(&image.disk)?)
            .arg(text(&part)?);
        run(&argv, "making the box's disk").await?;
        fs::rename(&part, &disk).map_err(failed("making", &disk))?;
    }
    let argv = Argv::new("qemu-img").args(["info", "--output=json"]).arg(text(&disk)?);
    let told = run(&argv, "looking at the box's disk").await?;
    let size = serde_json::from_str::<serde_json::Value>(&told).ok().and_then(|told| told["virtual-size"].as_u64());
    let strange = || failed("using", &disk)(io::Error::new(io::ErrorKind::InvalidData, "it has no size"));
    Ok((disk.clone(), size.ok_or_else(strange)?))
}

/// Give the box to Vagrant, in place of any that has its name: with the digest it must have when Vagrant reads it.
pub async fn add(client: &Client, names: &Names, disk: &Path, size: u64) -> Result<(), ProviderError> {
    let packed = disk.with_extension("box");
    let digest = self::packed(disk, &packed, size).await?;
    let name = name(names);
    let path = text(&packed)?;
    let words =
        ["--name", &name, "--provider", "libvirt", "--checksum-type", "sha256", "--checksum", &digest, "--force"];
    let added = client.verb(&[&["box", "add"], &words[..], &[&path]].concat(), "giving the box to Vagrant").await;
    let removed = fs::remove_file(&packed).map_err(failed("removing", &packed));
    added.and(removed)
}

/// Write a box with this disk; its SHA-256 in hex.
pub async fn packed(disk: &Path, to: &Path, size: u64) -> Result<String, ProviderError> {
    let (from, into) = (disk.to_path_buf(), to.to_path_buf());
    let written = tokio::task::spawn_blocking(move || write(&from, &into, size));
    written.await.map_err(io::Error::other).flatten().map_err(failed("writing", to))
}

/// A box: a tar with the disk and what Vagrant wants to know of it. Its SHA-256.
fn write(disk: &Path, to: &Path, size: u64) -> io::Result<String> {
    let mut tar = tar::Builder::new(File::create(to)?);
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_mtime(1);
    // Gibibytes, of which a part counts as one.
    let told = json!({"provider": "libvirt", "format": "qcow2", "virtual_size": size.div_ceil(1 << 30)}).to_string();
    header.set_size(told.len() as u64);
    tar.append_data(&mut header, "metadata.json", told.as_bytes())?;
    let file = File::open(disk)?;
    header.set_size(file.metadata()?.len());
    tar.append_data(&mut header, "box.img", file)?;
    drop(tar.into_inner()?);
    let (mut sum, mut file, mut block) = (Sha256::new(), File::open(to)?, vec![0; 1 << 20]);
    loop {
        match file.read(&mut block)? {
            0 => break,
            read => sum.update(&block[..read]),
        }
    }
    Ok(Digest::Sha256(sum.finalize().into()).hex())
}

async fn run(argv: &Argv, doing: &str) -> Result<String, ProviderError> {
    let done = command::run(argv, LIMIT).await.and_then(|output| output.success(argv));
    done.map_err(|source| ProviderError::Command { doing: doing.into(), source })
}

fn text(path: &Path) -> Result<String, ProviderError> {
    crate::machine::qemu::args::text(path).map_err(failed("using", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_left_of_a_box_goes_and_that_of_others_stays() {
        let kept = tempfile::tempdir().expect("a temporary folder");
        let names = Names::of("calicolab/00000000/demo");
        remove(kept.path(), &kept.path().join("none"), &names).await.expect("nothing to do");
        let (boxes, ours) = (kept.path().join("boxes"), in_files(&names));
        for folder in [ours.clone(), format!("{ours}0"), "debian-VAGRANTSLASH-bookworm64".into()] {
            fs::create_dir_all(boxes.join(folder).join("0/libvirt")).expect("made");
        }
        assert!(!is_whole(&boxes.join(&ours)), "its disk came, and nothing that says so");
        remove(kept.path(), &kept.path().join("none"), &names).await.expect("removed");
        assert!(!boxes.join(&ours).exists() && !kept.path().join("none").exists());
        assert_eq!(fs::read_dir(&boxes).expect("listed").count(), 2);
    }

    #[test]
    fn a_box_that_vagrant_sees() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir_all(folder.path().join("0/libvirt")).expect("made");
        fs::write(folder.path().join("0/libvirt/metadata.json"), "{}").expect("written");
        assert!(is_whole(folder.path()));
    }
}
