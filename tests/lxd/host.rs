//! What the host has for containers, and others have too: room, networks, the daemon itself, its kernel.

use std::path::PathBuf;
use std::process::Command;

use sha2::{Digest as _, Sha256};

use calicolab::cluster::home::Home;
use calicolab::event::Step;

use crate::daemon::{names, ok};
use crate::lab::{Lab, Test};
use crate::story::base;

/// The tests.
pub const ALL: &[Test] = &[
    ("storage_runs_full", storage_runs_full),
    ("a_subnet_in_use", a_subnet_in_use),
    ("two_labs_at_once", two_labs_at_once),
    ("what_containers_cannot_do", what_containers_cannot_do),
];

#[track_caller]
fn run(words: &[&str]) {
    let done = Command::new(words[0]).args(&words[1..]).status().expect("the host's own tools");
    assert!(done.success(), "{words:?}");
}

/// A pool in a file system of its own, where nodes are made while it stands.
struct SmallPool {
    folder: tempfile::TempDir,
}

impl SmallPool {
    fn new(mib: u64) -> Self {
        let pool = Self { folder: tempfile::tempdir().expect("a folder") };
        let file = pool.folder.path().join("disk");
        std::fs::File::create(&file).and_then(|file| file.set_len(mib << 20)).expect("sparse");
        run(&["mkfs.ext4", "-q", &file.display().to_string()]);
        std::fs::create_dir(pool.mount()).expect("ours");
        run(&["mount", "-o", "loop", &file.display().to_string(), &pool.mount().display().to_string()]);
        let source = pool.mount().join("pool");
        std::fs::create_dir(&source).expect("room");
        ok(&["storage", "create", "small", "dir", &format!("source={}", source.display())]);
        ok(&["profile", "device", "add", "default", "root", "disk", "path=/", "pool=small"]);
        pool
    }

    fn mount(&self) -> PathBuf {
        self.folder.path().join("mount")
    }

    fn filler(&self) -> PathBuf {
        self.mount().join("filler")
    }

    /// Leave this much room.
    fn fill_but(&self, mib: u64) {
        let free = rustix::fs::statvfs(self.mount()).map(|there| there.f_bavail * there.f_frsize).expect("mounted");
        let length = (free.saturating_sub(mib << 20)).to_string();
        run(&["fallocate", "-l", &length, &self.filler().display().to_string()]);
    }

    fn empty(&self) {
        std::fs::remove_file(self.filler()).expect("it was filled");
    }
}

impl Drop for SmallPool {
    fn drop(&mut self) {
        let _ = crate::daemon::lxc(&["profile", "device", "remove", "default", "root"]);
        let _ = crate::daemon::lxc(&["storage", "delete", "small"]);
        let _ = Command::new("umount").arg("-l").arg(self.mount()).status();
    }
}

fn storage_runs_full() {
    let pool = SmallPool::new(2400);
    let lab = Lab::new();
    let up = ["up", "--nodes", "2"];
    // It is seen before anything is made.
    pool.fill_but(300);
    let told = lab.ends(&up, 30);
    assert!(told.contains("the storage pool small may have to take 1800 MiB") && told.contains("lxc list"), "{told}");
    pool.empty();
    // Or it comes while nodes are made.
    let mut filled = lab.follow(&up);
    filled.begins(Step::Boot);
    pool.fill_but(100);
    let (code, failure) = filled.ended();
    assert_eq!(code, Some(50), "{failure}");
    assert!(
        failure.contains("provider.boot") && failure.to_lowercase().contains("no space left on device"),
        "{failure}"
    );
    lab.down();
    pool.empty();
    lab.ok(&up);
    lab.down();
}

/// The network that the lab's way outside would have.
fn wanted(lab: &Lab) -> String {
    let home = Home::at(lab.home(), lab.temp(), "test").expect("the home is there");
    let hash = Sha256::digest(home.label(&"primer".parse().expect("a name")).as_bytes());
    let third = u16::from_be_bytes([hash[4], hash[5]]) % (1 << 14);
    let [high, low] = third.to_be_bytes();
    format!("10.{}.{low}", 64 + high)
}

/// A link of the host on a network.
struct Link;

impl Link {
    fn on(network: &str) -> Self {
        run(&["ip", "link", "add", "cltaken", "type", "bridge"]);
        run(&["ip", "address", "add", &format!("{network}.77/24"), "dev", "cltaken"]);
        run(&["ip", "link", "set", "cltaken", "up"]);
        Self
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", "cltaken"]).status();
    }
}

fn a_subnet_in_use() {
    let lab = Lab::new();
    lab.ok(&["ls"]);
    let network = wanted(&lab);
    let link = Link::on(&network);
    let lan = lab.ends(&["up", "--set", &format!("network.lab={network}.0/24")], 11);
    assert!(lan.contains(&format!("{network}.0/24")), "{lan}");
    lab.ok(&["up", "--nodes", "2"]);
    let shown = ok(&["network", "show", &format!("{}n", base(&lab))]);
    assert!(!shown.contains(&format!("ipv4.address: {network}.")), "{shown}");
    // What is there already is kept once nothing is in its way.
    drop(link);
    lab.ok(&["up", "--nodes", "2"]);
    assert_eq!(ok(&["network", "show", &format!("{}n", base(&lab))]), shown);
    lab.down();
}

fn two_labs_at_once() {
    let lab = Lab::new();
    // Both import the image.
    for image in ok(&["image", "list", "--format", "csv", "--columns", "f"]).lines() {
        ok(&["image", "delete", image]);
    }
    let both = ["one", "two"].map(|name| lab.follow(&["up", "primer", "-n", name, "--nodes", "2"]));
    for up in both {
        let (code, failure) = up.ended();
        assert_eq!(code, Some(0), "{failure}");
    }
    assert_eq!(names("instances").len(), 4);
    assert_eq!(names("networks").len(), 4);
    let images = ok(&["image", "list", "--format", "csv", "--columns", "f"]);
    assert_eq!(images.lines().count(), 1, "{images}");
    lab.ok(&["down", "one"]);
    lab.ok(&["verify", "-n", "two"]);
    lab.down();
}

fn what_containers_cannot_do() {
    let lab = Lab::new();
    let told = lab.ends(&["up", "--set", "needs=kernel"], 30);
    assert!(told.contains("needs a kernel of its own") && told.contains("--vm, or --provider qemu"), "{told}");
    let told = lab.ends(&["up", "--vm"], 30);
    assert!(told.contains("makes no virtual machines (its drivers: lxc)"), "{told}");
    assert!(told.contains("has no boot loader") && told.contains("--set image=debian-12-cloud"), "{told}");
    // A name that no kernel has: it is told in any case, and is in the way where the kernel says what it has.
    let plan = lab.ok(&["plan", "--set", "modules=no_such_module"]);
    assert!(plan.contains("with no_such_module"), "{plan}");
    let report = lab.run(&["doctor", "-o", "json"]);
    let report = String::from_utf8_lossy(&report.stdout).into_owned();
    assert!(!report.contains("incus.subnet") && !report.contains("incus.user-namespaces"), "{report}");
    lab.nothing_left();
}
