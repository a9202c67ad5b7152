//! The cluster's machines as libvirt knows them, and networks to put them on.

use std::fs;
use std::path::Path;

use super::failed;
use super::things::{self, uuid};
use super::virsh::{Sort, Whose, beginning, names as listed, virsh, whose};
use crate::lab::name::NodeName;
use crate::lab::plan::{NodePlan, Plan};
use crate::machine::{Names, Power, ProviderError, Uplink, uplink};

/// Every machine that was made for this cluster.
pub async fn all(names: &Names) -> Result<Vec<(NodeName, Power)>, ProviderError> {
    let running = listed(&["list", "--name"]).await?;
    let mut all = Vec::new();
    let prefix = format!("{}-", names.base());
    for name in beginning(Sort::Domain, &prefix).await? {
        let Some(node) = name.strip_prefix(&prefix).and_then(|node| node.parse().ok()) else { continue };
        if whose(Sort::Domain, &name, names.label()).await? == Whose::Ours {
            all.push((node, if running.contains(&name) { Power::Running } else { Power::Off }));
        }
    }
    Ok(all)
}

/// What became of a node's machine, before Vagrant is asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It is whole.
    Whole,
    /// There is none.
    Not,
}

/// Look at one node's machine. One that was left half-made is taken away, and Vagrant is told of a whole one that it has
/// forgotten. `folder` is Vagrant's.
pub async fn look(names: &Names, node: &NodeName, sizes: &NodePlan, folder: &Path) -> Result<Made, ProviderError> {
    let name = names.instance(node);
    match whose(Sort::Domain, &name, names.label()).await? {
        Whose::Nobodys => return Ok(Made::Not),
        Whose::Foreign => return Err(ProviderError::Taken { what: format!("a machine with the name {name}") }),
        Whose::Ours => {}
    }
    // Vagrant gives a machine its second card after it exists.
    let cards = virsh(&["domiflist", &name], "", "asking libvirt").await?;
    if !cards.contains(&sizes.lab_mac) {
        remove(&name).await?;
        return Ok(Made::Not);
    }
    let id = folder.join(".vagrant/machines").join(node.as_str()).join("libvirt/id");
    let known = uuid(names.label(), &name);
    if fs::read_to_string(&id).is_ok_and(|text| text == known) {
        return Ok(Made::Whole);
    }
    let parent = id.parent().expect("it lies in a folder");
    fs::create_dir_all(parent).and_then(|()| fs::write(&id, known)).map_err(failed("writing", &id))?;
    Ok(Made::Whole)
}

/// End a machine and forget it. Its disks stay.
pub async fn remove(name: &str) -> Result<(), ProviderError> {
    end(name).await?;
    let words = ["undefine", name, "--managed-save", "--snapshots-metadata"];
    virsh(&words, "", &format!("removing {name}")).await.map(drop)
}

/// Whether a machine runs.
pub async fn runs(name: &str) -> Result<bool, ProviderError> {
    Ok(listed(&["list", "--name"]).await?.iter().any(|running| running == name))
}

/// End a machine without asking, if it runs.
pub async fn end(name: &str) -> Result<(), ProviderError> {
    if runs(name).await? {
        virsh(&["destroy", name], "", &format!("ending {name}")).await?;
    }
    Ok(())
}

/// Make what is not there of both networks, before any machine; where the way outside begins.
pub async fn networks(names: &Names, plan: &Plan) -> Result<Uplink, ProviderError> {
    let (lab, nat) = (names.lab(), names.nat());
    if ours(names, &lab).await? == Whose::Nobodys {
        define(&things::lab(names, plan.network.mtu), "making the lab network").await?;
    }
    let uplink = if ours(names, &nat).await? == Whose::Nobodys {
        let uplink = Uplink::free(names, &uplink::of_this_host())?;
        define(&things::nat(names, plan, uplink), "making the network that leads outside").await?;
        uplink
    } else {
        let described = virsh(&["net-dumpxml", &nat], "", "asking libvirt").await?;
        let strange = || ProviderError::Silent { why: format!("libvirt does not say where {nat} leads") };
        things::uplink(&described).ok_or_else(strange)?
    };
    let active = listed(&["net-list", "--name"]).await?;
    for name in [lab, nat] {
        if !active.contains(&name) {
            virsh(&["net-start", &name], "", &format!("opening the network {name}")).await?;
        }
    }
    Ok(uplink)
}

async fn ours(names: &Names, network: &str) -> Result<Whose, ProviderError> {
    match whose(Sort::Network, network, names.label()).await? {
        Whose::Foreign => Err(ProviderError::Taken { what: format!("a network with the name {network}") }),
        whose => Ok(whose),
    }
}

async fn define(text: &str, doing: &str) -> Result<(), ProviderError> {
    virsh(&["net-define", "/dev/stdin"], text, doing).await.map(drop)
}
