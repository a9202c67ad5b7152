//! Kubernetes for real: programs and images that scripts/kubernetes-debian.sh made, fetched from loopback by digest.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use calicolab::event::Step;

use crate::lab::{Lab, Test, eventually};

/// The tests.
pub const ALL: &[Test] = &[
    ("from_its_own_binaries", from_its_own_binaries),
    ("by_kubeadm", by_kubeadm),
    ("an_image_that_is_missing", an_image_that_is_missing),
];

const TREE: &str = env!("CARGO_MANIFEST_DIR");
/// What the script makes, as a folder of labs.
const MADE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/kubernetes");

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

    /// The words that bring such a lab up.
    fn up(&self, library: &Path, lab: &str) -> Vec<String> {
        let mut words = vec!["--labs".to_owned(), library.display().to_string()];
        words.extend(self.mirrors.split(' ').flat_map(|mirror| ["--mirror".to_owned(), mirror.to_owned()]));
        words.extend(["up", lab].map(str::to_owned));
        words
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
    let words = served.up(Path::new(MADE), "kubernetes-debian");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
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

/// Killed while kubeadm is at it, brought up by the next run, proven, and gone without a trace. A node that the cluster
/// lost joins again though the token expired meanwhile; the token is in nobody's log.
fn by_kubeadm() {
    let served = Served::begin();
    let words = served.up(Path::new(MADE), "kubeadm-debian");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let lab = Lab::new();

    let mut up = lab.follow(&words);
    up.begins(Step::Install);
    lab.until("kube-01", "systemctl -q is-active containerd");
    lab.until("kube-01", "ls /var/lib/calicolab/images/pause*.taken");
    lab.until("kube-01", "test -e /var/lib/calicolab/kubeadm/begun");
    up.kill();
    lab.ok(&words);

    let kubectl = |words: &str| lab.on("kube-01", &format!("kubectl --kubeconfig=/etc/kubernetes/admin.conf {words}"));
    let known = || kubectl("get nodes --no-headers -o custom-columns=NAME:.metadata.name,UID:.metadata.uid");
    let before = known();
    assert_eq!(before.lines().count(), 3, "{before}");
    let pki = lab.on("kube-02", "ls /etc/kubernetes/pki");
    assert_eq!(pki.trim(), "ca.crt", "a worker has the authority's certificate, never its key");

    kubectl("delete node kube-03");
    kubectl("-n kube-system delete secret --field-selector type=bootstrap.kubernetes.io/token");
    lab.on("kube-03", "systemctl stop kubelet; rm /etc/kubernetes/kubelet.conf");
    // A proof that does not hold is what makes the next run bring up more than a proof.
    lab.ends(&["verify", "--timeout", "1"], 21);
    lab.ok(&words);
    let after = known();
    let same = |line: usize| before.lines().nth(line) == after.lines().nth(line);
    assert_eq!([0, 1, 2].map(same), [true, true, false], "{before}{after}");

    let cluster = lab.home().join("clusters/kubeadm-debian");
    let text = |file: &str| std::fs::read_to_string(cluster.join(file)).expect("there");
    let token = text("pki/token");
    assert!(["events.jsonl", "log"].iter().all(|file| !text(file).contains(&token)));
    // sudo notes what it is asked in that log, so that the question may not be what is looked for.
    let sought = token.replace('.', "[.]");
    assert_eq!(lab.on("kube-01", &format!("journalctl -q | grep -c {sought} || :")).trim(), "0");
    lab.down();
}

/// What kubeadm would fetch behind our back is named before it is asked for anything.
fn an_image_that_is_missing() {
    let served = Served::begin();
    let library = tempfile::tempdir().expect("a folder");
    let own = library.path().join("labs/kubeadm-debian");
    std::fs::create_dir_all(&own).expect("made");
    for file in ["lab.yaml", "lock.yaml"] {
        let text = std::fs::read_to_string(format!("{MADE}/labs/kubeadm-debian/{file}")).expect("the script made it");
        std::fs::write(own.join(file), without_etcd(&text)).expect("written");
    }
    let words = served.up(library.path(), "kubeadm-debian");
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.extend(["--set", "nodes.count=2"]);
    let lab = Lab::new();
    let told = lab.ends(&words, 70);
    assert!(told.contains("kubeadm init on kube-01 failed") && told.contains("the image etcd:3.4.13-0"), "{told}");
    lab.down();
}

/// A list of the lab without the item `etcd`.
fn without_etcd(text: &str) -> String {
    let mut inside = false;
    let mut kept = |line: &&str| {
        let item = line.trim_start().strip_prefix("- name: ");
        inside = item.map_or(inside && line.starts_with(' '), |name| name.trim_end() == "etcd");
        !inside
    };
    text.split_inclusive('\n').filter(|line| kept(line)).collect()
}
