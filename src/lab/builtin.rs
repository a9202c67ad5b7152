//! Labs, templates and image recipes: those the binary carries, and the folder that overrides them.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

use super::images::Images;
use super::name::LabName;
use super::problem::{Problems, nearest};
use crate::lab::builtin::write::write_all;

mod parts;
#[cfg(test)]
mod tests;
pub(crate) mod write;

pub use write::Existing;

static LABS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/labs");
static MANIFESTS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/manifests");
static CLOUD_CONFIG: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/cloud-config");

/// The carried folders by the names they have in an exported tree.
fn carried() -> [(&'static str, &'static Dir<'static>); 3] {
    [("labs", &LABS), ("cloud-config", &CLOUD_CONFIG), ("manifests", &MANIFESTS)]
}

/// Labs, templates and recipes of one run.
///
/// A folder with the carried layout (`labs/`, `cloud-config/`, `manifests/`) may override them: a lab and a recipe as a whole, so
/// that no lab is mixed with another's lock, and every other file for itself. What is not there is the binary's.
#[derive(Clone, Debug)]
pub struct Library {
    over: Option<PathBuf>,
}

/// A text and the path that people know it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The whole file.
    pub text: String,
    /// Where it lies in the overriding folder; for the binary's own, where it would lie in an exported tree.
    pub shown: String,
}

/// One file of an image's recipe.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecipeFile {
    /// Its path inside the recipe's folder.
    pub path: String,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// Why something could not be had from the library, or written out of it.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The overriding folder holds nothing of a library.
    #[error(
        "`{}` has no folder `labs`, `cloud-config` or `manifests`; `calicolab labs export DIR` writes a folder that has",
        folder.display()
    )]
    NotALibrary {
        /// What was given.
        folder: PathBuf,
    },
    /// No lab of this name.
    #[error("there is no lab `{name}`{}; there is {}", did_you_mean(nearest.as_deref()), all.join(", "))]
    UnknownLab {
        /// What was asked for.
        name: LabName,
        /// The lab that was likely meant.
        nearest: Option<String>,
        /// Every lab.
        all: Vec<String>,
    },
    /// A folder of a lab whose name no lab can have.
    #[error("`{}` cannot be a lab", folder.display())]
    FolderName {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with its name.
        source: super::name::NameError,
    },
    /// No such file or recipe.
    #[error("there is no `{path}`, neither in the binary nor in a folder given by `--labs`")]
    NotThere {
        /// What was asked for.
        path: String,
    },
    /// `images.yaml` is wrong.
    #[error("the list of OS images is wrong")]
    Images {
        /// All that is wrong.
        source: Problems,
    },
    /// A file could not be read.
    #[error("`{}` could not be read", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("`{}` could not be written", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Files are there already and differ; nothing was written.
    #[error("{} already there and different: {}; nothing was written", if files.len() == 1 { "a file is" } else { "files are" }, listed(files))]
    Differ {
        /// Those files.
        files: Vec<PathBuf>,
    },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |near| format!(", did you mean `{near}`?"))
}

fn listed(files: &[PathBuf]) -> String {
    files.iter().map(|file| format!("`{}`", file.display())).collect::<Vec<_>>().join(", ")
}

impl Library {
    /// The binary's own, overridden by `over` (`--labs DIR`) where that is given.
    pub fn open(over: Option<PathBuf>) -> Result<Self, LibraryError> {
        match over {
            Some(folder) if !carried().iter().any(|(name, _)| folder.join(name).is_dir()) => {
                Err(LibraryError::NotALibrary { folder })
            }
            over => Ok(Self { over }),
        }
    }

    /// The names of all labs, sorted.
    pub fn labs(&self) -> Result<Vec<LabName>, LibraryError> {
        let mut names = BTreeSet::new();
        for folder in LABS.dirs().filter(|folder| folder.get_file(folder.path().join("lab.yaml")).is_some()) {
            names.insert(lab_name(folder.path())?);
        }
        if let Some(over) = &self.over {
            for folder in entries(&over.join("labs"))?.into_iter().filter(|path| path.join("lab.yaml").is_file()) {
                names.insert(lab_name(&folder)?);
            }
        }
        Ok(names.into_iter().collect())
    }

    /// The `lab.yaml` of `name`.
    pub fn lab(&self, name: &LabName) -> Result<Text, LibraryError> {
        if let Some(text) = self.of_lab(name, "lab.yaml")? {
            return Ok(text);
        }
        let all: Vec<String> = self.labs()?.iter().map(ToString::to_string).collect();
        let nearest = nearest(name.as_str(), &all).map(str::to_owned);
        Err(LibraryError::UnknownLab { name: name.clone(), nearest, all })
    }

    /// The `lock.yaml` of `name`: the user's own at `users` if that is a file, else the lab's, if it has one.
    pub fn lock_text(&self, name: &LabName, users: Option<&Path>) -> Result<Option<Text>, LibraryError> {
        match users.map(read_file).transpose()?.flatten() {
            Some(text) => Ok(Some(text)),
            None => self.of_lab(name, "lock.yaml"),
        }
    }

