//! Bad input and bad luck on the way up: what is told, what is left, and that one can go on.

use std::fs;
use std::path::PathBuf;

use calicolab::event::Step;
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{Lab, Test, eventually};

/// The tests.
pub const ALL: &[Test] = &[
    ("bad_input", bad_input),
    ("never_ready", never_ready),
    ("a_container_killed", a_container_killed),
    ("interrupts", interrupts),
    ("another_host_key", another_host_key),
];

/// Labs of one's own in a folder, with one text of theirs replaced.
fn altered(lab: &Lab, file: &str, from: &str, to: &str) -> PathBuf {
    let labs = lab.home().join("labs");
    lab.ok(&["labs", "export", &labs.display().to_string()]);
    let path = labs.join(file);
    let text = fs::read_to_string(&path).expect("exported");
    assert!(text.contains(from), "{file} does not say `{from}`");
    fs::write(&path, text.replace(from, to)).expect("written");
    labs
}

fn bad_input() {
    let lab = Lab::new();
    let unknown = lab.ends(&["up", "primr"], 12);
    assert!(unknown.contains("`primer`"), "{unknown}");
    let labs = altered(&lab, "labs/primer/lab.yaml", "memory:", "memroy:");
    let misspelt = lab.ends(&["up", "--labs", &labs.display().to_string()], 10);
    assert!(misspelt.contains("memroy") && misspelt.contains("memory") && misspelt.contains("lab.yaml:"), "{misspelt}");
    lab.ends(&["up", "-n", "No_Name"], 2);
    lab.nothing_left();
}

fn never_ready() {
    let lab = Lab::new();
    let script = "cloud-config/parts/network.sh";
    let labs = altered(&lab, script, "ip -batch", "echo stuck >/dev/ttyS0\nexec sleep 1000\nip -batch");
    let labs = labs.display().to_string();
    let told = lab.ends(&["up", "--labs", &labs, "--boot-timeout", "15"], 60);
    assert!(told.contains("error[boot.not-ready]"), "{told}");
    // The stage, and the console's last words.
    assert!(told.contains("it has not said that it is ready") && told.contains("stuck"), "{told}");
    assert!(told.contains("left: ") && told.contains("calicolab down primer"), "{told}");
    assert_eq!(lab.json(&["ls", "-o", "json"], 0)[0]["phase"], "failed");
    lab.down();
}

/// The processes of a node that carry this mark.
fn processes(mark: &str, node: &str) -> Vec<Pid> {
    let all = fs::read_dir("/proc").expect("procfs").flatten().filter_map(|entry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let marked = line.split(|byte| *byte == 0).any(|word| {
            std::str::from_utf8(word).is_ok_and(|word| word.starts_with(mark) && word.ends_with(&format!("/{node}")))
        });
        if marked { Pid::from_raw(entry.file_name().to_str()?.parse().ok()?) } else { None }
    });
    all.collect()
}

/// The first process inside: the child of who bears the mark that does not bear it itself. Numbers say nothing of who
/// began whom, since they start again from the lowest.
fn init(marked: &[Pid]) -> i32 {
    let raw = |pid: &Pid| pid.as_raw_nonzero().get();
    let children = |pid| fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let all: Vec<String> = marked.iter().map(raw).map(children).collect();
    let mut all = all.iter().flat_map(|line| line.split_whitespace()).map(|word| word.parse().expect("a number"));
    all.find(|pid| !marked.iter().any(|one| raw(one) == *pid)).expect("its container runs")
}

/// The mark of this home's machines.
fn mark(lab: &Lab) -> String {
    let home = calicolab::cluster::home::Home::at(lab.home(), lab.temp(), "test").expect("the home is there");
    format!("CALICOLAB_MACHINE={}", home.label(&"primer".parse().expect("a name")))
}

fn a_container_killed() {
    let lab = Lab::new();
    let mut up = lab.follow(&["up"]);
    up.machine("calico-02");
    // It is told of as soon as it is begun, which may be before its processes bear its name.
    let found = || Some(processes(&mark(&lab), "calico-02")).filter(|found| !found.is_empty());
    for process in eventually("calico-02 has processes", found) {
        // It may be gone with the one before.
        let _ = kill_process(process, Signal::KILL);
    }
    let (code, failure) = up.ended();
    assert_eq!(code, Some(60), "{failure}");
    assert!(failure.contains("boot.node-died") && failure.contains("calico-02"), "{failure}");
    lab.ok(&["up"]);
    lab.down();
}

fn interrupts() {
    let lab = Lab::new();
    for step in [Step::Plan, Step::Fetch, Step::Render, Step::Boot, Step::Reach, Step::Install, Step::Prove] {
        let mut up = lab.follow(&["up"]);
        up.begins(step);
        up.interrupt();
        let (code, failure) = up.ended();
        assert_eq!(code, Some(130), "at {step:?}: {failure}");
        // Every other time what was begun is carried on with, by the next interrupted one or to its end.
        if matches!(step, Step::Plan | Step::Boot | Step::Install) {
            lab.down();
        }
    }
    lab.ok(&["up"]);
    let mut down = lab.follow(&["down", "primer"]);
    down.begins(Step::Destroy);
    down.interrupt();
    let (code, failure) = down.ended();
    assert!(matches!(code, Some(0 | 130)), "{code:?}: {failure}");
    lab.down();
}

/// A node that presents another key than the one it was given gets nothing: no credential, no command.
fn another_host_key() {
    let lab = Lab::new();
    lab.ok(&["up", "--nodes", "2"]);
    // sshd reads its key when it starts, so this node still answers to `stop` as itself.
    lab.on(
        "calico-02",
        "cd /etc/ssh; rm ssh_host_ed25519_key*; ssh-keygen -q -t ed25519 -N \"\" -f ssh_host_ed25519_key",
    );
    lab.ok(&["stop"]);
    let told = lab.ends(&["start"], 61);
    assert!(told.contains("calico-02") && told.contains("error[ssh.host-key]"), "{told}");
    // The far end's own record, read from beside: a caller came, and never tried to log in.
    let init = init(&processes(&mark(&lab), "calico-02")).to_string();
    let journal = eventually("sshd writes that the caller left", || {
        let read = std::process::Command::new("nsenter")
            .args(["-t", &init, "-a", "journalctl", "--no-pager", "-o", "cat", "-t", "sshd"])
            .output()
            .expect("nsenter runs");
        Some(String::from_utf8_lossy(&read.stdout).into_owned()).filter(|text| text.contains("preauth"))
    });
    assert!(!journal.contains("Accepted") && !journal.contains("Failed"), "{journal}");
    lab.down();
}
