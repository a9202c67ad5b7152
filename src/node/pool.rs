//! Calico's pools of addresses as its datastore in Kubernetes has them.

use ipnet::Ipv4Net;
use serde::Deserialize;

/// A pool.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pool {
    /// Its name.
    #[serde(skip)]
    pub name: String,
    /// Its range; of IPv6 none.
    #[serde(deserialize_with = "four")]
    pub cidr: Option<Ipv4Net>,
    /// Prefix of the nodes' blocks.
    #[serde(default)]
    pub block_size: Option<u8>,
    /// When packets are wrapped in IP; empty for never, as Calico has it.
    #[serde(default)]
    pub ipip_mode: String,
    /// When they are wrapped in UDP.
    #[serde(default)]
    pub vxlan_mode: String,
    /// Whether packets to addresses outside leave as their node's.
    #[serde(default)]
    pub nat_outgoing: bool,
    /// Whether nobody is given addresses of it.
    #[serde(default)]
    pub disabled: bool,
}

fn four<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Ipv4Net>, D::Error> {
    Ok(String::deserialize(from)?.parse().ok())
}

impl Pool {
    /// Read the answer to [`ask`]; none if it is no list of pools.
    pub fn parse(text: &str) -> Option<Vec<Self>> {
        #[derive(Deserialize)]
        struct List {
            items: Vec<Item>,
        }
        #[derive(Deserialize)]
        struct Item {
            #[serde(default)]
            metadata: Metadata,
            spec: Pool,
        }
        #[derive(Default, Deserialize)]
        struct Metadata {
            name: String,
        }
        let list: List = serde_json::from_str(text).ok()?;
        Some(list.items.into_iter().map(|item| Self { name: item.metadata.name, ..item.spec }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_read_as_3_21_writes_it() {
        let text = r#"{"items": [{"metadata": {"name": "default-ipv4-ippool"}, "spec": {"allowedUses": ["Workload"],
            "blockSize": 26, "cidr": "10.244.0.0/16", "ipipMode": "Never", "natOutgoing": true, "nodeSelector": "all()",
            "vxlanMode": "Always"}}]}"#;
        let pools = Pool::parse(text).expect("a list");
        assert_eq!(pools[0].name, "default-ipv4-ippool");
        assert_eq!(pools[0].cidr, "10.244.0.0/16".parse().ok());
        assert_eq!(
            (pools[0].block_size, pools[0].nat_outgoing, pools[0].vxlan_mode.as_str()),
            (Some(26), true, "Always")
        );
        assert_eq!(Pool::parse("error: the server doesn't have a resource type"), None);
    }
}
