//! Libvirt's daemons for the length of the tests, and its client for looking at it from beside.

use std::path::PathBuf;
use std::process::{Command, ExitCode, Output, Stdio};

use crate::FOLDER;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/libvirt.sh");

/// Start the daemons, run the tests beside them, end those that were started.
pub fn beside() -> ExitCode {
    let folder = tempfile::tempdir().expect("a temporary folder");
    script("start", folder.path().to_owned());
    let status = Command::new(std::env::current_exe().expect("we run"))
        .args(std::env::args_os().skip(1))
        .env(FOLDER, folder.path())
        .env("VAGRANT_HOME", folder.path().join("vagrant"))
        .env("CALICOLAB_UP_PROVIDER", "vagrant")
        .status()
        .expect("we start again");
    script("stop", folder.path().to_owned());
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Vagrant's home of these tests.
pub fn vagrant_home() -> PathBuf {
    PathBuf::from(std::env::var_os(FOLDER).expect("the tests run beside libvirt")).join("vagrant")
}

#[track_caller]
fn script(verb: &str, folder: PathBuf) {
    let done = Command::new(SCRIPT).arg(verb).arg(folder).status().expect("a shell");
    assert!(done.success(), "scripts/libvirt.sh {verb} failed (scripts/libvirt.sh install, as root)");
}

/// Call the client.
pub fn virsh(words: &[&str]) -> Output {
    let mut command = Command::new("virsh");
    command.args(["--quiet", "--connect", "qemu:///system"]).args(words).stdin(Stdio::null());
    command.output().expect("scripts/libvirt.sh install")
}

/// Call the client and want success.
#[track_caller]
pub fn ok(words: &[&str]) -> String {
    let out = virsh(words);
    assert!(out.status.success(), "virsh {words:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("text")
}

/// The names that a list gives of things of this home's cluster: all that a lab makes begins with `base`.
#[track_caller]
pub fn names(list: &str, base: &str) -> Vec<String> {
    let all = ok(&[list, "--all", "--name"]);
    all.lines().map(str::trim).filter(|name| name.starts_with(base)).map(str::to_owned).collect()
}
