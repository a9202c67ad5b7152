//! Kubernetes for real: programs and images that scripts/kubernetes-debian.sh made, fetched from loopback by digest.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use calicolab::event::Step;

use crate::lab::{Lab, Test, eventually};

/// The tests.
pub const ALL: &[Test] = &[("from_its_own_binaries", from_its_own_binaries)];

const TREE: &str = env!("CARGO_MANIFEST_DIR");

/// A web server and a registry on 127.0.0.1, ended when dropped.
struct Served {
    script: Child,
    mirrors: String,
}

impl Served {
    fn begin() -> Self {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = free.local_addr().expect("bound").port();
        drop(free);
        let mut command = Command::new(format!("{TREE}/scripts/kubernetes-debian.sh"));
        command.arg("serve").env("PORT", port.to_string()).stdin(Stdio::null()).stdout(Stdio::piped());
        // The script's servers are its children: they are ended together.
        let mut script = command.process_group(0).spawn().expect("a shell");
        let said = BufReader::new(script.stdout.take().expect("piped"));
        let mut lines = said.lines().map(|line| line.expect("text"));
        let mirrors =
            lines.find_map(|line| Some(line.split_once("CALICOLAB_MIRRORS='")?.1.trim_end_matches('\'').into()));
        let served = Self { script, mirrors: mirrors.expect("scripts/kubernetes-debian.sh serves") };
        eventually("the web server listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
        served
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let group = i32::try_from(self.script.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a number");
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::TERM);
        let _ = self.script.wait();
    }
}

/// Killed while it installs, brought up by the next run, proven, and gone without a trace.
fn from_its_own_binaries() {
    let served = Served::begin();
    let library = tempfile::tempdir().expect("a folder");
    let own = library.path().join("labs/kubernetes-debian");
    std::fs::create_dir_all(&own).expect("made");
    for file in ["tests/labs/kubernetes-debian/lab.yaml", "target/kubernetes/lock.yaml"] {
        let from = std::path::Path::new(TREE).join(file);
        std::fs::copy(&from, own.join(from.file_name().expect("a file"))).expect("the script made it");
    }
    let library = library.path().display().to_string();
    let mut words = vec!["--labs", &library];
    words.extend(served.mirrors.split(' ').flat_map(|mirror| ["--mirror", mirror]));
    words.extend(["up", "kubernetes-debian"]);
    let lab = Lab::new();

    let mut up = lab.follow(&words);
    up.begins(Step::Install);
    up.kill();
    lab.ok(&words);

    let nodes = lab.on("kube-01", "kubectl --kubeconfig=/etc/kubernetes/admin.conf get nodes -o name");
    assert_eq!(nodes.lines().collect::<Vec<_>>(), ["node/kube-01", "node/kube-02", "node/kube-03"]);
    // A worker has the authority's certificate, its kubelet's and kube-proxy's, for root alone.
    let pki = lab.on("kube-02", "cd /etc/kubernetes/pki; stat -c \"%n %a %U\" *");
    let wanted = ["ca.crt", "kube-proxy.crt", "kube-proxy.key", "kubelet.crt", "kubelet.key"];
    assert_eq!(pki.lines().collect::<Vec<_>>(), wanted.map(|file| format!("{file} 600 root")));
    // etcd lets nobody in who is not the API server, though all certificates are of one authority.
    let refused = lab.on(
        "kube-01",
        "cd /etc/kubernetes/pki; curl -s -o /dev/null -m 5 --cacert ca.crt --cert admin.crt --key admin.key \
         https://127.0.0.1:2379/v2/keys; echo $?",
    );
    assert_ne!(refused.trim(), "0");
    let status = lab.ok(&["status"]);
    assert!(status.contains("certificates") && status.contains("good until"), "{status}");
    lab.down();
}
