//! A lab that was proven, kept, broken in three ways, and brought back; and what goes wrong with points.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use serde_json::Value;

use crate::lab::{Lab, Test, eventually};
use crate::story::{count, established, processes};

pub const ALL: &[Test] = &[
    ("a_proven_lab_comes_back_and_is_proven_again", a_proven_lab_comes_back_and_is_proven_again),
    ("a_point_comes_back_beside_its_lab_as_often_as_wanted", a_point_comes_back_beside_its_lab_as_often_as_wanted),
];

/// Run a verb until it tells of `event`, and kill it there.
fn killed_at(lab: &Lab, words: &[&str], event: &str) {
    let mut words = words.to_vec();
    words.insert(0, "--json");
    let mut run = lab.command(&words).stdout(Stdio::piped()).spawn().expect("calicolab starts");
    let told = BufReader::new(run.stdout.take().expect("piped")).lines();
    let mut told =
        told.map(|line| serde_json::from_str::<Value>(&line.expect("text")).expect("one JSON object a line"));
    assert!(told.any(|told| told["event"] == event), "{words:?} tells of {event}");
    run.kill().expect("killed");
    run.wait().expect("ended");
}

/// The id of the failure that these words end with.
fn failure(lab: &Lab, words: &[&str], status: i32) -> String {
    let mut words = words.to_vec();
    words.insert(0, "--json");
    let out = lab.run(&words);
    assert_eq!(out.status.code(), Some(status), "{words:?}");
    let last = String::from_utf8(out.stdout).expect("text").lines().last().map(String::from).expect("a line");
    let last: Value = serde_json::from_str(&last).expect("JSON");
    last["failure"]["error"]["id"].as_str().expect("an id").to_owned()
}

fn a_proven_lab_comes_back_and_is_proven_again() {
    let lab = Lab::new();
    let on = |node: &str, words: &[&str]| lab.ok(&[&["ssh", node, "--"], words].concat());
    lab.ok(&["up", "--nodes", "2"]);
    // As if the point were brought back a thousand seconds after it was saved.
    for node in ["calico-01", "calico-02"] {
        on(node, &["sudo date -u -s @$(($(date +%s) - 1000))"]);
    }
    // One that is killed leaves nothing that the next one would stumble over.
    killed_at(&lab, &["snapshot", "save", "killed"], "step-started");
    lab.ok(&["snapshot", "save", "good"]);
    let listed = lab.json(&["snapshot", "list", "-o", "json"], 0);
    let names: Vec<&str> = listed.as_array().expect("a list").iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, ["good"]);
    assert!(listed[0]["point"]["proven"]["checks"].as_u64() > Some(30), "{listed:#}");
    assert_eq!(failure(&lab, &["snapshot", "save", "good"], 11), "point.exists");

    // Broken in three ways. What was done since would be lost: that is to be said.
    on("calico-01", &["sudo", "systemctl", "stop", "bird", "calico-confd"]);
    on("calico-02", &["sudo", "ip", "link", "set", "lab0", "down"]);
    on("calico-02", &["sudo", "rm", "-rf", "/etc/bird", "/etc/hostname"]);
    on("calico-02", &["touch", "after"]);
    assert_eq!(failure(&lab, &["snapshot", "restore", "good"], 11), "point.lab-runs");
    assert_eq!(failure(&lab, &["snapshot", "restore", "bad"], 12), "point.none");

    // A damaged point is refused before a machine is touched.
    let memory = lab.home().join("clusters/primer/points/good/calico-02.memory.zst");
    let whole = std::fs::read(&memory).expect("memory");
    std::fs::write(&memory, &whole[1..]).expect("damaged");
    let before = processes(lab.home());
    assert_eq!(failure(&lab, &["snapshot", "restore", "--proven", "--replace"], 41), "point.damaged");
    assert_eq!(processes(lab.home()), before);
    std::fs::write(&memory, &whole).expect("whole again");

    // Broken off in the middle: nobody goes on with what is neither old nor new, but the same once more.
    killed_at(&lab, &["snapshot", "restore", "good", "--replace"], "machine");
    assert_eq!(failure(&lab, &["up", "--nodes", "2"], 11), "point.half-way");
    assert_eq!(failure(&lab, &["snapshot", "save"], 11), "point.half-way");
    // The user sits in another time zone by now.
    let mut away = lab.command(&["--json", "snapshot", "restore", "--proven"]);
    let said = away.env("TZ", "Pacific/Kiritimati").output().expect("the product starts");
    assert_eq!(said.status.code(), Some(0), "{said:?}");
    let told = String::from_utf8(said.stdout).expect("text");
    let behind: Vec<f64> = told
        .lines()
        .filter_map(|line| line.split_once("its clock was ")?.1.split_once(" s behind")?.0.parse().ok())
        .collect();
    assert!(behind.len() == 2 && behind.iter().all(|seconds| (1000.0..3000.0).contains(seconds)), "{told}");
    assert_eq!(established(&on("calico-01", &["sudo", "birdc", "show", "protocols"])), 1);
    assert_eq!(on("calico-02", &["ls"]), "", "what was done since is gone");
    assert!(ahead(&lab, "primer").abs() < 60, "its clock was set");

    // What ended while the lab was away is said before the machines are touched that run.
    let until = lab.home().join("clusters/primer/pki/until");
    let good = std::fs::read(&until).expect("a day");
    std::fs::write(&until, "2021-02-28\n").expect("written");
    lab.ok(&["snapshot", "save", "old"]);
    std::fs::write(&until, good).expect("written");
    let before = processes(lab.home());
    assert_eq!(failure(&lab, &["snapshot", "restore", "old", "--replace"], 30), "point.expired");
    assert_eq!(processes(lab.home()), before);

    // A machine that died is in no point; and the lab can go, and come back from what was kept of it.
    let machines = processes(lab.home());
    let (pid, _) = machines.iter().find(|(_, line)| line.contains("calico-02")).expect("its process");
    assert!(std::process::Command::new("kill").args(["-KILL", pid]).status().expect("kill starts").success());
    eventually("the killed machine is gone", || (processes(lab.home()).len() == 1).then_some(()));
    assert_eq!(failure(&lab, &["snapshot", "save"], 11), "point.node-off");
    lab.ok(&["down", "--keep-points"]);
    assert!(processes(lab.home()).is_empty());
    lab.ok(&["snapshot", "restore", "good", "-n", "primer"]);
    lab.ok(&["down"]);
    assert!(processes(lab.home()).is_empty());
    assert_eq!(std::fs::read_dir(lab.home().join("kept")).map_or(0, Iterator::count), 0);
}

