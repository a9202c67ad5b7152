//! A small lab for the tests of what stands on labs.

use super::builtin::Library;
use super::file::{Bgp, Installer, Lab, Network, Nodes, Policy, Timers};
use super::pin::{Arch, Lock, Pin, Trust};
use super::plan::{LabNet, Plan, ProofPlan, plan};
use super::setting::Setting;

/// A lab of these nodes, of small machines, in a mesh of AS 64512; it has no artifacts.
pub(crate) fn lab(nodes: &[&str]) -> Lab {
    let net = |text: &str| text.parse().expect("a network");
    Lab {
        name: "primer".parse().expect("a name"),
        about: String::new(),
        image: "debian-12".into(),
        arch: Arch::Amd64,
        cgroups: None,
        installer: Installer::Primer,
        nodes: Nodes {
            names: nodes.iter().map(|name| name.parse().expect("a name")).collect(),
            cpus: 1,
            memory_mib: 512,
            disk_mib: 3072,
        },
        needs: None,
        modules: Vec::new(),
        network: Network {
            first: 11,
            lab: None,
            pods: net("10.244.0.0/16"),
            block: 26,
            services: net("10.96.0.0/16"),
            domain: "cluster.local".into(),
            mtu: 1500,
        },
        placement: crate::lab::placement::Placement::Spread,
        bgp: Bgp { asn: 64512, mesh: true, reflectors: Vec::new(), timers: Timers::Quick },
        kubernetes: None,
        calico: None,
        accept: None,
        policy: Policy::None,
        artifacts: Vec::new(),
        proof: ProofPlan { stability_s: 5, up_s: 60, verify_s: 25 },
    }
}

/// Its plan on 198.18.7.0/24.
pub(crate) fn planned(lab: &Lab, cluster: &str) -> Plan {
    let net = LabNet("198.18.7.0/24".parse().expect("a network"));
    plan(lab, &Lock::empty(), &cluster.parse().expect("a name"), net)
}

/// A carried lab as these settings make it.
pub(crate) fn carried_lab(name: &str, sets: &[&str]) -> Lab {
    let library = Library::open(None).expect("the binary's own");
    let name = name.parse().expect("a name");
    let text = library.lab(&name).expect("it is carried");
    let sets: Vec<Setting> = sets.iter().map(|set| set.parse().expect("a setting")).collect();
    let images = library.images().expect("they are right");
    Lab::read(&name, &text.text, &text.shown, &sets, &images).expect("right")
}

/// The plan of a carried lab on 198.18.7.0/24, of whose artifacts none is missing; the digests are no one's.
pub(crate) fn carried(name: &str, sets: &[&str]) -> Plan {
    let lab = carried_lab(name, sets);
    let pins = lab.artifacts.iter().map(|artifact| {
        let version = artifact.version.clone().unwrap_or_else(|| "1.0-1".into());
        Pin {
            name: artifact.name.clone(),
            arch: lab.arch,
            source: artifact.source.filled(&version, lab.arch),
            version,
            digest: format!("sha256:{}", "ab".repeat(32)).parse().expect("a digest"),
            bytes: None,
            trust: Trust::Published,
            found: "a test".into(),
        }
    });
    let lock = Lock { pins: pins.collect(), ..Lock::empty() };
    let net = LabNet("198.18.7.0/24".parse().expect("a network"));
    plan(&lab, &lock, &"demo".parse().expect("a name"), net)
}
