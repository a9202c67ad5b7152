//! `unpack`: a pack, checked whole, into the cache; its lab where `up` finds it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::artifact::pack::{List, Member, Pack, PackError, Place};
use crate::durable;
use crate::event::{Event, Step};
use crate::failure::{Exit, Failure};
use crate::lab::builtin::Library;
use crate::lab::name::LabName;

use super::cx::{Cx, counted};
use super::fetch::own_lock;
use super::pack::told;
use super::table::{bytes, columns};

/// What was unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The lab.
    pub lab: LabName,
    /// The folder to hand to `--labs`, where the pack's lab is not the binary's.
    pub labs: Option<PathBuf>,
}

/// The list of a pack, guarded by its digest. No member is read.
pub async fn list(file: &Path) -> Result<List, Failure> {
    let pack = Pack::open(file).await.map_err(|error| refused(&error))?;
    Ok(pack.list().clone())
}

/// Check every byte of a pack and write nothing; gives its list.
pub async fn check(cx: &Cx<'_>, file: &Path) -> Result<List, Failure> {
    let pack = checked(cx, file).await?;
    Ok(pack.list().clone())
}

async fn checked(cx: &Cx<'_>, file: &Path) -> Result<Pack, Failure> {
    let steps = vec![Step::Check, Step::Unpack];
    cx.events.tell(Event::Begin { verb: "unpack".into(), cluster: file.display().to_string(), steps });
    let checking = async {
        let pack = Pack::open(file).await.map_err(|error| refused(&error))?;
        pack.verify(&cx.events).await.map_err(|error| refused(&error))?;
        let outcome = format!("{}, every byte as packed", counted(pack.list().members.len(), "file"));
        Ok((pack, outcome))
    };
    Box::pin(cx.step(Step::Check, checking)).await.map_err(|failure| failure.left("nothing: no byte was written"))
}

/// Check a pack whole, then bring its bytes into the cache and its lab to where `up` finds it.
pub async fn unpack(cx: &Cx<'_>, file: &Path) -> Result<Done, Failure> {
    let pack = checked(cx, file).await?;
    let unpacking = async {
        let done = pack.unpack(&cx.cache, &cx.events).await.map_err(|error| told(&error, "unpack it"))?;
        let labs = place_lab(cx, &pack).await?;
        let outcome = format!("{} written, {} there already", counted(done.written, "file"), done.there);
        Ok((labs, outcome))
    };
    let ended = Box::pin(cx.step(Step::Unpack, unpacking)).await;
    let labs = ended.map_err(|failure| {
        failure.left(format!("what was written to {} so far, each file whole", cx.cache.root().display()))
    })?;
    Ok(Done { lab: pack.list().lab.clone(), labs })
}

fn refused(error: &PackError) -> Failure {
    told(error, "read the pack")
}

/// Put the pack's lab where `up` finds it; the folder for `--labs`, if it takes one.
async fn place_lab(cx: &Cx<'_>, pack: &Pack) -> Result<Option<PathBuf>, Failure> {
    let lab = &pack.list().lab;
    let mut parts: BTreeMap<String, Vec<u8>> =
        pack.texts().await.map_err(|error| refused(&error))?.into_iter().collect();
    let path = format!("labs/{lab}/lock.yaml");
    let lock = parts.remove(&path);
    let written = |error: std::io::Error, path: &Path| {
        Failure::new(Exit::Unexpected, "unpack.lab", format!("write {}", path.display())).because(&error)
    };
    let own = own_lock(cx, lab);
    let same = Library::carries_all(&parts);
    let carried = lock.as_ref().is_some_and(|lock| same && Library::carries(&path, lock));
    match (&lock, std::fs::read(&own)) {
        // A lock of one's own is read before any other: one that differs would not mean what is in the pack.
        (lock, Ok(there)) if lock.as_ref() != Some(&there) => {
            let aside = own.with_file_name("lock.yaml.before-unpack");
            std::fs::rename(&own, &aside).map_err(|error| written(error, &own))?;
            cx.events.warn(format!("your own lock of {lab} differs and is kept as {}", aside.display()));
        }
        _ => {}
    }
    if let Some(lock) = lock.as_ref().filter(|_| same && !carried) {
        let folder = own.parent().unwrap_or(&own);
        let put = std::fs::create_dir_all(folder).and_then(|()| durable::write(&own, lock, 0o644));
        put.map_err(|error| written(error, &own))?;
        cx.events.note(format!("the pack's lock of {lab} is now yours: {}", own.display()));
    }
    if same {
        return Ok(None);
    }
    parts.extend(lock.map(|lock| (path, lock)));
    let folder = cx.home.root().join("packs").join(lab.as_str());
    replace(cx, &folder, &parts).map_err(|error| written(error, &folder))?;
    Ok(Some(folder))
}

/// Write `parts` as the folder `folder`, whole; what lies there and differs is kept beside it.
fn replace(cx: &Cx<'_>, folder: &Path, parts: &BTreeMap<String, Vec<u8>>) -> std::io::Result<()> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let part = folder.with_file_name(format!(".{name}.part"));
    if part.exists() {
        std::fs::remove_dir_all(&part)?;
    }
    durable::private_folder(&part)?;
    for (path, text) in parts {
        let path = part.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(&part))?;
        std::fs::write(&path, text)?;
        std::fs::File::open(&path)?.sync_all()?;
    }
    if folder.exists() {
        let aside = folder.with_file_name(format!("{name}.before-unpack"));
        if same_tree(folder, &part) {
            return std::fs::remove_dir_all(&part);
        }
        if aside.exists() {
            std::fs::remove_dir_all(&aside)?;
        }
        std::fs::rename(folder, &aside)?;
        cx.events.warn(format!("another lab {name} was unpacked before; it is kept in {}", aside.display()));
    }
    std::fs::rename(&part, folder)?;
    durable::sync_folder(folder)
}

/// Whether two folders hold the same files.
fn same_tree(one: &Path, other: &Path) -> bool {
    tree(one, one).is_some_and(|files| tree(other, other).is_some_and(|others| files == others))
}

fn tree(root: &Path, folder: &Path) -> Option<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).ok()? {
        let path = entry.ok()?.path();
        if path.is_dir() {
            files.extend(tree(root, &path)?);
        } else {
            files.insert(path.strip_prefix(root).ok()?.to_owned(), std::fs::read(&path).ok()?);
        }
    }
    Some(files)
}

/// The list of a pack for people.
pub fn table(list: &List) -> String {
    let rows = list.members.iter().map(|member| {
        let name = match member.place() {
            Ok(Place::Text(path)) => path,
            _ => member.label().to_owned(),
        };
        vec![name, bytes(member.bytes), bytes(member.whole_bytes()), member.whole_digest().to_string()]
    });
    let packed: u64 = list.members.iter().map(|member| member.bytes).sum();
    let whole: u64 = list.members.iter().map(Member::whole_bytes).sum();
    let total =
        format!("lab {}: {}, {} of {}\n", list.lab, counted(list.members.len(), "file"), bytes(packed), bytes(whole));
    columns(&["FILE", "PACKED", "WHOLE", "DIGEST"], rows) + &total
}
