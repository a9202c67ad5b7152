//! What OpenSSH's own programs need to reach the nodes as strictly as we do: `known_hosts` and `config`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::keys::{ClusterKeys, KeyError, write_whole};
use crate::guest::Target;
use crate::lab::name::{NodeName, PerNode};

/// The client config in a cluster's `ssh` folder: `ssh -F` this file NODE.
pub fn config_file(folder: &Path) -> PathBuf {
    folder.join("config")
}

impl ClusterKeys {
    /// Write `known_hosts` and `config` for machines that now exist; files that say so already are left alone.
    pub fn write_client_files(&self, targets: &PerNode<Target>) -> Result<(), KeyError> {
        let config = config(self.folder(), targets)?;
        write_whole(&self.folder().join("known_hosts"), known_hosts(targets).as_bytes(), 0o644)?;
        write_whole(&config_file(self.folder()), config.as_bytes(), 0o644)
    }
}

/// One line a node, by its name and not by an address: ports of 127.0.0.1 pass from one cluster to the next.
fn known_hosts(targets: &PerNode<Target>) -> String {
    targets.iter().fold(String::new(), |mut text, (node, target)| {
        let key = target.host_key.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        let _ = writeln!(text, "{node} {key}");
        text
    })
}

/// An OpenSSH client config for all nodes. `folder` is the cluster's `ssh` folder, absolute.
pub fn config(folder: &Path, targets: &PerNode<Target>) -> Result<String, KeyError> {
    let blocks: Result<Vec<String>, KeyError> =
        targets.iter().map(|(node, target)| host_block(folder, node, target)).collect();
    Ok(blocks?.join("\n"))
}

/// The config of one node. Every option stands in the node's own block, so that the text can be included in one's
/// own `~/.ssh/config` without touching any other host.
pub fn host_block(folder: &Path, node: &NodeName, target: &Target) -> Result<String, KeyError> {
    let key = quoted(&folder.join("key"))?;
    let known = quoted(&folder.join("known_hosts"))?;
    let kind = target.host_key.split_whitespace().next().unwrap_or_default();
    let lines = [
        format!("HostName {}", target.addr.ip()),
        format!("Port {}", target.addr.port()),
        format!("User {}", target.user),
        format!("IdentityFile {key}"),
        "IdentitiesOnly yes".into(),
        "IdentityAgent none".into(),
        "PreferredAuthentications publickey".into(),
        format!("UserKnownHostsFile {known}"),
        "GlobalKnownHostsFile /dev/null".into(),
        "StrictHostKeyChecking yes".into(),
        format!("HostKeyAlias {node}"),
        format!("HostKeyAlgorithms {kind}"),
        "CheckHostIP no".into(),
        "UpdateHostKeys no".into(),
        "VerifyHostKeyDNS no".into(),
        "ForwardAgent no".into(),
        "ControlMaster no".into(),
        "ControlPath none".into(),
        "ServerAliveInterval 15".into(),
        "LogLevel ERROR".into(),
    ];
    Ok(lines.iter().fold(format!("Host {node}\n"), |mut text, line| {
        let _ = writeln!(text, "    {line}");
        text
    }))
}

/// A path as OpenSSH's config reads it: quoted, and `%` doubled since it begins a token.
fn quoted(path: &Path) -> Result<String, KeyError> {
    let unfit = || KeyError::Folder { path: path.to_path_buf() };
    let text = path.to_str().ok_or_else(unfit)?;
    if text.contains(['"', '\\', '\n', '\r']) || text.contains("${") {
        return Err(unfit());
    }
    Ok(format!("\"{}\"", text.replace('%', "%%")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::tests::targets;

    #[test]
    fn the_config_of_a_node_stands_alone() {
        let targets = targets();
        let (node, target) = targets.iter().next().expect("three nodes");
        let block = host_block(Path::new("/home/a b/50%/ssh"), node, target).expect("a fit path");
        insta::assert_snapshot!(block, @r#"
        Host calico-01
            HostName 127.0.0.1
            Port 2201
            User core
            IdentityFile "/home/a b/50%%/ssh/key"
            IdentitiesOnly yes
            IdentityAgent none
            PreferredAuthentications publickey
            UserKnownHostsFile "/home/a b/50%%/ssh/known_hosts"
            GlobalKnownHostsFile /dev/null
            StrictHostKeyChecking yes
            HostKeyAlias calico-01
            HostKeyAlgorithms ssh-ed25519
            CheckHostIP no
            UpdateHostKeys no
            VerifyHostKeyDNS no
            ForwardAgent no
            ControlMaster no
            ControlPath none
            ServerAliveInterval 15
            LogLevel ERROR
        "#);
        assert_eq!(config(Path::new("/x"), &targets).expect("a fit path").matches("Host calico-").count(), 3);
    }

    #[test]
    fn hosts_are_known_by_name() {
        insta::assert_snapshot!(known_hosts(&targets()), @r"
        calico-01 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBmAsP5tnMLHBzOz0MTmg3ONgd5XoyHBBMZ5GVjXB9vL
        calico-02 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBmAsP5tnMLHBzOz0MTmg3ONgd5XoyHBBMZ5GVjXB9vL
        calico-03 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBmAsP5tnMLHBzOz0MTmg3ONgd5XoyHBBMZ5GVjXB9vL
        ");
    }

    #[test]
    fn a_path_that_openssh_cannot_read_is_refused() {
        for path in ["/a\"b", "/a\nb", "/${HOME}/x", "/a\\b"] {
            assert!(matches!(quoted(Path::new(path)), Err(KeyError::Folder { .. })), "{path}");
        }
    }
}
