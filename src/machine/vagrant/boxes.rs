//! The image of our store as a box of Vagrant's.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::client::Client;
use super::failed;
use crate::command::{self, Argv};
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
    volume.starts_with(&format!("calicolab-VAGRANTSLASH-{}_vagrant_box_image_", names.base()))
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
