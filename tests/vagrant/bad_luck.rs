//! Bad luck with Vagrant and libvirt: what is told, what is left, and that one can go on.

use std::fs;
use std::io::Write as _;
use std::process::Command;

use calicolab::event::Step;

use crate::lab::{Lab, Test};
use crate::libvirt::{names, ok, vagrant_home};
use crate::story::{base, foreign};

/// The tests.
pub const ALL: &[Test] = &[
    ("what_a_killed_run_left", what_a_killed_run_left),
    ("vagrant_is_killed", vagrant_is_killed),
    ("programs_are_missing", programs_are_missing),
    ("names_are_taken", names_are_taken),
    ("the_box_is_another", the_box_is_another),
    ("interrupted", interrupted),
];

/// A disk without its machine, locks of nobody, a folder that lost its state, a machine that does not answer, and a
/// Vagrantfile of the user's where one calls.
fn what_a_killed_run_left() {
    let lab = Lab::new();
    let mut up = lab.follow(&["up", "--nodes", "2"]);
    up.machine("calico-02");
    let prefix = base(&lab, "primer");
    let there = || names("list", &prefix).len() == 2;
    crate::lab::eventually("both machines are made", || there().then_some(()));
    up.kill();
    let first = format!("{prefix}-calico-01");
    // It may not have been started yet.
    let _ = crate::libvirt::virsh(&["destroy", &first]);
    ok(&["undefine", &first]);
    assert!(ok(&["vol-list", &prefix]).contains(&format!("{first}.img")));
    let folder = lab.home().join("clusters/primer/vm/vagrant");
    fs::remove_dir_all(folder.join(".vagrant")).expect("it is there");
    let locks = fs::read_dir(vagrant_home().join("data")).expect("Vagrant was here").flatten();
    assert!(locks.filter(|entry| entry.file_name().to_string_lossy().contains("lock")).count() > 0);

    let own = tempfile::tempdir().expect("a folder");
    let mine = "raise 'it was read'\n";
    fs::write(own.path().join("Vagrantfile"), mine).expect("written");
    let out = lab.command(&["up", "--nodes", "2"]).current_dir(own.path()).output().expect("it starts");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(fs::read_to_string(own.path().join("Vagrantfile")).expect("there"), mine);
    assert_eq!(fs::read_dir(own.path()).expect("there").count(), 1);

    // To Vagrant and libvirt it runs.
    ok(&["suspend", &first]);
    let told = lab.ends(&["verify", "machine.calico-01", "--timeout", "5"], 22);
    assert!(told.contains("calico-01"), "{told}");
    ok(&["resume", &first]);
    // What it remembers is gone: what there is is found all the same.
    fs::remove_dir_all(lab.home().join("clusters/primer/vm")).expect("it is there");
    lab.down();
}

fn vagrant_is_killed() {
    let lab = Lab::new();
    let mut up = lab.follow(&["up", "--nodes", "2"]);
    up.machine("calico-01");
    let home = lab.home().display().to_string();
    for entry in fs::read_dir("/proc").expect("there").flatten() {
        let folder = entry.path();
        let is_vagrant = fs::read_link(folder.join("cwd"))
            .is_ok_and(|cwd| cwd.display().to_string().starts_with(&home))
            && fs::read(folder.join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains("--parallel"));
        if is_vagrant {
            let pid = entry.file_name().to_string_lossy().into_owned();
            assert!(Command::new("kill").args(["-KILL", &pid]).status().expect("kill").success());
        }
    }
    let (code, failure) = up.ended();
    assert_eq!(code, Some(50), "{failure}");
    assert!(failure.contains("killed by signal 9") && failure.contains("vagrant"), "{failure}");
    lab.down();
}

fn programs_are_missing() {
    let lab = Lab::new();
    let empty = tempfile::tempdir().expect("a folder");
    let out = lab.command(&["up"]).env("PATH", empty.path()).output().expect("it starts");
    let told = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(30), "{told}");
    assert!(
        told.contains("there is no Vagrant") && told.contains("virsh") && told.contains("apt-get install"),
        "{told}"
    );
    lab.nothing_left();
}

fn names_are_taken() {
    let lab = Lab::new();
    // Anything that makes the home: the names come from where it lies.
    lab.ok(&["ls"]);
    let name = format!("{}-calico-02", base(&lab, "primer"));
    foreign(&name);
    let mut up = lab.follow(&["up", "--nodes", "2"]);
    up.begins(Step::Boot);
    let (code, failure) = up.ended();
    assert_eq!(code, Some(50), "{failure}");
    assert!(failure.contains(&name) && failure.contains("is not this cluster's"), "{failure}");
    lab.ok(&["down", "--all"]);
    assert_eq!(names("list", &base(&lab, "primer")), std::slice::from_ref(&name));
    ok(&["undefine", &name]);
    lab.nothing_left();
}

/// A folder whose box was altered: Vagrant itself compares it with the digest in the Vagrantfile.
fn the_box_is_another() {
    let (lab, folder) = (Lab::new(), tempfile::tempdir().expect("a folder"));
    let path = folder.path().display().to_string();
    lab.ok(&["vagrantfile", "primer", "--nodes", "2", "-o", &path]);
    let mut packed = fs::OpenOptions::new().append(true).open(folder.path().join("lab.box")).expect("it is there");
    packed.write_all(b"one more").expect("written");
    drop(packed);
    let out = Command::new("vagrant").args(["up", "--provider=libvirt"]).current_dir(folder.path()).output();
    let out = out.expect("scripts/libvirt.sh install");
    let told = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(!out.status.success() && told.to_lowercase().contains("checksum"), "{told}");
    let all = fs::read_dir(folder.path().join("libvirt")).expect("there").flatten();
    let bases = all.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?.strip_suffix(".xml")?.to_owned();
        (!name.ends_with(['n', 'l'])).then_some(name)
    });
    for base in bases {
        assert_eq!(names("list", &base), [""; 0], "no machine was made of it");
        let down = Command::new("./libvirt.sh").args(["down", &base]).current_dir(folder.path()).status();
        assert!(down.expect("it starts").success());
        assert_eq!(names("net-list", &base), [""; 0]);
    }
    lab.nothing_left();
}

fn interrupted() {
    let lab = Lab::new();
    let mut up = lab.follow(&["up", "--nodes", "2"]);
    up.machine("calico-01");
    up.interrupt();
    let (code, failure) = up.ended();
    assert_eq!(code, Some(130), "{failure}");
    lab.down();
}
