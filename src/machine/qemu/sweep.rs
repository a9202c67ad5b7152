//! QEMUs of this user that no remembered cluster owns.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::process::{labelled, names};
use crate::lab::name::ClusterName;
use crate::machine::sweep::{Leaving, cluster_of, down};
use crate::machine::{ProviderError, failed};

/// The machines under labels of this home whose clusters are not remembered.
pub fn leavings(home: &str, remembered: &BTreeSet<ClusterName>) -> Result<Vec<Leaving>, ProviderError> {
    let looking = || failed("looking for processes in", Path::new("/proc"));
    let clusters: BTreeSet<ClusterName> =
        names().map_err(looking())?.iter().filter_map(|name| cluster_of(name, home)).collect();
    let mut found = Vec::new();
    for cluster in clusters.difference(remembered) {
        for (node, process) in labelled(&format!("{home}{cluster}")).map_err(looking())? {
            let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap_or_default();
            found.push(Leaving {
                kind: "machine",
                name: format!("{cluster}/{node}, pid {}", process.pid),
                remote: None,
                cluster: Some(cluster.clone()),
                memory: resident(&status),
                disk: None,
                command: down(cluster),
            });
        }
    }
    Ok(found)
}

/// What a process holds of the memory, in bytes, out of `/proc/PID/status`.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_ascii_whitespace().next()?.parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::super::support::Tiny;
    use super::*;
    use crate::machine::Provider as _;

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        assert_eq!(resident("Name:\tqemu\nVmRSS:\t  123456 kB\nRssAnon:\t1 kB\n"), Some(123_456 << 10));
        assert_eq!(resident("Name:\tkthread\n"), None);
    }

    #[tokio::test]
    async fn a_machine_without_a_cluster_is_found_and_others_are_left_alone() {
        let tiny = Tiny::new(1);
        tiny.booted().await;
        let (home, cluster) = tiny.place.label.rsplit_once('/').expect("a label");
        let home = format!("{home}/");
        let cluster: ClusterName = cluster.parse().expect("a name");
        let found = leavings(&home, &BTreeSet::new()).expect("looked");
        let own: Vec<&Leaving> = found.iter().filter(|one| one.cluster.as_ref() == Some(&cluster)).collect();
        assert_eq!(own.len(), 1, "{found:?}");
        assert!(own[0].name.contains("/n1, pid ") && own[0].memory > Some(1 << 20), "{own:?}");
        assert_eq!(own[0].command, format!("calicolab down {cluster}"));
        let remembered = leavings(&home, &BTreeSet::from([cluster])).expect("looked");
        assert!(!remembered.iter().any(|one| own[0].name == one.name), "{remembered:?}");
        assert_eq!(leavings("calicolab/ffffffff/", &BTreeSet::new()).expect("looked"), []);
        tiny.qemu.destroy(&tiny.place).await.expect("gone");
    }
}
