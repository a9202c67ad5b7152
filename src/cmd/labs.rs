//! `labs list|show|matrix|new|check|schema|export`: what there is, what is wrong with it, and copies to change.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::cx::counted;
use super::table::{columns, size};
use crate::lab::builtin::{self, Existing, Library, LibraryError, Text, write::write_all};
use crate::lab::era::{self, ERAS, Era};
use crate::lab::file::{Artifact, Installer, Lab};
use crate::lab::name::{LabName, NodeName};
use crate::lab::pin::{Lock, Wanted};
use crate::lab::plan::pinned;
use crate::lab::problem::Problems;
use crate::lab::schema::lab_schema;
use crate::lab::setting::Setting;

#[cfg(test)]
mod tests;

/// Why there is no lab to work with.
#[derive(Debug, thiserror::Error)]
pub enum LabsError {
    /// It could not be had, or not be written.
    #[error(transparent)]
    Library(LibraryError),
    /// A path that leads to no lab.
    #[error("there is no file `{}`; give a lab's name, its folder, or its lab.yaml", path.display())]
    NoFile {
        /// What was given.
        path: PathBuf,
    },
    /// The lab or its lock is wrong.
    #[error("lab `{name}` is wrong")]
    Wrong {
        /// The lab.
        name: LabName,
        /// All that is wrong.
        source: Problems,
    },
}

/// Read a lab and its lock: all problems of both at once. `users_lock` is the user's own lock, if there may be one.
pub fn read(
    library: &Library,
    name: &LabName,
    sets: &[Setting],
    users_lock: Option<&Path>,
) -> Result<(Lab, Lock), LabsError> {
    let text = library.lab(name).map_err(LabsError::Library)?;
    let lock = library.lock_text(name, users_lock).map_err(LabsError::Library)?;
    read_texts(library, name, &text, lock.as_ref(), sets)
}

fn read_texts(
    library: &Library,
    name: &LabName,
    text: &Text,
    lock: Option<&Text>,
    sets: &[Setting],
) -> Result<(Lab, Lock), LabsError> {
    let images = library.images().map_err(LabsError::Library)?;
    let lab = Lab::read(name, &text.text, &text.shown, sets, &images);
    // A lab without a lock is complete as soon as `lock` has written one.
    let lock = lock.map_or_else(|| Ok(Lock::empty()), |lock| Lock::read(&lock.text, &lock.shown));
    let source = match (lab, lock) {
        (Ok(lab), Ok(lock)) => return Ok((lab, lock)),
        (Err(lab), Err(lock)) => lab.and(lock),
        (Err(problems), _) | (_, Err(problems)) => problems,
    };
    Err(LabsError::Wrong { name: name.clone(), source })
}

/// One lab in the list of all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LabLine {
    /// Its name.
    pub name: LabName,
    /// How many nodes it has by itself; `None` if it is wrong.
    pub nodes: Option<usize>,
    /// Its OS image.
    pub image: Option<String>,
    /// How the cluster is built.
    pub installer: Option<Installer>,
    /// How many artifacts it has.
    pub artifacts: usize,
    /// Those without a digest for its nodes.
    pub missing: Vec<String>,
    /// One line for people; for a wrong lab, how to learn more.
    pub about: String,
}

/// Every lab, the wrong ones too.
pub fn list(library: &Library) -> Result<Vec<LabLine>, LabsError> {
    let names = library.labs().map_err(LabsError::Library)?;
    names.into_iter().map(|name| line(library, name)).collect()
}

fn line(library: &Library, name: LabName) -> Result<LabLine, LabsError> {
    match read(library, &name, &[], None) {
        Ok((lab, lock)) => Ok(LabLine {
            name,
            nodes: Some(lab.nodes.names.len()),
            installer: Some(lab.installer),
            missing: unpinned(&lab, &lock),
            artifacts: lab.artifacts.len(),
            image: Some(lab.image),
            about: lab.about,
        }),
        Err(LabsError::Wrong { source, .. }) => {
            let about = format!("{} problems: calicolab labs check {name}", source.iter().len());
            Ok(LabLine { name, nodes: None, image: None, installer: None, artifacts: 0, missing: Vec::new(), about })
        }
        Err(error) => Err(error),
    }
}

