//! What a cluster's machines are made from, remembered beside them: the same again, whatever the lab says by then.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::durable;
use crate::lab::name::PerNode;
use crate::machine::{DirectBoot, Image, Seed, Tree};

const FILE: &str = "made.json";

/// Version of `made.json`.
const SCHEMA: u32 = 1;

/// Image and payload of a cluster's machines, as files of the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    schema: u32,
    disk: PathBuf,
    qcow2: bool,
    boot: Option<Direct>,
    user: String,
    payload: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tree: Option<Whole>,
}

/// A tree and its sum, by which its provider knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Whole {
    path: PathBuf,
    sha256: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Direct {
    kernel: PathBuf,
    initrd: PathBuf,
    cmdline: String,
}

impl Made {
    /// Write down what machines are about to be made from.
    pub fn remember(folder: &Path, image: &Image, seeds: &PerNode<Seed>) -> io::Result<()> {
        let kernel = |boot: &DirectBoot| Direct {
            kernel: boot.kernel.clone(),
            initrd: boot.initrd.clone(),
            cmdline: boot.cmdline.clone(),
        };
        let made = Self {
            schema: SCHEMA,
            disk: image.disk.clone(),
            qcow2: image.format == "qcow2",
            boot: image.boot.as_ref().map(kernel),
            user: image.user.clone(),
            payload: seeds.values().find_map(|seed| seed.payload.clone()),
            tree: image.tree.as_ref().map(|tree| Whole { path: tree.path.clone(), sha256: tree.sha256.clone() }),
        };
        durable::write(&folder.join(FILE), &serde_json::to_vec_pretty(&made)?, 0o600)
    }

    /// What the machines of a cluster were made from, if that was written down in a way that is known.
    pub fn read(folder: &Path) -> Option<Self> {
        let made: Self = serde_json::from_slice(&std::fs::read(folder.join(FILE)).ok()?).ok()?;
        (made.schema == SCHEMA).then_some(made)
    }

    /// The image, for one that is to be made again.
    pub fn image(&self) -> Image {
        let direct = |boot: &Direct| DirectBoot {
            kernel: boot.kernel.clone(),
            initrd: boot.initrd.clone(),
            cmdline: boot.cmdline.clone(),
        };
        Image {
            disk: self.disk.clone(),
            format: if self.qcow2 { "qcow2" } else { "raw" },
            boot: self.boot.as_ref().map(direct),
            tree: self.tree.as_ref().map(|tree| Tree { path: tree.path.clone(), sha256: tree.sha256.clone() }),
            user: self.user.clone(),
        }
    }

    /// The tar of what nodes get.
    pub fn payload(&self) -> Option<PathBuf> {
        self.payload.clone()
    }

    /// All files of the cache that a machine stands on. A tree is none: its provider has it by then.
    pub fn files(&self) -> Vec<PathBuf> {
        let boot = self.boot.iter().flat_map(|boot| [&boot.kernel, &boot.initrd]);
        let disk = Some(&self.disk).filter(|_| self.tree.is_none());
        disk.into_iter().chain(boot).chain(&self.payload).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_makes_the_same_image() {
        let folder = tempfile::tempdir().expect("a temp folder");
        assert_eq!(Made::read(folder.path()), None);
        let boot = DirectBoot { kernel: "/c/vmlinuz".into(), initrd: "/c/initrd".into(), cmdline: "quiet".into() };
        let image = Image { disk: "/c/disk".into(), format: "raw", boot: Some(boot), tree: None, user: "lab".into() };
        let plan = crate::lab::example::planned(&crate::lab::example::lab(&["n1"]), "demo");
        let seeds = plan.nodes.map(|_, _| Seed {
            meta_data: String::new(),
            user_data: String::new(),
            network_config: None,
            host_key: String::new(),
            payload: Some("/c/payload".into()),
        });
        Made::remember(folder.path(), &image, &seeds).expect("written");
        let made = Made::read(folder.path()).expect("read");
        assert_eq!(format!("{:?}", made.image()), format!("{image:?}"));
        let files: Vec<PathBuf> = ["/c/disk", "/c/vmlinuz", "/c/initrd", "/c/payload"].map(PathBuf::from).into();
        assert_eq!(made.files(), files);
        let tree = Some(Tree { path: "/c/tree".into(), sha256: "00".into() });
        let image = Image { disk: PathBuf::new(), boot: None, tree, ..image };
        Made::remember(folder.path(), &image, &seeds).expect("written");
        let made = Made::read(folder.path()).expect("read");
        assert_eq!(format!("{:?}", made.image()), format!("{image:?}"));
        assert_eq!(made.files(), [PathBuf::from("/c/payload")]);
    }
}
