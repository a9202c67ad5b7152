//! Routes: every table's, and what the kernel would really do with a packet, as iproute2's JSON tells it.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::Value;

use crate::command::Argv;

/// Every table, and the way to some addresses, in one read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// The IPv4 routes of all tables.
    pub tables: Vec<Route>,
    /// The way to each address that has one.
    pub ways: Vec<Way>,
    /// What was said about addresses that have none.
    pub complaints: String,
}

/// One route of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `unicast`, `blackhole`, `unreachable`, `local`, …
    pub kind: String,
    /// Where to.
    pub to: Ipv4Net,
    /// Table; `main` where none is printed.
    pub table: String,
    /// Next hop.
    pub gateway: Option<Ipv4Addr>,
    /// Device.
    pub device: Option<String>,
}

/// What the kernel does with a packet of this node to one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The address.
    pub to: Ipv4Addr,
    /// Next hop.
    pub gateway: Option<Ipv4Addr>,
    /// Device.
    pub device: Option<String>,
    /// Source address.
    pub source: Option<Ipv4Addr>,
}

/// All tables and the way to each of `addresses`, by one process: policy rules decide about the way, not the main
/// table alone.
pub fn ask(addresses: &[Ipv4Addr]) -> Argv {
    const SCRIPT: &str = "{ echo 'route show table all'; printf 'route get %s\\n' \"$@\"; } | ip -4 -j -force -batch -";
    Argv::script(SCRIPT, addresses.iter().map(ToString::to_string))
}

impl Routes {
    /// Read the answer to [`ask`]: one JSON array a line, the tables first; a line is missing for each address
    /// without a way.
    pub fn parse(stdout: &str, stderr: &str) -> Result<Self, serde_json::Error> {
        let mut arrays = serde_json::Deserializer::from_str(stdout).into_iter::<Vec<Value>>();
        let tables = arrays.next().transpose()?.unwrap_or_default();
        let mut routes = Self {
            tables: tables.iter().filter_map(route).collect(),
            ways: Vec::new(),
            complaints: stderr.lines().map(str::trim).collect::<Vec<_>>().join("; "),
        };
        for array in arrays {
            routes.ways.extend(array?.iter().filter_map(way));
        }
        Ok(routes)
    }

    /// The way to `address`, if it has one.
    pub fn way(&self, address: Ipv4Addr) -> Option<&Way> {
        self.ways.iter().find(|way| way.to == address)
    }

    /// The routes to `block` or to a part of it.
    pub fn within(&self, block: Ipv4Net) -> impl Iterator<Item = &Route> {
        self.tables.iter().filter(move |route| block.contains(&route.to))
    }
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.kind != "unicast" {
            write!(f, "{} ", self.kind)?;
        }
        write!(f, "{}", self.to)?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        if let Some(device) = &self.device {
            write!(f, " dev {device}")?;
        }
        if self.table == "main" { Ok(()) } else { write!(f, " table {}", self.table) }
    }
}

fn route(value: &Value) -> Option<Route> {
    let to = match value["dst"].as_str()? {
        "default" => Ipv4Net::default(),
        text => text.parse().ok().or_else(|| text.parse().ok().map(|one: Ipv4Addr| Ipv4Net::from(one)))?,
    };
    let word = |key: &str| value[key].as_str().map(str::to_owned);
    Some(Route {
        kind: word("type").unwrap_or_else(|| "unicast".into()),
        to,
        table: word("table").unwrap_or_else(|| "main".into()),
        gateway: address(value, "gateway"),
        device: word("dev"),
    })
}

fn way(value: &Value) -> Option<Way> {
    Some(Way {
        to: address(value, "dst")?,
        gateway: address(value, "gateway"),
        device: value["dev"].as_str().map(str::to_owned),
        source: address(value, "prefsrc"),
    })
}

fn address(value: &Value, key: &str) -> Option<Ipv4Addr> {
    value[key].as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STDOUT: &str = concat!(
        r#"[{"type":"blackhole","dst":"10.244.0.0/26","protocol":"bird","flags":[]},"#,
        r#"{"dst":"10.244.0.64/26","gateway":"198.18.7.12","dev":"lab0","protocol":"bird","flags":[]},"#,
        r#"{"dst":"10.244.0.66","gateway":"198.18.7.13","dev":"lab0","table":"7","flags":[]},"#,
        r#"{"dst":"default","gateway":"10.0.2.2","dev":"nat0","flags":[]},"#,
        r#"{"type":"local","dst":"198.18.7.11","dev":"lab0","table":"local","scope":"host","prefsrc":"198.18.7.11"}]"#,
        "\n",
        r#"[{"dst":"10.244.0.65","gateway":"198.18.7.12","dev":"lab0","prefsrc":"198.18.7.11","flags":[],"uid":0,"cache":[]}]"#,
        "\n",
    );
    const STDERR: &str = "RTNETLINK answers: Invalid argument\nCommand failed -:3\n";

    #[test]
    fn tables_and_ways() {
        let routes = Routes::parse(STDOUT, STDERR).expect("JSON");
        assert_eq!(routes.tables.len(), 5);
        assert_eq!(routes.tables[0].kind, "blackhole");
        let way = routes.way(Ipv4Addr::new(10, 244, 0, 65)).expect("a way");
        assert_eq!(way.gateway, Some(Ipv4Addr::new(198, 18, 7, 12)));
        assert_eq!((way.device.as_deref(), way.source), (Some("lab0"), Some(Ipv4Addr::new(198, 18, 7, 11))));
        assert_eq!(routes.way(Ipv4Addr::new(10, 244, 0, 1)), None);
        assert_eq!(routes.complaints, "RTNETLINK answers: Invalid argument; Command failed -:3");
        let inside: Vec<String> =
            routes.within("10.244.0.64/26".parse().expect("a block")).map(ToString::to_string).collect();
        assert_eq!(
            inside,
            ["10.244.0.64/26 via 198.18.7.12 dev lab0", "10.244.0.66/32 via 198.18.7.13 dev lab0 table 7"]
        );
    }

    #[test]
    fn no_json_is_an_error() {
        assert!(Routes::parse("Error: any valid prefix is expected", "").is_err());
        assert_eq!(Routes::parse("", "").expect("nothing"), Routes::default());
    }
}
