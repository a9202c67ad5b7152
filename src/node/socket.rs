//! Sockets as `ss` tells them: who listens where, and how the connections of BGP stand.

use std::net::Ipv4Addr;

use crate::command::Argv;

/// A program that waits for connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Address; `0.0.0.0` for all.
    pub address: Ipv4Addr,
    /// Port.
    pub port: u16,
    /// Name of the program, where it is told.
    pub program: Option<String>,
}

/// Who listens on TCP.
pub fn ask_listeners() -> Argv {
    Argv::new("ss").args(["-4", "-H", "-ltnp"])
}

/// The connections of BGP, for people. Nothing is sent to anybody.
pub fn ask_connections() -> Argv {
    Argv::new("ss").args(["-4", "-H", "-tnOi", "sport = :179 or dport = :179"])
}

impl Listener {
    /// Read the answer to [`ask_listeners`].
    pub fn parse(text: &str) -> Vec<Self> {
        text.lines()
            .filter_map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let (address, port) = words.get(3)?.rsplit_once(':')?;
                let address = address.split('%').next()?;
                let address = if address == "*" { Ipv4Addr::UNSPECIFIED } else { address.parse().ok()? };
                let program = line.split_once("users:((\"").and_then(|(_, rest)| rest.split('"').next());
                Some(Self { address, port: port.parse().ok()?, program: program.map(str::to_owned) })
            })
            .collect()
    }

    /// Whether a connection to `address` and `port` comes to it.
    pub fn takes(&self, address: Ipv4Addr, port: u16) -> bool {
        self.port == port && (self.address == address || self.address.is_unspecified())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens() {
        let text = "LISTEN 0      8      198.18.7.12:179 0.0.0.0:* users:((\"bird\",pid=188,fd=7))\n\
                    LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:((\"sshd\",pid=70,fd=3))\nLISTEN 0 8 *:2381 *:*\n";
        let all = Listener::parse(text);
        assert_eq!(all.len(), 3);
        assert_eq!(all[0].program.as_deref(), Some("bird"));
        assert!(all[0].takes(Ipv4Addr::new(198, 18, 7, 12), 179) && !all[0].takes(Ipv4Addr::LOCALHOST, 179));
        assert!(all[2].takes(Ipv4Addr::LOCALHOST, 2381) && all[2].program.is_none());
    }
}
