//! `ssh`, `cp` and `ssh-config`: the host's own OpenSSH programs, made strict by the cluster's config.
//!
//! Terminals, escapes, globs and progress are what OpenSSH's client does best, so these three are handed to it whole;
//! everything the tool itself asks of a node goes through [`crate::ssh`] and needs no program of the host.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Argv, find};
use crate::lab::name::{NodeName, PerNode};
use crate::machine::Target;
use crate::ssh::client;
use crate::ssh::keys::KeyError;

/// Status of `ssh` and `cp` when they themselves fail, as with ssh(1); any other is the far command's.
pub const OWN_FAILURE: u8 = 255;

/// Why there is nothing to run.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// No node bears the name.
    #[error("there is no node `{word}`{}; the nodes are {}", nearest(word, nodes), list(nodes))]
    UnknownNode {
        /// What was typed.
        word: String,
        /// The cluster's nodes.
        nodes: Vec<NodeName>,
    },
    /// OpenSSH's client is not on this host.
    #[error("`{program}` is not on this host; install OpenSSH's client (Debian: apt install openssh-client)")]
    NoClient {
        /// The missing program.
        program: &'static str,
    },
    /// The cluster has no machines so far.
    #[error("`{}` is not there: the cluster's machines have not been made yet", path.display())]
    NoConfig {
        /// The config that `up` writes.
        path: PathBuf,
    },
    /// Neither side of a copy is on a node.
    #[error("`cp` copies to or from a node: write one side as NODE:PATH")]
    NoNode,
    /// The config cannot be written.
    #[error("an OpenSSH config for this cluster is not possible")]
    Config {
        /// The reason.
        source: KeyError,
    },
}

/// What to execute for `ssh NODE [-- WORDS…]`. `folder` is the cluster's `ssh` folder.
///
/// Without words this is a login shell, with a pty if there is a terminal. With words they are joined by blanks and
/// read by the login shell at the far side, exactly as ssh(1) does. The status is the far command's.
pub fn shell(folder: &Path, nodes: &[NodeName], node: &str, words: &[String]) -> Result<Command, ShellError> {
    let node = known(nodes, node)?;
    let mut command = client("ssh", folder)?;
    // After `--` nothing is an option of ssh's own, words that begin with `-` included.
    command.arg("--").arg(node.as_str()).args(words);
    Ok(command)
}

/// What to execute for a program on a node whose words arrive as they are, whatever is in them. With `terminal` the
/// program has one of its own, so that a shell in a pod can be used.
pub fn program(folder: &Path, node: &NodeName, argv: &Argv, terminal: bool) -> Result<Command, ShellError> {
    let mut command = client("ssh", folder)?;
    if terminal {
        command.arg("-t");
    }
    command.arg("--").arg(node.as_str()).arg(argv.to_string());
    Ok(command)
}

/// What to execute for `cp SOURCE… TARGET`: scp with folders included. As with scp, an operand is on a node if it has a
/// colon before any slash; a local file whose name has one is written `./a:b`.
pub fn copy(folder: &Path, nodes: &[NodeName], sources: &[String], target: &str) -> Result<Command, ShellError> {
    let operands: Vec<&str> = sources.iter().map(String::as_str).chain([target]).collect();
    let mut remote = false;
    for word in &operands {
        if let Some(node) = node_of(word) {
            known(nodes, node)?;
            remote = true;
        }
    }
    if !remote {
        return Err(ShellError::NoNode);
    }
    let mut command = client("scp", folder)?;
    // From node to node the bytes pass through this host: the nodes have no keys for each other.
    command.args(["-3", "-r", "--"]).args(operands);
    Ok(command)
}

/// The text of `ssh-config [NODE]`, fit for `Include` in one's own `~/.ssh/config`.
pub fn ssh_config(folder: &Path, targets: &PerNode<Target>, node: Option<&str>) -> Result<String, ShellError> {
    let text = match node {
        None => client::config(folder, targets),
        Some(word) => {
            let nodes: Vec<NodeName> = targets.names().cloned().collect();
            let node = known(&nodes, word)?;
            client::host_block(folder, node, &targets[node])
        }
    };
    text.map_err(|source| ShellError::Config { source })
}