    /// The `README.md` of `name`, if it has one.
    pub fn readme(&self, name: &LabName) -> Result<Option<Text>, LibraryError> {
        self.of_lab(name, "README.md")
    }

    /// The OS images.
    pub fn images(&self) -> Result<Images, LibraryError> {
        let text = self.template("labs/images.yaml")?;
        Images::read(&text.text, &text.shown).map_err(|source| LibraryError::Images { source })
    }

    /// The text at `path` of the carried layout, as `cloud-config/primer/master.yaml`.
    pub fn template(&self, path: &str) -> Result<Text, LibraryError> {
        let not_there = || LibraryError::NotThere { path: path.into() };
        if !stays_inside(path) {
            return Err(not_there());
        }
        if let Some(over) = &self.over
            && let Some(text) = read_file(&over.join(path))?
        {
            return Ok(text);
        }
        carried_text(path).ok_or_else(not_there)
    }

    /// The files of the recipe in `folder` (`labs/images/debian-12`), those of its folders too, sorted by path.
    pub fn image_recipe_files(&self, folder: &str) -> Result<Vec<RecipeFile>, LibraryError> {
        let folder = folder.trim_end_matches('/');
        let mut files = Vec::new();
        let own = self.over.as_ref().map(|over| over.join(folder));
        if let Some(root) = own.filter(|path| stays_inside(folder) && path.is_dir()) {
            files_below(&root, &root, &mut files)?;
        } else {
            for (path, bytes) in carried_files() {
                if let Some(inside) = path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')) {
                    files.push(RecipeFile { path: inside.into(), bytes: bytes.into() });
                }
            }
        }
        files.sort();
        if files.is_empty() { Err(LibraryError::NotThere { path: folder.into() }) } else { Ok(files) }
    }

    /// Write everything the binary carries below `dir`, in the layout that `--labs` takes. Returns the files that
    /// were written; those that were there with the same bytes are left alone.
    pub fn export(dir: &Path, existing: Existing) -> Result<Vec<PathBuf>, LibraryError> {
        let files = carried_files().into_iter().map(|(path, bytes)| (dir.join(path), bytes.to_vec())).collect();
        write_all(files, existing)
    }

    fn of_lab(&self, name: &LabName, file: &str) -> Result<Option<Text>, LibraryError> {
        let folder = format!("labs/{name}");
        match self.over.as_ref().map(|over| over.join(&folder)).filter(|path| path.join("lab.yaml").is_file()) {
            Some(own) => read_file(&own.join(file)),
            None => Ok(carried_text(&format!("{folder}/{file}"))),
        }
    }
}

/// The text of `path` on this host, if there is such a file.
pub(crate) fn read_file(path: &Path) -> Result<Option<Text>, LibraryError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(Text { text, shown: path.display().to_string() })),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(LibraryError::Read { path: path.into(), source }),
    }
}

/// The name of the lab that lies in `folder`.
pub(crate) fn lab_name(folder: &Path) -> Result<LabName, LibraryError> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    name.parse().map_err(|source| LibraryError::FolderName { folder: folder.into(), source })
}

fn stays_inside(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn carried_path(path: &str) -> Option<(&'static Dir<'static>, &str)> {
    let (top, inside) = path.split_once('/')?;
    carried().into_iter().find(|(name, _)| *name == top).map(|(_, dir)| (dir, inside))
}

fn carried_text(path: &str) -> Option<Text> {
    let (dir, inside) = carried_path(path)?;
    let text = dir.get_file(inside)?.contents_utf8()?;
    Some(Text { text: text.into(), shown: path.into() })
}

fn carried_files() -> Vec<(String, &'static [u8])> {
    fn walk(top: &str, dir: &'static Dir<'static>, files: &mut Vec<(String, &'static [u8])>) {
        files.extend(dir.files().map(|file| (format!("{top}/{}", file.path().display()), file.contents())));
        for inner in dir.dirs() {
            walk(top, inner, files);
        }
    }
    let mut files = Vec::new();
    for (top, dir) in carried() {
        walk(top, dir, &mut files);
    }
    files
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, LibraryError> {
    let wrong = |source| LibraryError::Read { path: folder.into(), source };
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path()).map_err(wrong)).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(wrong(source)),
    }
}

fn files_below(root: &Path, folder: &Path, files: &mut Vec<RecipeFile>) -> Result<(), LibraryError> {
    for path in entries(folder)? {
        if path.is_dir() {
            files_below(root, &path, files)?;
        } else {
            let bytes = std::fs::read(&path).map_err(|source| LibraryError::Read { path: path.clone(), source })?;
            let inside = path.strip_prefix(root).expect("it was found below the root");
            files.push(RecipeFile { path: inside.to_string_lossy().into(), bytes });
        }
    }
    Ok(())
}
