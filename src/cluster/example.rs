//! A small plan and state for tests.

use super::state::{ClusterState, Wish};
use crate::guest::Kind;
use crate::lab::file::{Bgp, Installer, Lab, Network, Nodes, Timers};
use crate::lab::pin::Lock;
use crate::lab::plan::{LabNet, Plan, ProofPlan, plan};

/// A plan for three nodes on 198.18.7.0/24.
pub(crate) fn plan_of(cluster: &str) -> Plan {
    let net = |text: &str| text.parse().expect("a network");
    let lab = Lab {
        name: "primer".parse().expect("a name"),
        about: String::new(),
        image: "debian-12".into(),
        installer: Installer::Primer,
        nodes: Nodes {
            names: ["calico-01", "calico-02", "calico-03"].map(|name| name.parse().expect("a name")).into(),
            cpus: 1,
            memory_mib: 512,
            disk_mib: 4096,
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
        artifacts: Vec::new(),
        proof: ProofPlan { stability_s: 5, up_s: 300, verify_s: 25 },
    };
    let lock = Lock { schema: 1, pins: Vec::new(), missing: Vec::new() };
    plan(&lab, &lock, &cluster.parse().expect("a name"), LabNet(net("198.18.7.0/24")))
}

/// The state in which such a cluster is begun.
pub(crate) fn state(cluster: &str) -> ClusterState {
    ClusterState::begun(&plan_of(cluster), Kind::Qemu, Wish::default(), None)
}
