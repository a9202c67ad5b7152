//! `calicoctl status` of 2016 (0.15): the container of Calico's node, and its BGP peers in a table.

use std::net::Ipv4Addr;

use crate::command::Argv;

/// What it said in one read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// How the container stands (`Up 3 hours`); none where it does not run.
    pub running: Option<String>,
    /// Our address as the datastore has it; none where nobody wrote one, or the datastore does not answer.
    pub address: Option<Ipv4Addr>,
    /// Our AS.
    pub asn: Option<u32>,
    /// The IPv4 peers, in its own order.
    pub peers: Vec<Row>,
}

/// A row of its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The peer.
    pub address: Ipv4Addr,
    /// Why we peer, as it says (`node-to-node mesh`).
    pub kind: String,
    /// State of the protocol (`up`, `start`).
    pub state: String,
    /// Since when, as printed.
    pub since: String,
    /// BGP's state, and what BIRD adds.
    pub info: String,
}

impl Row {
    /// Whether the session stands.
    pub fn established(&self) -> bool {
        self.state == "up" && self.info.split_whitespace().next() == Some("Established")
    }
}

/// Why an answer is none of its.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no status of calicoctl's: {0:?}")]
pub struct NoStatus(String);

/// How does the node's Calico stand?
pub fn ask() -> Argv {
    Argv::new("timeout").args(["-k", "1", "20", "calicoctl", "status"])
}

impl Status {
    /// Read the answer to [`ask`]. A table that it could not make, and prints as BIRD has it, has no rows.
    pub fn parse(text: &str) -> Result<Self, NoStatus> {
        let none = || NoStatus(text.trim().chars().take(200).collect());
        let mut status = Self::default();
        let first = text.lines().next().ok_or_else(none)?.trim();
        if let Some((_, running)) = first.split_once("container is running. Status: ") {
            status.running = Some(running.into());
        } else if !first.contains("not running") {
            return Err(none());
        }
        // What follows is the same for IPv6, which no lab has.
        let four = text.lines().map(str::trim).skip_while(|line| *line != "IPv4 BGP status");
        for line in four.take_while(|line| *line != "IPv6 BGP status") {
            if let Some((address, asn)) = line.strip_prefix("IP: ").and_then(|rest| rest.split_once("AS Number: ")) {
                status.address = address.trim().parse().ok();
                status.asn = asn.split_whitespace().next().and_then(|word| word.parse().ok());
            }
            status.peers.extend(row(line));
        }
        Ok(status)
    }
}

fn row(line: &str) -> Option<Row> {
    let cells: Vec<&str> = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
    let [address, kind, state, since, info] = cells[..] else { return None };
    // The heading's first cell is no address.
    let address = address.parse().ok()?;
    let text = str::to_owned;
    Some(Row { address, kind: text(kind), state: text(state), since: text(since), info: text(info) })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// As 0.15 prints it of a node with two peers.
    pub const HEALTHY: &str = "\
calico-node container is running. Status: Up 3 hours
Running felix version 1.3.0

IPv4 BGP status
IP: 172.18.18.101    AS Number: 64511 (inherited)
+---------------+-------------------+-------+----------+-------------+
|  Peer address |     Peer type     | State |  Since   |     Info    |
+---------------+-------------------+-------+----------+-------------+
| 172.18.18.102 | node-to-node mesh |   up  | 03:32:40 | Established |
| 172.18.18.103 | node-to-node mesh |   up  | 03:33:01 | Established |
+---------------+-------------------+-------+----------+-------------+

IPv6 BGP status
No IPv6 address configured.

";

    #[test]
    fn a_healthy_node() {
        let status = Status::parse(HEALTHY).expect("a status");
        assert_eq!(status.running.as_deref(), Some("Up 3 hours"));
        assert_eq!((status.address, status.asn), (Some(Ipv4Addr::new(172, 18, 18, 101)), Some(64511)));
        assert_eq!(status.peers.len(), 2);
        assert!(status.peers.iter().all(Row::established));
        assert_eq!((status.peers[1].kind.as_str(), status.peers[1].since.as_str()), ("node-to-node mesh", "03:33:01"));
    }

    #[test]
    fn birds_own_spaces_stay_in_the_info() {
        let text = HEALTHY.replacen(
            "|   up  | 03:32:40 | Established |",
            "| start | 03:32:40 | Active        Socket: Connection refused |",
            1,
        );
        let status = Status::parse(&text).expect("a status");
        assert!(!status.peers[0].established() && status.peers[1].established());
        assert!(status.peers[0].info.ends_with("Socket: Connection refused"));
    }

    #[test]
    fn what_is_missing_is_seen() {
        for (text, running, peers) in [
            ("calico-node container not running\n", false, 0),
            ("Docker is not running\n", false, 0),
            (
                "calico-node container is running. Status: Up 2 seconds\n\nIPv4 BGP status\nNo IPv4 address configured.\n",
                true,
                0,
            ),
            (
                "calico-node container is running. Status: Up 2 seconds\n\nIPv4 BGP status\nError connecting to etcd.\nIP: unknown    AS Number: unknown\n",
                true,
                0,
            ),
        ] {
            let status = Status::parse(text).expect("a status");
            assert_eq!(
                (status.running.is_some(), status.peers.len(), status.address),
                (running, peers, None),
                "{text}"
            );
        }
        // With IPv6 its own table follows.
        let six = HEALTHY.replace(
            "No IPv6 address configured.",
            "| 172.18.18.104 | node-to-node mesh |   up  | 03:32:40 | Established |",
        );
        assert_eq!(Status::parse(&six).expect("a status").peers.len(), 2);
        for text in ["", "ERROR: Could not connect to etcd at 127.0.0.1:2379\n"] {
            assert!(Status::parse(text).is_err(), "{text}");
        }
    }
}
