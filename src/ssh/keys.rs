//! The user key of a cluster and the host keys of its nodes, made before any machine is.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, LineEnding, PrivateKey};

use crate::durable;
use crate::lab::name::{NodeName, PerNode};

/// Why keys could not be made, read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file or folder of the host failed us.
    #[error("`{}` could not be {what}", path.display())]
    Io {
        /// What was tried (`read`, `written`, …).
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A key file is there and holds no key. Machines may know its public half, so it is not made anew.
    #[error("`{}` is damaged: remove the cluster (`calicolab down`) and make it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ssh_key::Error,
    },
    /// A new key could not be made or written down.
    #[error("a key for {whom} could not be made")]
    Make {
        /// Whose it was to be.
        whom: String,
        /// The reason.
        source: ssh_key::Error,
    },
    /// The folder's path has a character that OpenSSH's files cannot carry.
    #[error("`{}` cannot stand in an OpenSSH config: it has a line break, a quote, a backslash or `${{`; choose another CALICOLAB_HOME", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
    },
}

/// The keys of one cluster, and the folder they lie in.
///
/// | file | what | mode |
/// |---|---|---|
/// | `key` | the user's private key | 0600 |
/// | `key.pub` | its public half | 0644 |
/// | `host_NODE` | a node's private host key, for its seed | 0600 |
/// | `known_hosts`, `config` | for OpenSSH's programs: see [`client`](super::client) | 0644 |
#[derive(Clone, Debug)]
pub struct ClusterKeys {
    folder: PathBuf,
    authorized: String,
    hosts: PerNode<HostKey>,
}

/// A node's host key.
#[derive(Clone)]
struct HostKey {
    private: String,
    public: String,
}

impl std::fmt::Debug for HostKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl ClusterKeys {
    /// Read the keys in `folder`, making folder and keys that are not there. `nodes` are the plan's; their values do
    /// not matter. The caller holds the cluster's lock.
    pub fn ensure<T>(folder: &Path, nodes: &PerNode<T>) -> Result<Self, KeyError> {
        let failed = |what| move |source| KeyError::Io { what, path: folder.to_path_buf(), source };
        let folder = std::path::absolute(folder).map_err(failed("found"))?;
        durable::private_folder(&folder).map_err(failed("made"))?;
        std::fs::set_permissions(&folder, Permissions::from_mode(0o700)).map_err(failed("closed to others"))?;
        let (_, authorized) = pair(&folder.join("key"), "the cluster's user")?;
        write_whole(&folder.join("key.pub"), format!("{authorized}\n").as_bytes(), 0o644)?;
        let hosts = nodes.try_map(|node, _| {
            let (private, public) = pair(&folder.join(format!("host_{node}")), node.as_str())?;
            Ok(HostKey { private, public })
        })?;
        Ok(Self { folder, authorized, hosts })
    }

    /// The folder, absolute.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of the user's private key.
    pub fn key_file(&self) -> PathBuf {
        self.folder.join("key")
    }

    /// The line for `authorized_keys` on every node (`ssh-ed25519 AAAA… comment`).
    pub fn authorized_key(&self) -> &str {
        &self.authorized
    }

    /// The private host key of a node of this cluster, in OpenSSH's PEM form: a secret for its seed alone.
    pub fn host_private(&self, node: &NodeName) -> &str {
        &self.hosts[node].private
    }

    /// The public host key of a node of this cluster (`ssh-ed25519 AAAA… comment`), as a
    /// [`Target`](crate::guest::Target) carries it.
    pub fn host_public(&self, node: &NodeName) -> &str {
        &self.hosts[node].public
    }
}

/// A private key in OpenSSH's form and its public half, read from `path` or made there.
fn pair(path: &Path, whom: &str) -> Result<(String, String), KeyError> {
    let damaged = |source| KeyError::Damaged { path: path.to_path_buf(), source };
    let make = |source| KeyError::Make { whom: whom.into(), source };
    let (private, key) = match std::fs::read_to_string(path) {
        Ok(private) => {
            let key = PrivateKey::from_openssh(&private).map_err(damaged)?;
            (private, key)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map_err(make)?;
            key.set_comment(format!("calicolab {whom}"));
            let private = key.to_openssh(LineEnding::LF).map_err(make)?;
            write_whole(path, private.as_bytes(), 0o600)?;
            (private.to_string(), key)
        }
        Err(source) => return Err(KeyError::Io { what: "read", path: path.to_path_buf(), source }),
    };
    let public = key.public_key().to_openssh().map_err(damaged)?;
    Ok((private, public))
}

/// Write a file whole; one that already says the same is left alone.
pub(super) fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeyError> {
    if std::fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    durable::write(path, bytes, mode).map_err(|source| KeyError::Io {
        what: "written",
        path: path.to_path_buf(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::tests::nodes;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
    }

    #[test]
    fn keys_are_made_once_and_closed_to_others() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join("ssh");
        let first = ClusterKeys::ensure(&folder, &nodes()).expect("made");
        let second = ClusterKeys::ensure(&folder, &nodes()).expect("read");
        assert_eq!(first.authorized_key(), second.authorized_key());
        let names: Vec<NodeName> = nodes().names().cloned().collect();
        assert!(names.iter().all(|node| first.host_private(node) == second.host_private(node)));
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&folder.join("key")), 0o600);
        assert_eq!(mode(&folder.join("host_calico-02")), 0o600);
        let publics: std::collections::HashSet<_> = names.iter().map(|node| first.host_public(node)).collect();
        assert_eq!(publics.len(), 3, "each node has a key of its own");
        assert!(!format!("{first:?}").contains("PRIVATE"), "secrets are not for logs");
    }

    #[test]
    fn a_damaged_key_is_not_made_anew() {
        let home = tempfile::tempdir().expect("a folder");
        ClusterKeys::ensure(home.path(), &nodes()).expect("made");
        let path = home.path().join("host_calico-01");
        let whole = std::fs::read_to_string(&path).expect("it is there");
        std::fs::write(&path, &whole[..whole.len() / 2]).expect("written");
        let error = ClusterKeys::ensure(home.path(), &nodes()).expect_err("half a key");
        assert!(matches!(error, KeyError::Damaged { path: at, .. } if at == path));
    }
}
