//! A small plan and state for tests.

use super::state::{ClusterState, Wish};
use crate::guest::Kind;
use crate::lab::example::{lab, planned};
use crate::lab::plan::Plan;

/// A plan for three nodes on 198.18.7.0/24.
pub(crate) fn plan_of(cluster: &str) -> Plan {
    planned(&lab(&["calico-01", "calico-02", "calico-03"]), cluster)
}

/// The state in which such a cluster is begun.
pub(crate) fn state(cluster: &str) -> ClusterState {
    ClusterState::begun(&plan_of(cluster), Kind::Qemu, Wish::default(), None)
}
