//! The story of `up` in real virtual machines, as an ordinary user lives it. Slow: `make e2e`.
#![expect(clippy::print_stderr, reason = "a story of minutes is followed while it runs")]

mod pack;
mod points;
#[path = "../support/waiting.rs"]
mod waiting;

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A home of its own for the clusters of this run; the image and packages come from the user's usual cache.
struct Lab {
    home: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let effective = own_uid();
        assert_ne!(effective, 0, "what claims to need no root is tried as an ordinary user: run `make e2e`");
        Self { home: tempfile::tempdir().expect("a temporary folder") }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_calicolab"));
        command.args(words).env("CALICOLAB_HOME", self.home.path()).env_remove("CALICOLAB_CLUSTER");
        // Where a daemon of containers answers it would be chosen before emulation.
        command.env("CALICOLAB_UP_PROVIDER", "qemu");
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        eprintln!("$ calicolab {}", words.join(" "));
        let out = self.command(words).output().expect("calicolab starts");
        eprint!("{}", String::from_utf8_lossy(&out.stderr));
        eprint!("{}", String::from_utf8_lossy(&out.stdout));
        out
    }

    /// What the command lines of its machines name.
    fn label(&self) -> String {
        self.home.path().file_name().expect("a name").to_string_lossy().into_owned()
    }

    #[track_caller]
    fn ok(&self, words: &[&str]) -> String {
        let out = self.run(words);
        assert_eq!(out.status.code(), Some(0), "calicolab {words:?}");
        String::from_utf8(out.stdout).expect("text")
    }

    #[track_caller]
    fn json(&self, words: &[&str], status: i32) -> Value {
        let out = self.run(words);
        assert_eq!(out.status.code(), Some(status), "calicolab {words:?}");
        serde_json::from_slice(&out.stdout).expect("JSON on standard output")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // A failed test must not leave machines behind.
        let _ = self.command(&["down", "--all"]).output();
    }
}

fn own_uid() -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").expect("procfs").uid()
}

/// The checks of a proof whose id begins with `kind`, and how many of them pass.
fn count(proof: &Value, kind: &str) -> (usize, usize) {
    let all: Vec<&Value> = proof["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .filter(|check| check["id"].as_str().is_some_and(|id| id.starts_with(kind)))
        .collect();
    let passed = all.iter().filter(|check| check["verdict"] == "pass").count();
    (passed, all.len())
}

/// Process ids and command lines of the virtual machines that name `label`.
fn processes(label: &str) -> Vec<(String, String)> {
    std::fs::read_dir("/proc")
        .expect("procfs")
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            Some((entry.file_name().to_string_lossy().into_owned(), String::from_utf8_lossy(&line).replace('\0', " ")))
        })
        .filter(|(_, line)| line.starts_with("qemu-system") && line.contains(label))
        .collect()
}

fn established(text: &str) -> usize {
    text.lines().filter(|line| line.contains("BGP") && line.contains("Established")).count()
}

