//! The two networks of a lab: a bridge of its own for the lab, and one that leads outside.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::{Value, json};

use super::answer::Network;
use super::client::Client;
use super::names::{LABEL, Names};
use super::record;
use crate::machine::uplink::Uplink;
use crate::machine::{Place, ProviderError};

/// Where networks are made.
pub struct Ground<'a> {
    /// The cluster's place.
    pub place: &'a Place,
    /// The daemon.
    pub client: &'a Client,
    /// The cluster's names.
    pub names: &'a Names,
    /// All members of the servers' cluster; none where there is no cluster.
    pub members: &'a [String],
    /// Whether nodes may be on several of them.
    pub apart: bool,
    /// Networks that are in use where the nodes will be.
    pub taken: Vec<Ipv4Net>,
}

impl Ground<'_> {
    /// Make what is not there of both networks; where the way outside begins.
    pub async fn ensure(&self, mtu: u16) -> Result<Uplink, ProviderError> {
        let names = self.names;
        let client = self.client.in_project(None);
        let there: Vec<Network> = client.get("/1.0/networks?recursion=1").await?;
        let (lan, out) = (self.known(&there, &names.lab())?, self.known(&there, &names.nat())?);
        if !lan.is_some_and(Network::is_made) {
            self.make(&lab(names, mtu, self.apart), lan, "making the lab network").await?;
        }
        if let Some((gateway, prefix)) = out.and_then(Network::host) {
            return Ok(Uplink { gateway, prefix });
        }
        let uplink = Uplink::free(names, &used(&there, &self.taken))?;
        self.make(&nat(names, uplink), out, "making the network that leads outside").await?;
        Ok(uplink)
    }

    fn known<'n>(&self, there: &'n [Network], name: &str) -> Result<Option<&'n Network>, ProviderError> {
        match there.iter().find(|network| network.name == name) {
            Some(network) if !network.is_of(self.names, record::spreads(self.place)?) => {
                Err(ProviderError::Taken { what: format!("a network or link with the name {name}") })
            }
            other => Ok(other),
        }
    }

    /// In a cluster of servers each member hears of a network before it is made on all of them; only then it can bear
    /// the label, so that it is begun is written down first.
    async fn make(&self, network: &Value, begun: Option<&Network>, doing: &str) -> Result<(), ProviderError> {
        // Managed bridges are the default project's, whatever project the nodes are in.
        let client = self.client.in_project(None);
        if !self.members.is_empty() {
            record::will_spread(self.place)?;
        }
        let heard = begun.map_or(&[][..], |begun| &begun.locations);
        for member in self.members.iter().filter(|member| !heard.contains(member)) {
            let announced = json!({"name": network["name"], "type": network["type"]});
            let doing = format!("{doing} on {member}");
            client.post(&format!("/1.0/networks?target={member}"), &announced, doing).await?;
        }
        client.post("/1.0/networks", network, doing).await
    }
}

/// Whether there is a network left for a way outside where these are `taken`.
pub async fn any_free(client: &Client, taken: &[Ipv4Net]) -> Result<bool, ProviderError> {
    let there: Vec<Network> = client.in_project(None).get("/1.0/networks?recursion=1").await?;
    // Wherever the search begins, it goes through all.
    Ok(Uplink::free(&Names::of(""), &used(&there, taken)).is_ok())
}

/// A bridge that nobody but the nodes is on: neither the host nor a server of names or addresses.
///
/// Where nodes are on several servers, each of these has such a bridge, and the daemons' own tunnel makes one of them.
/// One tunnel to a group, not one to each other server: a bridge would send round in circles what comes by one of
/// several and goes on by another; and what is said of a tunnel holds on all members alike, whose addresses differ.
fn lab(names: &Names, mtu: u16, apart: bool) -> Value {
    let mut asked = json!({"name": names.lab(), "type": "bridge", "config": {
        LABEL: names.label(), "bridge.mtu": mtu.to_string(),
        "ipv4.address": "none", "ipv6.address": "none", "dns.mode": "none",
    }});
    if apart {
        let (number, config) = (names.number(), &mut asked["config"]);
        let [_, second, third, fourth] = number.to_be_bytes();
        config["tunnel.lan.protocol"] = "vxlan".into();
        // The range that every site has for itself; the number in 24 bits, of which 0 is none.
        config["tunnel.lan.group"] = Ipv4Addr::new(239, 192 + second % 4, third, fourth).to_string().into();
        config["tunnel.lan.id"] = (number & 0x00ff_ffff).max(1).to_string().into();
        config["tunnel.lan.port"] = "4789".into();
    }
    asked
}

/// A bridge with the host on it, which rewrites what goes further. Addresses are fixed, so nobody gives them out.
fn nat(names: &Names, uplink: Uplink) -> Value {
    json!({"name": names.nat(), "type": "bridge", "config": {
        LABEL: names.label(), "ipv4.address": format!("{}/{}", uplink.gateway, uplink.prefix),
        "ipv4.nat": "true", "ipv4.dhcp": "false", "ipv6.address": "none",
    }})
}

/// What the daemon has a use for beside what is `taken`. It could choose a network itself, but asks the neighbourhood by
/// `ping`, which not every host has.
fn used(there: &[Network], taken: &[Ipv4Net]) -> Vec<Ipv4Net> {
    let managed = there.iter().filter_map(Network::host).filter_map(|(host, prefix)| Ipv4Net::new(host, prefix).ok());
    managed.map(|net| net.trunc()).chain(taken.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_daemon_uses_is_used() {
        let config = [("ipv4.address".to_owned(), "10.64.3.1/24".to_owned())];
        let other = Network { name: "lxdbr0".into(), managed: true, config: config.into(), ..Network::default() };
        let tunnel: Ipv4Net = "10.65.0.0/16".parse().expect("a network");
        assert_eq!(used(&[other], &[tunnel]), ["10.64.3.0/24".parse().expect("a network"), tunnel]);
    }

    #[test]
    fn what_is_asked_of_the_daemon() {
        let names = Names::of("calicolab/00000000/demo");
        let uplink = Uplink { gateway: [10, 64, 3, 1].into(), prefix: 24 };
        insta::assert_snapshot!(format!("{:#}\n{:#}", lab(&names, 1450, false), nat(&names, uplink)));
        insta::assert_snapshot!("across_servers", format!("{:#}", lab(&names, 1450, true)));
    }
}
