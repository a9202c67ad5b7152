//! From a laid folder to a running container: what is started, and what that becomes.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use calicolab::command::{self, Argv};
use calicolab::lab::name::NodeName;
use calicolab::machine::boot_mark;

use super::names::{Names, Role};
use super::upper::Files;
use super::{cgroup, programs, wire};

/// The word by which this program is told to become a container.
pub const WORD: &str = "become-container";

/// Start a container that lives on after us. Nothing in here is awaited, so no interrupt can come between.
pub fn start(names: &Names, node: &NodeName, files: &Files, tree: &Path) -> io::Result<()> {
    let console = OpenOptions::new().append(true).create(true).mode(0o600).open(&files.console)?;
    (&console).write_all(boot_mark(jiff::Timestamp::now()).as_bytes())?;
    let mark = names.mark(Role::Machine, node);
    // A container whose nspawn is killed would live on, but not without the namespace of process numbers that it is in.
    let ended = Command::new("setsid")
        .args(["--fork", "unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child=KILL"])
        .arg("--mount-proc")
        .arg(std::env::current_exe()?)
        .args([WORD, &mark, &names.node(node)])
        .args([tree, &files.folder])
        .stdin(Stdio::null())
        .stdout(console.try_clone()?)
        .stderr(console)
        .status()?;
    if ended.success() { Ok(()) } else { Err(io::Error::other(format!("setsid: {ended}"))) }
}

/// In the namespaces that `unshare` made: take a control group, mount the root, become nspawn. Comes back only with
/// what went wrong.
pub fn become_container(words: &[String]) -> Result<std::convert::Infallible, Box<dyn Error>> {
    let [mark, name, tree, folder] = words else { return Err("wants MARK NAME TREE FOLDER".into()) };
    cgroup::enter(name)?;
    let folder = Path::new(folder);
    let files = Files { folder: folder.into(), console: folder.join("console.log") };
    let root = files.root();
    let layers = format!("lowerdir={tree},upperdir={},workdir={}", files.upper().display(), files.work().display());
    let mounted = Command::new("mount").args(["-t", "overlay", "overlay", "-o", &layers]).arg(&root).status()?;
    if !mounted.success() {
        return Err(format!("mounting {}: {mounted}", root.display()).into());
    }
    let mut nspawn = Command::new(programs::nspawn());
    nspawn
        .args(["--boot", "--quiet", "--settings=no", "--register=no", "--keep-unit", "--resolv-conf=off"])
        .args(["--timezone=off", "--link-journal=no", "--console=read-only", "--capability=CAP_NET_ADMIN"])
        // runc asks for a session keyring.
        .arg("--system-call-filter=@keyring bpf")
        .arg(format!("--machine={name}"))
        .arg(format!("--directory={}", root.display()))
        .arg(format!("--network-namespace-path={}", wire::namespace(name).display()))
        .args(["-E", mark])
        .env("LD_LIBRARY_PATH", programs::libraries())
        // A node forwards: what is below /proc/sys/net must be writable.
        .env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network")
        // Its lock files would stay when it is killed.
        .env("SYSTEMD_NSPAWN_LOCK", "0");
    if cgroup::legacy()? {
        nspawn.env("UNIFIED_CGROUP_HIERARCHY", "0");
    }
    Err(nspawn.exec().into())
}

/// What is wrong with the container program, if it cannot even say its version.
pub async fn unfit() -> Option<String> {
    let argv = Argv::new("env")
        .arg(format!("LD_LIBRARY_PATH={}", programs::libraries()))
        .args([programs::nspawn().display().to_string(), "--version".into()]);
    let said = command::run(&argv, Duration::from_secs(10)).await.and_then(|output| output.success(&argv));
    said.err().map(|error| error.to_string())
}
