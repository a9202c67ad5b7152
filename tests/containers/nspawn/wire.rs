//! The lab network and the NAT cards: a bridge and two cards a node, in network namespaces of the cluster's own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use calicolab::command::{self, Argv};
use calicolab::lab::name::NodeName;
use calicolab::lab::plan::NodePlan;
use calicolab::machine::ProviderError;

use super::names::Names;

/// Where iproute2 keeps named network namespaces.
const NAMED: &str = "/run/netns";

/// The file of a namespace.
pub fn namespace(name: &str) -> PathBuf {
    Path::new(NAMED).join(name)
}

/// The bridge, in a namespace without any other card: what the nodes say there is heard nowhere else.
pub async fn lan(names: &Names) -> Result<(), ProviderError> {
    let lan = names.lan();
    remove(&lan).await?;
    ip(&["netns", "add", &lan], "").await?;
    ip(&["-n", &lan, "-batch", "-"], "link set lo up\nlink add lab type bridge\nlink set lab up\n").await
}

/// A node's namespace with its two cards. Whatever is left of an earlier boot goes first: addresses, rules and
/// settings do not outlive a power-off.
pub async fn node(names: &Names, node: &NodeName, plan: &NodePlan) -> Result<(), ProviderError> {
    let (lan, inside, uplink) = (names.lan(), names.node(node), names.uplink(node));
    let port = format!("port{}", plan.index);
    // A namespace that is taken away loses its cards some time later; nothing to delete is as well.
    let _ = ip(&["-n", &lan, "link", "del", &port], "").await;
    remove(&inside).await?;
    remove(&uplink).await?;
    ip(&["netns", "add", &inside], "").await?;
    ip(&["netns", "add", &uplink], "").await?;
    // Every node may have the address 10.0.2.15, as under QEMU, for each has an uplink of its own.
    let nat = format!(
        "link set lo up
link add nat type veth peer name eth0 address {} netns {inside}
addr add 10.0.2.2/24 dev nat
addr add 10.0.2.3/24 dev nat
link set nat up
",
        plan.nat_mac
    );
    ip(&["-n", &uplink, "-batch", "-"], &nat).await?;
    let lab = format!(
        "link add {port} type veth peer name eth1 address {} netns {inside}\nlink set {port} master lab up\n",
        plan.lab_mac
    );
    ip(&["-n", &lan, "-batch", "-"], &lab).await
}

/// Take every namespace of the cluster away.
pub async fn clear(names: &Names) -> Result<(), ProviderError> {
    for name in all(names)? {
        remove(&name).await?;
    }
    Ok(())
}

/// The cluster's namespaces.
pub fn all(names: &Names) -> Result<Vec<String>, ProviderError> {
    match fs::read_dir(NAMED) {
        Ok(entries) => Ok(entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| names.owns(name))
            .collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(super::failed("listing", Path::new(NAMED))(error)),
    }
}

async fn remove(name: &str) -> Result<(), ProviderError> {
    if namespace(name).exists() { ip(&["netns", "del", name], "").await } else { Ok(()) }
}

async fn ip(words: &[&str], batch: &str) -> Result<(), ProviderError> {
    let argv = Argv::new("ip").args(words.iter().copied());
    let done = command::run_with_input(&argv, batch.into(), Duration::from_secs(30)).await;
    done.and_then(|output| output.success(&argv))
        .map(drop)
        .map_err(|source| ProviderError::Command { doing: format!("wiring ({argv})"), source })
}
