//! The catalogue agrees with itself, with the rules that explain it, and with shells.

use std::collections::BTreeSet;

use super::*;
use crate::explain::table::RULES;
use crate::proof::samples;

#[test]
fn every_fault_has_a_word_of_its_own_and_a_rule_that_names_it() {
    let ids: BTreeSet<&str> = catalogue().map(|fault| fault.id).collect();
    assert_eq!(ids.len(), catalogue().count());
    assert!(ids.len() >= 24, "{}", ids.len());
    for fault in catalogue() {
        let rule = RULES.iter().find(|rule| rule.id == fault.explained);
        let rule = rule.unwrap_or_else(|| panic!("{} is explained by no rule", fault.id));
        assert!(fault.symptom.is_none_or(|layer| rule.from <= layer), "{}", fault.id);
    }
}

#[test]
fn every_script_is_one() {
    let plan = samples::plan(3);
    for fault in catalogue() {
        let about = fault.about(&plan, None).expect("it has a usual place");
        for node in fault.on(&plan, &about) {
            let argv = node::make(fault, &plan, &node, &about, std::time::Duration::from_secs(60), None);
            let words = &argv.words()[3..];
            for script in [
                argv.words()[2].clone(),
                [&words[2][..], "\n", &words[3]].concat(),
                [&words[2][..], "\n", &words[4]].concat(),
            ] {
                let checked = std::process::Command::new("sh").args(["-nc", &script]).output().expect("sh runs");
                assert!(checked.status.success(), "{}: {}", fault.id, String::from_utf8_lossy(&checked.stderr));
            }
        }
    }
}

#[test]
fn the_runtime_that_is_stopped_is_the_one_that_the_plan_has() {
    let fault = Fault::named("runtime-stopped").expect("it is in the catalogue");
    for (lab, unit) in [
        ("calico-2.4-etcd", "docker"),
        ("calico-3.0-etcd", "docker"),
        ("calico-3.14-kubeadm", "docker"),
        ("calico-3.21-kdd", "containerd"),
    ] {
        let plan = crate::lab::example::carried(lab, &[]);
        assert!(fault.labs.fits(plan.installer), "{lab}");
        let about = fault.about(&plan, None).expect("it has a usual place");
        let argv = node::make(fault, &plan, &about, &about, std::time::Duration::from_secs(60), None);
        let [variables, inject, undo] = [5, 6, 7].map(|at| argv.words()[at].clone());
        let run = |script: &str| {
            // Of the variables alone: what follows them are the words that scripts may call.
            let set: Vec<&str> = variables.lines().filter(|line| line.starts_with("RUNTIME=")).collect();
            let script = format!("systemctl() {{ echo \"$@\"; }}\n{}\n{script}", set.concat());
            let output = std::process::Command::new("sh").args(["-c", &script]).output().expect("sh runs");
            String::from_utf8(output.stdout).expect("text")
        };
        assert_eq!(run(&inject), format!("stop {unit}\n"), "{lab}");
        assert_eq!(run(&undo), format!("start {unit}\nstart kubelet\n"), "{lab}");
    }
}

#[test]
fn a_fault_is_about_a_node_that_it_can_be_about() {
    let plan = samples::plan(3);
    let about = |word: &str, node: Option<usize>| {
        let node = node.map(samples::node);
        Fault::named(word).expect("it is in the catalogue").about(&plan, node.as_ref())
    };
    assert_eq!(about("bird-stopped", None), Ok(samples::node(2)));
    assert_eq!(about("etcd-stopped", None), Ok(samples::node(1)));
    assert_eq!(about("dns-stopped", Some(3)), Ok(samples::node(3)));
    assert!(about("dns-stopped", Some(1)).is_err_and(|error| error.to_string().contains("no DNS server")));
    assert!(about("etcd-stopped", Some(2)).is_err());
}

#[test]
fn the_undo_is_armed_before_the_fault_is_made_and_goes_when_it_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let tools = folder.path().join("tools");
    std::fs::create_dir(&tools).expect("a folder");
    for (name, text) in [("systemd-run", "echo armed >>LOG"), ("systemctl", "echo \"$@\" >>LOG")] {
        let path = tools.join(name);
        let log = folder.path().join("log").display().to_string();
        std::fs::write(&path, format!("#!/bin/sh\n{}\n", text.replace("LOG", &log))).expect("written");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
    }
    let state = folder.path().join("faults");
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").expect("a path"));
    let run = |argv: &crate::command::Argv| {
        // The product's folder is root's own.
        let words: Vec<String> = argv.words()[1..]
            .iter()
            .map(|word| word.replace("/var/lib/calicolab/faults", &state.display().to_string()))
            .collect();
        std::process::Command::new("sh").args(words).env("PATH", &path).status().expect("sh runs").code()
    };
    let log = folder.path().join("log").display().to_string();
    let (made, undone) = (format!("echo made >>{log}"), format!("echo undone >>{log}"));
    let plan = samples::plan(2);
    let fault = |inject: &str| Fault {
        inject: String::leak(inject.to_owned()),
        undo: String::leak(undone.clone()),
        ..*Fault::named("bird-stopped").expect("it is in the catalogue")
    };
    let script = |inject: &str| {
        node::make(
            &fault(inject),
            &plan,
            &samples::node(1),
            &samples::node(1),
            std::time::Duration::from_secs(60),
            None,
        )
    };
    let said = || std::fs::read_to_string(&log).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(run(&script(&made)), Some(0));
    assert_eq!(said(), ["armed", "made"]);
    assert_eq!(run(&script(&made)), Some(node::STANDS), "it stands already");
    assert_eq!(run(&node::clear("bird-stopped")), Some(0));
    assert_eq!(said()[2..], ["undone", "stop calicolab-fault-bird-stopped.timer"]);
    assert_eq!(run(&node::clear("bird-stopped")), Some(0), "fine to repeat");
    assert_eq!(run(&script("exit 3")), Some(3));
    assert_eq!(said()[4..], ["armed", "undone", "stop calicolab-fault-bird-stopped.timer"]);
    assert!(!state.join("bird-stopped").exists());
}
