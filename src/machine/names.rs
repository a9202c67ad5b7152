//! What a cluster's things are called where a provider keeps them beside those of others.

use sha2::{Digest as _, Sha256};

use crate::lab::name::NodeName;

/// An instance's name has at most this many characters.
const LONGEST: usize = 63;

/// The names of one cluster's things: made from its label, so that no two clusters of this host share one.
#[derive(Clone, Debug)]
pub struct Names {
    label: String,
    base: String,
}

impl Names {
    /// Of the cluster with this label.
    pub fn of(label: &str) -> Self {
        // A bridge's name has at most 15 characters, and a label has more.
        let hash = Sha256::digest(label.as_bytes());
        let base = hash[..4].iter().fold("cl".to_owned(), |name, byte| format!("{name}{byte:02x}"));
        Self { label: label.into(), base }
    }

    /// The label itself.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// What all their names begin with.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The profile of all nodes.
    pub fn profile(&self) -> &str {
        &self.base
    }

    /// The project on other servers.
    pub fn project(&self) -> &str {
        &self.base
    }

    /// A number of this cluster's own, as far as there are enough.
    pub fn number(&self) -> u32 {
        let hash = Sha256::digest(self.label.as_bytes());
        u32::from_be_bytes([hash[6], hash[7], hash[8], hash[9]])
    }

    /// Another number for each `draw` of each node, and another cluster's are others.
    pub fn drawn(&self, node: &NodeName, draw: u32) -> u32 {
        let hash = Sha256::digest(format!("{}/{node}/{draw}", self.label).as_bytes());
        u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
    }

    /// The network that leads outside.
    pub fn nat(&self) -> String {
        format!("{}n", self.base)
    }

    /// The lab network.
    pub fn lab(&self) -> String {
        format!("{}l", self.base)
    }

    /// A node's instance.
    pub fn instance(&self, node: &NodeName) -> String {
        format!("{}-{node}", self.base)
    }

    /// Whether a node's name leaves room for what goes before it.
    pub fn fits(node: &NodeName) -> bool {
        node.as_str().len() + "cl00000000-".len() <= LONGEST
    }

    /// The network that is tried `number`-th (from 0) for the way outside: each cluster begins elsewhere in a range
    /// that few hosts use.
    pub fn nat_network(&self, number: u32) -> ipnet::Ipv4Net {
        let hash = Sha256::digest(self.label.as_bytes());
        let begin = u32::from(u16::from_be_bytes([hash[4], hash[5]]));
        // The 16384 networks of 24 bits in 10.64.0.0/10.
        let third = (begin + number) % (1 << 14);
        ipnet::Ipv4Net::new_assert((0x0a40_0000 + (third << 8)).into(), 24)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_each_clusters_own() {
        let (one, other) = (Names::of("calicolab/00000000/demo"), Names::of("calicolab/00000000/demo2"));
        assert_ne!(one.profile(), other.profile());
        assert_ne!(one.nat(), one.lab());
        assert!(one.nat().len() <= 15 && one.lab().len() <= 15);
        let node: NodeName = "n".repeat(52).parse().expect("a name");
        assert!(Names::fits(&node) && one.instance(&node).len() == LONGEST);
        assert!(!Names::fits(&"n".repeat(53).parse().expect("a name")));
    }

    #[test]
    fn ways_outside_begin_anywhere_and_stay_in_their_range() {
        let names = Names::of("calicolab/00000000/demo");
        let range: ipnet::Ipv4Net = "10.64.0.0/10".parse().expect("a range");
        let tried: Vec<_> = (0..1 << 14).map(|number| names.nat_network(number)).collect();
        assert!(tried.iter().all(|net| range.contains(net)));
        let distinct: std::collections::HashSet<_> = tried.iter().collect();
        assert_eq!(distinct.len(), tried.len());
    }
}