#[test]
fn three_machines_and_four_beside_them() {
    let lab = Lab::new();

    // Proven, or not up.
    lab.ok(&["up"]);
    let proof = lab.json(&["verify", "-o", "json"], 0);
    assert_eq!(count(&proof, "session."), (6, 6), "half-sessions of three nodes");
    let shown = lab.ok(&["ssh", "calico-02", "--", "sudo", "birdc", "show", "protocols"]);
    assert_eq!(established(&shown), 2, "{shown}");

    // `up` on what is up is a proof.
    lab.ok(&["up"]);

    // A speaker that is gone is named, at both ends, and comes back.
    lab.ok(&["ssh", "calico-03", "--", "sudo", "systemctl", "stop", "bird", "calico-confd"]);
    let broken = lab.json(&["verify", "-o", "json"], 21);
    assert_eq!(broken["earliest_failing"], "peers.calico-03", "{broken:#}");
    for (one, other) in [("01", "03"), ("03", "01"), ("02", "03"), ("03", "02")] {
        assert_eq!(count(&broken, &format!("session.calico-{one}.calico-{other}")), (0, 1), "{one} {other}");
    }
    assert_eq!(count(&broken, "session.calico-01.calico-02"), (1, 1));
    lab.ok(&["ssh", "calico-03", "--", "sudo", "systemctl", "start", "bird", "calico-confd"]);
    lab.ok(&["verify"]);

    // A second cluster beside the first.
    lab.ok(&["up", "primer", "-n", "four", "--nodes", "4"]);
    let four = lab.json(&["verify", "-n", "four", "-o", "json"], 0);
    assert_eq!(count(&four, "session."), (12, 12), "half-sessions of four nodes");
    let listed = lab.json(&["ls", "-o", "json"], 0);
    let names: Vec<&str> = listed.as_array().expect("a list").iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names, ["four", "primer"]);
    lab.ok(&["verify", "-n", "primer"]);
    lab.ok(&["down", "four"]);

    // Off and on again.
    lab.ok(&["stop"]);
    let state = lab.json(&["status", "-o", "json"], 0);
    let port = state["machines"][1]["ssh"]
        .as_str()
        .and_then(|ssh| ssh.rsplit(':').next()?.parse::<u64>().ok())
        .expect("a port");
    // Somebody took the port of a machine that was off: it gets another.
    let taken = TcpListener::bind(("127.0.0.1", u16::try_from(port).expect("a port"))).expect("the port is free now");
    lab.ok(&["start"]);
    drop(taken);
    lab.ok(&["verify"]);

    // Nothing is left.
    lab.ok(&["down", "--all"]);
    lab.ok(&["down", "--all"]);
    assert!(processes(&lab.label()).is_empty());
    let left = lab.home.path().join("clusters");
    assert!(!left.exists() || std::fs::read_dir(&left).expect("listed").next().is_none());
    assert_no_leases(lab.home.path());
}

#[test]
fn reflectors_instead_of_a_mesh() {
    let lab = Lab::new();
    lab.ok(&["up", "primer", "-n", "rr", "--set", "bgp.mesh=off", "--set", "bgp.reflectors=calico-01"]);
    let proof = lab.json(&["verify", "-o", "json"], 0);
    assert_eq!(count(&proof, "session."), (4, 4), "two clients and their reflector");
    assert_eq!(count(&proof, "route.").0, count(&proof, "route.").1);
    lab.ok(&["down", "rr"]);
}

#[test]
fn a_machine_that_dies_while_it_boots_is_named() {
    let lab = Lab::new();
    let mut up =
        lab.command(&["up", "--json", "--nodes", "2"]).stdout(Stdio::piped()).spawn().expect("calicolab starts");
    let mut told = BufReader::new(up.stdout.take().expect("piped"))
        .lines()
        .map(|line| serde_json::from_str::<Value>(&line.expect("text")).expect("one JSON object a line"));
    let second = |event: &Value| event["event"] == "machine" && event["node"] == "calico-02";
    assert!(told.by_ref().any(|event| second(&event)), "the second machine runs before `up` ends");
    let machines = processes(&lab.label());
    let (pid, _) = machines.iter().find(|(_, line)| line.contains("calico-02")).expect("its process");
    assert!(Command::new("kill").args(["-KILL", pid]).status().expect("kill starts").success());
    let failure = told.last().expect("a last line");
    assert_eq!(up.wait().expect("it ends").code(), Some(60));
    assert_eq!(failure["failure"]["error"]["id"], "boot.node-died", "{failure:#}");
    assert!(failure.to_string().contains("calico-02"), "{failure:#}");
    lab.ok(&["down", "--all"]);
    assert!(processes(&lab.label()).is_empty());
}

fn assert_no_leases(home: &Path) {
    let leases = std::env::temp_dir();
    let ours = |path: &Path| std::fs::read_to_string(path).is_ok_and(|text| text.contains(&*home.to_string_lossy()));
    for folder in [leases, "/var/tmp".into(), "/run/lock".into()] {
        for entry in walk(&folder) {
            assert!(!(entry.to_string_lossy().contains("calicolab") && ours(&entry)), "left: {}", entry.display());
        }
    }
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().contains("calicolab"))
        .flat_map(|entry| {
            let path = entry.path();
            if path.is_dir() {
                std::fs::read_dir(&path).into_iter().flatten().filter_map(Result::ok).map(|e| e.path()).collect()
            } else {
                vec![path]
            }
        })
        .collect()
}
