//! Judges of names: the full one, one that nobody has, over TCP, the short one, and each server asked directly.

use std::net::Ipv4Addr;

use super::packet::pod;
use super::{Judged, Scene, Verdict};
use crate::command::{Argv, Output};
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::node::resolver::{self, Lookup};

/// The full name, kept from the search list by its last dot, asked where the container's own configuration says.
pub(super) fn name(plan: &Plan) -> Argv {
    ask(plan, &format!("{}.", plan.network.api_name))
}

/// Ask in the words that the lab's busybox knows.
fn ask(plan: &Plan, name: &str) -> Argv {
    if is_old(plan) { resolver::ask_old(name) } else { resolver::ask_address(name, None) }
}

/// Whether the lab's busybox is one whose nslookup has no options: up to 1.28.
fn is_old(plan: &Plan) -> bool {
    let busybox = plan.artifacts.iter().find(|placed| placed.pin.name == "busybox");
    let version = busybox.and_then(|placed| {
        let mut numbers = placed.pin.version.split('.').map_while(|word| word.parse::<u32>().ok());
        Some((numbers.next()?, numbers.next()?))
    });
    version.is_some_and(|version| version <= (1, 28))
}

/// A name that nobody can have, since it carries the nonce.
pub(super) fn absent(scene: &Scene<'_>) -> Argv {
    let network = &scene.plan.network;
    let absent = format!("absent-{}.default.svc.{}.", scene.nonce, network.domain);
    if is_old(scene.plan) {
        return resolver::ask_old_absent(&absent, &format!("{}.", network.api_name));
    }
    resolver::ask_address(&absent, None)
}

pub(super) fn by_tcp(plan: &Plan) -> Argv {
    resolver::ask_by_tcp(&plan.network.api_name, plan.network.dns)
}

/// The first label alone: busybox asks the search list for names without a dot only.
pub(super) fn short(plan: &Plan) -> Argv {
    ask(plan, short_name(plan))
}

fn short_name(plan: &Plan) -> &str {
    plan.network.api_name.split('.').next().unwrap_or_default()
}

/// The text by which the server on `server` names its node; `None` if the plan has no server there.
pub(super) fn whoami(plan: &Plan, server: &NodeName) -> Option<Argv> {
    let address = plan.nodes[server].dns_pod?;
    Some(resolver::ask_text(&format!("whoami.{}.", plan.network.domain), Some(address)))
}

fn heard<'a>(scene: &'a Scene<'_>, node: &NodeName, argv: Argv) -> Result<&'a Output, Verdict> {
    scene.pod(node)?;
    scene.heard(&pod(node, argv))
}

fn failed(node: &NodeName, what: &str, output: &Output) -> Verdict {
    let said: Vec<&str> = output.stdout.lines().chain(output.stderr.lines()).map(str::trim).collect();
    let said: Vec<&str> = said.into_iter().filter(|line| !line.is_empty()).collect();
    let said = said[said.len().saturating_sub(2)..].join("; ");
    let said = if said.is_empty() { format!("nslookup {}", output.ended) } else { said };
    Verdict::not_yet(format!("a container on {node} {what}: {said}"))
}

/// Whether the service address was asked, as the containers' configuration should have it.
fn by_service(scene: &Scene<'_>, node: &NodeName, lookup: &Lookup) -> Result<(), Verdict> {
    let dns = scene.plan.network.dns;
    match lookup.server {
        Some(server) if server != dns => {
            Err(Verdict::not_yet(format!("a container on {node} asks {server} for names, planned is {dns}")))
        }
        _ => Ok(()),
    }
}

fn judge_address(scene: &Scene<'_>, node: &NodeName, name: &str, output: &Output) -> Judged {
    let lookup = Lookup::parse(&output.stdout);
    by_service(scene, node, &lookup)?;
    let (api, dns) = (scene.plan.network.api, scene.plan.network.dns);
    if lookup.addresses.is_empty() {
        return Err(failed(node, &format!("gets no address of {name}"), output));
    }
    right(node, name, &lookup.addresses, api)?;
    Ok(format!("{name} is {api} at {dns}"))
}

fn right(node: &NodeName, name: &str, addresses: &[Ipv4Addr], api: Ipv4Addr) -> Result<(), Verdict> {
    if addresses == [api] {
        return Ok(());
    }
    let has: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let has = if has.is_empty() { "no address".into() } else { has.join(", ") };
    Err(Verdict::not_yet(format!("a container on {node} gets {has} for {name}, planned is {api}")))
}

pub(super) fn judge_name(scene: &Scene<'_>, node: &NodeName) -> Judged {
    let output = heard(scene, node, name(scene.plan))?;
    judge_address(scene, node, &scene.plan.network.api_name, output)
}

