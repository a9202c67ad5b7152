//! What the nodes get, as one tar that can be attached as a raw read-only disk: same input, same bytes.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::FetchError;
use super::cache::Cache;
use super::error::CANNOT_SERIALISE;
use super::files::{self, Summed, blocking, failed, sha256_of};
use super::member::{self, Member, Whole};
use super::unpack::LIMITS;
use super::verified::{Derived, Verified};
use crate::durable;
use crate::event::{Events, Step};
use crate::lab::file::{On, Taken};
use crate::lab::pin::Digest;

/// Raised when the same input shall give other bytes.
const RECIPE: u32 = 2;

/// The tar and what is in it.
#[derive(Clone, Debug)]
pub struct Payload {
    tar: Derived,
    files: Vec<PayloadFile>,
}

impl Payload {
    /// The tar, a multiple of 512 bytes long; `tar -xf` of single members out of a block device works.
    pub fn path(&self) -> &Path {
        self.tar.path()
    }

    /// The tar as a derived file.
    pub fn tar(&self) -> &Derived {
        &self.tar
    }

    /// Its members: first those for all nodes, then those for the master, each by path.
    pub fn files(&self) -> &[PayloadFile] {
        &self.files
    }
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadFile {
    /// From the root, without a leading slash.
    pub path: String,
    /// Of its content.
    pub sha256: Digest,
    /// 0755 or 0644.
    pub mode: u32,
    /// Length of its content.
    pub bytes: u64,
    /// Which nodes get it.
    pub on: On,
}

/// One file of which nodes get something, and what.
#[derive(Clone, Debug)]
pub struct Part {
    /// The file.
    pub from: PartSource,
    /// Which nodes get something of it.
    pub on: On,
    /// What they get of it.
    pub files: Vec<Taken>,
}

impl Part {
    /// A derived file as it is, at the root-relative path `to` on the nodes.
    pub fn whole(file: Derived, on: On, to: impl Into<String>) -> Self {
        let taken = Taken { from: None, to: to.into(), mode: None };
        Self { from: PartSource::Derived(file), on, files: vec![taken] }
    }
}

/// A file whose bytes are known.
#[derive(Clone, Debug)]
pub enum PartSource {
    /// A pinned one: a package, an archive, a single file.
    Verified(Verified),
    /// One that was made here.
    Derived(Derived),
}

impl PartSource {
    fn name(&self) -> &str {
        match self {
            Self::Verified(file) => &file.pin().name,
            Self::Derived(file) => file.recipe(),
        }
    }

    fn digest(&self) -> &Digest {
        match self {
            Self::Verified(file) => &file.pin().digest,
            Self::Derived(file) => file.digest(),
        }
    }

    fn whole(&self) -> Whole<'_> {
        let (path, bytes) = match self {
            Self::Verified(file) => (file.path(), file.bytes()),
            Self::Derived(file) => (file.path(), file.bytes()),
        };
        Whole { name: self.name(), path, bytes }
    }
}

/// The manifest beside a cached payload.
#[derive(Serialize, Deserialize)]
struct Manifest {
    tar: Digest,
    files: Vec<PayloadFile>,
}

/// Pack `parts`, or use the tar an earlier run packed of the same, if its bytes are still what they were.
pub async fn pack(cache: &Cache, parts: Vec<Part>, events: &Events) -> Result<Payload, FetchError> {
    let recipe = recipe(&parts);
    let folder = cache.root().join("payload");
    let path = folder.join(format!("payload-{}.tar", &recipe.hex()[..16]));
    let _lock = files::lock(&cache.lock_file(&format!("payload-{}", recipe.hex())), "payload", events).await?;
    let name = format!("payload {recipe}");
    let at = path.clone();
    if let Some((sums, files)) = blocking(move || cached(&at)).await {
        return Ok(Payload { tar: Derived::new(path, sums, &name), files });
    }
    events.progress(Step::Fetch, "payload", format!("packing files of {} artifacts", parts.len()));
    std::fs::create_dir_all(&folder).map_err(failed(&format!("making {}", folder.display()), &folder, 0))?;
    let at = path.clone();
    let (sums, files) = blocking(move || make(&at, &parts)).await?;
    events.subject_done(Step::Fetch, "payload", format!("{} files, {} MiB", files.len(), sums.1 >> 20));
    Ok(Payload { tar: Derived::new(path, sums, &name), files })
}

