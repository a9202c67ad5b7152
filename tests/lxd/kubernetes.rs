//! Kubernetes for real: programs and images that scripts/kubernetes-debian.sh made, fetched from loopback by digest.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use calicolab::event::Step;
use sha2::{Digest as _, Sha256};

use crate::edge;
use crate::lab::{Lab, Test, eventually};

/// The tests.
pub const ALL: &[Test] = &[
    ("from_its_own_binaries", from_its_own_binaries),
    ("by_kubeadm", by_kubeadm),
    ("by_kubeadm_alone", by_kubeadm_alone),
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
    broken(&lab);
    edge::broken(&lab);
    let status = lab.ok(&["status"]);
    assert!(status.contains("certificates") && status.contains("good until"), "{status}");
    own_kubectl(&lab);
    own_image(&lab);
    let merged = own_kubeconfig(&lab);
    lab.down();
    merged.is_as_it_was();
}

/// The lab's own kubectl: words, standard input and exit codes pass through; there is no calicoctl, and that is said.
fn own_kubectl(lab: &Lab) {
    let names = lab.ok(&["kubectl", "--", "get", "nodes", "-o", "jsonpath={.items[*].metadata.name}"]);
    assert_eq!(names, "kube-01 kube-02 kube-03");
    let mut apply =
        lab.command(&["kubectl", "--", "apply", "-f", "-"]).stdin(Stdio::piped()).spawn().expect("it starts");
    let text =
        r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}, "data": {"a": "it's $HOME"}}"#;
    std::io::Write::write_all(&mut apply.stdin.take().expect("piped"), text.as_bytes()).expect("it reads");
    assert!(apply.wait().expect("it ends").success());
    assert_eq!(lab.ok(&["kubectl", "--", "get", "cm", "mine", "-o", "jsonpath={.data.a}"]), "it's $HOME");
    lab.ends(&["kubectl", "--", "get", "cm", "nobody"], 1);
    let none = lab.ends(&["calicoctl", "--", "get", "nodes"], 255);
    assert!(none.contains("kubernetes-debian has none") && none.contains("birdc show protocols"), "{none}");
}

/// An image of one's own is on every node, and a pod of it runs though nothing may be pulled.
fn own_image(lab: &Lab) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("own.tar");
    std::fs::write(&file, saved("me/own:dev")).expect("written");
    let loaded = lab.json(&["load", &file.display().to_string(), "-o", "json"], 0);
    assert_eq!((&loaded[0]["image"], &loaded[0]["nodes"]), (&"docker.io/me/own:dev".into(), &3.into()), "{loaded}");
    assert!(loaded[0]["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{loaded}");
    lab.ok(&[
        "kubectl",
        "--",
        "run",
        "own",
        "--image=me/own:dev",
        "--image-pull-policy=Never",
        "--",
        "busybox",
        "sleep",
        "900",
    ]);
    lab.ok(&["kubectl", "--", "wait", "--for=condition=Ready", "--timeout=60s", "pod/own"]);
    lab.ends(&["kubectl", "--", "exec", "own", "--", "busybox", "sh", "-c", "exit 7"], 7);
    let told = lab.ends(&["load", env!("CARGO_MANIFEST_DIR")], 2);
    assert!(told.contains("load.file"), "{told}");
}

/// An image of nothing but busybox, as `docker save` packs it.
fn saved(name: &str) -> Vec<u8> {
    let packed = |files: &[(&str, &[u8])]| {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o755);
            tar.append_data(&mut header, path, *bytes).expect("appended");
        }
        tar.into_inner().expect("a tar")
    };
    let digest = |bytes: &[u8]| calicolab::lab::pin::Digest::Sha256(Sha256::digest(bytes).into()).hex();
    let busybox = std::fs::read(format!("{TREE}/target/programs/root/bin/busybox")).expect("scripts/test-programs.sh");
    let layer = packed(&[("bin/busybox", &busybox)]);
    let config = serde_json::json!({"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", digest(&layer))]}})
    .to_string();
    let file = format!("{}.json", digest(config.as_bytes()));
    let manifest = serde_json::json!([{"Config": file, "RepoTags": [name], "Layers": ["layer.tar"]}]).to_string();
    packed(&[(&file, config.as_bytes()), ("layer.tar", &layer), ("manifest.json", manifest.as_bytes())])
}