/// By how many seconds the clock of a lab's second machine is ahead.
fn ahead(lab: &Lab, cluster: &str) -> i64 {
    let clock: i64 = lab.ok(&["ssh", "-n", cluster, "calico-02", "--", "date +%s"]).trim().parse().expect("seconds");
    clock - jiff::Timestamp::now().as_second()
}

/// What a lab's machines know of themselves, and who they let in.
fn inside(lab: &Lab, cluster: &str) -> (String, String) {
    let same = "cat /etc/hostname /etc/machine-id /etc/ssh/ssh_host_*.pub; ip -o -4 address show dev lab0";
    let ask = |words: &str| lab.ok(&["ssh", "-n", cluster, "calico-02", "--", words]);
    (ask(same), ask("cat .ssh/authorized_keys"))
}

fn port(lab: &Lab, cluster: &str) -> String {
    lab.json(&["status", "-n", cluster, "-o", "json"], 0)["machines"][1]["ssh"].as_str().expect("a port").to_owned()
}

/// `snapshot save full` where no file may grow beyond 1 MiB.
fn saved_on_a_full_disk(lab: &Lab) -> std::process::Output {
    let full = lab.command(&["--json", "snapshot", "save", "full"]);
    let mut limited = std::process::Command::new("sh");
    limited
        .args(["-c", r#"trap "" XFSZ; ulimit -f 2048; exec "$@""#, "sh"])
        .arg(full.get_program())
        .args(full.get_args());
    limited.envs(full.get_envs().filter_map(|(key, value)| Some((key, value?)))).env_remove("XDG_RUNTIME_DIR");
    limited.stdin(Stdio::null()).output().expect("sh starts")
}

fn a_point_comes_back_beside_its_lab_as_often_as_wanted() {
    let lab = Lab::new();
    lab.ok(&["up", "--nodes", "2"]);
    let points = lab.home().join("clusters/primer/points");
    let names = || {
        let listed = lab.json(&["snapshot", "list", "-n", "primer", "-o", "json"], 0);
        let names =
            listed.as_array().expect("a list").iter().map(|one| one["name"].as_str().expect("a name").to_owned());
        names.collect::<Vec<_>>()
    };

    // A file that may not grow any more while it is saved, as on a disk that is full: the lab runs on.
    let said = saved_on_a_full_disk(&lab);
    assert_eq!(said.status.code(), Some(30), "{said:?}");
    assert!(String::from_utf8_lossy(&said.stdout).contains("point.disk-full"), "{said:?}");
    assert!(!points.join(".full.part").exists() && names().is_empty());
    // Killed while memory is being written: what it left goes with the next one, and so does a stop.
    let mut save = lab.command(&["snapshot", "save", "killed"]).spawn().expect("the product starts");
    let half = points.join(".killed.part/calico-01.memory");
    eventually("memory is written", || half.exists().then_some(()));
    save.kill().expect("killed");
    save.wait().expect("ended");

    // Before a fault the lab is kept, unless that was left out. As if this host's clock were set back meanwhile.
    for node in ["calico-01", "calico-02"] {
        lab.ok(&["ssh", node, "--", "sudo date -u -s @$(($(date +%s) + 1000))"]);
    }
    lab.ok(&["fault", "add", "link-down", "--node", "calico-02"]);
    assert!(!points.join(".killed.part").exists());
    lab.ok(&["fault", "add", "resolver", "--force", "--no-point"]);
    assert_eq!(names(), ["before-link-down"]);

    let twin = ["verify", "-n", "twin"];
    // Beside the lab, which stays as broken as it was.
    let beside = ["snapshot", "restore", "--proven", "--as", "twin", "-n", "primer", "-o", "json"];
    let proof = lab.json(&beside, 0);
    assert_eq!(count(&proof, "session."), (2, 2));
    assert_eq!(failure(&lab, &beside[..7], 11), "state.exists");
    lab.json(&["verify", "-n", "primer", "--timeout", "1", "-o", "json"], 21);
    // The same once more in place, while the other one runs; two at once are one.
    let again = ["snapshot", "restore", "before-link-down", "--replace", "-n", "primer"];
    let first = lab.follow(&again);
    eventually("it is at work", || lab.home().join("clusters/primer/points/.returning").exists().then_some(()));
    assert_eq!(failure(&lab, &again, 11), "state.held");
    assert_eq!(first.ended(), (Some(0), String::new()));
    assert!(ahead(&lab, "primer").abs() < 60 && ahead(&lab, "twin").abs() < 60, "their clocks were set");
    lab.ok(&twin);
    // It is a cluster like any other: off and on again it knows itself by what it was.
    lab.ok(&["stop", "-n", "twin"]);
    lab.ok(&["start", "-n", "twin"]);
    let (ours, theirs) = (inside(&lab, "primer"), inside(&lab, "twin"));
    assert_eq!(ours.0, theirs.0, "names, keys and addresses are what they were");
    assert_ne!(ours.1, theirs.1, "who is let into the one is not let into the other");
    let address = port(&lab, "twin");
    assert_ne!(port(&lab, "primer"), address);
    let (host, at) = address.rsplit_once(':').expect("an address and a port");
    let enters = |key: &str| {
        let mut ssh = std::process::Command::new("ssh");
        ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no"]);
        ssh.args(["-o", "UserKnownHostsFile=/dev/null", "-p", at, "-l", "root", "-i"]);
        ssh.arg(lab.home().join("clusters").join(key).join("ssh/key")).args([host, "true"]);
        ssh.stdin(Stdio::null()).status().expect("ssh starts (apt-get install openssh-client)").success()
    };
    assert!(enters("twin") && !enters("primer"), "the key it had when it was saved is refused");

    // On a terminal it is asked whether what runs may go.
    let before = processes(lab.home());
    let product = lab.command(&[]);
    let words = format!("{} snapshot restore before-link-down -n primer", product.get_program().display());
    let mut asked = std::process::Command::new("script");
    asked.args(["--quiet", "--return", "--command", &words, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    asked.envs(product.get_envs().filter_map(|(key, value)| Some((key, value?)))).env_remove("XDG_RUNTIME_DIR");
    let mut asked = asked.spawn().expect("script starts (apt-get install bsdutils)");
    asked.stdin.take().expect("piped").write_all(b"n\n").expect("answered");
    let said = asked.wait_with_output().expect("ended");
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(text.contains("End 2 machines of `primer`?") && text.contains("point.lab-runs"), "{text}");
    assert_eq!((said.status.code(), processes(lab.home())), (Some(11), before));

    // Of another QEMU, another processor, or another calicolab's.
    let file = points.join("before-link-down/point.json");
    let whole = std::fs::read_to_string(&file).expect("a point");
    let point: Value = serde_json::from_str(&whole).expect("JSON");
    for (place, value, code, id) in [
        ("/fit/QEMU", Value::from("1.0"), 30, "point.unfit"),
        ("/fit/processor", "of another host".into(), 30, "point.unfit"),
        ("/schema", 7.into(), 1, "point.schema"),
    ] {
        let mut other = point.clone();
        *other.pointer_mut(place).expect("it is written there") = value;
        std::fs::write(&file, other.to_string()).expect("written");
        let before = processes(lab.home());
        assert_eq!(failure(&lab, &again, code), id);
        assert_eq!(processes(lab.home()), before);
    }
    std::fs::write(&file, whole).expect("whole again");

    // The lab can go and come back from what was kept of it; in the end nothing stays.
    lab.ok(&["down", "primer", "--keep-points"]);
    let listed = |words: &[&str]| {
        let mut points = lab.json(words, 0)["points"].take();
        let points = points.as_array_mut().expect("a list").iter_mut();
        let mut shown = points.map(|one| ["point", "cluster_is_there", "mode"].map(|key| one[key].take().to_string()));
        (shown.next(), shown.next())
    };
    let kept = Some(["\"before-link-down\"", "false", "\"0600\""].map(String::from));
    assert_eq!(listed(&["cache", "ls", "-o", "json"]), (kept.clone(), None));
    assert_eq!(listed(&["cache", "prune", "-o", "json"]), (None, None), "only if that is asked for");
    assert_eq!(listed(&["cache", "prune", "--points", "-o", "json"]), (kept, None));
    let other = ["up", "coreos-0.15", "--from", "before-link-down", "-n", "primer"];
    assert_eq!(failure(&lab, &other, 11), "point.lab");
    lab.ok(&["up", "primer", "--from", "before-link-down"]);
    lab.ok(&twin);
    lab.ok(&["down", "primer", "--keep-points"]);
    lab.down();
    assert_eq!(std::fs::read_dir(lab.home().join("kept")).map_or(0, Iterator::count), 0);
}