pub(super) fn judge_short(scene: &Scene<'_>, node: &NodeName) -> Judged {
    let output = heard(scene, node, short(scene.plan))?;
    // Its status is no sign: busybox also tells of the rest of the search list, where the name is not.
    judge_address(scene, node, short_name(scene.plan), output)
}

pub(super) fn judge_absent(scene: &Scene<'_>, node: &NodeName) -> Judged {
    let output = heard(scene, node, absent(scene))?;
    if is_old(scene.plan) {
        return judge_old_absent(scene, node, output);
    }
    let lookup = Lookup::parse(&output.stdout);
    by_service(scene, node, &lookup)?;
    if let Some(address) = lookup.addresses.first() {
        return Err(Verdict::not_yet(format!("a container on {node} gets {address} for a name that nobody has")));
    }
    if lookup.absent {
        Ok("NXDOMAIN".into())
    } else {
        Err(failed(node, "gets no NXDOMAIN for a name that nobody has", output))
    }
}

/// An old nslookup says the same of a refusal and of silence: it counts only beside an answer.
fn judge_old_absent(scene: &Scene<'_>, node: &NodeName, output: &Output) -> Judged {
    let what = "gets no refusal of a name that nobody has";
    let [absent, there] = resolver::old_absent(&output.stdout).ok_or_else(|| failed(node, what, output))?;
    by_service(scene, node, &there)?;
    if let Some(address) = absent.addresses.first() {
        return Err(Verdict::not_yet(format!("a container on {node} gets {address} for a name that nobody has")));
    }
    if absent.absent && there.addresses == [scene.plan.network.api] {
        Ok("refused, by a server that answers".into())
    } else {
        Err(failed(node, what, output))
    }
}

pub(super) fn judge_tcp(scene: &Scene<'_>, node: &NodeName) -> Judged {
    let output = heard(scene, node, by_tcp(scene.plan))?;
    let (network, name) = (&scene.plan.network, &scene.plan.network.api_name);
    let addresses = resolver::tcp_addresses(&output.stdout).map_err(|error| {
        let said = output.stderr.trim();
        Verdict::not_yet(format!("a container on {node} asking {} by TCP: {error} {said}", network.dns))
    })?;
    right(node, name, &addresses, network.api)?;
    Ok(format!("{name} is {} by TCP", network.api))
}

