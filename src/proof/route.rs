//! Judges of the kernel's routes: the own block held, and the right way to all of each foreign one.

use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{Judged, Place, Probe, Scene, Verdict};
use crate::lab::addressing::samples;
use crate::lab::kubernetes::Encapsulation;
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::node::route::{self, Routes};

/// All its tables, and its way to the first, middle and last address of every foreign block.
pub(super) fn routes(plan: &Plan, node: &NodeName) -> Probe {
    let foreign = plan.nodes.iter().filter(|(owner, _)| *owner != node);
    let addresses: Vec<Ipv4Addr> = foreign.flat_map(|(_, part)| samples(part.block)).collect();
    Probe { node: node.clone(), place: Place::Node, argv: route::ask(&addresses) }
}

fn read(scene: &Scene<'_>, node: &NodeName) -> Result<Routes, Verdict> {
    let output = scene.heard(&routes(scene.plan, node))?;
    Routes::parse(&output.stdout, &output.stderr)
        .map_err(|_| Verdict::not_yet(format!("{node} did not list its routes: {}", output.tail(2))))
}

pub(super) fn judge_own(scene: &Scene<'_>, node: &NodeName, block: Ipv4Net) -> Judged {
    let routes = read(scene, node)?;
    let holds = |route: &&route::Route| route.kind == "blackhole" && route.to == block && route.table == "main";
    if !routes.within(block).any(|route| holds(&route)) {
        return Err(Verdict::not_yet(format!("{node} does not hold its own block: no blackhole {block}")));
    }
    if let Some(away) = routes.within(block).find(|route| route.gateway.is_some()) {
        return Err(Verdict::not_yet(format!("{node} sends a part of its own block away: {away}")));
    }
    Ok(format!("blackhole {block}"))
}

pub(super) fn judge_foreign(scene: &Scene<'_>, node: &NodeName, block: Ipv4Net, owner: &NodeName) -> Judged {
    let routes = read(scene, node)?;
    let part = &scene.plan.nodes[node];
    let way = Way::to(scene.plan, owner);
    let right = |gateway: Option<Ipv4Addr>, own: Option<&str>| {
        gateway.is_some_and(|gateway| way.hop.contains(&gateway)) && own == Some(way.device)
    };
    // The tables first: they show the cause, the ways below only the effect.
    for route in routes.within(block) {
        let planned = route.to == block && route.table == "main" && right(route.gateway, route.device.as_deref());
        if !planned {
            return Err(Verdict::not_yet(format!("{node} has `{route}`, planned is `{block} {way}`")));
        }
    }
    for address in samples(block) {
        let Some(taken) = routes.way(address) else {
            let said = &routes.complaints;
            return Err(Verdict::not_yet(format!("{node} has no way to {address} in the block of {owner}: {said}")));
        };
        if !right(taken.gateway, taken.device.as_deref()) {
            let via = taken.gateway.map_or_else(|| "directly".into(), |gateway| format!("via {gateway}"));
            let dev = taken.device.as_deref().unwrap_or("no device");
            let planned = format!("planned is {way}");
            return Err(Verdict::not_yet(format!("{node} sends {address} {via} on {dev}, {planned}")));
        }
        // From a tunnel's device it goes with the tunnel's own address.
        if let Some(source) = taken.source.filter(|source| !way.tunnel && *source != part.address) {
            return Err(Verdict::not_yet(format!(
                "{node} sends to {address} from {source}, planned is {}",
                part.address
            )));
        }
    }
    if routes.within(block).next().is_none() {
        return Err(Verdict::not_yet(format!("{node} has no route to {block}, only a wider one that covers it")));
    }
    Ok(format!("{block} {way}"))
}

/// How packets to the pods of a node go: to its own address, or into a tunnel of Calico's.
struct Way<'a> {
    /// The next hop is one of these: with VXLAN the far end's address in the tunnel, out of its own block.
    hop: Ipv4Net,
    device: &'a str,
    tunnel: bool,
}

impl<'a> Way<'a> {
    fn to(plan: &'a Plan, owner: &NodeName) -> Self {
        let part = &plan.nodes[owner];
        let (hop, lab) = (part.address.into(), plan.network.lab_device.as_str());
        let encapsulation = plan.calico.as_ref().map_or(Encapsulation::None, |calico| calico.encapsulation);
        match encapsulation {
            // All nodes of a lab are on one subnet.
            Encapsulation::None | Encapsulation::IpipCrossSubnet | Encapsulation::VxlanCrossSubnet => {
                Self { hop, device: lab, tunnel: false }
            }
            Encapsulation::Ipip => Self { hop, device: "tunl0", tunnel: true },
            Encapsulation::Vxlan => Self { hop: part.block, device: "vxlan.calico", tunnel: true },
        }
    }
}

impl fmt::Display for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.hop.prefix_len() {
            32 => write!(f, "via {} dev {}", self.hop.addr(), self.device),
            _ => write!(f, "via an address of {} dev {}", self.hop, self.device),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::Check;
    use crate::proof::samples::{Stage, node};

    const TABLE: &str = concat!(
        r#"{"type":"blackhole","dst":"10.244.0.0/26","protocol":"bird"},"#,
        r#"{"dst":"10.244.0.64/26","gateway":"198.18.7.12","dev":"lab0","protocol":"bird"}"#
    );
    const REFUSED: &str = "RTNETLINK answers: No route to host\nCommand failed -:2\n";

