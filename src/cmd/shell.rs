//! `ssh`, `ssh-config`, `cp` and programs on nodes: from a verb's words to the host's own OpenSSH, which takes this process's place.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::cluster::state::ClusterState;
use crate::command::Argv;
use crate::failure::{Exit, Failure};
use crate::lab::name::{ClusterName, NodeName};

use super::cx::Cx;
use super::cx::not_locked;
use super::kept::{plan_of, targets};
use super::ssh::{self, ShellError};

/// Log in to a node, or run words there. Returns only if that was not possible.
pub fn login(cx: &Cx<'_>, cluster: &ClusterName, node: &str, words: &[String]) -> Result<Exit, Failure> {
    let state = cx.home.read(cluster).map_err(|error| not_locked(cluster, &error))?;
    let folder = cx.home.folder(cluster).join("ssh");
    become_it(ssh::shell(&folder, &state.nodes, node, words).map_err(|error| not_run(&error))?)
}

/// A program on a node, its words as they are; `terminal` gives it one. Returns only if that was not possible.
pub fn program(
    cx: &Cx<'_>,
    state: &ClusterState,
    node: &NodeName,
    argv: &Argv,
    terminal: bool,
) -> Result<Exit, Failure> {
    let folder = cx.home.folder(&state.name).join("ssh");
    become_it(ssh::program(&folder, node, argv, terminal).map_err(|error| not_run(&error))?)
}

/// Copy: the last of `paths` is the target. Returns only if that was not possible.
pub fn copy(cx: &Cx<'_>, cluster: &ClusterName, paths: &[String]) -> Result<Exit, Failure> {
    let state = cx.home.read(cluster).map_err(|error| not_locked(cluster, &error))?;
    let folder = cx.home.folder(cluster).join("ssh");
    let Some((target, sources)) = paths.split_last() else { return Err(not_run(&ShellError::NoNode)) };
    become_it(ssh::copy(&folder, &state.nodes, sources, target).map_err(|error| not_run(&error))?)
}

/// The text of an ssh_config for all nodes, or for one.
pub fn config(cx: &Cx<'_>, cluster: &ClusterName, node: Option<&str>) -> Result<String, Failure> {
    let state = cx.home.read(cluster).map_err(|error| not_locked(cluster, &error))?;
    let targets = targets(&plan_of(cx, cluster)?, &state)?;
    ssh::ssh_config(&cx.home.folder(cluster).join("ssh"), &targets, node).map_err(|error| not_run(&error))
}

fn become_it(mut command: Command) -> Result<Exit, Failure> {
    let error = command.exec();
    Err(Failure::new(Exit::Unexpected, "ssh.exec", "run OpenSSH's client").because(&error))
}

fn not_run(error: &ShellError) -> Failure {
    let (exit, id) = match error {
        ShellError::UnknownNode { .. } => (Exit::NoSuch, "node.none"),
        ShellError::NoClient { .. } => (Exit::HostUnfit, "ssh.client"),
        ShellError::NoNode => (Exit::Usage, "usage.cp"),
        ShellError::NoConfig { .. } | ShellError::Config { .. } => (Exit::Conflict, "ssh.config"),
    };
    Failure::new(exit, id, "reach the node").because(error)
}
