//! Past one machine: other servers by a remote's name, spread over the members of their cluster.

use std::net::TcpListener;

use calicolab::event::Step;

use crate::daemon::{lxc, names, ok};
use crate::doors;
use crate::lab::{Lab, Test};
use crate::servers::{MEMBERS, REMOTE, Servers};
use crate::story::{base, base_of, label};

/// The tests.
pub const ALL: &[Test] = &[
    ("a_remote_that_cannot_be_used", a_remote_that_cannot_be_used),
    ("a_remote_of_one_server", a_remote_of_one_server),
    ("spread_over_two_servers", spread_over_two_servers),
];

/// The tests' own daemon as a remote by HTTPS, as another machine's would be; forgotten when it is dropped.
struct Own {
    address: String,
}

const OWN: &str = "own";

impl Own {
    fn listen() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|any| any.local_addr()).expect("a port").port();
        let own = Self { address: format!("127.0.0.1:{port}") };
        own.open();
        ok(&["config", "set", "core.trust_password", "open"]);
        let url = format!("https://{}", own.address);
        ok(&["remote", "add", OWN, &url, "--password", "open", "--accept-certificate"]);
        own
    }

    fn open(&self) {
        ok(&["config", "set", "core.https_address", &self.address]);
    }

    fn shut() {
        ok(&["config", "unset", "core.https_address"]);
    }

    /// The paths of the certificates that are trusted.
    fn trusted() -> Vec<String> {
        serde_json::from_str(&ok(&["query", "/1.0/certificates"])).expect("JSON")
    }

    /// Keep who is trusted out of all projects, or let them in.
    fn restrict(restricted: bool) {
        let how = format!(r#"{{"restricted": {restricted}, "projects": []}}"#);
        for one in Self::trusted() {
            ok(&["query", "--request", "PATCH", "--data", &how, &one]);
        }
    }

    fn distrust() {
        for one in Self::trusted() {
            ok(&["config", "trust", "remove", one.rsplit('/').next().expect("a fingerprint")]);
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        lxc(&["remote", "remove", OWN]);
        lxc(&["config", "unset", "core.https_address"]);
        lxc(&["config", "unset", "core.trust_password"]);
    }
}

/// What `up` and `doctor` both say of a remote that cannot be used: `doctor` by its id.
#[track_caller]
fn refused(lab: &Lab, words: &[&str], id: &str) -> String {
    let report = lab.json(&[&["doctor", "-o", "json"], words].concat(), 30);
    let lacks = report["providers"][0]["lacks"].as_array().expect("a list");
    assert!(report["providers"].as_array().is_some_and(|all| all.len() == 1), "only who has other servers: {report}");
    assert!(lacks.iter().any(|lack| lack["id"] == id && lack["remedy"] != ""), "{report:#}");
    lab.ends(&[&["up"], words].concat(), 30)
}

fn a_remote_that_cannot_be_used() {
    let lab = Lab::new();
    let told = refused(&lab, &["--remote", "nowhere"], "incus.remote");
    assert!(told.contains("knows no remote `nowhere`") && told.contains("lxc remote add nowhere"), "{told}");
    let told = refused(&lab, &["--remote", "images"], "incus.remote");
    assert!(told.contains("makes no instances"), "{told}");
    let told = lab.ends(&["up", "--remote", "local", "--provider", "qemu"], 2);
    assert!(told.contains("--provider incus"), "{told}");
    let told = lab.ends(&["gc", "--remote", "nowhere"], 50);
    assert!(told.contains("knows no remote `nowhere`"), "{told}");

    let own = Own::listen();
    let fit = lab.ok(&["doctor", "--remote", OWN]);
    assert!(fit.contains("behind `own` at 127.0.0.1: it answers") && !fit.contains("qemu"), "{fit}");
    let told = refused(&lab, &["--remote", OWN, "--target", "north"], "incus.member");
    assert!(told.contains("is one server and no cluster") && told.contains("leave --target out"), "{told}");
    let told = refused(&lab, &["--remote", OWN, "--set", "needs=kernel"], "incus.shared-kernel");
    assert!(told.contains("needs a kernel of its own") && told.contains("--vm"), "{told}");
    Own::restrict(true);
    let told = refused(&lab, &["--remote", OWN], "incus.remote-restricted");
    assert!(
        told.contains("keeps this user's certificate to no project") && told.contains("restricted: false"),
        "{told}"
    );
    Own::restrict(false);
    Own::distrust();
    let told = refused(&lab, &["--remote", OWN], "incus.remote-untrusted");
    assert!(told.contains("does not trust this user's certificate") && told.contains("lxc config trust add"), "{told}");
    Own::shut();
    let told = refused(&lab, &["--remote", OWN], "incus.remote-unreachable");
    let at = format!("is not reachable at https://{}", own.address);
    assert!(told.contains(&at) && told.contains("core.https_address"), "{told}");
    lab.nothing_left();
}

/// The kinds and names of what `gc` finds with the daemons, sorted.
fn found(lab: &Lab, words: &[&str]) -> Vec<(String, String)> {
    let all = lab.json(&[&["gc", "-o", "json"], words].concat(), 0);
    let text = |one: &serde_json::Value, key: &str| one[key].as_str().expect("text").to_owned();
    let things = all["things"].as_array().expect("a list").iter();
    let mut found: Vec<_> = things.map(|one| (text(one, "kind"), text(one, "name"))).collect();
    found.retain(|(kind, _)| ["machine", "network", "profile", "project"].contains(&kind.as_str()));
    found.sort();
    found
}

/// A cluster that nobody knows any more, where a known one is: it is looked there without being asked to.
fn what_was_left_beside_it(lab: &Lab) {
    let label = label(lab, "ghost");
    let ghost = base_of(&label);
    ok(&["project", "create", &ghost, "-c", &format!("user.calicolab={label}")]);
    assert_eq!(found(lab, &[]), [("project".to_owned(), format!("{OWN}:{ghost}"))]);
    lab.ok(&["gc", "--yes"]);
    assert_eq!(names("projects"), [base(lab)]);
    assert_eq!(lab.json(&["ls", "-o", "json"], 0)[0]["nodes"]["running"], 2);
}

/// Nobody knows of any cluster any more: it is looked where it is asked to.
fn what_was_left_there(lab: &Lab) {
    std::fs::remove_dir_all(lab.home().join("clusters")).expect("it is there");
    let there = |found: &[(String, String)], wanted: &str| {
        found.iter().filter(|(kind, name)| kind == wanted && name.starts_with("own:")).count()
    };
    assert_eq!(there(&found(lab, &[]), "machine"), 0);
    let found_there = found(lab, &["--remote", OWN]);
    let counted = ["machine", "network", "profile", "project"].map(|kind| there(&found_there, kind));
    assert_eq!(counted, [2, 2, 1, 1], "{found_there:?}");
    let shown = lab.ok(&["gc", "--remote", OWN]);
    assert!(shown.contains("calicolab gc --remote own --yes") && shown.contains("nothing was removed"), "{shown}");
    assert_eq!(names("projects"), [base(lab)]);
    lab.ok(&["gc", "--remote", OWN, "--yes"]);
    assert_eq!(found(lab, &["--remote", OWN]), []);
    lab.nothing_left();
}

fn a_remote_of_one_server() {
    let own = Own::listen();
    let lab = Lab::new();
    lab.ok(&["up", "--remote", OWN, "--nodes", "2"]);
    // It has a project of its own there, and is in nobody's way.
    assert_eq!((names("instances").len(), names("profiles").len(), names("projects").len()), (0, 0, 1));
    // Nothing needs to be said again.
    lab.ok(&["verify"]);
    assert_eq!(lab.json(&["ls", "-o", "json"], 0)[0]["nodes"]["running"], 2);
    lab.ok(&["stop"]);
    lab.ok(&["start"]);
    // Another one for the same cluster is a mistake, and said to be one.
    let told = lab.ends(&["up", "--remote", "local", "--nodes", "2"], 11);
    assert!(told.contains("away.remote"), "{told}");
    what_was_left_beside_it(&lab);
    // Out of reach it is neither gone nor forgotten.
    Own::shut();
    let told = lab.ends(&["down"], 80);
    assert!(told.contains("is not reachable at") && told.contains("calicolab down primer"), "{told}");
    lab.ok(&["verify"]);
    own.open();
    what_was_left_there(&lab);
}

fn spread_over_two_servers() {
    let servers = Servers::start();
    let lab = Lab::new();
    let told = lab.ends(&["up", "--remote", REMOTE, "--target", "west"], 30);
    assert!(told.contains("has no member `west`; there is north, south"), "{told}");

    doors::judged(&lab, &servers);
    // Killed when the first thing is begun there: a network that some members have heard of bears no label yet.
    let mut up = lab.follow(&["up", "--remote", REMOTE]);
    up.begins(Step::Boot);
    up.kill();
    lab.down();
    assert_eq!(Servers::left(), Vec::<String>::new());

    lab.ok(&["up", "--remote", REMOTE]);
    let mut on: Vec<String> = Servers::places().into_iter().map(|(_, place)| place).collect();
    on.sort_unstable();
    assert!(on == ["north", "north", "south"] || on == ["north", "south", "south"], "{on:?}");
    // Packets as large as the tunnel lets through pass from pod to pod.
    let proof = lab.json(&["verify", "-o", "json"], 0).to_string();
    assert!(proof.contains("1450 bytes"), "{proof}");
    // The way in is each server's own address, nowhere else.
    let config = lab.ok(&["ssh-config"]);
    for member in MEMBERS {
        assert!(config.contains(&format!("HostName {}\n", servers.address(member))), "{config}");
        let listens = ok(&["exec", member, "--", "ss", "-Htln"]);
        assert!(!listens.lines().any(|line| line.contains("0.0.0.0:2") || line.contains("*:2")), "{listens}");
    }
    lab.ok(&["stop"]);
    lab.ok(&["start"]);
    lab.down();
    assert_eq!(Servers::left(), Vec::<String>::new());

    // Packed, they are on one.
    lab.ok(&["up", "--remote", REMOTE, "--nodes", "2", "--set", "placement=pack"]);
    let places = Servers::places();
    assert!(places.len() == 2 && places[0].1 == places[1].1, "{places:?}");
    lab.down();
    assert_eq!(Servers::left(), Vec::<String>::new());
    doors::drawn_twice(&servers);
}
