//! An image as one tar that `ctr images import` and `docker load` take alike: same image, same bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read as _};
use std::path::Path;

use oci_client::Reference;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Contents, contents, named};
use crate::artifact::FetchError;
use crate::artifact::cache::Cache;
use crate::artifact::error::CANNOT_SERIALISE;
use crate::artifact::files::{self, Summed, blocking, failed, sha256_of};
use crate::artifact::verified::{Derived, Verified};
use crate::durable;
use crate::event::{Events, Step};
use crate::lab::pin::{Digest, Source};

/// Raised when the same image shall give other bytes.
const RECIPE: u32 = 1;

/// The note beside a kept archive.
#[derive(Serialize, Deserialize)]
struct Kept {
    tar: Digest,
}

/// Pack the image of a verified pin, or use the tar that an earlier run packed of it, if its bytes are still what they
/// were. It bears the name of the pin's reference. Whatever the layers' size, little of them is in memory.
pub async fn archive(cache: &Cache, image: &Verified, events: &Events) -> Result<Derived, FetchError> {
    let name = image.pin().label();
    let Source::Oci { reference } = &image.pin().source else {
        return Err(FetchError::NoWay { name, what: "something else than a registry" });
    };
    let reference = named(reference)?;
    // It was verified in this run; if it is gone since, that is as if it had never been fetched.
    let gone = || FetchError::Offline { names: vec![name.clone()] };
    let contents = contents(cache, image.pin()).await?.ok_or_else(gone)?;
    let recipe = sha256_of(format!("{RECIPE}\n{}\n{}", reference, contents.own().digest).as_bytes());
    let folder = cache.root().join("derived");
    let path = folder.join(format!("image-{}.tar", &recipe.hex()[..16]));
    let _lock = files::lock(&cache.lock_file(&format!("image-{}", recipe.hex())), &name, events).await?;
    let told = format!("image {recipe}");
    let at = path.clone();
    if let Some(sums) = blocking(move || kept(&at)).await {
        return Ok(Derived::new(path, sums, &told));
    }
    events.progress(Step::Fetch, name.as_str(), "packing");
    std::fs::create_dir_all(&folder).map_err(failed(&format!("making {}", folder.display()), &folder, 0))?;
    let needed = contents.files().iter().map(|file| file.bytes).sum();
    let writing = failed(&format!("writing {}", path.display()), &folder, needed);
    let (cache, at) = (cache.clone(), path.clone());
    let sums = blocking(move || make(&cache, &at, &contents, &reference)).await.map_err(writing)?;
    Ok(Derived::new(path, sums, &told))
}

/// Digest and length of the archive of an earlier run, if it is what its note says. Anything else is made anew.
fn kept(path: &Path) -> Option<(Digest, u64)> {
    let note: Kept = serde_json::from_slice(&std::fs::read(path.with_extension("json")).ok()?).ok()?;
    files::sha256(path).ok().filter(|(digest, _)| *digest == note.tar)
}

fn make(cache: &Cache, path: &Path, contents: &Contents, reference: &Reference) -> io::Result<(Digest, u64)> {
    let part = path.with_extension("part");
    let written = write(cache, &part, contents, reference).and_then(|sums| {
        files::read_only(&part)?;
        durable::settle(&part, path)?;
        let note = serde_json::to_vec(&Kept { tar: sums.0 }).expect(CANNOT_SERIALISE);
        durable::write(&path.with_extension("json"), &note, 0o644)?;
        Ok(sums)
    });
    if written.is_err() {
        // The first failure is the one to tell.
        let _ = std::fs::remove_file(&part);
    }
    written
}

/// OCI's layout of the one image, and beside it docker's list of images, which points to the same files.
fn write(cache: &Cache, path: &Path, contents: &Contents, reference: &Reference) -> io::Result<(Digest, u64)> {
    let inner = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut tar = tar::Builder::new(Summed::new(inner));
    let names = Names::of(reference);
    // A list within the archive would name images that are not in it.
    let blobs: BTreeMap<String, (&Digest, u64)> = std::iter::once(contents.own())
        .chain(contents.blobs())
        .map(|file| (member(&file.digest), (&file.digest, file.bytes)))
        .collect();
    let mut folders: Vec<&str> = vec!["blobs/"];
    folders.extend(blobs.keys().filter_map(|member| member.rfind('/').map(|end| &member[..=end])));
    folders.dedup();
    for folder in folders {
        tar.append_data(&mut header(tar::EntryType::Directory, 0, 0o755), folder, io::empty())?;
    }
    for (member, (digest, bytes)) in &blobs {
        let inner = File::open(cache.file(digest))?.take(*bytes);
        let mut blob = Summed::like(digest, inner);
        tar.append_data(&mut header(tar::EntryType::Regular, *bytes, 0o644), member, &mut blob)?;
        if blob.sums() != (**digest, *bytes) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{member} is not what it was when it was verified"),
            ));
        }
    }
    let texts = [("index.json", index(contents, &names)), ("manifest.json", list(contents, &names))];
    let layout = ("oci-layout", json!({ "imageLayoutVersion": "1.0.0" }));
    for (member, text) in texts.into_iter().chain([layout]) {
        let text = text.to_string();
        tar.append_data(&mut header(tar::EntryType::Regular, text.len() as u64, 0o644), member, text.as_bytes())?;
    }
    let (inner, sums) = tar.into_inner()?.into_parts();
    inner.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(sums)
}

/// What the tools call the image.
struct Names {
    /// For containerd, with its registry.
    whole: String,
    /// The tag alone.
    tag: Option<String>,
    /// For docker, which knows an image by tags only.
    docker: Vec<String>,
}

impl Names {
    fn of(reference: &Reference) -> Self {
        let repository = format!("{}/{}", reference.registry(), reference.repository());
        match (reference.tag(), reference.digest()) {
            (Some(tag), _) => {
                let whole = format!("{repository}:{tag}");
                // Docker's own registry is not written out: old dockers take the name as it is.
                let hub = whole.strip_prefix("docker.io/").map(|name| name.strip_prefix("library/").unwrap_or(name));
                let docker = vec![hub.unwrap_or(&whole).to_owned()];
                Self { whole, tag: Some(tag.into()), docker }
            }
            (None, Some(digest)) => Self { whole: format!("{repository}@{digest}"), tag: None, docker: Vec::new() },
            (None, None) => Self { whole: repository, tag: None, docker: Vec::new() },
        }
    }
}

fn member(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

fn index(contents: &Contents, names: &Names) -> serde_json::Value {
    let own = contents.own();
    let mut annotations = BTreeMap::from([("io.containerd.image.name", &names.whole)]);
    annotations.extend(names.tag.iter().map(|tag| ("org.opencontainers.image.ref.name", tag)));
    json!({
        "schemaVersion": 2,
        "mediaType": oci_client::manifest::OCI_IMAGE_INDEX_MEDIA_TYPE,
        "manifests": [{
            "mediaType": own.media_type,
            "digest": own.digest.to_string(),
            "size": own.bytes,
            "annotations": annotations,
        }],
    })
}

fn list(contents: &Contents, names: &Names) -> serde_json::Value {
    let layers: Vec<String> = contents.manifest.layers.iter().map(|layer| member(&layer.digest)).collect();
    json!([{ "Config": member(&contents.manifest.config.digest), "RepoTags": names.docker, "Layers": layers }])
}

fn header(kind: tar::EntryType, bytes: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(bytes);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}
