//! Machines that were resumed from a template, beside machines that booted: nothing about them differs but what must.

use std::collections::{BTreeMap, HashSet};
use std::fs;

use serde_json::Value;

use crate::lab::{Lab, Test};

pub const ALL: &[Test] =
    &[("a_resumed_machine_is_what_it_would_be_had_it_booted", a_resumed_machine_is_what_it_would_be_had_it_booted)];

/// What is asked of a node, as root: sections that begin with `== NAME`.
const ASKED: &str = r#"
echo "== own"; cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub; echo; cat /sys/class/net/nat0/address /sys/class/net/lab0/address
head -c 16 /dev/urandom | od -An -tx1
echo "== links"; for c in nat0 lab0; do cat /sys/class/net/$c/ifindex /sys/class/net/$c/addr_assign_type /sys/class/net/$c/mtu; readlink /sys/class/net/$c/device; done
ip -o -4 address show dev nat0; ip -o -4 address show dev lab0; ip route show default
echo "== machine"; cat /proc/cmdline; grep -c . /proc/cpuinfo; grep MemTotal /proc/meminfo; cut -d" " -f1 /proc/modules | sort; cut -d" " -f4-6 /proc/self/mountinfo; lsblk -no NAME,SIZE,RO,SERIAL 2>&1
echo "== units"; systemctl list-units --all --plain --no-legend --no-pager --type=service,socket,target,mount,timer | sed "s/  */ /g" | cut -d" " -f1-4
echo "== tree"; find / -xdev \( -type f -o -type l \) ! -path "/var/log/*" ! -path "/tmp/*" -printf "%p %m %U %G %l\n" | sort
echo "== etc"; find /etc -xdev -type f -newer /usr/lib/calicolab/one-stage.py | sort | while read -r f; do echo "=== $f"; cat "$f"; echo; done
echo "== journal"; for u in ssh calicolab-network cloud-init-local; do journalctl -q --no-pager -b -u $u | grep -c . | sed "s/[1-9][0-9]*/some/"; done
"#;

/// A node's answers by section.
fn look(lab: &Lab, cluster: &str, node: &str) -> BTreeMap<String, String> {
    let said = lab.ok(&["ssh", "-n", cluster, node, "--", &format!("sudo sh -c '{ASKED}'")]);
    let mut sections: BTreeMap<String, String> = BTreeMap::new();
    let mut name = String::new();
    for line in said.lines() {
        if let Some(next) = line.strip_prefix("== ") {
            next.clone_into(&mut name);
        } else {
            let section = sections.entry(name.clone()).or_default();
            section.push_str(line);
            section.push('\n');
        }
    }
    sections
}

/// The answers without what two clusters differ in anyway: lab network, cards' addresses, ids, keys.
fn even(lab: &Lab, cluster: &str, node: &str, said: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let folder = lab.home().join("clusters").join(cluster);
    let read =
        |name: &str| -> Value { serde_json::from_slice(&fs::read(folder.join(name)).expect("there")).expect("JSON") };
    let (plan, state) = (read("plan.json"), read("state.json"));
    let mut words = vec![(state["id"].as_str().expect("an id").to_owned(), "ID")];
    let net = plan["network"]["lab"].as_str().expect("a network").to_owned();
    words.push((net.clone(), "NET"));
    let beginning = net.rsplit_once('.').expect("an address").0;
    words.push((beginning.to_owned(), "LAB"));
    words.push((beginning.replace('.', "_"), "LAB"));
    for of in plan["nodes"].as_array().expect("nodes") {
        for mac in ["nat_mac", "lab_mac"] {
            words.push((of[1][mac].as_str().expect("an address").to_owned(), "MAC"));
        }
    }
    let rendered = fs::read_to_string(folder.join("rendered").join(node).join("user-data")).expect("its seed");
    words.extend(rendered.lines().filter(|line| line.contains("ssh-ed25519 ")).map(|line| {
        let key = line.split("ssh-ed25519 ").nth(1).expect("a key");
        (key.split(['"', ' ']).next().expect("its middle").to_owned(), "KEY")
    }));
    let mut even = said.clone();
    even.remove("own");
    for text in even.values_mut() {
        for (word, instead) in &words {
            *text = text.replace(word, instead);
        }
    }
    // Secrets of each cluster, which are for the proof to judge.
    let etc = even.get_mut("etc").expect("a section");
    *etc = etc
        .split("=== ")
        .filter(|file| {
            !["/etc/machine-id", "/etc/ssh/ssh_host", "/etc/calicolab/pki/"].iter().any(|own| file.starts_with(own))
        })
        .flat_map(|file| file.lines().filter(|line| !line.starts_with("# Created by cloud-init")))
        .collect::<Vec<_>>()
        .join("\n");
    let tree = even.get_mut("tree").expect("a section");
    // What etcd, CNI and containers leave is of their run and not of the machine's.
    *tree = tree.lines().filter(|line| !line.starts_with("/var/lib/etcd")).collect::<Vec<_>>().join("\n");
    even
}

fn up(lab: &Lab, words: &[&str]) -> String {
    let out = lab.run(&[&["--json", "up", "--nodes", "2"], words].concat());
    assert_eq!(out.status.code(), Some(0), "{words:?}");
    String::from_utf8(out.stdout).expect("text")
}

fn a_resumed_machine_is_what_it_would_be_had_it_booted() {
    let lab = Lab::new();
    let told = up(&lab, &["-n", "warm"]);
    assert!(told.contains("resumed from the template"), "{told}");
    let told = up(&lab, &["-n", "cold", "--cold"]);
    assert!(told.contains("machines boot cold: so it was asked for"), "{told}");

    let warm = ["calico-01", "calico-02"].map(|node| (node, look(&lab, "warm", node)));
    for (node, warm) in &warm {
        let cold = look(&lab, "cold", node);
        let (warm, cold) = (even(&lab, "warm", node, warm), even(&lab, "cold", node, &cold));
        for (section, text) in &cold {
            let different = |a: &str, b: &str| -> Vec<String> {
                let known: HashSet<&str> = b.lines().collect();
                a.lines().filter(|line| !known.contains(line)).map(String::from).collect()
            };
            let (only_cold, only_warm) = (different(text, &warm[section]), different(&warm[section], text));
            assert!(
                only_cold.is_empty() && only_warm.is_empty(),
                "{section} of {node}: cold alone {only_cold:#?}, warm alone {only_warm:#?}"
            );
        }
    }
    // And each is its own: machine-id, host key, cards, random numbers.
    let [(_, one), (_, other)] = &warm;
    let own = |said: &BTreeMap<String, String>| said["own"].lines().map(String::from).collect::<Vec<_>>();
    for (one, other) in own(one).iter().zip(own(other)) {
        assert!(!one.is_empty() && *one != other, "both have {one}");
    }
    assert_eq!(own(one).len(), 5, "{:?}", own(one));
    lab.ok(&["down", "cold"]);

    // Off and on again it boots from its own disk, and is still itself.
    lab.ok(&["stop", "-n", "warm"]);
    lab.ok(&["start", "-n", "warm"]);
    assert_eq!(own(&look(&lab, "warm", "calico-02"))[..2], own(other)[..2]);
    lab.down();
}
