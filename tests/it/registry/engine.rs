//! The engines that take an image as a file: containerd and docker's own, each in folders and namespaces of its own.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use calicolab::command::Argv;

use crate::support::registry::PROGRAMS;
use crate::support::waiting::eventually;

/// One at work; it ends with all it started when this does.
pub struct Engine {
    child: Child,
    folder: tempfile::TempDir,
    client: &'static [&'static str],
}

impl Engine {
    /// containerd, spoken to by `ctr`.
    pub async fn containerd() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let place = |name: &str| folder.path().join(name).display().to_string();
        let config = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n";
        std::fs::write(place("config.toml"), config).expect("written");
        let words = [
            ["--config", &place("config.toml")],
            ["--root", &place("root")],
            ["--state", &place("state")],
            ["--address", &place("sock")],
        ];
        let child = begin(&folder, "usr/bin/containerd", &words.concat());
        Self { child, folder, client: &["usr/bin/ctr", "--address"] }.ready("successfully booted").await
    }

    /// Docker's, spoken to by `docker`. Only images are asked of it: it gets no network and touches no rules.
    pub async fn docker() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let place = |name: &str| folder.path().join(name).display().to_string();
        let socket = format!("unix://{}", place("sock"));
        let switches = ["--rootless", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"];
        let words = [
            ["--bridge=none", "--storage-driver=vfs"],
            ["--data-root", &place("data")],
            ["--exec-root", &place("run")],
            ["--pidfile", &place("pid")],
            ["--host", &socket],
        ];
        let child = begin(&folder, "usr/sbin/dockerd", &[&switches[..], &words.concat()].concat());
        Self { child, folder, client: &["usr/bin/docker", "--host"] }.ready("API listen on").await
    }

    async fn ready(mut self, words: &str) -> Self {
        let log = self.folder.path().join("log");
        eventually("the engine listens", || {
            let log = || std::fs::read_to_string(&log).expect("a log");
            assert!(self.child.try_wait().expect("asked").is_none(), "it ended: {}", log());
            log().contains(words).then_some(())
        })
        .await;
        self
    }

    /// What its client prints when it is asked this.
    pub fn asked(&self, words: &[&str]) -> String {
        let socket = self.folder.path().join("sock").display().to_string();
        let socket = if self.client[0].ends_with("docker") { format!("unix://{socket}") } else { socket };
        let mut command = Command::new(program(self.client[0]));
        let output = command.args(&self.client[1..]).arg(socket).args(words).output().expect("the client runs");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
}

impl Engine {
    /// What a command of a node's prints, with this engine as the node's and `input` as its standard input.
    pub fn runs(&self, argv: &Argv, input: &Path) -> String {
        let socket = self.folder.path().join("sock").display().to_string();
        let programs = program(self.client[0]).parent().expect("a folder").display().to_string();
        let path = format!("{programs}:{}", std::env::var("PATH").expect("a path"));
        let output = Command::new(argv.program())
            .args(&argv.words()[1..])
            .env("PATH", path)
            .env("CONTAINERD_ADDRESS", &socket)
            // Nothing is mounted here that a snapshot would need.
            .env("CONTAINERD_SNAPSHOTTER", "native")
            .env("DOCKER_HOST", format!("unix://{socket}"))
            .stdin(std::fs::File::open(input).expect("there"))
            .output()
            .expect("a shell");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program(path: &str) -> std::path::PathBuf {
    let program = Path::new(PROGRAMS).join(path);
    assert!(program.exists(), "{} is missing: run scripts/test-programs.sh", program.display());
    program
}

/// In namespaces of its own: it mounts what it unpacks, and what it starts ends with it.
fn begin(folder: &tempfile::TempDir, path: &str, words: &[&str]) -> Child {
    let log = std::fs::File::create(folder.path().join("log")).expect("made");
    let programs = ["usr/bin", "usr/sbin", "usr/lib/x86_64-linux-gnu"].map(|inner| format!("{PROGRAMS}/{inner}"));
    let path_of_all = std::env::var("PATH").expect("a path");
    Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(program(path))
        .args(words)
        .env("PATH", format!("{}:{}:{path_of_all}", programs[0], programs[1]))
        .env("LD_LIBRARY_PATH", &programs[2])
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("unshare is needed (sudo apt-get install util-linux)")
}
