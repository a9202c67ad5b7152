//! Services and names: the rules, who is behind them, the servers, and whom pods ask.

use super::super::facts::{Facts, found, not, side};
use super::super::{Clear, Judged, Side};
use crate::lab::name::NodeName;
use crate::node::files::{DNS, RESOLVER};

/// The table of the services, and the command that makes it.
const TABLE: &str = "ip calicolab";
const RESTORE: &str = "nft -f /etc/calicolab/services.nft";

pub(in super::super) fn services_missing(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let rules = facts.firewall(node)?;
    if rules.iter().any(|rule| rule.table == TABLE) {
        return Err(not(format!("{node} has the table of services")));
    }
    let unit = facts.unit(node, "calicolab-services")?.map(|unit| unit.to_string()).unwrap_or_default();
    let sides = vec![side(node, format!("no table {TABLE}; {unit}"))];
    Ok(found(format!("{node} has no rules for services"), sides, facts.on(node, RESTORE)))
}

/// Each port of the first service leads to the master, where somebody listens.
pub(in super::super) fn service_backend(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let rules = facts.firewall(node)?;
    let (api, master) = (facts.plan.network.api, &facts.plan.master);
    let address = facts.plan.master_node().address;
    let listeners = facts.listeners(master)?;
    if !facts.unit(master, "etcd")?.is_some_and(|unit| unit.works()) {
        return Err(not(format!("the datastore behind {api} does not run, which is another cause")));
    }
    for port in [443, 80] {
        let Some(targets) = rules.iter().find_map(|rule| rule.leads(api, port)) else {
            if rules.iter().all(|rule| rule.table != TABLE) {
                return Err(not(format!("{node} has no rules at all")));
            }
            let says = format!("no rule on {node} leads {api}:{port} anywhere");
            return Ok(found(says, vec![side(node, format!("no dnat for {api}:{port}"))], facts.on(node, RESTORE)));
        };
        for (target, to_port) in targets {
            let to_port = to_port.unwrap_or(port);
            let answered = target == address && listeners.iter().any(|one| one.takes(target, to_port));
            if !answered {
                let says = format!("{api}:{port} of {node} leads to {target}:{to_port}, where nobody listens");
                let whose = facts.plan.nodes.iter().find(|(_, part)| part.address == target).map(|(name, _)| name);
                let mut sides = vec![side(node, format!("{api}:{port} is led to {target}:{to_port}"))];
                sides.push(match whose {
                    Some(whose) => side(whose, format!("nothing listens on {target}:{to_port}")),
                    None => side(node, format!("{target} is no node")),
                });
                return Ok(found(says, sides, facts.on(node, RESTORE)));
            }
        }
    }
    Err(not(format!("{api} leads {node} to {address}, which listens")))
}

pub(in super::super) fn dns_rule(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let rules = facts.firewall(node)?;
    let dns = facts.plan.network.dns;
    let planned: Vec<_> = facts.plan.dns_servers().map(|(_, address)| address).collect();
    let targets = rules.iter().find_map(|rule| rule.leads(dns, 53));
    let says = match &targets {
        None if rules.iter().all(|rule| rule.table != TABLE) => return Err(not(format!("{node} has no rules at all"))),
        None => format!("no rule on {node} leads {dns}:53 to the DNS servers"),
        Some(targets) => {
            let stray = targets.iter().find(|(target, _)| !planned.contains(target));
            match stray {
                Some((stray, _)) => format!("a rule on {node} leads {dns}:53 to {stray}, which is no DNS server"),
                None => return Err(not(format!("{dns}:53 leads {node} to the DNS servers"))),
            }
        }
    };
    let names: Vec<String> = planned.iter().map(ToString::to_string).collect();
    let sides = vec![side(node, format!("its rules for {dns}:53 are not those to {}", names.join(" and ")))];
    Ok(found(says, sides, facts.on(node, RESTORE)))
}

/// Only some nodes have a DNS server.
fn server(facts: &Facts<'_>, node: &NodeName) -> Result<std::net::Ipv4Addr, Clear> {
    facts.part(node).dns_pod.ok_or_else(|| not(String::new()))
}

/// What the proof heard from a server, node by node.
fn askers(facts: &Facts<'_>, server: &NodeName) -> Vec<Side> {
    let asked = facts.plan.nodes.names().filter(|node| *node != server);
    let finding = |node: &NodeName| facts.finding(&format!("dns-server.{node}.{server}"));
    asked.filter_map(|node| Some(side(node, finding(node)?.verdict.text()))).collect()
}

pub(in super::super) fn dns_stopped(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let address = server(facts, node)?;
    let unit = facts.unit(node, "calicolab-dns")?;
    let runs = facts.pods(node)?.iter().any(|(name, own)| name == "dns" && *own == address);
    if runs && unit.as_ref().is_some_and(crate::node::unit::Unit::works) {
        return Err(not(format!("the DNS server of {node} runs")));
    }
    let unit = unit.map_or_else(|| "there is no calicolab-dns.service".into(), |unit| unit.to_string());
    let pod = if runs { "" } else { "; no container `dns` runs" };
    let sides = std::iter::once(side(node, format!("{unit}{pod}"))).chain(askers(facts, node)).collect();
    let says = format!("the DNS server on {node} ({address}) does not run");
    Ok(found(says, sides, facts.on(node, "systemctl start calicolab-dns")))
}

pub(in super::super) fn answers_all(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    server(facts, node)?;
    let Some(line) = facts.files(node)?.answers_all else {
        return Err(not(format!("the DNS server of {node} answers for its own names only")));
    };
    let absent = facts
        .plan
        .nodes
        .names()
        .filter_map(|other| Some(side(other, facts.finding(&format!("dns-absent.{other}"))?.verdict.text())));
    let sides = std::iter::once(side(node, format!("{DNS} has `{line}`"))).chain(absent).collect();
    let remedy =
        facts.on(node, &format!("sh -c 'sed -i \"\\,^address=/#/,d\" {DNS}; systemctl restart calicolab-dns'"));
    Ok(found(format!("the DNS server on {node} answers every name"), sides, remedy))
}

pub(in super::super) fn resolver(facts: &Facts<'_>, node: &NodeName, _: &NodeName) -> Judged {
    let files = facts.files(node)?;
    let dns = facts.plan.network.dns;
    if !files.resolver || files.nameservers == [dns] {
        return Err(not(format!("pods of {node} ask {dns}")));
    }
    let has: Vec<String> = files.nameservers.iter().map(ToString::to_string).collect();
    let has = if has.is_empty() { "nobody".to_owned() } else { has.join(", ") };
    let says = format!("pods of {node} ask {has} for names, planned is {dns}");
    let remedy = facts.on(node, &format!("sed -i 's/^nameserver .*/nameserver {dns}/' {RESOLVER}"));
    Ok(found(says, vec![side(node, format!("{RESOLVER} names {has}"))], remedy))
}
