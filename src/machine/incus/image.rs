//! The containers' image: the tree that the recipe came to, with templates that write the seed; kept under its fingerprint.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::answer::Image;
use super::client::Client;
use super::names::IMAGE;
use crate::durable;
use crate::machine::{ProviderError, Tree, failed};

/// The setting of an instance that holds its NoCloud meta-data.
pub const META_DATA: &str = "user.meta-data";
/// The setting of an instance that holds its cloud-config; both projects' own for this purpose.
pub const USER_DATA: &str = "cloud-init.user-data";
/// The setting of a virtual machine that holds what cloud-init is told of its cards; both projects' own for this purpose.
pub const NETWORK_CONFIG: &str = "cloud-init.network-config";
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

/// What virtual machines start from: a disk with a boot loader, hashed as trees are when they are fetched.
pub async fn disk(image: &crate::machine::Image) -> Result<Tree, ProviderError> {
    let path = image.disk.clone();
    if image.boot.is_some() || image.format != "qcow2" {
        let without = io::Error::other("it is no qcow2 disk with a boot loader (--set image=debian-12-cloud has one)");
        return Err(failed("using", &path)(without));
    }
    let at = path.clone();
    let hashed = tokio::task::spawn_blocking(move || fingerprint(&[], &at)).await.map_err(io::Error::other);
    let sha256 = hashed.and_then(|hashed| hashed).map_err(failed("hashing", &path))?;
    Ok(Tree { path, sha256 })
}

/// The image of `tree`, imported unless it is there; its fingerprint. Of a virtual machine's disk the clients know by its
/// first bytes what it is.
pub async fn ensure(client: &Client, tree: &Tree, vm: bool, scratch: &Path) -> Result<String, ProviderError> {
    let about = metadata(vm).map_err(failed("packing the image's metadata for", &tree.path))?;
    let mark = mark(&about, tree);
    if let Some(there) = marked(client, &mark).await? {
        return Ok(there);
    }
    let metadata = scratch.join("image-metadata.tar");
    durable::write(&metadata, &about, 0o644).map_err(failed("writing", &metadata))?;
    let (metadata, path) = (metadata.display().to_string(), tree.path.display().to_string());
    let words = ["image", "import", &metadata, &path, &client.thing(""), "--quiet", &format!("{IMAGE}={mark}")];
    let imported = client.send(&words, "importing the image").await;
    if let Some(there) = marked(client, &mark).await? {
        // Two labs may have begun to import at the same time; the one that came second finds what it wanted.
        return Ok(there);
    }
    // The same bytes may be there without the mark; the daemon knows an image by nothing else.
    let path = tree.path.clone();
    let hashed = tokio::task::spawn_blocking(move || fingerprint(&about, &path)).await.map_err(io::Error::other);
    let fingerprint = hashed.and_then(|hashed| hashed).map_err(failed("hashing", &tree.path))?;
    let there = all(client).await?.iter().any(|image| image.fingerprint == fingerprint);
    if there { Ok(fingerprint) } else { imported.map(|()| fingerprint) }
}

/// Every image there is.
pub async fn all(client: &Client) -> Result<Vec<Image>, ProviderError> {
    client.get("/1.0/images?recursion=1").await
}

/// What an image says it was made of. The tree was hashed when it was fetched; to hash it again with the metadata before
/// it, as the daemon does, would take as long as making two nodes.
fn mark(metadata: &[u8], tree: &Tree) -> String {
    let sum = Sha256::new().chain_update(metadata).chain_update(&tree.sha256).finalize();
    sum.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// The fingerprint of the image that bears this mark.
async fn marked(client: &Client, mark: &str) -> Result<Option<String>, ProviderError> {
    let images = all(client).await?;
    let marked = images.into_iter().find(|image| image.properties.get(IMAGE).is_some_and(|known| known == mark));
    Ok(marked.map(|image| image.fingerprint))
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
fn metadata(vm: bool) -> io::Result<Vec<u8>> {
    // The daemon writes no files into a disk.
    let written = if vm { &WRITTEN[..0] } else { &WRITTEN[..] };
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, text: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        tar.append_data(&mut header, path, text.as_bytes())
    };
    add("metadata.yaml", &about(written))?;
    for (name, _, key) in written {
        add(&format!("templates/{name}.tpl"), &format!("{{{{ config_get(\"{key}\", \"\") }}}}"))?;
    }
    let mut bytes = tar.into_inner()?;
    bytes.flush()?;
    Ok(bytes)
}

/// `metadata.yaml`. A date of creation is demanded and means nothing here.
fn about(written: &[(&str, &str, &str)]) -> String {
    let head = ["architecture: x86_64", "creation_date: 1", "properties: {os: debian, release: bookworm}"];
    let templates = (!written.is_empty()).then(|| "templates:".to_owned());
    let line =
        |(name, path, _): &(&str, &str, &str)| format!("  {path}: {{when: [create, copy], template: {name}.tpl}}");
    let lines: Vec<String> =
        head.map(str::to_owned).into_iter().chain(templates).chain(written.iter().map(line)).collect();
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_names_what_is_written_where() {
        let bytes = metadata(false).expect("a tar");
        assert_eq!(bytes, metadata(false).expect("the same"));
        assert_eq!(about(&[]).lines().count(), 3, "of a disk there is nothing to write");
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
