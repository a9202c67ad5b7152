//! Ways to nodes on other servers: what is said where they are shut, and labs of two people that draw the same one.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use sha2::{Digest as _, Sha256};

use crate::daemon::ok;
use crate::lab::{Lab, eventually};
use crate::servers::{MEMBERS, REMOTE, Servers};
use crate::story::label;

/// What `doctor` says of servers that are fit, and of a firewall on one of them.
pub fn judged(lab: &Lab, servers: &Servers) {
    let fit = lab.ok(&["doctor", "--remote", REMOTE]);
    assert!(fit.contains("on its members north, south: it answers") && !fit.contains("so-so"), "{fit}");
    let nft = |words: &str| ok(&["exec", MEMBERS[1], "--", "nft", words]);
    nft("table inet cut { chain input { type filter hook input priority 0; tcp dport 20000-31999 drop; }; }");
    let shut = lab.json(&["doctor", "--remote", REMOTE, "-o", "json"], 0);
    nft("delete table inet cut");
    let lack = &shut["providers"][0]["lacks"][0];
    let what = lack["what"].as_str().expect("text");
    assert!(lack["id"] == "incus.door" && what.contains(servers.address(MEMBERS[1])), "{shut:#}");
}

/// Where a cluster begins to look for ports.
fn begins(lab: &Lab, cluster: &str) -> u16 {
    let hash = Sha256::digest(label(lab, cluster).as_bytes());
    let number = u32::from_be_bytes([hash[6], hash[7], hash[8], hash[9]]);
    20_000 + u16::try_from(number % 12_000).expect("small")
}

/// The ports that lead to a cluster's nodes.
fn ports(lab: &Lab) -> BTreeSet<u16> {
    let config = lab.ok(&["ssh-config"]);
    config.lines().filter_map(|line| line.trim().strip_prefix("Port ")?.parse().ok()).collect()
}

/// A client that makes no instance before it may: it waits for a lock on a file.
struct Held {
    folder: tempfile::TempDir,
    gate: File,
}

impl Held {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let gate = File::create(folder.path().join("gate")).expect("ours");
        gate.lock().expect("nobody else has it");
        let real = ok_path("lxc");
        let script = format!(
            "#!/bin/sh\nif [ \"$1\" = init ]; then\n\t: >'{0}/reached'\n\tflock --shared '{0}/gate' true\nfi\nexec {real} \"$@\"\n",
            folder.path().display()
        );
        let path = folder.path().join("lxc");
        fs::write(&path, script).expect("ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
        Self { folder, gate }
    }

    /// Run the product with this client.
    fn run(&self, lab: &Lab, words: &[&str]) -> Output {
        let path = std::env::var("PATH").expect("a path");
        let path = format!("{}:{path}", self.folder.path().display());
        lab.command(words).env("PATH", path).output().expect("the product starts")
    }

    fn reached(&self) {
        let reached = self.folder.path().join("reached");
        eventually("the first instance is about to be made", || reached.exists().then_some(()));
    }

    fn let_go(&self) {
        self.gate.unlock().expect("it was locked");
    }
}

fn ok_path(program: &str) -> String {
    let path = std::env::var_os("PATH").expect("a path");
    let mut all = std::env::split_paths(&path).map(|folder| folder.join(program));
    all.find(|path| path.exists()).expect("scripts/lxd.sh install").display().to_string()
}

/// Two people's labs begun at once, which look for ports from the same one on.
pub fn drawn_twice(servers: &Servers) {
    let (one, two) = (Lab::new(), Lab::new());
    for lab in [&one, &two] {
        lab.ok(&["ls"]);
    }
    let begin = begins(&one, "primer");
    let name =
        (0..u32::MAX).map(|number| format!("n{number}")).find(|name| begins(&two, name) == begin).expect("some name");
    let on = ["--remote", REMOTE, "--target", MEMBERS[0], "--nodes", "2"];
    let held = Held::new();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| held.run(&two, &[&["up", "primer", "-n", &name][..], &on].concat()));
        held.reached();
        // Its ports are drawn and nothing of it is there.
        one.ok(&[&["up", "primer"][..], &on].concat());
        assert_eq!(ports(&one), [begin, begin + 1].into());
        held.let_go();
        let up = other.join().expect("it ends");
        assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    });
    assert!(ports(&two).len() == 2 && ports(&two).is_disjoint(&ports(&one)), "{:?} {:?}", ports(&one), ports(&two));
    for lab in [&one, &two] {
        lab.ok(&["verify"]);
    }
    two.down();

    // Something that is no instance takes a door while its node is off.
    one.ok(&["stop"]);
    let at = format!("{}:{begin}", servers.address(MEMBERS[0]));
    let inside = |words: &[&str]| ok(&[&["exec", MEMBERS[0], "--"], words].concat());
    let taken = || inside(&["ss", "-Htln"]).contains(&at).then_some(());
    eventually("the door is let go", || taken().is_none().then_some(()));
    inside(&["systemd-run", "--unit=taker", "systemd-socket-activate", "--accept", "--inetd", "-l", &at, "cat"]);
    eventually("the door is taken", taken);
    one.ok(&["start"]);
    let moved = ports(&one);
    assert!(moved.len() == 2 && !moved.contains(&begin) && moved.contains(&(begin + 1)), "{moved:?}");
    one.ok(&["verify"]);
    inside(&["systemctl", "stop", "taker"]);
    one.down();
    assert_eq!(Servers::left(), Vec::<String>::new());
}
