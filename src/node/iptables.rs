//! iptables' rules as bundles of other tools hold them, told in the words of nftables.

use std::fmt::Write as _;

/// What `iptables-save` printed, as `nft list ruleset` would tell the same; the rules of Calico and of Kubernetes that
/// are about everything are theirs to answer for, and left out.
pub fn as_nft(saved: &str) -> String {
    let mut text = String::new();
    let (mut table, mut chains): (&str, Vec<Chain<'_>>) = ("", Vec::new());
    for line in saved.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if let Some(chain) = line.strip_prefix(':') {
            let words: Vec<&str> = chain.split_whitespace().collect();
            let [name, policy, rest @ ..] = words.as_slice() else { continue };
            let hit = rest.first().is_none_or(|counts| !counts.starts_with("[0:"));
            chains.push(Chain { name, drops: *policy == "DROP" && hit, rules: Vec::new() });
        } else if line == "COMMIT" {
            tell(&mut text, table, &std::mem::take(&mut chains));
        } else {
            // Counters stand before the rule.
            let rule = if line.starts_with('[') { line.split_once(' ').map_or("", |(_, rule)| rule) } else { line };
            let words: Vec<&str> = rule.split_whitespace().collect();
            let ["-A", name, words @ ..] = words.as_slice() else { continue };
            let Some(chain) = chains.iter_mut().find(|chain| chain.name == *name) else { continue };
            let rule = translated(words);
            if !theirs(name) || names_port(&rule, "179") {
                chain.rules.push(rule);
            }
        }
    }
    text
}

/// What `nft -a list ruleset` printed, without handles and without the rules that are Calico's and Kubernetes' own.
pub fn of_the_node(ruleset: &str) -> String {
    let mut text = String::new();
    let mut foreign = false;
    for line in ruleset.lines() {
        let line = line.split(" # handle ").next().unwrap_or(line);
        if let Some(name) = line.trim().strip_prefix("chain ") {
            foreign = theirs(name);
        } else if let Some(name) = line.trim().strip_prefix("table ") {
            foreign = name.split_whitespace().any(|word| word == "calico" || word == "kube-proxy");
        }
        let rule = !line.trim_end().ends_with(['{', '}']);
        if !(foreign && rule) || names_port(line, "179") {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

struct Chain<'a> {
    name: &'a str,
    drops: bool,
    rules: Vec<String>,
}

/// Chains that Calico and Kubernetes make: what they drop is policy, and marked packets are spared before.
pub fn theirs(chain: &str) -> bool {
    ["cali-", "KUBE-", "DOCKER", "felix-"].iter().any(|begin| chain.starts_with(begin))
}

fn names_port(rule: &str, port: &str) -> bool {
    rule.contains("port") && rule.split([' ', ',', '{', '}']).any(|word| word == port)
}

fn tell(text: &mut String, table: &str, chains: &[Chain<'_>]) {
    // Writing into a String cannot fail.
    let _ = writeln!(text, "table ip {table} {{");
    for chain in chains {
        let _ = writeln!(text, "\tchain {} {{", chain.name);
        let hook = ["INPUT", "OUTPUT", "FORWARD", "PREROUTING", "POSTROUTING"].iter().find(|hook| **hook == chain.name);
        if let Some(hook) = hook {
            let policy = if chain.drops { "drop" } else { "accept" };
            let _ = writeln!(text, "\t\ttype filter hook {} priority 0; policy {policy};", hook.to_ascii_lowercase());
        }
        for rule in &chain.rules {
            let _ = writeln!(text, "\t\t{rule}");
        }
        let _ = writeln!(text, "\t}}");
    }
    let _ = writeln!(text, "}}");
}

/// The words that are judged; the others as they stand.
fn translated(words: &[&str]) -> String {
    let mut out: Vec<String> = Vec::new();
    let (mut words, mut protocol) = (words.iter(), "th");
    while let Some(word) = words.next() {
        let mut next = || words.next().copied().unwrap_or_default();
        match *word {
            "-s" => out.push(format!("ip saddr {}", host(next()))),
            "-d" => out.push(format!("ip daddr {}", host(next()))),
            "-i" => out.push(format!("iifname \"{}\"", next())),
            "-o" => out.push(format!("oifname \"{}\"", next())),
            "-p" => protocol = next(),
            "--dport" | "--dports" => out.push(format!("{protocol} dport {}", next().replace(',', ", "))),
            "--sport" | "--sports" => out.push(format!("{protocol} sport {}", next().replace(',', ", "))),
            "--length" => out.push(format!("meta length {}", next())),
            "--probability" => out.push(format!("numgen random {}", next())),
            "-m" => drop(next()),
            "-j" | "-g" => match next() {
                verdict @ ("DROP" | "REJECT" | "ACCEPT" | "RETURN") => out.push(verdict.to_ascii_lowercase()),
                chain => out.push(format!("jump {chain}")),
            },
            other => out.push(other.to_owned()),
        }
    }
    out.join(" ")
}

fn host(net: &str) -> &str {
    net.strip_suffix("/32").unwrap_or(net)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::firewall::{Aim, Harm, Rule};

    #[test]
    fn what_drops_bgp_is_seen_and_what_is_policy_is_not() {
        let saved = "# Generated by iptables-save v1.4.21\n*filter\n:INPUT ACCEPT [100:2000]\n:FORWARD DROP [0:0]\n:OUTPUT DROP [7:420]\n:cali-tw-cali0ef24ba1c2d - [0:0]\n:KUBE-FIREWALL - [0:0]\n[3:180] -A INPUT -i eth1 -p tcp -m tcp --dport 179 -j DROP\n[0:0] -A INPUT -s 172.18.18.103/32 -p tcp -m multiport --dports 22,179 -j REJECT --reject-with icmp-port-unreachable\n[5:5] -A cali-tw-cali0ef24ba1c2d -m comment --comment \"cali:x\" -j DROP\n[0:0] -A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP\nCOMMIT\n*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j DOCKER\nCOMMIT\n";
        let rules = Rule::parse(&as_nft(saved));
        let seen: Vec<_> = rules.iter().map(|rule| (rule.hook.as_deref(), rule.harm(), rule.aim())).collect();
        assert_eq!(
            seen,
            [
                (Some("input"), Some(Harm::Drop), Aim::Bgp),
                (Some("input"), Some(Harm::Reject), Aim::Bgp),
                (Some("output"), Some(Harm::Drop), Aim::Other),
                (Some("prerouting"), None, Aim::Other),
            ]
        );
        assert_eq!(rules[0].text, "iifname \"eth1\" tcp dport 179 drop");
    }
}