    fn way(address: &str, gateway: &str, device: &str, source: &str) -> String {
        format!(r#"[{{"dst":"{address}","gateway":"{gateway}","dev":"{device}","prefsrc":"{source}"}}]"#)
    }

    fn good() -> Vec<String> {
        [65, 96, 126].map(|last| way(&format!("10.244.0.{last}"), "198.18.7.12", "lab0", "198.18.7.11")).into()
    }

    fn judge(table: &str, ways: &[String]) -> [Verdict; 2] {
        let mut stage = Stage::new(2);
        let probe = routes(&stage.plan, &node(1));
        stage.say(probe, 0, &format!("[{table}]\n{}\n", ways.join("\n")), REFUSED);
        let (own, foreign) = (stage.plan.nodes[&node(1)].block, stage.plan.nodes[&node(2)].block);
        let own = Check::OwnBlock { node: node(1), block: own };
        let foreign = Check::Route { node: node(1), block: foreign, owner: node(2) };
        [stage.judge(&own), stage.judge(&foreign)]
    }

    #[test]
    fn the_planned_routes_pass() {
        let [own, foreign] = judge(TABLE, &good());
        assert_eq!(own, Verdict::Pass { seen: "blackhole 10.244.0.0/26".into() });
        assert_eq!(foreign, Verdict::Pass { seen: "10.244.0.64/26 via 198.18.7.12 dev lab0".into() });
    }

    #[test]
    fn into_a_tunnel_where_calico_wraps_packets() {
        let mut stage = Stage::new(2);
        for (lab, hop, device, told) in [
            ("ipip", "198.18.7.12", "tunl0", "via 198.18.7.12 dev tunl0"),
            ("vxlan", "10.244.0.65", "vxlan.calico", "via an address of 10.244.0.64/26 dev vxlan.calico"),
            ("vxlan-cross-subnet", "198.18.7.12", "lab0", "via 198.18.7.12 dev lab0"),
        ] {
            let set = format!("calico.encapsulation={lab}");
            stage.plan.calico = crate::lab::example::carried_lab("calico-3.21-kdd", &[&set]).calico;
            let table = format!(r#"[{{"dst":"10.244.0.64/26","gateway":"{hop}","dev":"{device}"}}]"#);
            // With the tunnel's own address at this end.
            let source = if lab.contains('-') { "198.18.7.11" } else { "10.244.0.1" };
            let ways = [65, 96, 126].map(|last| way(&format!("10.244.0.{last}"), hop, device, source));
            let probe = routes(&stage.plan, &node(1));
            stage.say(probe.clone(), 0, &format!("{table}\n{}\n", ways.join("\n")), "");
            let block = stage.plan.nodes[&node(2)].block;
            let check = Check::Route { node: node(1), block, owner: node(2) };
            assert_eq!(stage.judge(&check), Verdict::Pass { seen: format!("{block} {told}") });
            let beside = table.replace(device, "nat0");
            stage.say(probe, 0, &format!("{beside}\n{}\n", ways.join("\n")), "");
            assert!(stage.judge(&check).text().contains("dev nat0"));
        }
    }

    #[test]
    fn a_part_of_the_block_that_goes_elsewhere_fails() {
        for (extra, shown) in [
            (r#"{"type":"blackhole","dst":"10.244.0.96/27"}"#, "blackhole 10.244.0.96/27"),
            (r#"{"type":"unreachable","dst":"10.244.0.64/26","protocol":"bird"}"#, "unreachable 10.244.0.64/26"),
            (r#"{"dst":"10.244.0.64/26","gateway":"10.0.2.2","dev":"nat0","table":"9"}"#, "table 9"),
            (r#"{"dst":"10.244.0.70","dev":"lab0"}"#, "10.244.0.70/32 dev lab0"),
        ] {
            let [own, foreign] = judge(&format!("{TABLE},{extra}"), &good());
            assert!(own.passed());
            assert!(matches!(&foreign, Verdict::NotYet { why, .. } if why.contains(shown)), "{foreign:?}");
        }
    }

    #[test]
    fn the_way_counts_not_the_table_alone() {
        let mut ways = good();
        ways[2] = way("10.244.0.126", "10.0.2.2", "nat0", "10.0.2.15");
        assert!(judge(TABLE, &ways)[1].text().contains("sends 10.244.0.126 via 10.0.2.2 on nat0"));
        ways[2] = way("10.244.0.126", "198.18.7.12", "lab0", "10.0.2.15");
        assert!(judge(TABLE, &ways)[1].text().contains("from 10.0.2.15"));
        ways.remove(1);
        assert!(judge(TABLE, &ways)[1].text().contains("no way to 10.244.0.96 in the block of calico-02: RTNETLINK"));
        assert!(judge("", &good())[1].text().contains("only a wider one"));
    }

    #[test]
    fn the_own_block_is_held_and_stays() {
        assert!(judge("", &good())[0].text().contains("no blackhole 10.244.0.0/26"));
        let away = format!(r#"{TABLE},{{"dst":"10.244.0.16","gateway":"198.18.7.12","dev":"lab0"}}"#);
        assert!(judge(&away, &good())[0].text().contains("sends a part of its own block away"));
        let pod = format!(r#"{TABLE},{{"dst":"10.244.0.16","dev":"veth0","scope":"host"}}"#);
        assert!(judge(&pod, &good())[0].passed());
    }
}
