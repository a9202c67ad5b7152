//! Nodes as network namespaces on one switch, each with a real BIRD; programs are unpacked under `target/`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use calicolab::command::{self, Argv, Output};
use calicolab::lab::plan::{Plan, ProofPlan};
use calicolab::proof::ask::{Ask, Askers};

use super::plans;

/// Which BIRD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// 1.6, the base of Calico's own.
    One,
    /// 2.
    Two,
}

/// What a node's configuration has that the plan does not want.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Twist {
    /// Nothing.
    #[default]
    None,
    /// Its own AS is another.
    WrongAs,
    /// A peer that nobody planned.
    ExtraPeer,
    /// The lab network is not known to BIRD, so that next hops do not resolve.
    NoDirect,
    /// Its timers are Calico's own.
    Slow,
}

const PACKAGES: [&str; 6] = ["bird", "bird2", "libssh-gcrypt-4", "libreadline8", "iputils-ping", "busybox-static"];

/// Debian's packages, fetched once and unpacked, never installed; the folder of one of them.
fn package(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
    fs::create_dir_all(&folder).expect("a folder under target/");
    let lock = fs::File::create(folder.join("lock")).expect("a lock file");
    lock.lock().expect("another test unpacks for a while only");
    if !folder.join("done").exists() {
        let fetched = Command::new("apt-get").arg("download").args(PACKAGES).current_dir(&folder).output();
        let hint = "this test needs apt-get with Debian 12's package lists: run `apt-get update`";
        let fetched = fetched.expect(hint);
        assert!(fetched.status.success(), "{hint}: {}", String::from_utf8_lossy(&fetched.stderr));
        for package in PACKAGES {
            let deb = fs::read_dir(&folder)
                .expect("the folder is there")
                .filter_map(Result::ok)
                .find(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{package}_")))
                .expect("apt-get names files by their package");
            let unpacked = Command::new("dpkg").arg("-x").arg(deb.path()).arg(folder.join(package)).status();
            assert!(unpacked.expect("dpkg is part of Debian").success());
        }
        fs::write(folder.join("done"), "").expect("written");
    }
    folder.join(name)
}

fn libraries() -> String {
    ["libssh-gcrypt-4/usr/lib", "libreadline8/lib", "libreadline8/usr/lib"]
        .map(|folder| {
            let (name, rest) = folder.split_once('/').expect("a package and a folder");
            package(name).join(rest).join("x86_64-linux-gnu").display().to_string()
        })
        .join(":")
}

/// The namespaces; removed with everything in them when this is dropped.
pub struct Birds {
    /// What is planned.
    pub plan: Plan,
    flavour: Flavour,
    id: String,
    folder: tempfile::TempDir,
    running: BTreeMap<usize, Child>,
}

impl Birds {
    /// `count` nodes on one switch; `twists` says what is wrong where (by place in the plan).
    pub fn new(flavour: Flavour, count: usize, twists: &[(usize, Twist)]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        assert!(rustix::process::geteuid().is_root(), "this test makes network namespaces: run it as root");
        let id = format!("clt{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = tempfile::tempdir().expect("a folder");
        let mut birds = Self { plan: planned(count), flavour, id, folder, running: BTreeMap::new() };
        let switch = birds.switch();
        ip(&["netns", "add", &switch]);
        ip(&["-n", &switch, "link", "add", "switch", "type", "bridge"]);
        ip(&["-n", &switch, "link", "set", "switch", "up"]);
        for index in 0..count {
            let twist = twists.iter().find(|(at, _)| *at == index).map(|(_, twist)| *twist).unwrap_or_default();
            birds.make(index, twist);
            birds.start(index);
        }
        birds
    }

    /// How the nodes are asked: the proof's script, run in the node's namespace.
    pub fn askers(&self) -> Askers {
        self.plan.nodes.map(|_, node| {
            let bin = self.node_folder(node.index).join("bin");
            let path = format!("PATH={}:{}", bin.display(), std::env::var("PATH").expect("a path"));
            let argv = Argv::new("nsenter").args([&self.entrance(node.index), "env", &path]);
            Arc::new(Inside(argv)) as Arc<dyn Ask>
        })
    }

    /// Start the BIRD of a node.
    pub fn start(&mut self, index: usize) {
        let folder = self.node_folder(index);
        let child = Command::new("nsenter")
            .arg(self.entrance(index))
            .arg(self.program("bird"))
            .args(["-f", "-c"])
            .arg(folder.join("bird.conf"))
            .arg("-s")
            .arg(folder.join("ctl"))
            .env("LD_LIBRARY_PATH", libraries())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("this test needs nsenter: install util-linux");
        self.running.insert(index, child);
    }

    /// Kill the BIRD of a node.
    pub fn stop(&mut self, index: usize) {
        if let Some(mut child) = self.running.remove(&index) {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_file(self.node_folder(index).join("ctl"));
    }

    /// Run a program in a node's namespace, its own programs first.
    pub fn inside(&self, index: usize, words: &[&str]) {
        let bin = self.node_folder(index).join("bin");
        let path = format!("PATH={}:{}", bin.display(), std::env::var("PATH").expect("a path"));
        let status = Command::new("nsenter").args([&self.entrance(index), "env", &path]).args(words).status();
        assert!(status.expect("this test needs nsenter: install util-linux").success(), "{words:?}");
    }

    /// Pull a node's plug out of the switch.
    pub fn cut(&self, index: usize) {
        ip(&["-n", &self.switch(), "link", "set", &format!("port{index}"), "down"]);
    }

    /// Take a whole node away.
    pub fn lose(&mut self, index: usize) {
        self.stop(index);
        ip(&["netns", "del", &self.netns(index)]);
    }

    /// The namespace of a node.
    pub fn netns(&self, index: usize) -> String {
        format!("{}-n{index}", self.id)
    }

    /// How nsenter calls it. `ip netns exec` would hide namespaces made inside, and so containers, in a mount
    /// namespace of its own.
    pub fn entrance(&self, index: usize) -> String {
        format!("--net=/run/netns/{}", self.netns(index))
    }

    /// The folder of a node's files; programs in its `bin` are found first.
    pub fn node_folder(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("n{index}"))
    }

    /// The folder of an unpacked package.
    pub fn package(name: &str) -> PathBuf {
        package(name)
    }

    fn switch(&self) -> String {
        format!("{}-sw", self.id)
    }

    fn program(&self, name: &str) -> PathBuf {
        package(if self.flavour == Flavour::One { "bird" } else { "bird2" }).join("usr/sbin").join(name)
    }

    fn make(&self, index: usize, twist: Twist) {
        let (netns, switch, port) = (self.netns(index), self.switch(), format!("port{index}"));
        let node = self.plan.nodes.values().nth(index).expect("a node of the plan");
        ip(&["netns", "add", &netns]);
        ip(&["-n", &netns, "link", "set", "lo", "up"]);
        ip(&[
            "-n",
            &switch,
            "link",
            "add",
            &port,
            "type",
            "veth",
            "peer",
            "name",
            "lab0",
            "address",
            &node.lab_mac,
            "netns",
            &netns,
        ]);
        ip(&["-n", &switch, "link", "set", &port, "master", "switch", "up"]);
        ip(&["-n", &netns, "link", "set", "lab0", "up"]);
        let address = format!("{}/{}", node.address, self.plan.network.lab.prefix_len());
        ip(&["-n", &netns, "addr", "add", &address, "dev", "lab0"]);
        let bin = self.node_folder(index).join("bin");
        fs::create_dir_all(&bin).expect("a folder");
        let socket = self.node_folder(index).join("ctl");
        let client = self.program("birdc");
        let libraries = libraries();
        let text = format!(
            "#!/bin/sh\nLD_LIBRARY_PATH={libraries} exec {} -s {} \"$@\"\n",
            client.display(),
            socket.display()
        );
        script(&bin.join("birdc"), &text);
        std::os::unix::fs::symlink(package("iputils-ping").join("bin/ping"), bin.join("ping")).expect("a link");
        fs::write(self.node_folder(index).join("bird.conf"), self.config(index, twist)).expect("written");
    }

    /// bird.conf of a node: a full mesh with short timers, the side with the lower address passive.
    fn config(&self, index: usize, twist: Twist) -> String {
        let node = self.plan.nodes.values().nth(index).expect("a node of the plan");
        let two = self.flavour == Flavour::Two;
        let channel = |inside: &str| if two { format!("ipv4 {{ {inside} }};") } else { inside.to_owned() };
        let asn = if twist == Twist::WrongAs { 64599 } else { self.plan.bgp.asn };
        let (address, block, planned) = (node.address, node.block, self.plan.bgp.asn);
        let family = if two { "ipv4;" } else { "" };
        let mut text = format!("router id {address};\nprotocol device {{ scan time 1; }}\n");
        if twist != Twist::NoDirect {
            let _ = writeln!(text, "protocol direct {{ {family} interface \"lab0\"; }}");
        }
        let _ = writeln!(text, "protocol static blocks {{ {family} route {block} blackhole; }}");
        let kernel = channel("import none; export where source = RTS_STATIC || source = RTS_BGP;");
        let _ = writeln!(text, "protocol kernel {{ scan time 1; {kernel} }}");
        let routes = channel("import all; export where source = RTS_STATIC || source = RTS_BGP;");
        let hold =
            if twist == Twist::Slow { "hold time 240; keepalive time 80" } else { "hold time 3; keepalive time 1" };
        let timers = format!("{hold}; connect delay time 1; connect retry time 1; error wait time 1,1;");
        let _ = writeln!(text, "template bgp lab {{ local {address} as {asn}; {timers} {routes} }}");
        for peer in &node.peers {
            let passive = if peer.passive { "passive on;" } else { "" };
            let (name, to) = (peer.address.to_string().replace('.', "_"), peer.address);
            let _ = writeln!(text, "protocol bgp Mesh_{name} from lab {{ neighbor {to} as {planned}; {passive} }}");
        }
        if twist == Twist::ExtraPeer {
            let extra = self.plan.network.lab.hosts().nth(98).expect("a large enough network");
            let _ = writeln!(text, "protocol bgp Extra from lab {{ neighbor {extra} as {planned}; }}");
        }
        text
    }
}

impl Drop for Birds {
    fn drop(&mut self) {
        for index in 0..self.plan.nodes.len() {
            self.stop(index);
        }
        let mut all: Vec<String> = (0..self.plan.nodes.len()).map(|index| self.netns(index)).collect();
        all.push(self.switch());
        // Containers have namespaces of their own, named after their node's.
        let own = |name: &String| all.iter().any(|node| name.starts_with(&format!("{node}-probe-")));
        let listed = fs::read_dir("/run/netns").into_iter().flatten().filter_map(Result::ok);
        let pods: Vec<String> =
            listed.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(own).collect();
        for pod in &pods {
            let kill = "for pid in $(ip netns pids \"$1\"); do kill -9 \"$pid\"; done";
            let _ = Command::new("sh").args(["-c", kill, "sh", pod]).stderr(Stdio::null()).status();
        }
        for netns in pods.iter().chain(&all) {
            let _ = Command::new("ip").args(["netns", "del", netns]).stderr(Stdio::null()).status();
        }
    }
}

/// Runs what is asked behind these words.
struct Inside(Argv);

#[async_trait]
impl Ask for Inside {
    async fn ask(&self, argv: &Argv, limit: Duration) -> Result<Output, String> {
        command::run(&self.0.clone().args(argv.words()), limit).await.map_err(|error| error.to_string())
    }
}

/// Write a program.
pub fn script(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("executable");
}

/// `ip` with these words.
pub fn ip(words: &[&str]) {
    let out = Command::new("ip").args(words).output().expect("this test needs `ip`: install iproute2");
    assert!(out.status.success(), "ip {}: {}", words.join(" "), String::from_utf8_lossy(&out.stderr));
}

fn planned(count: usize) -> Plan {
    let mut lab = plans::lab(count);
    lab.artifacts.clear();
    lab.proof = ProofPlan { stability_s: 2, up_s: 30, verify_s: 10 };
    plans::of(&lab, "demo")
}
