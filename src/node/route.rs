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
    /// Who made it (`bird`, `kernel`), where that is told.
    pub protocol: Option<String>,
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

/// One policy rule, which chooses a table before any route is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRule {
    /// Its place: lower comes first.
    pub priority: u32,
    /// What packets it is about and what it does, as `ip rule` would take it.
    pub text: String,
}

/// Every policy rule.
pub fn ask_rules() -> Argv {
    Argv::new("ip").args(["-4", "-j", "rule"])
}

impl PolicyRule {
    /// Read the answer to [`ask_rules`].
    pub fn parse(text: &str) -> Result<Vec<Self>, serde_json::Error> {
        let rules: Vec<Value> = serde_json::from_str(text)?;
        Ok(rules.iter().map(rule).collect())
    }

    /// Whether it is one of the three that every kernel has.
    pub fn usual(&self) -> bool {
        matches!(
            (self.priority, self.text.as_str()),
            (0, "from all lookup local") | (32766, "from all lookup main") | (32767, "from all lookup default")
        )
    }
}

fn rule(value: &Value) -> PolicyRule {
    let word = |key: &str| value[key].as_str();
    let range = |net: &str, length: &str| {
        let net = word(net)?;
        Some(value[length].as_u64().map_or_else(|| net.to_owned(), |length| format!("{net}/{length}")))
    };
    let mut text = format!("from {}", range("src", "srclen").unwrap_or_else(|| "all".into()));
    if let Some(to) = range("dst", "dstlen") {
        text.extend([" to ", &to]);
    }
    for (key, shown) in [("iif", " iif "), ("oif", " oif "), ("fwmark", " fwmark "), ("table", " lookup ")] {
        if let Some(word) = word(key) {
            text.extend([shown, word]);
        }
    }
    if let Some(action) = word("action") {
        text.extend([" ", action]);
    }
    let priority = value["priority"].as_u64().and_then(|number| u32::try_from(number).ok());
    PolicyRule { priority: priority.unwrap_or(u32::MAX), text }
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
        protocol: word("protocol"),
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
    fn rules_of_our_own_are_told_from_the_usual_ones() {
        let text = r#"[{"priority":0,"src":"all","table":"local"},
            {"priority":100,"src":"all","dst":"10.244.0.64","dstlen":26,"action":"unreachable"},
            {"priority":120,"src":"198.18.7.0","srclen":24,"iif":"lab0","table":"7"},
            {"priority":32766,"src":"all","table":"main"},{"priority":32767,"src":"all","table":"default"}]"#;
        let rules = PolicyRule::parse(text).expect("JSON");
        let own: Vec<&str> = rules.iter().filter(|rule| !rule.usual()).map(|rule| rule.text.as_str()).collect();
        assert_eq!(own, ["from all to 10.244.0.64/26 unreachable", "from 198.18.7.0/24 iif lab0 lookup 7"]);
    }

    #[test]
    fn no_json_is_an_error() {
        assert!(Routes::parse("Error: any valid prefix is expected", "").is_err());
        assert_eq!(Routes::parse("", "").expect("nothing"), Routes::default());
    }
}
