//! A small lab for the tests of what stands on labs.

use super::file::{Bgp, Installer, Lab, Network, Nodes, Timers};
use super::pin::{Arch, Lock};
use super::plan::{LabNet, Plan, ProofPlan, plan};

/// A lab of these nodes, of small machines, in a mesh of AS 64512; it has no artifacts.
pub(crate) fn lab(nodes: &[&str]) -> Lab {
    let net = |text: &str| text.parse().expect("a network");
    Lab {
        name: "primer".parse().expect("a name"),
        about: String::new(),
        image: "debian-12".into(),
        arch: Arch::Amd64,
        installer: Installer::Primer,
        nodes: Nodes {
            names: nodes.iter().map(|name| name.parse().expect("a name")).collect(),
            cpus: 1,
            memory_mib: 512,
            disk_mib: 3072,
        },
        network: Network {
            lab: None,
            pods: net("10.244.0.0/16"),
            block: 26,
            services: net("10.96.0.0/16"),
            domain: "cluster.local".into(),
            mtu: 1500,
        },
        bgp: Bgp { asn: 64512, mesh: true, reflectors: Vec::new(), timers: Timers::Quick },
        kubernetes: None,
        calico: None,
        artifacts: Vec::new(),
        proof: ProofPlan { stability_s: 5, up_s: 60, verify_s: 25 },
    }
}

/// Its plan on 198.18.7.0/24.
pub(crate) fn planned(lab: &Lab, cluster: &str) -> Plan {
    let net = LabNet("198.18.7.0/24".parse().expect("a network"));
    plan(lab, &Lock::empty(), &cluster.parse().expect("a name"), net)
}
