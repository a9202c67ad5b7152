//! The story as it should go, and the contract that all providers keep.

use std::process::Command;

use calicolab::cluster::home::Home;

use crate::contract::{Beside, Until, contract};
use crate::lab::{Lab, Test};
use crate::libvirt::{names, ok};

/// The tests.
pub const ALL: &[Test] = &[
    ("the_primer_is_proven", the_primer_is_proven),
    ("contract_of_providers", contract_of_providers),
    ("plain_vagrant_needs_nothing_of_us", plain_vagrant_needs_nothing_of_us),
    ("what_is_rendered_is_valid", what_is_rendered_is_valid),
];

/// What libvirt's things of this home's cluster begin with.
pub fn base(lab: &Lab, cluster: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let home = Home::at(lab.home(), lab.temp(), "test").expect("the home is there");
    let label = home.label(&cluster.parse().expect("a name"));
    let hash = Sha256::digest(label.as_bytes());
    hash[..4].iter().fold("cl".to_owned(), |name, byte| format!("{name}{byte:02x}"))
}

fn contract_of_providers() {
    let name = |lab: &Lab| format!("{}-calico-01", base(lab, "primer"));
    contract(&Beside {
        until: Until::Reached,
        keeps: false,
        foreign: &|lab| foreign(&name(lab)),
        untouched: &|lab| names("list", &base(lab, "primer")) == [name(lab)],
        gone: &|lab| drop(ok(&["undefine", &name(lab)])),
    });
}

/// Three machines, whose cards lead where they should.
fn the_primer_is_proven() {
    let lab = Lab::new();
    lab.ok(&["up"]);
    let ways = lab.on("calico-02", "ip -4 route show default");
    assert!(ways.contains("dev nat0"), "{ways}");
    // The host is on no lab network.
    let bridge = ok(&["net-dumpxml", &format!("{}l", base(&lab, "primer"))]);
    assert!(!bridge.contains("<ip ") && !bridge.contains("<forward"), "{bridge}");
    lab.until("calico-01", "systemctl is-active ssh");
    lab.down();
}

/// A machine of somebody else with this name, which does not run.
pub fn foreign(name: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("domain.xml");
    let text = format!(
        "<domain type='qemu'><name>{name}</name><memory>65536</memory><os><type arch='x86_64'>hvm</type></os></domain>"
    );
    std::fs::write(&path, text).expect("written");
    ok(&["define", &path.display().to_string()]);
}

/// What `vagrantfile` writes is brought up by Vagrant alone, and taken away by it.
fn plain_vagrant_needs_nothing_of_us() {
    let (lab, folder) = (Lab::new(), tempfile::tempdir().expect("a folder"));
    let path = folder.path().display().to_string();
    lab.ok(&["vagrantfile", "primer", "--nodes", "2", "-o", &path]);
    // It is somebody's by now.
    let told = lab.ends(&["vagrantfile", "primer", "-o", &path], 11);
    assert!(told.contains("something in it already"), "{told}");
    let run = |words: &[&str]| {
        let out = Command::new("vagrant").args(words).current_dir(folder.path()).output();
        out.expect("scripts/libvirt.sh install")
    };
    let vagrant = |words: &[&str]| {
        let out = run(words);
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "vagrant {words:?}: {said}{}", String::from_utf8_lossy(&out.stderr));
        said
    };
    vagrant(&["validate"]);
    vagrant(&["up", "--provider=libvirt"]);
    // The unit that starts BIRD may still be on its way when Vagrant says that the machine is up.
    crate::lab::eventually("the session is Established", || {
        let out = run(&["ssh", "calico-01", "-c", "sudo birdc show protocols"]);
        String::from_utf8_lossy(&out.stdout).contains("Established").then_some(())
    });
    vagrant(&["destroy", "-f"]);
    let all = std::fs::read_dir(folder.path().join("libvirt")).expect("there").flatten();
    let nets = all.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".xml")?.to_owned()));
    for name in nets {
        for list in ["list", "net-list", "pool-list"] {
            assert_eq!(names(list, &name), [""; 0], "{list}");
        }
    }
    for line in vagrant(&["box", "list"]).lines().filter_map(|line| line.split_ascii_whitespace().next()) {
        vagrant(&["box", "remove", "--force", line]);
    }
    lab.nothing_left();
}

/// Vagrant itself says whether it would take the file: for libvirt whole; for VirtualBox, which need not be here, all
/// but that provider's own words.
fn what_is_rendered_is_valid() {
    let lab = Lab::new();
    let mut up = lab.follow(&["up"]);
    up.machine("calico-01");
    up.kill();
    let folder = lab.home().join("clusters/primer/vm/vagrant");
    for (provider, words) in [("libvirt", &["validate"][..]), ("virtualbox", &["validate", "-p"])] {
        let mut vagrant = Command::new("vagrant");
        vagrant.args(words).current_dir(&folder).env("VAGRANT_DEFAULT_PROVIDER", provider);
        let out = vagrant.output().expect("scripts/libvirt.sh install");
        assert!(out.status.success(), "{provider}: {out:?}");
    }
    lab.down();
}