/// One of OpenSSH's programs with the cluster's config and no other.
fn client(program: &'static str, folder: &Path) -> Result<Command, ShellError> {
    let path = find(program).ok_or(ShellError::NoClient { program })?;
    let config = client::config_file(folder);
    if !config.is_file() {
        return Err(ShellError::NoConfig { path: config });
    }
    let mut command = Command::new(path);
    command.arg("-F").arg(config);
    Ok(command)
}

/// The node part of an operand, if it is on a node.
fn node_of(operand: &str) -> Option<&str> {
    let (node, _) = operand.split_once(':')?;
    (!node.is_empty() && !node.contains('/')).then_some(node)
}

fn known<'a>(nodes: &'a [NodeName], word: &str) -> Result<&'a NodeName, ShellError> {
    nodes
        .iter()
        .find(|node| node.as_str() == word)
        .ok_or_else(|| ShellError::UnknownNode { word: word.into(), nodes: nodes.to_vec() })
}

/// `, did you mean …?` if a name is near enough to be meant.
fn nearest(word: &str, nodes: &[NodeName]) -> String {
    nodes
        .iter()
        .map(|node| (strsim::damerau_levenshtein(word, node.as_str()), node))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, node)| *distance <= node.as_str().len() / 2)
        .map(|(_, node)| format!(", did you mean `{node}`?"))
        .unwrap_or_default()
}

fn list(nodes: &[NodeName]) -> String {
    nodes.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::tests::targets;

    fn names() -> Vec<NodeName> {
        targets().names().cloned().collect()
    }

    /// A folder that has a config, as `up` leaves it.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("config"), "").expect("written");
        folder
    }

    fn words(command: &Command) -> Vec<String> {
        command.get_args().skip(2).map(|word| word.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn words_reach_ssh_as_they_are() {
        let folder = folder();
        let asked = ["-x".to_string(), "a  b".into(), "$HOME".into()];
        let command = shell(folder.path(), &names(), "calico-02", &asked).expect("a known node");
        assert_eq!(words(&command), ["--", "calico-02", "-x", "a  b", "$HOME"]);
    }

    #[test]
    fn a_programs_words_are_one_word_to_ssh_and_the_same_again_to_the_shell_there() {
        let folder = folder();
        let argv = Argv::new("kubectl").args(["get", "-o", "jsonpath={.items[*].metadata.name}", "a  b", "$HOME"]);
        let node = &names()[0];
        let command = program(folder.path(), node, &argv, false).expect("a config");
        let wanted = "kubectl get -o 'jsonpath={.items[*].metadata.name}' 'a  b' '$HOME'";
        assert_eq!(words(&command), ["--", "calico-01", wanted]);
        let command = program(folder.path(), node, &argv, true).expect("a config");
        assert_eq!(words(&command), ["-t", "--", "calico-01", wanted]);
    }

    #[test]
    fn an_unknown_node_is_told_with_the_nearest() {
        let error = shell(folder().path(), &names(), "calico-2", &[]).expect_err("no such node");
        insta::assert_snapshot!(error, @"there is no node `calico-2`, did you mean `calico-02`?; the nodes are calico-01, calico-02, calico-03");
        let error = shell(folder().path(), &names(), "zzz", &[]).expect_err("no such node");
        insta::assert_snapshot!(error, @"there is no node `zzz`; the nodes are calico-01, calico-02, calico-03");
    }

    #[test]
    fn a_copy_needs_a_node_on_one_side() {
        let folder = folder();
        let to = |sources: &[&str], target: &str| {
            let sources: Vec<String> = sources.iter().map(ToString::to_string).collect();
            copy(folder.path(), &names(), &sources, target)
        };
        let command = to(&["./a:b", "calico-01:/etc/hosts"], "calico-03:").expect("nodes");
        assert_eq!(words(&command), ["-3", "-r", "--", "./a:b", "calico-01:/etc/hosts", "calico-03:"]);
        assert!(matches!(to(&["a", "./b:c"], "d"), Err(ShellError::NoNode)));
        assert!(matches!(to(&["a"], "calico-9:d"), Err(ShellError::UnknownNode { .. })));
    }

    #[test]
    fn a_cluster_without_machines_is_told() {
        let empty = tempfile::tempdir().expect("a folder");
        assert!(matches!(shell(empty.path(), &names(), "calico-01", &[]), Err(ShellError::NoConfig { .. })));
    }
}
