//! `kubectl` and `calicoctl`: the lab's own, on its master, over the host's OpenSSH, which takes this process's place.

use super::cx::{Cx, not_locked};
use super::kept::plan_of;
use super::shell;
use crate::command::Argv;
use crate::failure::{Exit, Failure};
use crate::lab::name::ClusterName;
use crate::lab::plan::Plan;
use crate::node::{calicoctl, kube};

/// kubectl with the user's words, as the cluster's administrator; `terminal` gives it one. Returns only if that was not possible.
pub fn kubectl(cx: &Cx<'_>, cluster: &ClusterName, words: &[String], terminal: bool) -> Result<Exit, Failure> {
    let plan = plan_of(cx, cluster)?;
    has_kubernetes(&plan)?;
    on_master(cx, &plan, &kube::words(words), terminal)
}

/// calicoctl with the user's words, told where this lab's Calico keeps its data. Returns only if that was not possible.
pub fn calicoctl(cx: &Cx<'_>, cluster: &ClusterName, words: &[String], terminal: bool) -> Result<Exit, Failure> {
    let plan = plan_of(cx, cluster)?;
    let argv = calicoctl_of(&plan, words)?;
    on_master(cx, &plan, &argv, terminal)
}

fn calicoctl_of(plan: &Plan, words: &[String]) -> Result<Argv, Failure> {
    let none = |why: String| {
        let Plan { cluster, master, lab, .. } = plan;
        Failure::new(Exit::Conflict, "calicoctl.none", "find the lab's calicoctl")
            .because_text(format!("the lab {lab} has none: {why}"))
            .hint(format!("sessions: calicolab ssh --name {cluster} {master} -- sudo birdc show protocols"))
    };
    let Some(calico) = &plan.calico else {
        let why = "its nodes run BIRD in the layout of Calico's, and no Calico";
        let failure = none(why.into());
        let Plan { cluster, .. } = plan;
        let instead = if plan.installer.has_kubernetes() {
            format!("what the cluster knows: calicolab kubectl --name {cluster} -- get nodes")
        } else {
            format!("what its nodes know of each other: calicolab verify datastore --name {cluster}")
        };
        return Err(failure.hint(instead));
    };
    let placed = plan.artifacts.iter().flat_map(|placed| &placed.files);
    if !placed.into_iter().any(|file| file.to.rsplit('/').next() == Some("calicoctl")) {
        return Err(none("no file of its lab.yaml is a calicoctl".into()));
    }
    Ok(calicoctl::words(calico, &plan.etcd_endpoints(), words))
}

/// A failure for who asks Kubernetes where there is none.
pub(super) fn has_kubernetes(plan: &Plan) -> Result<(), Failure> {
    if plan.installer.has_kubernetes() {
        return Ok(());
    }
    let Plan { cluster, master, lab, .. } = plan;
    Err(Failure::new(Exit::Conflict, "kubernetes.none", "find the lab's Kubernetes")
        .because_text(format!("the lab {lab} has none: its nodes run etcd, BIRD, a DNS server and containers"))
        .hint(format!("calicolab ssh --name {cluster} {master} -- sudo calicolab-pod list")))
}

/// Words are handed over as they are, and a terminal is one at the far side too.
fn on_master(cx: &Cx<'_>, plan: &Plan, argv: &Argv, terminal: bool) -> Result<Exit, Failure> {
    let state = cx.home.read(&plan.cluster).map_err(|error| not_locked(&plan.cluster, &error))?;
    shell::program(cx, &state, &plan.master, &argv.clone().sudo(), terminal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::example;

    #[test]
    fn a_lab_without_calico_or_kubernetes_says_what_there_is_instead() {
        let primer = example::carried("primer", &[]);
        let told = calicoctl_of(&primer, &[]).expect_err("it has none").to_string();
        assert!(told.contains("the lab primer has none") && told.contains("sudo birdc show protocols"), "{told}");
        let told = has_kubernetes(&primer).expect_err("it has none").to_string();
        assert!(told.contains("the lab primer has none"), "{told}");
        let real = example::carried("calico-3.21-kdd", &[]);
        let argv = calicoctl_of(&real, &["node".into(), "status".into()]).expect("it is there");
        assert!(argv.to_string().ends_with("calicoctl node status") && has_kubernetes(&real).is_ok(), "{argv}");
        let without = Plan { artifacts: Vec::new(), ..real };
        assert!(calicoctl_of(&without, &[]).expect_err("none").to_string().contains("no file of its lab.yaml"));
    }
}