/// Everything the bytes depend on.
fn recipe(parts: &[Part]) -> Digest {
    let mut lines: Vec<String> =
        parts.iter().map(|part| format!("{} {:?} {:?}", part.from.digest(), part.on, part.files)).collect();
    lines.sort();
    sha256_of(format!("{RECIPE}\n{}", lines.join("\n")).as_bytes())
}

/// The tar of an earlier run, if it and its manifest are whole. Anything else is made anew.
fn cached(path: &Path) -> Option<((Digest, u64), Vec<PayloadFile>)> {
    let manifest: Manifest = serde_json::from_slice(&std::fs::read(manifest_of(path)).ok()?).ok()?;
    let sums = files::sha256(path).ok()?;
    (sums.0 == manifest.tar).then_some((sums, manifest.files))
}

fn manifest_of(path: &Path) -> PathBuf {
    path.with_extension("json")
}

/// Make the tar at `path`. The members lie in files beside it meanwhile: a tar says how long each is before it comes.
fn make(path: &Path, parts: &[Part]) -> Result<((Digest, u64), Vec<PayloadFile>), FetchError> {
    let (part, scratch) = (path.with_extension("part"), path.with_extension("members"));
    let made = gather(&scratch, parts).and_then(|members| {
        let size = members.iter().map(|(file, _)| file.bytes).sum();
        let writing = failed(&format!("writing {}", path.display()), path, size);
        let write = || {
            let tar = write(&part, &members)?;
            let files: Vec<PayloadFile> = members.into_iter().map(|(file, _)| file).collect();
            let manifest = Manifest { tar: tar.0, files };
            durable::settle(&part, path)?;
            durable::write(&manifest_of(path), &serde_json::to_vec_pretty(&manifest).expect(CANNOT_SERIALISE), 0o644)?;
            Ok((tar, manifest.files))
        };
        write().map_err(writing)
    });
    // The first failure is the one to tell; what stays now is cleared by the next run.
    let _ = clear(&scratch);
    if made.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    made
}

/// The members in the order of the tar, each with the file it lies in.
fn gather(scratch: &Path, parts: &[Part]) -> Result<Vec<(PayloadFile, PathBuf)>, FetchError> {
    let mut members = Vec::new();
    let making = failed(&format!("making {}", scratch.display()), scratch, 0);
    clear(scratch).map_err(&making)?;
    for (number, part) in parts.iter().enumerate().filter(|(_, part)| !part.files.is_empty()) {
        let folder = scratch.join(number.to_string());
        std::fs::create_dir_all(&folder).map_err(&making)?;
        let wanted: Vec<Option<&str>> = part.files.iter().map(|taken| taken.from.as_deref()).collect();
        let found = member::take(part.from.whole(), &wanted, &folder, LIMITS)?;
        for (taken, Member { at, sha256, bytes, mode }) in part.files.iter().zip(found) {
            let mode = taken.mode.unwrap_or(mode);
            members.push((PayloadFile { path: taken.to.clone(), sha256, mode, bytes, on: part.on }, at));
        }
    }
    members.sort_by(|(a, _), (b, _)| (a.on == On::Master, &a.path).cmp(&(b.on == On::Master, &b.path)));
    let mut paths: Vec<&str> = members.iter().map(|(file, _)| file.path.as_str()).collect();
    paths.sort_unstable();
    match paths.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(twice) => Err(FetchError::Twice { path: twice[0].into() }),
        None => Ok(members),
    }
}

fn clear(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        ended => ended,
    }
}

/// Write the tar, and give its sum and length.
fn write(path: &Path, members: &[(PayloadFile, PathBuf)]) -> std::io::Result<(Digest, u64)> {
    let mut tar = tar::Builder::new(Summed::new(File::create(path)?));
    for (file, at) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(file.bytes);
        header.set_mode(file.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        // What is packed is summed once more: the file may have changed since.
        let mut content = Summed::new(File::open(at)?.take(file.bytes));
        tar.append_data(&mut header, &file.path, &mut content)?;
        if content.sums() != (file.sha256, file.bytes) {
            return Err(std::io::Error::other(format!("{} changed while it was packed", at.display())));
        }
    }
    let tar = tar.into_inner()?;
    tar.get_ref().sync_all()?;
    Ok(tar.sums())
}
