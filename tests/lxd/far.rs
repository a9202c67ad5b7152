//! Past one machine: other servers by a remote's name, spread over the members of their cluster.

use std::net::TcpListener;

use calicolab::event::Step;

use crate::daemon::{lxc, names, ok};
use crate::lab::{Lab, Test};
use crate::servers::{MEMBERS, REMOTE, Servers};

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

    fn distrust() {
        let all = ok(&["query", "/1.0/certificates"]);
        let all: Vec<String> = serde_json::from_str(&all).expect("JSON");
        for one in all {
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

fn a_remote_that_cannot_be_used() {
    let lab = Lab::new();
    let told = lab.ends(&["up", "--remote", "nowhere"], 30);
    assert!(told.contains("knows no remote `nowhere`") && told.contains("lxc remote add nowhere"), "{told}");
    let told = lab.ends(&["up", "--remote", "images"], 30);
    assert!(told.contains("makes no instances"), "{told}");
    let told = lab.ends(&["up", "--remote", "local", "--provider", "qemu"], 2);
    assert!(told.contains("--provider incus"), "{told}");

    let own = Own::listen();
    let told = lab.ends(&["up", "--remote", OWN, "--target", "north"], 30);
    assert!(told.contains("is one server and no cluster") && told.contains("leave --target out"), "{told}");
    Own::distrust();
    let told = lab.ends(&["up", "--remote", OWN], 30);
    assert!(told.contains("does not trust this user's certificate") && told.contains("lxc config trust add"), "{told}");
    Own::shut();
    let told = lab.ends(&["up", "--remote", OWN], 30);
    let at = format!("is not reachable at https://{}", own.address);
    assert!(told.contains(&at) && told.contains("core.https_address"), "{told}");
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

    // Out of reach it is neither gone nor forgotten.
    Own::shut();
    let told = lab.ends(&["down"], 80);
    assert!(told.contains("is not reachable at") && told.contains("calicolab down primer"), "{told}");
    lab.ok(&["verify"]);
    own.open();
    lab.down();
}

fn spread_over_two_servers() {
    let servers = Servers::start();
    let lab = Lab::new();
    let told = lab.ends(&["up", "--remote", REMOTE, "--target", "west"], 30);
    assert!(told.contains("has no member `west`; there is north, south"), "{told}");

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
}
