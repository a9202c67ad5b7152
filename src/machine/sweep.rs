//! The ability to find what carries a label of ours and belongs to no cluster that is remembered.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::ProviderError;
use crate::lab::name::ClusterName;

/// Finds what carries a label of ours and belongs to no cluster that is remembered.
#[async_trait]
pub trait Sweep: Send + Sync {
    /// What there is under labels that begin with `home` (`calicolab/<home>/`) of clusters that are not `remembered`,
    /// and what no cluster needs any more. Changes nothing.
    async fn leavings(&self, home: &str, remembered: &BTreeSet<ClusterName>) -> Result<Vec<Leaving>, ProviderError>;

    /// The same on other servers; nothing of providers that have none.
    async fn leavings_at(
        &self,
        _remote: &str,
        _home: &str,
        _remembered: &BTreeSet<ClusterName>,
    ) -> Result<Vec<Leaving>, ProviderError> {
        Ok(Vec::new())
    }

    /// Remove one that is no cluster's, or, on other servers, all of its cluster; what a cluster has on this host goes by
    /// [`Provider::destroy`](super::Provider::destroy).
    async fn remove(&self, _home: &str, _leaving: &Leaving) -> Result<(), ProviderError> {
        Ok(())
    }
}

/// Something that was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// What sort of thing (`machine`, `network`, …).
    pub kind: &'static str,
    /// Which, in the words of who holds it.
    pub name: String,
    /// The servers that have it, if that is not this host.
    pub remote: Option<String>,
    /// The cluster in whose name it was made, if in one's.
    pub cluster: Option<ClusterName>,
    /// Bytes of memory that its end frees, where that is known.
    pub memory: Option<u64>,
    /// Bytes of disk that its end frees, where that is known.
    pub disk: Option<u64>,
    /// What removes it by hand.
    pub command: String,
}

/// The cluster of a label, or of a label with a node behind it, if it is one of this home's.
pub fn cluster_of(label: &str, home: &str) -> Option<ClusterName> {
    label.strip_prefix(home)?.split('/').next()?.parse().ok()
}

/// What removes all that carries a cluster's label.
pub fn down(cluster: &ClusterName) -> String {
    format!("calicolab down {cluster}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_names_its_cluster_to_its_own_home_alone() {
        let cluster = |label| cluster_of(label, "calicolab/00c0ffee/").map(|name| name.to_string());
        assert_eq!(cluster("calicolab/00c0ffee/demo").as_deref(), Some("demo"));
        assert_eq!(cluster("calicolab/00c0ffee/demo/calico-01").as_deref(), Some("demo"));
        assert_eq!(cluster("calicolab/00c0ffef/demo"), None);
        assert_eq!(cluster("calicolab/00c0ffee/"), None);
        assert_eq!(cluster("calicolab/00c0ffee/Demo Two"), None);
    }
}