/// The artifacts without a digest for the lab's nodes, as the plan sees it: a pin of another source is no pin.
fn unpinned(lab: &Lab, lock: &Lock) -> Vec<String> {
    let missing = |of: &&Artifact| pinned(of, lock, lab.arch).is_err();
    lab.artifacts.iter().filter(missing).map(|artifact| artifact.name.clone()).collect()
}

/// Whether a lock is complete, in a word or two.
fn completeness(missing: usize) -> String {
    if missing == 0 { "complete".into() } else { format!("{missing} missing") }
}

/// The list for people.
pub fn list_table(labs: &[LabLine]) -> String {
    let rows = labs.iter().map(|lab| {
        let shown = |count: Option<usize>| count.map_or_else(|| "-".into(), |count| count.to_string());
        let lock = lab.nodes.map_or_else(|| "-".into(), |_| completeness(lab.missing.len()));
        let installer = lab.installer.map_or_else(|| "-".into(), |installer| installer.to_string());
        let image = lab.image.clone().unwrap_or_else(|| "-".into());
        vec![lab.name.to_string(), shown(lab.nodes), installer, image, lock, lab.about.clone()]
    });
    columns(&["LAB", "NODES", "INSTALLER", "IMAGE", "LOCK", "ABOUT"], rows)
}

/// One lab for people: what it is made of, and what its README says.
pub fn show(library: &Library, name: &LabName) -> Result<String, LabsError> {
    let text = library.lab(name).map_err(LabsError::Library)?;
    let (lab, lock) = read(library, name, &[], None)?;
    let missing: Vec<Wanted> = lab
        .artifacts
        .iter()
        .filter_map(|artifact| pinned(artifact, &lock, lab.arch).err().map(|wanted| *wanted))
        .collect();
    let nodes: Vec<&str> = lab.nodes.names.iter().map(NodeName::as_str).collect();
    let each = format!(
        "{}, {} memory, {} disk each",
        counted(lab.nodes.cpus.into(), "cpu"),
        size(lab.nodes.memory_mib),
        size(lab.nodes.disk_mib)
    );
    let mut out = format!("{name}: {}\n\n", lab.about);
    let facts = [
        ("file", text.shown),
        ("image", lab.image.clone()),
        ("installer", lab.installer.to_string()),
        ("nodes", format!("{} ({each})", nodes.join(", "))),
        ("pods", format!("{}, in blocks of /{}", lab.network.pods, lab.network.block)),
        ("services", lab.network.services.to_string()),
        ("AS", lab.bgp.asn.to_string()),
        (
            "lock",
            format!(
                "{} of {} artifacts, {}",
                lab.artifacts.len() - missing.len(),
                lab.artifacts.len(),
                completeness(missing.len())
            ),
        ),
    ];
    for (what, fact) in facts.into_iter().chain(releases(&lab)) {
        let _ = writeln!(out, "{what:<10} {fact}");
    }
    for Wanted { name, why, .. } in &missing {
        let _ = writeln!(out, "{:<10} {name}: {why}", "missing");
    }
    if !missing.is_empty() {
        let _ = writeln!(out, "{:<10} `calicolab lock {name}` finds what can be found", "");
    }
    if let Some(readme) = library.readme(name).map_err(LabsError::Library)? {
        let _ = write!(out, "\n{}", readme.text);
    }
    Ok(out)
}

/// What a lab installs, and what else that goes with.
fn releases(lab: &Lab) -> Vec<(&'static str, String)> {
    let kubernetes = lab.kubernetes.as_ref().map(|kubernetes| ("kubernetes", kubernetes.version.to_string()));
    let calico = lab.calico.as_ref().map(|calico| {
        let range = era::of(calico.version).map_or_else(String::new, |era| format!(", for Kubernetes {}", era.range()));
        ("calico", format!("{}{range}", calico.version))
    });
    kubernetes.into_iter().chain(calico).collect()
}

