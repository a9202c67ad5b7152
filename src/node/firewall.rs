//! nftables' rules and the queues of devices: what a node drops, rejects, delays or leads elsewhere.

use std::net::Ipv4Addr;

use crate::command::Argv;

/// The port of BGP.
const BGP: &str = "179";

/// One rule with the chain it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Family and name of its table.
    pub table: String,
    /// Its chain.
    pub chain: String,
    /// Where packets enter the chain (`input`, `forward`, …); none for one that others jump to.
    pub hook: Option<String>,
    /// The rule as nft writes it.
    pub text: String,
}

/// What a rule does to packets that should pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// They vanish.
    Drop,
    /// They are answered with a refusal.
    Reject,
}

/// Which packets a harmful rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// Those of BGP.
    Bgp,
    /// Large ones.
    Size,
    /// Some, by chance.
    Chance,
    /// Those that pass through the node.
    Forwarded,
    /// Others.
    Other,
}

/// Everything nftables does. Chains' policies are told with their chains.
pub fn ask() -> Argv {
    Argv::new("nft").args(["-n", "list", "ruleset"])
}

/// The queues of all devices.
pub fn ask_queues() -> Argv {
    Argv::new("tc").args(["qdisc", "show"])
}

/// The queue of `device` that loses or delays, as `tc` writes it.
pub fn netem<'a>(queues: &'a str, device: &str) -> Option<&'a str> {
    let of_device = |line: &&str| line.contains(&format!(" dev {device} "));
    queues.lines().filter(of_device).find(|line| line.contains("netem")).map(str::trim)
}

