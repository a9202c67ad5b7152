//! What a guest changed of its disk, in layers: the machine writes to the top one, points stand on those below.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::args::text;
use super::files::Files;
use super::node::said;
use super::qmp::Qmp;
use crate::command::Argv;
use crate::lab::name::NodeName;
use crate::machine::ability::{Lies, Part, Role, Saved, Slot};
use crate::machine::{ProviderError, failed};

/// One file of a disk.
#[derive(Debug, Deserialize)]
pub struct Layer {
    /// Where it lies.
    #[serde(rename = "filename")]
    pub file: PathBuf,
    /// Bytes of the disk as a guest sees it.
    #[serde(rename = "virtual-size")]
    pub size: u64,
}

/// A disk's file and all that it stands on, the top one first; also while a machine writes to it.
pub async fn chain(top: &Path) -> Result<Vec<Layer>, ProviderError> {
    let argv = Argv::new("qemu-img").args(["info", "-U", "--backing-chain", "--output=json"]);
    let argv = argv.arg(text(top).map_err(failed("using", top))?);
    let answer = said(&argv, LIMIT, || format!("reading the disk {}", top.display())).await?;
    serde_json::from_str(&answer)
        .map_err(|source| ProviderError::Answer { asked: format!("qemu-img for the disk {}", top.display()), source })
}

const LIMIT: Duration = Duration::from_secs(60);

/// The next top layer of a machine that runs, on disk and not yet in use.
#[derive(Debug)]
pub struct Next {
    name: PathBuf,
}

/// Give the disk that a machine writes to its name among the shared ones, and make the layer that is to stand on it.
/// Nothing changes for the machine.
pub async fn next(node: &NodeName, files: &Files, slot: &Slot<'_>) -> Result<Next, ProviderError> {
    let disk = files.disk();
    let size = chain(&disk).await?.first().map_or(0, |top| top.size);
    let kept = PathBuf::from(format!("{node}-{}.qcow2", slot.id));
    let at = slot.shared.join(&kept);
    fs::hard_link(&disk, &at).map_err(failed("keeping the disk as", &at))?;
    let name = PathBuf::from(format!("after-{}.qcow2", slot.id));
    make(&files.folder.join(&name), &kept, size, slot.shared).await?;
    Ok(Next { name })
}

impl Next {
    /// From here on the machine writes to this layer, and the one below is as it was. The machine must stand still.
    ///
    /// On disk first: what is killed in between leaves a top layer in which nothing is, above one that is still written
    /// to, which is the same disk.
    pub async fn begin(&self, node: &NodeName, files: &Files, qmp: &mut Qmp) -> Result<(), ProviderError> {
        let part = files.top.with_extension("part");
        let linked = gone(&part).and_then(|()| symlink(&self.name, &part)).and_then(|()| fs::rename(&part, &files.top));
        linked.map_err(failed("making", &files.top))?;
        let top = text(&files.disk()).map_err(failed("using", &files.top))?;
        let begun = qmp.overlay("root", &top).await;
        begun.map_err(|error| ProviderError::Control { node: node.clone(), what: error.to_string() })
    }
}

/// A new top layer in place of the one there, on the disk `name` of the shared ones, for a machine that does not run.
pub async fn fresh(files: &Files, name: &Path, shared: &Path) -> Result<(), ProviderError> {
    let size = chain(&shared.join(name)).await?.first().map_or(0, |top| top.size);
    let part = files.overlay.with_extension("part");
    make(&part, name, size, shared).await?;
    fs::rename(&part, &files.overlay).map_err(failed("making", &files.overlay))?;
    gone(&files.top).map_err(failed("removing", &files.top))?;
    // The layers above older points: whatever is needed of them has a name among the shared ones.
    let failed = |error| failed("listing", &files.folder)(error);
    for entry in fs::read_dir(&files.folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_string_lossy().starts_with("after-") {
            gone(&entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

fn gone(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Layers name what they stand on by the way there from a node's folder, which is the way from the shared folder, too:
/// both lie two below the cluster's, and so the cluster can be put elsewhere.
async fn make(file: &Path, on: &Path, size: u64, shared: &Path) -> Result<(), ProviderError> {
    let parts: Vec<_> = shared.components().collect();
    let below: PathBuf = parts[parts.len().saturating_sub(2)..].iter().collect();
    let on = text_of(&Path::new("../..").join(below).join(on)).map_err(failed("using", shared))?;
    // `-u`: what is below is open in a machine, and is not looked at.
    let argv = Argv::new("qemu-img").args(["create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b"]).arg(on);
    let argv = argv.arg(text(file).map_err(failed("using", file))?).arg(size.to_string());
    gone(file).map_err(failed("removing", file))?;
    said(&argv, LIMIT, || format!("making the disk {}", file.display())).await?;
    // The guest's disk holds its keys.
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).map_err(failed("making", file))
}

fn text_of(path: &Path) -> io::Result<String> {
    path.to_str().map(String::from).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is not UTF-8"))
}

/// The shared layers that a node's disk stands on, the top one first.
pub async fn below(node: &NodeName, files: &Files, shared: &Path) -> Result<Vec<Part>, ProviderError> {
    let all = chain(&files.disk()).await?;
    let shared = shared.canonicalize().map_err(failed("finding", shared))?;
    let ours = |layer: &Layer| {
        let file = layer.file.canonicalize().ok()?;
        (file.parent()? == shared).then(|| file.file_name().map(PathBuf::from))?
    };
    let part = |file| Part { node: node.clone(), role: Role::Disk, lies: Lies::Shared, file };
    Ok(all.iter().skip(1).filter_map(ours).map(part).collect())
}

/// Remove the shared layers that neither one of `kept` nor any disk of these nodes stands on.
pub async fn tidy(nodes: &[(NodeName, Files)], shared: &Path, kept: &[Saved]) -> Result<(), ProviderError> {
    let entries = match fs::read_dir(shared) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed("listing", shared))?,
    };
    let of_points = kept.iter().flat_map(|saved| &saved.parts).filter(|part| part.lies == Lies::Shared);
    let mut needed: HashSet<OsString> = of_points.map(|part| part.file.clone().into()).collect();
    for (node, files) in nodes {
        if files.disk().exists() {
            needed.extend(below(node, files, shared).await?.into_iter().map(|part| part.file.into()));
        }
    }
    for entry in entries {
        let entry = entry.map_err(failed("listing", shared))?;
        if !needed.contains(&entry.file_name()) {
            fs::remove_file(entry.path()).map_err(failed("removing", &entry.path()))?;
        }
    }
    Ok(())
}
