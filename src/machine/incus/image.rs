//! The containers' image: the tree that the recipe came to, with templates that write the seed; kept under its fingerprint.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::answer::Image;
use super::client::Client;
use super::settings::IMAGE;
use crate::durable;
use crate::machine::ProviderError;
use crate::machine::incus::failed;

/// The setting of an instance that holds its NoCloud meta-data.
pub const META_DATA: &str = "user.meta-data";
/// The setting of an instance that holds its cloud-config; both projects' own for this purpose.
pub const USER_DATA: &str = "cloud-init.user-data";
/// The setting of an instance that holds its address on the way outside, with prefix, and the gateway's.
pub const UPLINK: &str = "user.calicolab.uplink";
/// The setting of an instance that holds who answers its names.
pub const RESOLVER: &str = "user.calicolab.resolver";

/// Where in the guest each setting is written before its first start.
const WRITTEN: [(&str, &str, &str); 4] = [
    ("meta-data", "/var/lib/cloud/seed/nocloud/meta-data", META_DATA),
    ("user-data", "/var/lib/cloud/seed/nocloud/user-data", USER_DATA),
    ("uplink", "/etc/calicolab/uplink", UPLINK),
    ("resolver", "/etc/resolv.conf", RESOLVER),
];

/// The image of `tree`, imported unless it is there; its fingerprint.
pub async fn ensure(client: &Client, tree: &Path, scratch: &Path) -> Result<String, ProviderError> {
    let about = metadata().map_err(failed("packing the image's metadata for", tree))?;
    let (path, head) = (tree.to_owned(), about.clone());
    let hashed = tokio::task::spawn_blocking(move || fingerprint(&head, &path)).await.map_err(io::Error::other);
    let fingerprint = hashed.and_then(|hashed| hashed).map_err(failed("hashing", tree))?;
    if there(client, &fingerprint).await? {
        return Ok(fingerprint);
    }
    let metadata = scratch.join("image-metadata.tar");
    durable::write(&metadata, &about, 0o644).map_err(failed("writing", &metadata))?;
    let (metadata, tree) = (metadata.display().to_string(), tree.display().to_string());
    let words = ["image", "import", &metadata, &tree, "local:", "--quiet", &format!("{IMAGE}=debian")];
    let imported = client.verb(&words, String::new(), "importing the image").await;
    // Two labs may have begun to import at the same time; the one that came second finds what it wanted.
    match imported {
        Err(_) if there(client, &fingerprint).await? => Ok(fingerprint),
        other => other.map(|()| fingerprint),
    }
}

async fn there(client: &Client, fingerprint: &str) -> Result<bool, ProviderError> {
    let images: Vec<Image> = client.get("/1.0/images?recursion=1").await?;
    Ok(images.iter().any(|image| image.fingerprint == fingerprint))
}

/// The daemon's own sum: over the metadata and then the tree.
fn fingerprint(metadata: &[u8], tree: &Path) -> io::Result<String> {
    let mut sum = Sha256::new();
    sum.update(metadata);
    let mut tree = File::open(tree)?;
    let mut block = vec![0; 1 << 20];
    loop {
        match io::Read::read(&mut tree, &mut block)? {
            0 => break,
            read => sum.update(&block[..read]),
        }
    }
    Ok(sum.finalize().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}")))
}

/// The metadata as a tar; always the same bytes, since the fingerprint is over them.
fn metadata() -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, text: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        tar.append_data(&mut header, path, text.as_bytes())
    };
    add("metadata.yaml", &about())?;
    for (name, _, key) in WRITTEN {
        add(&format!("templates/{name}.tpl"), &format!("{{{{ config_get(\"{key}\", \"\") }}}}"))?;
    }
    let mut bytes = tar.into_inner()?;
    bytes.flush()?;
    Ok(bytes)
}

/// `metadata.yaml`. A date of creation is demanded and means nothing here.
fn about() -> String {
    let head =
        ["architecture: x86_64", "creation_date: 1", "properties: {os: debian, release: bookworm}", "templates:"];
    let written = WRITTEN.map(|(name, path, _)| format!("  {path}: {{when: [create, copy], template: {name}.tpl}}"));
    let lines: Vec<&str> = head.into_iter().chain(written.iter().map(String::as_str)).collect();
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_names_what_is_written_where() {
        let bytes = metadata().expect("a tar");
        assert_eq!(bytes, metadata().expect("the same"));
        let mut told = Vec::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().expect("a tar") {
            let mut entry = entry.expect("an entry");
            let path = entry.path().expect("a path").display().to_string();
            let mut text = String::new();
            io::Read::read_to_string(&mut entry, &mut text).expect("text");
            told.push(format!("--- {path}\n{text}"));
        }
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn the_fingerprint_is_over_metadata_and_tree() {
        let folder = tempfile::tempdir().expect("a folder");
        let tree = folder.path().join("tree.tar");
        std::fs::write(&tree, "bc").expect("written");
        // printf abc | sha256sum
        let wanted = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(fingerprint(b"a", &tree).expect("read"), wanted);
    }
}
