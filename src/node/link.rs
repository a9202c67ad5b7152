//! Network devices and their addresses, as iproute2's JSON tells them.

use std::net::Ipv4Addr;

use serde::Deserialize;

use crate::command::Argv;

/// One network device.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Link {
    /// Its name.
    #[serde(rename = "ifname")]
    pub name: String,
    /// Its MAC, lower case.
    #[serde(rename = "address", default)]
    pub mac: String,
    /// Its MTU.
    #[serde(default)]
    pub mtu: u32,
    /// `UP`, `LOWER_UP`, `NO-CARRIER`, …
    #[serde(default)]
    pub flags: Vec<String>,
    /// Its IPv4 addresses.
    #[serde(rename = "addr_info", default)]
    pub addresses: Vec<Address>,
}

/// An address on a device.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Address {
    /// The address.
    pub local: Ipv4Addr,
    /// Length of its network's prefix.
    #[serde(rename = "prefixlen")]
    pub prefix: u8,
}

/// Every device, those without an address too (which a filter by family would leave out).
pub fn ask() -> Argv {
    Argv::new("ip").args(["-j", "addr"])
}

/// Another station on a link.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Neighbour {
    /// Its address.
    #[serde(rename = "dst")]
    pub address: Ipv4Addr,
    /// The device it is reached by.
    #[serde(rename = "dev", default)]
    pub device: String,
    /// Its MAC, if it answered.
    #[serde(rename = "lladdr")]
    pub mac: Option<String>,
    /// `REACHABLE`, `STALE`, `FAILED`, …
    #[serde(default)]
    pub state: Vec<String>,
}

/// Every neighbour.
pub fn ask_neighbours() -> Argv {
    Argv::new("ip").args(["-4", "-j", "neigh"])
}

impl Neighbour {
    /// Read the answer to [`ask_neighbours`].
    pub fn parse(text: &str) -> Result<Vec<Self>, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Whether it did not answer when it was looked for.
    pub fn failed(&self) -> bool {
        self.state.iter().any(|state| state == "FAILED" || state == "INCOMPLETE")
    }
}

impl Link {
    /// Read the answer to [`ask`]; addresses of other families are left out.
    pub fn parse(text: &str) -> Result<Vec<Self>, serde_json::Error> {
        let mut raw: Vec<serde_json::Value> = serde_json::from_str(text)?;
        // `ip` writes an empty object for what a filter leaves out.
        raw.retain(|link| link.get("ifname").is_some());
        for link in &mut raw {
            if let Some(addresses) = link.get_mut("addr_info").and_then(serde_json::Value::as_array_mut) {
                addresses.retain(|address| address["family"] == "inet");
            }
        }
        raw.into_iter().map(serde_json::from_value).collect()
    }

    /// Whether it is switched on and has a carrier.
    pub fn up(&self) -> bool {
        let has = |flag: &str| self.flags.iter().any(|own| own == flag);
        has("UP") && has("LOWER_UP")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_with_and_without_addresses() {
        let links = Link::parse(include_str!("samples/ip-addr.json")).expect("JSON");
        assert_eq!(links.len(), 2);
        let lab = &links[1];
        assert_eq!((lab.name.as_str(), lab.mac.as_str(), lab.mtu), ("lab0", "52:54:01:12:07:01", 1500));
        assert!(lab.up());
        assert_eq!(lab.addresses, [Address { local: Ipv4Addr::new(198, 18, 7, 11), prefix: 24 }]);
    }

    #[test]
    fn neighbours_that_answer_and_that_do_not() {
        let text = r#"[{"dst":"198.18.7.11","dev":"lab0","lladdr":"52:54:01:12:07:0b","state":["REACHABLE"]},
            {"dst":"198.18.7.12","dev":"lab0","state":["FAILED"]}]"#;
        let all = Neighbour::parse(text).expect("JSON");
        assert_eq!((all[0].mac.as_deref(), all[0].failed()), (Some("52:54:01:12:07:0b"), false));
        assert_eq!((all[1].mac.as_deref(), all[1].failed()), (None, true));
    }

    #[test]
    fn what_a_filter_leaves_out_is_no_device() {
        let down = r#"[{},{"ifname":"lab0","flags":["NO-CARRIER","UP"],"mtu":1500,"address":"52:54:01:12:07:01"}]"#;
        let links = Link::parse(down).expect("JSON");
        assert_eq!(links.len(), 1);
        assert!(!links[0].up() && links[0].addresses.is_empty());
        assert!(Link::parse("Device \"lab0\" does not exist.").is_err());
    }
}
