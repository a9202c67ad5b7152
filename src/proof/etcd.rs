//! The judge of the members of an etcd beside Kubernetes: each is asked from every node.

use super::{Judged, Place, Probe, Scene, Verdict};
use crate::lab::calico;
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::node::etcd::{self, Shown};

/// Where a member says how it is. Calico's nodes ask it as Calico does; where they have no certificate for it, it says
/// so on a page of its own that wants none.
fn place(plan: &Plan, member: &NodeName) -> String {
    let address = plan.nodes[member].address;
    let tls = plan.etcd_endpoints().iter().any(|url| url.starts_with("https:"));
    match (tls, calico::wants_client(plan)) {
        (true, true) => format!("https://{address}:2379"),
        (true, false) => format!("http://{address}:2381"),
        (false, _) => format!("http://{address}:2379"),
    }
}

/// All members are asked at once.
pub(super) fn health(plan: &Plan, node: &NodeName) -> Probe {
    let places: Vec<String> = plan.etcd_members().map(|member| place(plan, member)).collect();
    let shown = if calico::wants_client(plan) { Shown::Calico } else { Shown::Nothing };
    Probe { node: node.clone(), place: Place::Node, argv: etcd::ask_health(&places, shown) }
}

pub(super) fn judge(scene: &Scene<'_>, node: &NodeName, member: &NodeName) -> Judged {
    let output = scene.heard(&health(scene.plan, node))?;
    let place = place(scene.plan, member);
    etcd::health(&output.stdout, &place)
        .map_err(|why| Verdict::not_yet(format!("etcd on {member} does not serve {node}: {why}")))?;
    let members = scene.plan.etcd_members().count();
    Ok(format!("{place} is one of {members} and serves"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::example;
    use crate::proof::Check;
    use crate::proof::samples::Stage;

    #[test]
    fn each_member_is_judged_by_what_it_told_each_node() {
        let mut stage = Stage::new(2);
        stage.plan = example::planned(&example::carried_lab("calico-3.21-etcd", &[]), "demo");
        let names: Vec<NodeName> = stage.plan.nodes.names().cloned().collect();
        let check = |member: usize| Check::Etcd { node: names[1].clone(), member: names[member].clone() };
        assert_eq!(check(2).id().to_string(), "etcd.calico-02.calico-03");
        let said = "https://198.18.7.11:2379 {\"health\":\"true\",\"reason\":\"\"}\n\
                    https://198.18.7.12:2379 {\"health\": \"false\"}\n\
                    https://198.18.7.13:2379 curl: (7) Failed to connect: Connection refused\n";
        stage.say(health(&stage.plan, &names[1]), 0, said, "");
        assert_eq!(stage.judge(&check(0)).text(), "https://198.18.7.11:2379 is one of 3 and serves");
        assert!(stage.judge(&check(1)).text().ends_with("it is not healthy: {\"health\": \"false\"}"));
        assert!(stage.judge(&check(2)).text().contains("etcd on calico-03 does not serve calico-02: curl: (7)"));
        // One that speaks without TLS, where the lab has it; in curl's words, as OpenSSL's change.
        let plain = "https://198.18.7.11:2379 curl: (35) error:0A00010B:SSL routines::wrong version number\n";
        stage.say(health(&stage.plan, &names[1]), 0, plain, "");
        assert!(stage.judge(&check(0)).text().contains("wrong version number"));
    }

    #[test]
    fn who_has_no_certificate_reads_the_page_that_wants_none() {
        let plan = |lab: &str| example::planned(&example::carried_lab(lab, &[]), "demo");
        let asked = |plan: &Plan| health(plan, &plan.master).argv.to_string();
        let calico = plan("calico-3.0-etcd");
        assert!(asked(&calico).contains("calico https://198.18.7.11:2379"), "{}", asked(&calico));
        assert!(asked(&Plan { calico: None, ..calico }).contains("http://198.18.7.11:2381"));
        assert!(asked(&plan("calico-2.4-etcd")).contains("http://198.18.7.11:2379"));
    }
}
