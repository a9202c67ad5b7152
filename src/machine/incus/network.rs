//! The two networks of a lab: a bridge of its own for the lab, and one that leads outside.

use ipnet::Ipv4Net;
use serde_json::{Value, json};

use super::answer::{Network, is_ours};
use super::client::Client;
use super::settings::LABEL;
use crate::machine::{Names, ProviderError, Uplink};

/// Make what is not there of both networks; where the way outside begins.
pub async fn ensure(client: &Client, names: &Names, mtu: u16) -> Result<Uplink, ProviderError> {
    let there: Vec<Network> = client.get("/1.0/networks?recursion=1").await?;
    let known = |name: &str| match there.iter().find(|network| network.name == name) {
        Some(network) if !(network.managed && is_ours(names, &network.config)) => {
            Err(ProviderError::Taken { what: format!("a network or link with the name {name}") })
        }
        other => Ok(other),
    };
    if known(&names.lab())?.is_none() {
        client.post("/1.0/networks", &lab(names, mtu), "making the lab network").await?;
    }
    if let Some(uplink) = known(&names.nat())?.and_then(Network::host) {
        return Ok(Uplink { gateway: uplink.0, prefix: uplink.1 });
    }
    // The daemon could choose one itself, but asks the neighbourhood by `ping`, which not every host has.
    let managed = there.iter().filter_map(Network::host).filter_map(|(host, prefix)| Ipv4Net::new(host, prefix).ok());
    let uplink = Uplink::free(names, managed.map(|net| net.trunc()))?;
    client.post("/1.0/networks", &nat(names, uplink), "making the network that leads outside").await?;
    Ok(uplink)
}

/// A bridge that nobody but the nodes is on: neither the host nor a server of names or addresses.
fn lab(names: &Names, mtu: u16) -> Value {
    json!({"name": names.lab(), "type": "bridge", "config": {
        LABEL: names.label(), "bridge.mtu": mtu.to_string(),
        "ipv4.address": "none", "ipv6.address": "none", "dns.mode": "none",
    }})
}

/// A bridge with the host on it, which rewrites what goes further. Addresses are fixed, so nobody gives them out.
fn nat(names: &Names, uplink: Uplink) -> Value {
    json!({"name": names.nat(), "type": "bridge", "config": {
        LABEL: names.label(), "ipv4.address": format!("{}/{}", uplink.gateway, uplink.prefix),
        "ipv4.nat": "true", "ipv4.dhcp": "false", "ipv6.address": "none",
    }})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_of_the_daemon() {
        let names = Names::of("calicolab/00000000/demo");
        let uplink = Uplink { gateway: [10, 64, 3, 1].into(), prefix: 24 };
        insta::assert_snapshot!(format!("{:#}\n{:#}", lab(&names, 1450), nat(&names, uplink)));
    }
}