/// A kubeconfig of the user's with a cluster in it that is to go with the lab.
struct Merged {
    folder: tempfile::TempDir,
}

/// What a user may have: with a comment, which is there again once nobody needs the file otherwise.
const MINE: &str = "apiVersion: v1\nkind: Config\ncurrent-context: work # mine\ncontexts:\n- {name: work, context: {cluster: work, user: me}}\n\
                    clusters:\n- {name: work, cluster: {server: 'https://work.example:6443'}}\nusers:\n- {name: me, user: {token: '0123'}}\n";

impl Merged {
    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("config")
    }

    fn kubectl(&self, words: &[&str]) -> String {
        let program = self.folder.path().join("kubectl");
        let out = Command::new(program).arg("--kubeconfig").arg(self.file()).args(words).output().expect("kubectl");
        assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).expect("text")
    }

    fn is_as_it_was(&self) {
        assert_eq!(std::fs::read_to_string(self.file()).expect("there"), MINE);
    }
}

/// A real kubectl on this host reaches the lab by a context that comes and goes, and is left for `down` to take away.
fn own_kubeconfig(lab: &Lab) -> Merged {
    let merged = Merged { folder: tempfile::tempdir().expect("a folder") };
    let programs = format!("{MADE}/programs.tar");
    let unpacked = Command::new("tar").args(["-xf", &programs, "-C"]).arg(merged.folder.path()).arg("kubectl").status();
    assert!(unpacked.expect("tar").success());
    std::fs::write(merged.file(), MINE).expect("written");
    let run = |words: &[&str]| {
        let out = lab
            .command(&[&["kubeconfig"], words].concat())
            .env("KUBECONFIG", merged.file())
            .output()
            .expect("it starts");
        assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).expect("text")
    };
    assert!(run(&["merge"]).contains("kubectl --context calicolab-kubernetes-debian get nodes"));
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(merged.file()).expect("there"));
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(merged.kubectl(&["config", "current-context"]).trim(), "work");
    let nodes = merged.kubectl(&["--context", "calicolab-kubernetes-debian", "get", "nodes", "-o", "name"]);
    assert_eq!(nodes.lines().count(), 3, "{nodes}");
    assert!(merged.kubectl(&["config", "view", "--raw"]).contains("token: \"0123\""));
    run(&["unmerge"]);
    merged.is_as_it_was();

    // Somebody else writes to the file meanwhile: that stays.
    run(&["merge", "--use-context"]);
    merged.kubectl(&["config", "set-context", "other", "--cluster=work", "--user=me"]);
    assert_eq!(merged.kubectl(&["config", "current-context"]).trim(), "calicolab-kubernetes-debian");
    run(&["unmerge"]);
    let contexts = merged.kubectl(&["config", "get-contexts", "-o", "name"]);
    assert_eq!(contexts.lines().collect::<Vec<_>>(), ["other", "work"]);
    assert_eq!(merged.kubectl(&["config", "current-context"]).trim(), "work");

    std::fs::write(merged.file(), MINE).expect("written");
    run(&["merge"]);
    merged
}

/// Faults that only Kubernetes can have, each named and gone again; and a bundle of one that tells all that was seen.
fn broken(lab: &Lab) {
    for (fault, node) in [
        ("kube-api", "kube-01"),
        ("kubelet-stopped", "kube-02"),
        ("cni-foreign", "kube-03"),
        ("kube-proxy", "kube-02"),
        ("dns-none", "kube-01"),
    ] {
        lab.ok(&["fault", "add", fault, "--node", node]);
        let diagnosis = lab.json(&["explain", "-o", "json", "--timeout", "1"], 0);
        assert_eq!(diagnosis["first"]["id"], fault, "{diagnosis:#}");
        if fault == "dns-none" {
            bundled(lab, fault);
        }
        lab.ok(&["fault", "clear"]);
    }
    assert!(lab.ends(&["fault", "add", "etcd-stopped"], 11).contains("error[fault.other-lab]"));
}

