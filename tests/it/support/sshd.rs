//! A real sshd on a port of 127.0.0.1, with keys and config of its own, killed and reaped when dropped.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use calicolab::lab::name::{NodeName, PerNode};
use calicolab::machine::Target;
use calicolab::ssh::keys::ClusterKeys;

/// Where programs that only tests need are unpacked.
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/programs/root");
/// How long sshd may take for anything a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running sshd that lets the current user in with the cluster's key.
pub struct Sshd {
    child: Child,
    port: u16,
    user: String,
    keys: ClusterKeys,
    node: NodeName,
    folder: tempfile::TempDir,
    log: Arc<(Mutex<String>, Condvar)>,
}

impl Sshd {
    /// One that is what it should be.
    pub fn start() -> Self {
        Self::start_with(|keys, node| keys.host_private(node).to_string(), "VERBOSE")
    }

    /// One that is what it should be, and logs every attempt to log in; it talks on its commands' stderr, too.
    pub fn start_talking() -> Self {
        Self::start_with(|keys, node| keys.host_private(node).to_string(), "DEBUG1")
    }

    /// One that presents another ed25519 key than the one on record, and logs every attempt to log in.
    pub fn start_as_stranger() -> Self {
        Self::start_with(|_, _| generated("ed25519"), "DEBUG1")
    }

    /// One that has no ed25519 key at all, and logs every attempt to log in.
    pub fn start_as_stranger_of_another_kind() -> Self {
        Self::start_with(|_, _| generated("ecdsa"), "DEBUG1")
    }

    fn start_with(host_key: impl Fn(&ClusterKeys, &NodeName) -> String, level: &str) -> Self {
        let program = Path::new(PROGRAMS).join("usr/sbin/sshd");
        assert!(program.exists(), "{} is missing: run scripts/test-programs.sh", program.display());
        let folder = tempfile::tempdir().expect("a folder");
        let nodes: PerNode<()> = serde_json::from_str(r#"[["calico-01", null]]"#).expect("one node");
        let node = nodes.names().next().expect("one node").clone();
        let keys = ClusterKeys::ensure(&folder.path().join("ssh"), &nodes).expect("keys");
        write(&folder.path().join("host_key"), &host_key(&keys, &node), 0o600);
        write(&folder.path().join("authorized_keys"), keys.authorized_key(), 0o600);
        let bin = folder.path().join("bin");
        std::fs::create_dir(&bin).expect("made");
        if rustix::process::getuid().is_root() {
            // Where sshd locks its unprivileged half in; made by the package's service, which does not run here.
            std::fs::DirBuilder::new().recursive(true).mode(0o755).create("/run/sshd").expect("sshd's own folder");
        } else {
            // An ordinary user's tests write as that user: they need the way to root, not its rights.
            write(&bin.join("sudo"), "#!/bin/sh\nshift\nexec \"$@\"\n", 0o700);
        }
        let user = command_output("id", &["-un"]);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let port = free_port();
            let config = folder.path().join("sshd_config");
            write(&config, &config_text(folder.path(), port, level), 0o600);
            let mut child = Command::new(&program)
                .env("LD_LIBRARY_PATH", Path::new(PROGRAMS).join("usr/lib/x86_64-linux-gnu"))
                .args(["-D", "-e", "-f"])
                .arg(&config)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("sshd starts");
            let log = follow(child.stderr.take().expect("piped"));
            let up = wait_for(&log, &["Server listening on", "Cannot bind any address"]);
            if up.contains("Server listening on") {
                return Self { child, port, user, keys, node, folder, log };
            }
            // Somebody else took the port between our look and sshd's.
            let _ = child.kill();
            let _ = child.wait();
            assert!(Instant::now() < deadline, "sshd did not come up:\n{up}");
        }
    }

    /// How it is reached, with the host key on record.
    pub fn target(&self) -> Target {
        Target {
            addr: (Ipv4Addr::LOCALHOST, self.port).into(),
            user: self.user.clone(),
            host_key: self.keys.host_public(&self.node).into(),
        }
    }

    /// The name it goes by.
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// The cluster's keys.
    pub fn keys(&self) -> &ClusterKeys {
        &self.keys
    }

    /// A folder of this test's own, gone afterwards.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Write the files OpenSSH's programs need, and give the folder they are in.
    pub fn client_files(&self) -> PathBuf {
        let nodes: PerNode<()> = serde_json::from_str(r#"[["calico-01", null]]"#).expect("one node");
        self.keys.write_client_files(&nodes.map(|_, ()| self.target())).expect("files");
        self.keys.folder().to_path_buf()
    }

    /// Wait until the log has `text`, and give all of it.
    pub fn log_with(&self, text: &str) -> String {
        let log = wait_for(&self.log, &[text]);
        assert!(log.contains(text), "sshd never said {text:?}:\n{log}");
        log
    }

    /// Kill the processes that serve connections; the listening one stays.
    pub fn kill_connections(&self) {
        let mut killed = 0;
        for pid in descendants(self.child.id()) {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if name.starts_with("sshd") {
                let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("not 0");
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                killed += 1;
            }
        }
        assert!(killed > 0, "no connection to kill");
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config_text(folder: &Path, port: u16, level: &str) -> String {
    let folder = folder.display();
    // StrictModes would look at the rights of /tmp.
    format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host_key\nAuthorizedKeysFile {folder}/authorized_keys\n\
         PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\n\
         KbdInteractiveAuthentication no\nLogLevel {level}\nSubsystem sftp internal-sftp\n\
         SetEnv PATH={folder}/bin:/usr/bin:/bin\n"
    )
}

fn generated(kind: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key");
    let path = path.to_str().expect("plain");
    command_output("ssh-keygen", &["-q", "-t", kind, "-N", "", "-f", path]);
    std::fs::read_to_string(path).expect("made")
}

fn command_output(program: &str, words: &[&str]) -> String {
    let out = Command::new(program).args(words).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(out.status.success(), "{program}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_string()
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).expect("a free port").port()
}

fn write(path: &Path, text: &str, mode: u32) {
    use std::io::Write as _;
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path).expect("opened");
    file.write_all(text.as_bytes()).expect("written");
}

/// Keep reading sshd's stderr, so that it never waits for us.
fn follow(stderr: std::process::ChildStderr) -> Arc<(Mutex<String>, Condvar)> {
    let log = Arc::new((Mutex::new(String::new()), Condvar::new()));
    let writer = Arc::clone(&log);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
            let mut text = writer.0.lock().expect("no panic while held");
            text.push_str(String::from_utf8_lossy(&line).trim_end());
            text.push('\n');
            writer.1.notify_all();
        }
    });
    log
}

/// The log as soon as it has one of `texts`, or as it is when patience ends.
fn wait_for(log: &(Mutex<String>, Condvar), texts: &[&str]) -> String {
    let held = log.0.lock().expect("no panic while held");
    let missing = |text: &mut String| !texts.iter().any(|wanted| text.contains(wanted));
    let (text, _) = log.1.wait_timeout_while(held, PATIENCE, missing).expect("no panic while held");
    text.clone()
}

/// Every process below `root`.
fn descendants(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The name before the last parenthesis may hold anything.
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}
