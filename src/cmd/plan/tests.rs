//! Plans as people read them, and what differs between two.

use super::*;
use crate::lab::builtin::Library;
use crate::lab::pin::{Arch, Lock, Pin, Trust};
use crate::lab::plan::{LabNet, plan};
use crate::lab::setting::Setting;

fn planned(sets: &[&str]) -> Plan {
    let library = Library::open(None).expect("own");
    let sets: Vec<Setting> = sets.iter().map(|set| set.parse().expect("a setting")).collect();
    let name = "primer".parse().expect("a name");
    let text = library.lab(&name).expect("there");
    let images = library.images().expect("right");
    let lab = crate::lab::file::Lab::read(&name, &text.text, &text.shown, &sets, &images).expect("right");
    let pins = lab.artifacts.iter().take(2).map(|artifact| Pin {
        name: artifact.name.clone(),
        version: "1.0-1".into(),
        arch: Arch::Amd64,
        source: artifact.source.clone(),
        digest: format!("sha256:{}", "ab".repeat(32)).parse().expect("a digest"),
        bytes: None,
        trust: Trust::Published,
        found: "a test".into(),
    });
    let lock = Lock { pins: pins.collect(), ..Lock::empty() };
    plan(&lab, &lock, &"demo".parse().expect("a name"), LabNet("198.18.7.0/24".parse().expect("a range")))
}

fn shown(plan: &Plan, first: Option<&str>) -> String {
    let estimate = Estimate { seconds: 150, why: "no hardware acceleration".into() };
    text(plan, &["link calico-01 calico-02".into(), "dns calico-01".into()], Some(&estimate), first)
}

#[test]
fn the_default_for_people() {
    insta::assert_snapshot!(shown(&planned(&[]), Some("image debian-12 is built here, once")));
}

#[test]
fn reflectors_for_people() {
    let plan = planned(&["bgp.mesh=off", "bgp.reflectors=calico-01", "bgp.timers=calico"]);
    insta::assert_snapshot!(shown(&plan, None));
}

/// The labs with Kubernetes as they are planned; of their artifacts the locks' own tests tell.
#[test]
fn every_lab_with_kubernetes_for_people() {
    for lab in [
        "calico-2.4-etcd",
        "calico-3.0-etcd",
        "calico-3.14-kubeadm",
        "calico-3.21-kdd",
        "calico-3.21-etcd",
        "calico-3.32",
    ] {
        let plan = crate::lab::example::carried(lab, &[]);
        let shown = text(&plan, &[], None, None);
        let (before, _) = shown.split_once("\nARTIFACT").expect("artifacts");
        insta::assert_snapshot!(lab, before);
        assert_eq!(serde_json::from_str::<Plan>(&json(&plan)).expect("a plan"), plan);
    }
}

#[test]
fn a_datastore_of_three_members_is_asked_at_each() {
    let plan = crate::lab::example::carried("calico-3.21-etcd", &["nodes.count=4"]);
    let members = [
        "https://198.18.7.11:2379",
        "https://198.18.7.12:2379",
        "https://198.18.7.13:2379",
        "https://198.18.7.14:2379",
    ];
    assert_eq!(plan.etcd_endpoints(), members);
}

#[test]
fn json_is_the_plan() {
    let plan = planned(&[]);
    assert_eq!(serde_json::from_str::<Plan>(&json(&plan)).expect("a plan"), plan);
}