/// Objects, the logs of init containers, the kubelet's words and the pods' network are in it, and no token; elsewhere it
/// is explained as here.
fn bundled(lab: &Lab, fault: &str) {
    let file = lab.temp().join("kubernetes.tar").display().to_string();
    lab.ok(&["bundle", "-f", &file]);
    let mut archive = tar::Archive::new(std::fs::File::open(&file).expect("written"));
    let mut all = std::collections::BTreeMap::new();
    for entry in archive.entries().expect("a tar") {
        let mut entry = entry.expect("a member");
        let (name, mut text) = (entry.path().expect("a path").display().to_string(), String::new());
        std::io::Read::read_to_string(&mut entry, &mut text).expect("text");
        all.insert(name, text);
    }
    let text =
        |name: &str| all.get(&format!("kubernetes-debian/{name}")).unwrap_or_else(|| panic!("no {name}")).as_str();
    assert!(text("nodes/kube-01/objects.txt").contains("\"kind\": \"DaemonSet\""));
    assert!(text("nodes/kube-02/container-logs.txt").contains("/install-cni/"));
    assert!(text("nodes/kube-02/journal.txt").contains(" kubelet["));
    assert!(text("nodes/kube-03/files.txt").contains("k8s-pod-network"));
    let secrets = lab.on(
        "kube-01",
        "kubectl --kubeconfig=/etc/kubernetes/admin.conf get secrets -A -o jsonpath=\"{.items[*].data.token}\"",
    );
    let tokens: Vec<&str> = secrets.split_whitespace().collect();
    assert!(!tokens.is_empty() && tokens.iter().all(|token| all.values().all(|text| !text.contains(token))));
    let elsewhere = lab.json(&["explain", "--bundle", &file, "-o", "json"], 0);
    assert_eq!(elsewhere["first"]["id"], fault, "{elsewhere:#}");
    std::fs::remove_file(&file).expect("it is the test's own");
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
    lab.until("kube-01", "systemctl -q is-active etcd");
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

    // A member that is lost is named by every node, and the others serve on.
    lab.on("kube-03", "systemctl stop etcd");
    let told = lab.ends(&["verify", "--timeout", "1", "etcd"], 21);
    assert!(told.contains("etcd on kube-03 does not serve kube-01"), "{told}");
    kubectl("create configmap written-by-two-of-three");
    lab.on("kube-03", "systemctl start etcd");
    lab.ok(&["verify", "etcd"]);
    // Who has a certificate of the lab's authority is no member and no client.
    let refused = lab.on(
        "kube-02",
        "curl -s -o /dev/null -m 5 --cacert /etc/kubernetes/pki/ca.crt --cert /var/lib/kubelet/pki/kubelet-client-current.pem \
         --key /var/lib/kubelet/pki/kubelet-client-current.pem https://127.0.0.1:2379/version; echo $?",
    );
    assert_ne!(refused.trim(), "0");

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
    let library = altered(|text| without_etcd(&own_etcd(text)));
    let words = served.up(library.path(), "kubeadm-debian");
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.extend(["--set", "nodes.count=2"]);
    let lab = Lab::new();
    let told = lab.ends(&words, 70);
    assert!(told.contains("kubeadm init on kube-01 failed") && told.contains("the image etcd:3.4.13-0"), "{told}");
    lab.down();
}

/// The lab without members beside Kubernetes comes up with an etcd that kubeadm makes.
fn by_kubeadm_alone() {
    let served = Served::begin();
    let library = altered(own_etcd);
    let words = served.up(library.path(), "kubeadm-debian");
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.extend(["--set", "nodes.count=2"]);
    let lab = Lab::new();
    lab.ok(&words);
    let kubectl = "kubectl --kubeconfig=/etc/kubernetes/admin.conf";
    let pods = lab.on("kube-01", &format!("{kubectl} -n kube-system get pods -l component=etcd -o name"));
    assert_eq!(pods.trim(), "pod/etcd-kube-01");
    lab.down();
}

/// A folder of labs with a changed copy of the lab and its lock.
fn altered(change: impl Fn(&str) -> String) -> tempfile::TempDir {
    let library = tempfile::tempdir().expect("a folder");
    let own = library.path().join("labs/kubeadm-debian");
    std::fs::create_dir_all(&own).expect("made");
    for file in ["lab.yaml", "lock.yaml"] {
        let text = std::fs::read_to_string(format!("{MADE}/labs/kubeadm-debian/{file}")).expect("the script made it");
        std::fs::write(own.join(file), change(&text)).expect("written");
    }
    library
}

/// The lab without members of etcd beside Kubernetes.
fn own_etcd(text: &str) -> String {
    text.split_inclusive('\n').filter(|line| !line.starts_with("  etcd: {")).collect()
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
