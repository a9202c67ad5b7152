//! Labs and plans as the binary carries them, for tests that need one.

use std::net::Ipv4Addr;

use calicolab::cmd::labs;
use calicolab::lab::builtin::Library;
use calicolab::lab::file::Lab;
use calicolab::lab::name::LabName;
use calicolab::lab::pin::{Digest, Lock, Pin, Trust};
use calicolab::lab::plan::{LabNet, Plan, plan};
use calicolab::lab::setting::Setting;

fn read(nodes: usize) -> (Lab, Lock) {
    let library = Library::open(None).expect("the labs in the binary");
    let name: LabName = "primer".parse().expect("a name");
    labs::read(&library, &name, &[Setting::nodes(nodes)], None).expect("it is right")
}

/// The lab `primer` with this many nodes.
pub fn lab(nodes: usize) -> Lab {
    read(nodes).0
}

/// A plan of this lab for a cluster on 198.18.7.0/24, with what its lock pins.
pub fn of(lab: &Lab, cluster: &str) -> Plan {
    let net = LabNet(ipnet::Ipv4Net::new(Ipv4Addr::new(198, 18, 7, 0), 24).expect("a network"));
    plan(lab, &read(2).1, &cluster.parse().expect("a name"), net)
}

/// The plan of the lab `primer` as it is.
pub fn primer(cluster: &str, nodes: usize) -> Plan {
    of(&lab(nodes), cluster)
}

/// The plan of one of the tests' own labs of Kubernetes, as if its lock were of nothing but noughts.
pub fn kubernetes(lab: &str) -> Plan {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    noughts(&Library::open(Some(folder.into())).expect("the labs of the tests"), lab)
}

/// The plan of one of the product's own labs, its lock the same.
pub fn carried(lab: &str) -> Plan {
    noughts(&Library::open(None).expect("the labs in the binary"), lab)
}

fn noughts(library: &Library, lab: &str) -> Plan {
    let name: LabName = lab.parse().expect("a name");
    let (lab, mut lock) = labs::read(library, &name, &[], None).expect("it is right");
    lock.pins.clear();
    lock.pins.extend(lab.artifacts.iter().map(|artifact| {
        let version = artifact.version.clone().unwrap_or_default();
        Pin {
            name: artifact.name.clone(),
            arch: lab.arch,
            source: artifact.source.filled(&version, lab.arch),
            version,
            digest: Digest::Sha256([0; 32]),
            bytes: None,
            trust: Trust::FirstUse,
            found: String::new(),
        }
    }));
    let net = LabNet(ipnet::Ipv4Net::new(Ipv4Addr::new(198, 18, 7, 0), 24).expect("a network"));
    plan(&lab, &lock, &"kube".parse().expect("a name"), net)
}
