//! Labs and plans as the binary carries them, for tests that need one.

use std::net::Ipv4Addr;

use calicolab::cmd::labs;
use calicolab::lab::builtin::Library;
use calicolab::lab::file::Lab;
use calicolab::lab::name::LabName;
use calicolab::lab::pin::Lock;
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
