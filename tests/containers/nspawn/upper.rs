//! What a node's container has beside the image: its seed, and what a machine has by itself but a container has not.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use calicolab::lab::name::NodeName;
use calicolab::machine::{Place, Seed};

/// Where one node's files lie.
#[derive(Clone, Debug)]
pub struct Files {
    /// `vm/NODE/`.
    pub folder: PathBuf,
    /// The console of all boots, each with its mark; nspawn's own words too.
    pub console: PathBuf,
}

/// The kernel's control groups of old are mounted read-only but for systemd's own; runc makes groups in all of them.
/// The node's word that it is ready goes to its serial console, which a container calls otherwise.
const UNIT: &str = "[Unit]
Description=What a virtual machine has by itself
DefaultDependencies=no
Before=sysinit.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'ln -sf console /dev/ttyS0; for d in /sys/fs/cgroup/*/; do mount -o remount,rw,bind $$d; done'
";

/// Else a power-off waits for the containers of a node as long as systemd's patience is.
const PATIENCE: &str = "[Manager]\nDefaultTimeoutStopSec=3s\n";

impl Files {
    /// Of one node of a cluster.
    pub fn of(place: &Place, node: &NodeName) -> Self {
        let folder = place.vm(node);
        Self { console: folder.join("console.log"), folder }
    }

    /// What the container changed of the image.
    pub fn upper(&self) -> PathBuf {
        self.folder.join("upper")
    }

    /// The overlay's own folder.
    pub fn work(&self) -> PathBuf {
        self.folder.join("work")
    }

    /// Where the container's root is mounted, in a mount namespace of its own.
    pub fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// Lay what the container finds. Repeated at each boot, as a seed disk is made anew at each.
    pub fn lay(&self, seed: &Seed) -> io::Result<()> {
        let upper = self.upper();
        for folder in [&self.work(), &self.root()] {
            fs::create_dir_all(folder)?;
        }
        let nocloud = upper.join("var/lib/cloud/seed/nocloud");
        write(&nocloud.join("meta-data"), &seed.meta_data, 0o600)?;
        write(&nocloud.join("user-data"), &seed.user_data, 0o600)?;
        let units = upper.join("etc/systemd/system");
        write(&units.join("nspawn.service"), UNIT, 0o644)?;
        let wanted = units.join("sysinit.target.wants");
        fs::create_dir_all(&wanted)?;
        match symlink("../nspawn.service", wanted.join("nspawn.service")) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        write(&upper.join("etc/systemd/system.conf.d/99-nspawn.conf"), PATIENCE, 0o644)
    }
}

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}
