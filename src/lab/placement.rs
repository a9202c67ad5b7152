//! Where the machines of a lab stand when there is more than this host: other servers, and how nodes are put on them.

use serde::{Deserialize, Serialize};

/// How nodes are put on the members of a cluster of servers; means nothing where there is one server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// As evenly as can be.
    #[default]
    Spread,
    /// On as few as have room.
    Pack,
}

/// The placements by the words that files call them.
pub(in crate::lab) const PLACEMENTS: [(&str, Placement); 2] =
    [("spread", Placement::Spread), ("pack", Placement::Pack)];

/// Servers other than this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Away {
    /// What the client of Incus or LXD calls them.
    pub remote: String,
    /// The members of their cluster that may be used; all if none is named.
    pub targets: Vec<String>,
}

/// What a VXLAN tunnel over IPv4 adds to a packet: Ethernet's header inside (14), its own (8), UDP's (8) and IP's (20).
pub const TUNNEL: u16 = 50;

/// The largest packet of a lab over several servers, where that is 1500 bytes, as in nearly every network.
pub const LONGEST: u16 = 1500 - TUNNEL;
