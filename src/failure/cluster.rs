//! How failures of state and leases are told: which exit, and what helps.

use super::{Exit, Failure};
use crate::cluster::StateError;
use crate::cluster::lease::LeaseError;

impl Failure {
    /// A cluster's state could not be found, locked, read, written or removed while `doing`.
    pub fn of_state(doing: impl Into<String>, error: &StateError) -> Self {
        let (exit, id, hint) = match error {
            StateError::Held { by: Some(by), .. } => {
                (Exit::Conflict, "state.held", format!("wait for it to end, or end it: kill {}", by.pid))
            }
            StateError::Held { by: None, .. } => (Exit::Conflict, "state.held", "try again in a moment".into()),
            StateError::NoSuch { .. } => (Exit::NoSuch, "state.none", "calicolab ls".into()),
            StateError::Exists { cluster } => (Exit::Conflict, "state.exists", format!("calicolab down {cluster}")),
            StateError::Schema { path, .. } => (
                Exit::Unexpected,
                "state.schema",
                format!("use the calicolab that wrote it, or remove the cluster: calicolab down {}", folder_name(path)),
            ),
            StateError::Broken { path, .. } => {
                (Exit::Unexpected, "state.broken", format!("calicolab down {}", folder_name(path)))
            }
            StateError::Io { .. } => (Exit::Unexpected, "state.io", String::new()),
            StateError::Foreign { .. } | StateError::Long { .. } => (
                Exit::HostUnfit,
                "state.sockets",
                "set XDG_RUNTIME_DIR to a short path of a folder that is yours alone".into(),
            ),
            StateError::Homeless => {
                (Exit::HostUnfit, "state.homeless", "set CALICOLAB_HOME to a folder of your own".into())
            }
            StateError::Left(_) => {
                (Exit::Cleanup, "state.left", "calicolab down, again, once they can be removed".into())
            }
        };
        Self::new(exit, id, doing).because(error).hint(hint)
    }

    /// Something could not be leased or given back while `doing`.
    pub fn of_lease(doing: impl Into<String>, error: &LeaseError) -> Self {
        let (exit, id, hint) = match error {
            LeaseError::Routed { .. } => (
                Exit::Conflict,
                "lease.routed",
                "take another network with --set network.lab=CIDR, or remove the route".into(),
            ),
            LeaseError::Taken { by: Some(by), .. } => {
                (Exit::Conflict, "lease.taken", format!("calicolab down {}, or --set another one", by.cluster))
            }
            LeaseError::Taken { by: None, .. } => (Exit::Conflict, "lease.taken", String::new()),
            LeaseError::NoneFree(_) => {
                (Exit::Conflict, "lease.none-free", "remove clusters that are no longer needed: calicolab ls".into())
            }
            LeaseError::Busy { .. } => (Exit::Conflict, "lease.busy", "try again in a moment".into()),
            LeaseError::Unfit { folder, .. } => (
                Exit::HostUnfit,
                "lease.unfit",
                format!("as root: rm -rf '{0}' && install -d -m 1777 '{0}'", folder.display()),
            ),
            LeaseError::Io { .. } => (Exit::Unexpected, "lease.io", String::new()),
        };
        Self::new(exit, id, doing).because(error).hint(hint)
    }
}

/// The cluster of a state file is what its folder is called.
fn folder_name(state: &std::path::Path) -> String {
    state.parent().and_then(|folder| folder.file_name()).unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_cluster_says_by_whom_since_when() {
        let by = crate::cluster::lock::Holder {
            pid: 4711,
            started: 1,
            verb: "up".into(),
            since: "2026-05-04T03:02:01.9Z".parse().expect("a time"),
            host: "desk".into(),
        };
        let error = StateError::Held { cluster: "demo".parse().expect("a name"), by: Some(by) };
        insta::assert_snapshot!(Failure::of_state("bring `demo` up", &error), @r"
        error[state.held]: failed to bring `demo` up
          because: cluster `demo` is in use by `calicolab up` (pid 4711 on desk) since 2026-05-04T03:02:01Z
        hint: wait for it to end, or end it: kill 4711
        ");
    }

    #[test]
    fn a_later_schema_names_both_ways_out() {
        let error = StateError::Schema { path: "/h/clusters/demo/state.json".into(), found: 9 };
        let failure = Failure::of_state("read the state", &error);
        insta::assert_snapshot!(failure, @r"
        error[state.schema]: failed to read the state
          because: `/h/clusters/demo/state.json` has schema 9, this calicolab knows 1
        hint: use the calicolab that wrote it, or remove the cluster: calicolab down demo
        ");
    }

    #[test]
    fn a_routed_network_names_route_device_and_remedy() {
        let routes = crate::cluster::routes::Routes::parse("\ntun0 0000000A 0 0001 0 0 50 000000FF 0 0 0\n", "");
        let network = "10.1.0.0/24".parse().expect("a network");
        let route = routes.overlapping(network).expect("it overlaps").clone();
        insta::assert_snapshot!(Failure::of_lease("choose a lab network", &LeaseError::Routed { network, route }), @r"
        error[lease.routed]: failed to choose a lab network
          because: the lab network 10.1.0.0/24 overlaps 10.0.0.0/8, which this host reaches by tun0
        hint: take another network with --set network.lab=CIDR, or remove the route
        ");
    }
}