impl Rule {
    /// Read the answer to [`ask`]; a policy that drops counts as the last rule of its chain.
    pub fn parse(text: &str) -> Vec<Self> {
        let (mut table, mut chain, mut hook) = (String::new(), None::<String>, None);
        let (mut rules, mut policy) = (Vec::new(), None);
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("table ").and_then(|rest| rest.strip_suffix(" {")) {
                table = name.into();
            } else if let Some(name) = line.strip_prefix("chain ").and_then(|rest| rest.strip_suffix(" {")) {
                (chain, hook, policy) = (Some(name.to_owned()), None, None);
            } else if let Some(rest) = line.strip_prefix("type ") {
                hook = rest.split_once("hook ").and_then(|(_, rest)| rest.split(' ').next()).map(str::to_owned);
                policy = rest.contains("policy drop").then_some("policy drop");
            } else if line == "}" {
                if let (Some(chain), Some(policy)) = (chain.take(), policy.take()) {
                    rules.push(Self { table: table.clone(), chain, hook: hook.take(), text: policy.into() });
                }
            } else if let Some(chain) = chain.as_ref().filter(|_| !line.is_empty()) {
                rules.push(Self { table: table.clone(), chain: chain.clone(), hook: hook.clone(), text: line.into() });
            }
        }
        rules
    }

    /// What it does to packets, if that is harm.
    ///
    /// What kube-proxy, the kubelet and Calico write by themselves is how they work.
    pub fn harm(&self) -> Option<Harm> {
        if ["KUBE-", "cali-"].iter().any(|own| self.chain.starts_with(own)) {
            return None;
        }
        let has = |wanted: &str| self.text.split_whitespace().any(|word| word == wanted);
        if has("drop") { Some(Harm::Drop) } else { has("reject").then_some(Harm::Reject) }
    }

    /// Which packets it is about.
    pub fn aim(&self) -> Aim {
        let mut words = self.text.split(|c: char| c.is_whitespace() || ",{}".contains(c));
        if self.text.contains("port") && words.any(|word| word == BGP) {
            Aim::Bgp
        } else if self.text.contains(" length ") || self.text.starts_with("length ") {
            Aim::Size
        } else if self.text.contains("numgen random") {
            Aim::Chance
        } else if self.hook.as_deref() == Some("forward") {
            Aim::Forwarded
        } else {
            Aim::Other
        }
    }

    /// Whether it leaves packets from or to `address` alone, since it names another.
    pub fn spares(&self, address: Ipv4Addr) -> bool {
        let named = self.text.split_whitespace().skip_while(|word| *word != "saddr" && *word != "daddr").nth(1);
        named.is_some_and(|named| named.parse::<Ipv4Addr>().is_ok_and(|named| named != address))
    }

    /// Where packets to `address` (and this port, if it names one) are led: the targets it names.
    pub fn leads(&self, address: Ipv4Addr, port: u16) -> Option<Vec<(Ipv4Addr, Option<u16>)>> {
        let (matched, target) = self.text.split_once("dnat to ")?;
        let has = |wanted: &str| matched.split_whitespace().any(|word| word == wanted);
        if !has(&address.to_string()) || !has(&port.to_string()) {
            return None;
        }
        let words = target.split(|c: char| c.is_whitespace() || ",{}".contains(c));
        let one = |word: &str| match word.split_once(':') {
            Some((address, port)) => Some((address.parse().ok()?, Some(port.parse().ok()?))),
            None => Some((word.parse().ok()?, None)),
        };
        Some(words.filter_map(one).collect())
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` in {} of table {}", self.text, self.chain, self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULESET: &str = r#"table ip calicolab {
	chain services {
		ip daddr 10.96.0.1 tcp dport 443 dnat to 198.18.7.11:2379
		ip daddr 10.96.0.10 meta l4proto { 6, 17 } th dport 53 dnat to numgen inc mod 2 map { 0 : 10.244.0.74, 1 : 10.244.0.138 }
	}
	chain output {
		type nat hook output priority -100; policy accept;
		ip daddr 10.96.0.0/16 jump services
	}
}
table inet other {
	chain in {
		type filter hook input priority 0; policy drop;
		iifname "lab0" tcp dport 179 drop
		iifname "lab0" tcp sport 179 reject with tcp reset
		ip saddr 198.18.7.13 tcp dport { 22, 179 } drop
		iifname "lab0" meta length > 1400 drop
		iifname "lab0" numgen random mod 100 < 60 drop
	}
	chain KUBE-FORWARD {
		ct state invalid counter packets 0 bytes 0 drop
	}
}
"#;

    #[test]
    fn rules_with_their_chains() {
        let rules = Rule::parse(RULESET);
        assert_eq!((rules.len(), rules[9].harm()), (10, None));
        assert_eq!((rules[2].hook.as_deref(), rules[2].harm()), (Some("output"), None));
        let harm: Vec<_> = rules[3..9].iter().map(|rule| (rule.harm(), rule.aim())).collect();
        let drop = Some(Harm::Drop);
        assert_eq!(
            harm,
            [
                (drop, Aim::Bgp),
                (Some(Harm::Reject), Aim::Bgp),
                (drop, Aim::Bgp),
                (drop, Aim::Size),
                (drop, Aim::Chance),
                (drop, Aim::Other)
            ]
        );
        assert!(rules[5].spares(Ipv4Addr::new(198, 18, 7, 12)) && !rules[5].spares(Ipv4Addr::new(198, 18, 7, 13)));
    }

    #[test]
    fn where_services_lead() {
        let rules = Rule::parse(RULESET);
        let led = |address: [u8; 4], port| rules.iter().find_map(|rule| rule.leads(address.into(), port));
        assert_eq!(led([10, 96, 0, 1], 443), Some(vec![(Ipv4Addr::new(198, 18, 7, 11), Some(2379))]));
        let servers = vec![(Ipv4Addr::new(10, 244, 0, 74), None), (Ipv4Addr::new(10, 244, 0, 138), None)];
        assert_eq!(led([10, 96, 0, 10], 53), Some(servers));
        assert_eq!(led([10, 96, 0, 1], 80), None);
    }

    #[test]
    fn queues_that_lose() {
        let text = "qdisc noqueue 0: dev nat0 root refcnt 2\nqdisc netem 8001: dev lab0 root refcnt 2 limit 1000 delay 200ms\n";
        assert!(netem(text, "lab0").is_some_and(|line| line.contains("delay 200ms")));
        assert_eq!(netem(text, "nat0"), None);
    }
}