pub(super) fn judge_server(scene: &Scene<'_>, node: &NodeName, server: &NodeName) -> Judged {
    let argv =
        whoami(scene.plan, server).ok_or_else(|| Verdict::never(format!("the plan has no DNS server on {server}")))?;
    let output = heard(scene, node, argv)?;
    let lookup = Lookup::parse(&output.stdout);
    match lookup.texts.first() {
        Some(text) if text == server.as_str() => Ok(format!("answers as {server}")),
        Some(text) => Err(Verdict::not_yet(format!("the DNS server planned on {server} answers {node} as {text}"))),
        None => Err(failed(node, &format!("gets no answer from the DNS server on {server}"), output)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::Check;
    use crate::proof::samples::{Stage, node};

    const HEAD: &str = "Server:\t\t10.96.0.10\nAddress:\t10.96.0.10:53\n\n";
    const SILENT: &str = ";; connection timed out; no servers could be reached\n\n";

    fn stage() -> Stage {
        let mut stage = Stage::new(3);
        stage.raised();
        stage
    }

    #[test]
    fn the_full_name_has_the_service_address() {
        let check = Check::Dns { node: node(2) };
        let mut stage = stage();
        let argv = name(&stage.plan);
        assert_eq!(argv.words().join(" "), "nslookup -timeout=4 -type=a etcd.default.svc.cluster.local.");
        let good = format!("{HEAD}Name:\tetcd.default.svc.cluster.local\nAddress: 10.96.0.1\n\n");
        stage.in_pod(2, argv.clone(), 0, &good);
        assert!(stage.judge(&check).passed());
        for (status, text, shown) in [
            (0, good.replace("10.96.0.1\n", "10.96.0.2\n"), "gets 10.96.0.2 for etcd.default.svc.cluster.local"),
            (0, good.replace("10.96.0.10", "10.0.2.3"), "asks 10.0.2.3 for names"),
            (1, SILENT.into(), "no servers could be reached"),
            (1, format!("{HEAD}** server can't find etcd.default.svc.cluster.local.: NXDOMAIN\n"), "NXDOMAIN"),
            (143, String::new(), "nslookup ended with status 143"),
        ] {
            stage.in_pod(2, argv.clone(), status, &text);
            let verdict = stage.judge(&check);
            assert!(matches!(&verdict, Verdict::NotYet { why, .. } if why.contains(shown)), "{shown}: {verdict:?}");
        }
    }

    #[test]
    fn the_short_name_may_end_with_status_1() {
        let mut stage = stage();
        let text = format!(
            "{HEAD}Name:\tetcd.default.svc.cluster.local\nAddress: 10.96.0.1\n\n** server can't find etcd.svc.cluster.local: NXDOMAIN\n"
        );
        let argv = short(&stage.plan);
        stage.in_pod(1, argv, 1, &text);
        assert!(stage.judge(&Check::DnsShort { node: node(1) }).passed());
    }

    #[test]
    fn a_name_that_nobody_has_is_refused() {
        let check = Check::DnsAbsent { node: node(1) };
        let mut stage = stage();
        let argv = absent(&stage.scene());
        stage.in_pod(1, argv.clone(), 1, &format!("{HEAD}** server can't find absent.cluster.local.: NXDOMAIN\n"));
        assert!(stage.judge(&check).passed());
        stage.in_pod(1, argv.clone(), 0, &format!("{HEAD}Name:\tabsent\nAddress: 10.96.0.1\n"));
        assert!(stage.judge(&check).text().contains("gets 10.96.0.1 for a name that nobody has"));
        stage.in_pod(1, argv, 1, SILENT);
        assert!(stage.judge(&check).text().contains("no servers could be reached"), "silence is no refusal");
    }

    /// The recorded answer of 2016: no reverse names with SkyDNS.
    #[test]
    fn an_old_nslookup_is_asked_without_options() {
        let mut stage = Stage { plan: crate::lab::example::carried("coreos-0.15", &[]), ..stage() };
        stage.raised();
        let head = "Server:    10.100.0.10\nAddress 1: 10.100.0.10\n\n";
        let good = format!("{head}Name:      kubernetes\nAddress 1: 10.100.0.1\n");
        let argv = short(&stage.plan);
        assert_eq!(argv.words(), ["nslookup", "kubernetes"]);
        stage.in_pod(1, argv, 0, &good);
        assert!(stage.judge(&Check::DnsShort { node: node(1) }).passed());
        let argv = name(&stage.plan);
        assert_eq!(argv.words(), ["nslookup", "kubernetes.default.svc.cluster.local."]);
        stage.in_pod(1, argv.clone(), 0, &good);
        assert!(stage.judge(&Check::Dns { node: node(1) }).passed());
        stage.in_pod(1, argv, 1, "nslookup: can't resolve '(null)'\n");
        assert!(!stage.judge(&Check::Dns { node: node(1) }).passed());

        let check = Check::DnsAbsent { node: node(1) };
        let (argv, refused) = (absent(&stage.scene()), format!("{head}nslookup: can't resolve 'absent'\n"));
        for (text, passes) in [
            (format!("{refused}--\n{good}"), true),
            (format!("{refused}--\n{refused}"), false),
            (format!("{good}--\n{good}"), false),
            (String::new(), false),
        ] {
            stage.in_pod(1, argv.clone(), 0, &text);
            assert_eq!(stage.judge(&check).passed(), passes, "{text}");
        }
    }

    #[test]
    fn tcp_answers_too() {
        let check = Check::DnsTcp { node: node(1) };
        let mut stage = stage();
        let argv = by_tcp(&stage.plan);
        let good = " 00 40 12 34 85 80 00 01 00 01 00 00 00 00 04 65 74 63 64 07 64 65 66 61 75 6c 74 03 73 76 63 07 \
                    63 6c 75 73 74 65 72 05 6c 6f 63 61 6c 00 00 01 00 01 c0 0c 00 01 00 01 00 00 00 00 00 04 0a 60 00 01\n";
        stage.in_pod(1, argv.clone(), 0, good);
        assert!(stage.judge(&check).passed());
        stage.in_pod(1, argv.clone(), 0, &good.replace("0a 60 00 01", "0a 60 00 02"));
        assert!(stage.judge(&check).text().contains("gets 10.96.0.2"));
        stage.in_pod(1, argv, 1, "");
        assert!(stage.judge(&check).text().contains("nothing came back over TCP"));
    }

    #[test]
    fn each_server_names_its_node() {
        let check = Check::DnsServer { node: node(1), server: node(2) };
        let mut stage = stage();
        let argv = whoami(&stage.plan, &node(2)).expect("a server is planned there");
        assert_eq!(argv.words().join(" "), "nslookup -timeout=4 -type=txt whoami.cluster.local. 10.244.0.74");
        stage.in_pod(1, argv.clone(), 0, "whoami.cluster.local\ttext = \"calico-02\"\n");
        assert!(stage.judge(&check).passed());
        stage.in_pod(1, argv.clone(), 0, "whoami.cluster.local\ttext = \"calico-03\"\n");
        assert!(stage.judge(&check).text().contains("answers calico-01 as calico-03"));
        stage.in_pod(1, argv, 1, SILENT);
        assert!(stage.judge(&check).text().contains("no answer from the DNS server on calico-02"));
        assert_eq!(whoami(&stage.plan, &node(1)), None);
    }
}
