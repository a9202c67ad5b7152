//! A private LXD for the length of the tests, and its client for looking at it from beside.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Output, Stdio};

use serde_json::Value;

use crate::FOLDER;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/lxd.sh");

/// Start a daemon, run the tests beside it, end it.
pub fn beside() -> ExitCode {
    // Paths of its sockets must be short.
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).expect("ours");
    script("start", folder.path().to_owned());
    let status = Command::new(std::env::current_exe().expect("we run"))
        .args(std::env::args_os().skip(1))
        .env(FOLDER, folder.path())
        .env("LXD_DIR", folder.path().join("lxd"))
        // What the client remembers of other servers, its certificate among it.
        .env("LXD_CONF", folder.path().join("conf"))
        .env("CALICOLAB_UP_PROVIDER", "incus")
        .status()
        .expect("we start again");
    script("stop", folder.path().to_owned());
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// End the daemon and all containers.
pub fn stop() {
    script("stop", folder());
}

/// Start it again, on what it had.
pub fn start() {
    script("start", folder());
}

fn folder() -> PathBuf {
    std::env::var_os(FOLDER).expect("the tests run beside a daemon").into()
}

#[track_caller]
fn script(verb: &str, folder: PathBuf) {
    let done = Command::new(SCRIPT).arg(verb).arg(folder).status().expect("a shell");
    assert!(done.success(), "scripts/lxd.sh {verb} failed (scripts/lxd.sh install, as root)");
}

/// Call the client.
pub fn lxc(words: &[&str]) -> Output {
    Command::new("lxc").args(words).stdin(Stdio::null()).output().expect("scripts/lxd.sh install")
}

/// Call the client and want success.
#[track_caller]
pub fn ok(words: &[&str]) -> String {
    let out = lxc(words);
    assert!(out.status.success(), "lxc {words:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("text")
}

/// Call the client with something to read, and want success.
#[track_caller]
pub fn with_input(words: &[&str], input: &str) {
    let mut child = Command::new("lxc").args(words).stdin(Stdio::piped()).spawn().expect("scripts/lxd.sh install");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    assert!(child.wait().expect("it was started").success(), "lxc {words:?}");
}

/// The names of what is at `path` (`instances`, `networks`, …) and not there in any LXD: all that labs make begins so.
#[track_caller]
pub fn names(path: &str) -> Vec<String> {
    let all: Vec<Value> = serde_json::from_str(&ok(&["query", &format!("/1.0/{path}?recursion=1")])).expect("JSON");
    // A daemon lists the host's links too, among them those of other daemons' labs.
    let all = all.into_iter().filter(|one| one["managed"] != false);
    let all = all.filter_map(|one| one["name"].as_str().map(str::to_owned));
    all.filter(|name| name.starts_with("cl")).collect()
}
