//! Bad luck with the daemon: what is told, what is left, and that one can go on.

use calicolab::event::Step;

use crate::daemon::{self, lxc, names, ok};
use crate::lab::{Lab, Test, eventually};
use crate::story::base;

/// The tests.
pub const ALL: &[Test] = &[
    ("the_daemon_stops", the_daemon_stops),
    ("an_instance_vanishes", an_instance_vanishes),
    ("names_are_taken", names_are_taken),
    ("no_permission", no_permission),
    ("no_daemon", no_daemon),
    ("no_storage", no_storage),
    ("interrupted", interrupted),
];

fn the_daemon_stops() {
    let lab = Lab::new();
    let mut up = lab.follow(&["up"]);
    up.begins(Step::Boot);
    daemon::stop();
    let (code, failure) = up.ended();
    assert_eq!(code, Some(50), "{failure}");
    assert!(failure.contains("provider.boot"), "{failure}");
    // What cannot be looked at is not taken for gone.
    let told = lab.ends(&["down", "primer"], 80);
    assert!(told.contains("does not answer") && told.contains("calicolab down primer"), "{told}");
    daemon::start();
    lab.ok(&["up"]);
    daemon::stop();
    daemon::start();
    lab.down();
}

fn an_instance_vanishes() {
    let lab = Lab::new();
    lab.ok(&["up"]);
    ok(&["delete", "--force", &format!("{}-calico-03", base(&lab))]);
    let broken = lab.json(&["verify", "-o", "json", "--timeout", "3"], 21);
    assert!(broken.to_string().contains("calico-03"), "{broken:#}");
    // It is made anew, with the keys it had.
    lab.ok(&["up"]);
    // And one that goes while `up` waits for it.
    ok(&["delete", "--force", &format!("{}-calico-02", base(&lab))]);
    let mut up = lab.follow(&["up"]);
    up.machine("calico-02");
    let name = format!("{}-calico-02", base(&lab));
    eventually("calico-02 can be deleted", || lxc(&["delete", "--force", &name]).status.success().then_some(()));
    let (code, failure) = up.ended();
    assert!(matches!(code, Some(50 | 60)), "{code:?} {failure}");
    assert!(failure.contains("calico-02"), "{failure}");
    lab.down();
}

fn names_are_taken() {
    let lab = Lab::new();
    // Anything that makes the home: the names come from where it lies.
    lab.ok(&["ls"]);
    for name in [format!("{}l", base(&lab)), format!("{}n", base(&lab))] {
        ok(&["network", "create", &name, "ipv4.address=none", "ipv6.address=none"]);
        let told = lab.ends(&["up"], 50);
        assert!(told.contains(&name) && told.contains("is not this cluster's"), "{told}");
        lab.ok(&["down", "--all"]);
        assert_eq!(names("networks"), std::slice::from_ref(&name));
        ok(&["network", "delete", &name]);
    }
    // A link of the host that the daemon knows nothing of.
    let name = format!("{}l", base(&lab));
    let ip = |words: &[&str]| assert!(std::process::Command::new("ip").args(words).status().expect("ip").success());
    ip(&["link", "add", &name, "type", "bridge"]);
    let told = lab.ends(&["up"], 50);
    assert!(told.contains(&name), "{told}");
    lab.ok(&["down", "--all"]);
    ip(&["link", "del", &name]);
    lab.nothing_left();
}

fn no_permission() {
    let lab = Lab::new();
    let user = lab.home().join("user");
    std::fs::create_dir(&user).expect("ours");
    for folder in [lab.home(), &user] {
        std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("ours");
    }
    let as_nobody = |words: &[&str]| {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", env!("CARGO_BIN_EXE_calicolab")]);
        command
            .args(words)
            .env_remove("XDG_CONFIG_HOME")
            .env("HOME", &user)
            .env("CALICOLAB_HOME", user.join("state"))
            .env("XDG_CACHE_HOME", user.join("cache"));
        command.output().expect("setpriv")
    };
    let up = as_nobody(&["up"]);
    let told = String::from_utf8_lossy(&up.stderr).into_owned();
    assert_eq!(up.status.code(), Some(30), "{told}");
    assert!(told.contains("is closed to this user") && told.contains("usermod -aG lxd"), "{told}");
    let out = as_nobody(&["doctor", "-o", "json"]);
    let report = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(report.contains("incus.denied") && report.contains("usermod -aG lxd"), "{report}{out:?}");
    let told = lab.json(&["doctor", "-o", "json"], 0).to_string();
    assert!(!told.contains("incus.denied"), "{told}");
}

fn no_daemon() {
    let lab = Lab::new();
    daemon::stop();
    let told = lab.ends(&["up"], 30);
    assert!(told.contains("LXD's daemon does not answer at") && told.contains("systemctl start"), "{told}");
    // Where nothing was ever asked of it, nothing can be left with it.
    lab.ok(&["down", "primer"]);
    daemon::start();
    lab.nothing_left();
}

fn no_storage() {
    let lab = Lab::new();
    // Images of earlier tests lie beside the pool, not in it.
    ok(&["storage", "delete", "lab"]);
    let told = lab.ends(&["up"], 30);
    ok(&["storage", "create", "lab", "dir"]);
    assert!(told.contains("no storage pool") && told.contains("lxc storage create"), "{told}");
    lab.nothing_left();
}

fn interrupted() {
    let lab = Lab::new();
    for step in [Step::Boot, Step::Reach] {
        let mut up = lab.follow(&["up"]);
        up.begins(step);
        up.interrupt();
        let (code, failure) = up.ended();
        assert_eq!(code, Some(130), "{failure}");
        lab.down();
    }
    let mut up = lab.follow(&["up"]);
    up.begins(Step::Boot);
    up.kill();
    lab.ok(&["up"]);
    lab.down();
}
