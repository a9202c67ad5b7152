//! The one table of what Incus and LXD call differently; all else they share, their interface included.

use std::path::PathBuf;

/// One of the two projects.
#[derive(Debug, PartialEq, Eq)]
pub struct Dialect {
    /// What people call it.
    pub name: &'static str,
    /// Its client program.
    pub client: &'static str,
    /// The word by which its client makes an instance that does not run yet.
    pub create: &'static str,
    /// The group whose members may speak to the daemon.
    pub group: &'static str,
    /// The variable that names the daemon's socket itself, where there is one.
    pub socket_variable: Option<&'static str>,
    /// The variable that names the folder in which the socket lies.
    pub folder_variable: &'static str,
    /// Where the socket lies otherwise, the likeliest first.
    pub sockets: &'static [&'static str],
    /// What installs it on Debian.
    pub install: &'static str,
    /// What starts its daemon.
    pub start: &'static str,
}

/// Incus, which forked from LXD 5.0.
pub const INCUS: Dialect = Dialect {
    name: "Incus",
    client: "incus",
    create: "create",
    group: "incus-admin",
    socket_variable: Some("INCUS_SOCKET"),
    folder_variable: "INCUS_DIR",
    sockets: &["/run/incus/unix.socket", "/var/lib/incus/unix.socket"],
    install: "apt-get install --no-install-recommends incus",
    start: "sudo systemctl start incus",
};

/// LXD.
pub const LXD: Dialect = Dialect {
    name: "LXD",
    client: "lxc",
    create: "init",
    group: "lxd",
    socket_variable: None,
    folder_variable: "LXD_DIR",
    sockets: &["/var/lib/lxd/unix.socket", "/var/snap/lxd/common/lxd/unix.socket"],
    install: "apt-get install --no-install-recommends lxd lxcfs dnsmasq-base",
    start: "sudo systemctl start lxcfs lxd",
};

/// Both, in the order in which they are asked where either would do.
pub const ALL: [&Dialect; 2] = [&INCUS, &LXD];

impl Dialect {
    /// The one with this client.
    pub fn with_client(client: &str) -> Option<&'static Self> {
        ALL.into_iter().find(|dialect| dialect.client == client)
    }

    /// Where its daemon's socket may be, given the environment.
    pub fn socket_places(&self, variable: impl Fn(&str) -> Option<String>) -> Vec<PathBuf> {
        let named = self.socket_variable.and_then(&variable).map(PathBuf::from);
        let below = || variable(self.folder_variable).map(|folder| PathBuf::from(folder).join("unix.socket"));
        match named.or_else(below) {
            Some(only) => vec![only],
            None => self.sockets.iter().map(PathBuf::from).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_says_where_a_socket_is() {
        let none = |_: &str| None;
        assert_eq!(
            LXD.socket_places(none),
            ["/var/lib/lxd/unix.socket", "/var/snap/lxd/common/lxd/unix.socket"].map(PathBuf::from)
        );
        let folder = |name: &str| (name == "LXD_DIR").then(|| "/tmp/own".to_owned());
        assert_eq!(LXD.socket_places(folder), [PathBuf::from("/tmp/own/unix.socket")]);
        let socket = |name: &str| (name == "INCUS_SOCKET").then(|| "/tmp/own.socket".to_owned());
        assert_eq!(INCUS.socket_places(socket), [PathBuf::from("/tmp/own.socket")]);
    }

    #[test]
    fn a_dialect_is_known_by_its_client() {
        assert_eq!(Dialect::with_client("lxc"), Some(&LXD));
        assert_eq!(Dialect::with_client("incus"), Some(&INCUS));
        assert_eq!(Dialect::with_client("docker"), None);
    }
}
