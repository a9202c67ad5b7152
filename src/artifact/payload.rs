//! What the nodes get, as one tar that can be attached as a raw read-only disk: same input, same bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::FetchError;
use super::error::CANNOT_SERIALISE;
use super::files::{self, blocking, failed, sha256_of};
use super::store::{Cache, Derived, Verified};
use crate::command::{Argv, CommandError, Output};
use crate::durable;
use crate::event::{Events, Step};
use crate::lab::file::On;
use crate::lab::pin::{Digest, Source};

/// Raised when the same input shall give other bytes.
const RECIPE: u32 = 1;

/// A member may be a link to a member that is a link; more than this many is a circle.
const LINKS: usize = 8;

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

/// One package of the payload and what is taken out of it.
#[derive(Clone, Debug)]
pub struct Part {
    /// The Debian package.
    pub package: Verified,
    /// Which nodes get its files.
    pub on: On,
    /// Members, from the root, without a leading slash.
    pub files: Vec<String>,
}

/// The manifest beside a cached payload.
#[derive(Serialize, Deserialize)]
struct Manifest {
    tar: Digest,
    files: Vec<PayloadFile>,
}

/// Pack `parts`, or use the tar an earlier run packed of the same, if its bytes are still what they were.
pub async fn pack(cache: &Cache, parts: Vec<Part>, events: &Events) -> Result<Payload, FetchError> {
    for part in &parts {
        if !matches!(part.package.pin().source, Source::Apt { .. }) {
            return Err(FetchError::NoWay {
                name: part.package.pin().name.clone(),
                what: "something else than a package",
            });
        }
    }
    let recipe = recipe(&parts);
    let folder = cache.root().join("payload");
    let path = folder.join(format!("payload-{}.tar", &recipe.hex()[..16]));
    let _lock = files::lock(&cache.lock_file(&format!("payload-{}", recipe.hex())), "payload", events).await?;
    let name = format!("payload {recipe}");
    let at = path.clone();
    if let Some((sums, files)) = blocking(move || cached(&at)).await {
        return Ok(Payload { tar: Derived::new(path, sums, &name), files });
    }
    events.progress(Step::Fetch, "payload", format!("packing files of {} packages", parts.len()));
    std::fs::create_dir_all(&folder).map_err(failed(&format!("making {}", folder.display()), &folder, 0))?;
    let at = path.clone();
    let (sums, files) = blocking(move || make(&at, &parts)).await?;
    events.subject_done(Step::Fetch, "payload", format!("{} files, {} MiB", files.len(), sums.1 >> 20));
    Ok(Payload { tar: Derived::new(path, sums, &name), files })
}

/// Everything the bytes depend on.
fn recipe(parts: &[Part]) -> Digest {
    let mut lines: Vec<String> =
        parts.iter().map(|part| format!("{} {:?} {:?}", part.package.pin().digest, part.on, part.files)).collect();
    lines.sort();
    sha256_of(format!("{RECIPE}\n{}", lines.join("\n")).as_bytes())
}

/// The tar of an earlier run, if it and its manifest are whole. Anything else is made anew.
fn cached(path: &Path) -> Option<((Digest, u64), Vec<PayloadFile>)> {
    let manifest: Manifest = serde_json::from_slice(&std::fs::read(manifest_of(path)).ok()?).ok()?;
    let sums = files::sha256(path).ok()?;
    (sums.0 == manifest.tar).then_some((sums, manifest.files))
}

fn manifest_of(path: &Path) -> std::path::PathBuf {
    path.with_extension("json")
}

fn make(path: &Path, parts: &[Part]) -> Result<((Digest, u64), Vec<PayloadFile>), FetchError> {
    let mut members = Vec::new();
    for part in parts {
        let package = &part.package.pin().name;
        let mut tree = members_of(part.package.path(), part)?;
        for wanted in &part.files {
            let (mode, content) = tree
                .remove(wanted)
                .ok_or_else(|| FetchError::NoMember { package: package.clone(), path: wanted.clone() })?;
            let (sha256, bytes) = (sha256_of(&content), content.len() as u64);
            members.push((PayloadFile { path: wanted.clone(), sha256, mode, bytes, on: part.on }, content));
        }
    }
    members.sort_by(|(a, _), (b, _)| (a.on == On::Master, &a.path).cmp(&(b.on == On::Master, &b.path)));
    let mut paths: Vec<&str> = members.iter().map(|(file, _)| file.path.as_str()).collect();
    paths.sort_unstable();
    if let Some(twice) = paths.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(FetchError::Twice { path: twice[0].into() });
    }
    let size = members.iter().map(|(file, _)| file.bytes).sum();
    let part = path.with_extension("part");
    let writing = failed(&format!("writing {}", path.display()), path, size);
    let written = write(&part, &members).and_then(|()| {
        let sums = files::sha256(&part)?;
        let files: Vec<PayloadFile> = members.into_iter().map(|(file, _)| file).collect();
        let manifest = Manifest { tar: sums.0, files };
        durable::settle(&part, path)?;
        durable::write(&manifest_of(path), &serde_json::to_vec_pretty(&manifest).expect(CANNOT_SERIALISE), 0o644)?;
        Ok((sums, manifest.files))
    });
    if written.is_err() {
        // The first failure is the one to tell.
        let _ = std::fs::remove_file(&part);
    }
    written.map_err(writing)
}

