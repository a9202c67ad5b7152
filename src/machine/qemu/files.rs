//! Where one machine's files and sockets lie.

use std::fs;
use std::path::PathBuf;

use crate::lab::name::NodeName;
use crate::machine::Place;

/// Where one node's files lie.
#[derive(Clone, Debug)]
pub struct Files {
    /// `vm/NODE/`.
    pub folder: PathBuf,
    /// What the guest changed of the image, up to the first point that was saved of it. There only when complete.
    pub overlay: PathBuf,
    /// A link to the disk that is written to, where that is another one by now.
    pub top: PathBuf,
    /// The NoCloud disk.
    pub seed: PathBuf,
    /// The serial console of all boots, each with its mark.
    pub console: PathBuf,
    /// What QEMU itself said since its last start.
    pub log: PathBuf,
    /// The command line, for people.
    pub argv: PathBuf,
    /// [`Record`].
    pub record: PathBuf,
    /// The QMP socket.
    pub qmp: PathBuf,
    /// The socket for streams of its memory.
    pub ram: PathBuf,
}

impl Files {
    /// Of one node of a cluster.
    pub fn of(place: &Place, node: &NodeName) -> Self {
        Self::at(place.vm(node), place, node)
    }

    /// The same, with a folder elsewhere.
    pub fn at(folder: PathBuf, place: &Place, node: &NodeName) -> Self {
        Self {
            overlay: folder.join("overlay.qcow2"),
            top: folder.join("top"),
            seed: folder.join("seed.img"),
            console: folder.join("console.log"),
            log: folder.join("qemu.log"),
            argv: folder.join("argv"),
            record: folder.join("process.json"),
            qmp: place.sockets.join(format!("{node}.qmp")),
            ram: place.sockets.join(format!("{node}.ram")),
            folder,
        }
    }

    /// The disk that is written to. QEMU opens a disk's file again by its name now and then, so the name of one that
    /// it has open never comes to mean another file.
    pub fn disk(&self) -> PathBuf {
        fs::read_link(&self.top).map_or_else(|_| self.overlay.clone(), |name| self.folder.join(name))
    }

    /// The last lines QEMU itself said, for errors.
    pub fn last_words(&self) -> String {
        let said = fs::read(&self.log).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = said.trim_end().lines().collect();
        lines[lines.len().saturating_sub(6)..].join("\n")
    }
}