/// Which Calico goes with which Kubernetes, why others do not, and the labs that are made of it.
pub fn matrix(library: &Library) -> Result<String, LabsError> {
    let mut labs = Vec::new();
    for name in library.labs().map_err(LabsError::Library)? {
        match read(library, &name, &[], None) {
            Ok((Lab { calico: Some(calico), .. }, _)) => labs.push((calico.version.series(), name.to_string())),
            // What is wrong with a lab, `labs` says.
            Ok(_) | Err(LabsError::Wrong { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let mut out = columns(
        &["CALICO", "KUBERNETES", "LABS"],
        ERAS.iter().map(|era| {
            let made: Vec<&str> =
                labs.iter().filter(|(series, _)| *series == era.calico).map(|(_, name)| name.as_str()).collect();
            vec![format!("{}.{}", era.calico.0, era.calico.1), era.range(), made.join(" ")]
        }),
    );
    for Era { calico: (major, minor), takes: (first, last), older, newer, .. } in &ERAS {
        let _ = write!(out, "\n{major}.{minor} not before 1.{first}: {older}");
        if let Some(last) = last {
            let _ = write!(out, "\n{major}.{minor} not after 1.{last}: {newer}");
        }
    }
    out.push('\n');
    Ok(out)
}

/// Begin a lab of one's own from `primer`, below `dir`, which `--labs` then takes. Returns the files written.
pub fn new(library: &Library, name: &LabName, dir: &Path) -> Result<Vec<PathBuf>, LabsError> {
    let primer: LabName = "primer".parse().expect("a lab's name");
    let text = library.lab(&primer).map_err(LabsError::Library)?.text;
    let lock = library.lock_text(&primer, None).map_err(LabsError::Library)?;
    let folder = dir.join("labs").join(name.as_str());
    let begun = format!("# Lab {name}, begun from primer; `calicolab up {name} --labs DIR` boots it.\n#\n{text}");
    let mut files = vec![(folder.join("lab.yaml"), begun.into_bytes())];
    files.extend(lock.map(|lock| (folder.join("lock.yaml"), lock.text.into_bytes())));
    write_all(files, Existing::Keep).map_err(LabsError::Library)
}

/// A lab that is right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Its file.
    pub file: String,
    /// The lab as it was understood.
    pub lab: Lab,
    /// Artifacts without a digest.
    pub unpinned: Vec<String>,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (nodes, artifacts) = (self.lab.nodes.names.len(), self.lab.artifacts.len());
        write!(f, "{} is right: {nodes} nodes, {artifacts} artifacts", self.file)?;
        if !self.unpinned.is_empty() {
            let name = &self.lab.name;
            write!(f, "; `calicolab lock {name}` finds the digests of {}", self.unpinned.join(", "))?;
        }
        Ok(())
    }
}

/// Check a lab by its name, or one that lies at a path: its `lab.yaml`, or the folder of it.
pub fn check(library: &Library, lab: &str) -> Result<Checked, LabsError> {
    let path = Path::new(lab);
    let (name, text, lock) = match lab.parse::<LabName>() {
        Ok(name) if !path.exists() || library.labs().map_err(LabsError::Library)?.contains(&name) => {
            let text = library.lab(&name).map_err(LabsError::Library)?;
            let lock = library.lock_text(&name, None).map_err(LabsError::Library)?;
            (name, text, lock)
        }
        _ => at_path(path).map_err(LabsError::Library)?.ok_or_else(|| LabsError::NoFile { path: path.into() })?,
    };
    let (lab, lock) = read_texts(library, &name, &text, lock.as_ref(), &[])?;
    let unpinned = unpinned(&lab, &lock);
    Ok(Checked { file: text.shown, lab, unpinned })
}

fn at_path(path: &Path) -> Result<Option<(LabName, Text, Option<Text>)>, LibraryError> {
    let file = if path.is_dir() { path.join("lab.yaml") } else { path.to_owned() };
    let Some(text) = builtin::read_file(&file)? else { return Ok(None) };
    // The name is that of the folder, which `./lab.yaml` does not say.
    let whole = file.canonicalize().map_err(|source| LibraryError::Read { path: file.clone(), source })?;
    let name = builtin::lab_name(whole.parent().unwrap_or(&whole))?;
    let lock = builtin::read_file(&file.with_file_name("lock.yaml"))?;
    Ok(Some((name, text, lock)))
}

/// The JSON Schema of `lab.yaml`.
pub fn schema() -> String {
    lab_schema()
}

/// Write everything the binary carries below `dir`, which `--labs` then takes. Returns the files written.
pub fn export(dir: &Path, existing: Existing) -> Result<Vec<PathBuf>, LabsError> {
    Library::export(dir, existing).map_err(LabsError::Library)
}