fn write(path: &Path, members: &[(PayloadFile, Vec<u8>)]) -> std::io::Result<()> {
    let mut tar = tar::Builder::new(File::create(path)?);
    for (file, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(file.bytes);
        header.set_mode(file.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        tar.append_data(&mut header, &file.path, content.as_slice())?;
    }
    tar.into_inner()?.sync_all()
}

/// The wanted members of a package: mode and content by path, links within the package followed.
fn members_of(package: &Path, part: &Part) -> Result<BTreeMap<String, (u32, Vec<u8>)>, FetchError> {
    let argv = Argv::new("dpkg-deb").arg("--fsys-tarfile").arg(package.display().to_string());
    let doing = format!("unpacking {}", part.package.pin().name);
    let failed = |source| FetchError::Command { doing: doing.clone(), source };
    let mut child = Command::new(argv.program())
        .args(&argv.words()[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| failed(CommandError::Start { argv: argv.clone(), source }))?;
    let stdout = child.stdout.take().expect("its output is piped");
    let read = Members::read(BufReader::with_capacity(1 << 16, stdout));
    // What it says on its error stream fits into a pipe: one line on a damaged package.
    let follow = |source| failed(CommandError::Follow { argv: argv.clone(), source });
    let ended = child.wait_with_output().map_err(follow)?;
    if !ended.status.success() {
        let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
        let output = Output { ended: crate::command::ended(ended.status), stdout: String::new(), stderr };
        return Err(failed(CommandError::Failed { argv, output }));
    }
    let members = read.map_err(|source| FetchError::Io { doing: doing.clone(), source })?;
    Ok(part.files.iter().filter_map(|path| Some((path.clone(), members.take(path)?))).collect())
}

/// A package's tree: files by path, and links.
#[derive(Default)]
struct Members {
    files: BTreeMap<String, (u32, Vec<u8>)>,
    links: BTreeMap<String, String>,
}

impl Members {
    /// Read a whole tree. Packages of a lab are a few MiB each, so all of it fits in memory.
    fn read(stream: impl Read) -> std::io::Result<Self> {
        let mut members = Self::default();
        let mut tar = tar::Archive::new(stream);
        for entry in tar.entries()? {
            let mut entry = entry?;
            let path = clean(Path::new(""), &entry.path()?);
            let link = entry.link_name()?.map(std::borrow::Cow::into_owned);
            match (entry.header().entry_type(), link) {
                (tar::EntryType::Regular, _) => {
                    let mut content = Vec::new();
                    entry.read_to_end(&mut content)?;
                    let mode = if entry.header().mode()? & 0o111 == 0 { 0o644 } else { 0o755 };
                    members.files.insert(path, (mode, content));
                }
                (tar::EntryType::Symlink, Some(target)) => {
                    let folder = Path::new(&path).parent().unwrap_or(Path::new("")).to_owned();
                    members.links.insert(path, clean(&folder, &target));
                }
                (tar::EntryType::Link, Some(target)) => {
                    members.links.insert(path, clean(Path::new(""), &target));
                }
                _ => {}
            }
        }
        // What follows the end of the tree is read too: a writer whose reader leaves dies of it.
        std::io::copy(&mut tar.into_inner(), &mut std::io::sink())?;
        Ok(members)
    }

    fn take(&self, path: &str) -> Option<(u32, Vec<u8>)> {
        let mut at = path;
        for _ in 0..LINKS {
            match self.links.get(at) {
                Some(target) => at = target,
                None => break,
            }
        }
        // Cloned, since another member may be a link to the same file.
        self.files.get(at).cloned()
    }
}

/// `path`, seen from `folder`, as a path from the root without `.` and `..`.
fn clean(folder: &Path, path: &Path) -> String {
    use std::path::Component;
    let mut words: Vec<String> = Vec::new();
    for component in folder.join(path).components() {
        match component {
            Component::Normal(word) => words.push(word.to_string_lossy().into_owned()),
            Component::ParentDir => {
                words.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    words.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_within_the_package() {
        assert_eq!(clean(Path::new("usr/bin"), Path::new("../sbin/prog")), "usr/sbin/prog");
        assert_eq!(clean(Path::new("usr/bin"), Path::new("/lib/prog")), "lib/prog");
        assert_eq!(clean(Path::new(""), Path::new("./usr/../../etc/x")), "etc/x");
        let links = [("a", "b"), ("b", "a")].map(|(from, to)| (from.to_owned(), to.to_owned()));
        let circle = Members { files: BTreeMap::new(), links: links.into() };
        assert!(circle.take("a").is_none());
    }
}
