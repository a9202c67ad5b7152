//! The two files of a NoCloud seed that no template makes: who a node is, and its cards.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::lab::name::NodeName;
use crate::lab::plan::{NetworkPlan, NodePlan};

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct MetaData<'a> {
    instance_id: &'a str,
    local_hostname: &'a NodeName,
    /// The seed lies on a disk: cloud-init need not wait for a network.
    dsmode: &'static str,
}

/// NoCloud `meta-data`.
pub(super) fn meta_data(name: &NodeName, instance_id: &str) -> String {
    quoted(&MetaData { instance_id, local_hostname: name, dsmode: "local" })
}

/// Version 2 of cloud-init's own language for networks, which netplan's was made into.
#[derive(Serialize)]
struct NetworkConfig<'a> {
    version: u8,
    ethernets: BTreeMap<&'a str, Ethernet<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Ethernet<'a> {
    r#match: Match<'a>,
    set_name: &'a str,
    dhcp4: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    addresses: Option<[String; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u16>,
}

#[derive(Serialize)]
struct Match<'a> {
    macaddress: &'a str,
}

/// NoCloud `network-config`: the cards by their MAC addresses, named before anything else knows them. Every host of
/// machines gives the address on the way outside by DHCP; routes are `network.sh`'s.
pub(super) fn network_config(network: &NetworkPlan, node: &NodePlan) -> String {
    let card = |mac, name, own: Option<String>| Ethernet {
        r#match: Match { macaddress: mac },
        set_name: name,
        dhcp4: own.is_none(),
        mtu: own.is_some().then_some(network.mtu),
        addresses: own.map(|address| [address]),
    };
    let own = format!("{}/{}", node.address, network.lab.prefix_len());
    let (nat, lab) = (network.nat_device.as_str(), network.lab_device.as_str());
    let ethernets = [(nat, card(&node.nat_mac, nat, None)), (lab, card(&node.lab_mac, lab, Some(own)))].into();
    quoted(&NetworkConfig { version: 2, ethernets })
}

/// YAML in which all text is quoted: its readers in the nodes take many a bare word, and some MACs, for a number.
fn quoted(document: &impl Serialize) -> String {
    let options = serde_saphyr::ser_options! { quote_all: true };
    serde_saphyr::to_string_with_options(document, options).expect("plain data is YAML")
}
