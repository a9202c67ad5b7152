//! The rules on recorded evidence: a healthy lab of three nodes, changed as each kind of failure changes it.

use super::*;
use crate::command::Ended;
use crate::node::etcd;
use crate::proof::samples::node;

mod info;
mod kubernetes;

/// Recorded evidence with changes.
struct Case {
    plan: Plan,
    evidence: Evidence,
}

fn healthy() -> Case {
    Case {
        plan: serde_json::from_str(include_str!("samples/plan.json")).expect("a plan"),
        evidence: serde_json::from_str(include_str!("samples/healthy.json")).expect("evidence"),
    }
}

impl Case {
    fn output(&mut self, index: usize, what: What) -> &mut Output {
        let Some(Told::Answers(answers)) = self.evidence.nodes.get_mut(&node(index)) else { panic!("it answered") };
        answers.get_mut(&what).expect("it was asked")
    }

    fn address(&self, index: usize) -> String {
        self.plan.nodes[&node(index)].address.to_string()
    }

    /// Replace a text that must be there.
    fn change(mut self, index: usize, what: What, from: &str, to: &str) -> Self {
        let output = self.output(index, what);
        assert!(output.stdout.contains(from), "{what:?} of {index} has no {from:?}: {}", output.stdout);
        output.stdout = output.stdout.replace(from, to);
        self
    }

    fn add(mut self, index: usize, what: What, text: &str) -> Self {
        self.output(index, what).stdout.push_str(text);
        self
    }

    fn fails(mut self, id: &str, why: &str) -> Self {
        let finding = self.evidence.proof.findings.iter_mut().find(|one| one.id.as_str() == id);
        finding.unwrap_or_else(|| panic!("no check {id}")).verdict = Verdict::not_yet(why);
        self
    }

    /// One half of a session in another state, with a last error.
    fn half(mut self, index: usize, peer: usize, state: &str, error: &str) -> Self {
        let name = format!("Mesh_{}", self.address(peer).replace('.', "_"));
        let output = self.output(index, What::Bird);
        let (mut lines, mut inside) = (Vec::new(), false);
        for line in output.stdout.lines() {
            if !line.starts_with(' ') {
                inside = line.starts_with(&name);
            }
            if inside && line.starts_with(&name) {
                let column = if state == "Down" { "down" } else { "start" };
                lines.push(
                    line.replace(" up ", &format!(" {column} ")).replace("Established", &format!("{state}  {error}")),
                );
            } else if inside && line.contains("BGP state:") {
                lines.push(format!("  BGP state:          {state}"));
                if !error.is_empty() {
                    lines.push(format!("    Last error:       {error}"));
                }
            } else if !(inside
                && ["Neighbor ID", "Session:", "Source address", "timer:"].iter().any(|word| line.contains(word)))
            {
                lines.push(line.to_owned());
            }
        }
        output.stdout = lines.join("\n");
        let id = format!("session.{}.{}", node(index), node(peer));
        self.fails(&id, &format!("{state}, {error}"))
    }

    /// Both halves between the second node and the third.
    fn halves(self, second: (&str, &str), third: (&str, &str)) -> Self {
        self.half(2, 3, second.0, second.1).half(3, 2, third.0, third.1)
    }

    /// BIRD on the second node as if it were not there.
    fn silent(mut self) -> Self {
        let output = self.output(2, What::Bird);
        *output = Output { ended: Ended::Exit(1), stdout: String::new(), stderr: "Unable to connect".into() };
        self.fails("peers.calico-02", "BIRD does not answer")
    }

    /// Its process, stopped by a signal.
    fn frozen(self) -> Self {
        self.change(2, What::Processes, " S bird", " T bird")
    }

    fn rules(self, index: usize, hook: &str, rules: &str) -> Self {
        let text = format!(
            "table inet x {{\n\tchain c {{\n\t\ttype filter hook {hook} priority 0; policy accept;\n\t\t{rules}\n\t}}\n}}\n"
        );
        self.add(index, What::Firewall, &text)
    }

    fn diagnosis(&self) -> Diagnosis {
        explain(&self.evidence, &self.plan)
    }

    #[track_caller]
    fn is(self, id: &str) -> Cause {
        let diagnosis = self.diagnosis();
        let first = diagnosis.first.clone().unwrap_or_else(|| panic!("{id}: {diagnosis:#?}"));
        assert_eq!(first.id, id, "{diagnosis:#?}");
        assert!(!first.explains.is_empty() && !first.evidence.is_empty());
        assert!(first.remedy.starts_with("calicolab "), "{}", first.remedy);
        first
    }

    /// Something is broken, and these may be it.
    #[track_caller]
    fn undecided(self) -> Vec<Open> {
        let diagnosis = self.diagnosis();
        assert_eq!(diagnosis.outcome, Outcome::Undecided, "{diagnosis:#?}");
        assert!(diagnosis.first.is_none());
        diagnosis.open
    }
}

#[test]
fn a_healthy_lab_has_no_cause_and_no_warning() {
    let diagnosis = healthy().diagnosis();
    assert_eq!(diagnosis.outcome, Outcome::NothingBroken);
    assert!(diagnosis.first.is_none() && diagnosis.warnings.is_empty() && diagnosis.also.is_empty(), "{diagnosis:#?}");
}

/// A node that is too busy answers too late: what else was seen decides, and silence alone names nothing.
#[test]
fn silence_alone_is_no_cause() {
    let open = healthy().silent().undecided();
    let hung = open.iter().find(|one| one.id == "bird-hung").expect("it may be so");
    assert!(hung.title.contains("busy or hung") && hung.decides.contains("birdc show status"), "{hung:?}");
    assert!(!open.iter().any(|one| one.id == "bird-stopped"), "{open:?}");
    healthy().silent().half(3, 2, "Active", "Socket: Host is unreachable").down().is("link-down");
    let stage = healthy().silent().fails("route.calico-02.10.244.0.128-26", "blackhole");
    let stopped = stage.frozen().is("bird-hung");
    assert!(stopped.remedy.contains("kill -CONT"), "{}", stopped.remedy);
    // Another BIRD on the same node is not the unit's own.
    let two = healthy().silent().add(2, What::Processes, "999 T bird\n");
    assert!(two.undecided().iter().any(|one| one.id == "bird-hung"));
}

/// The object of a node as etcd's gateway writes it, and the same with the NAT card's address.
fn registered(stage: &Case, index: usize) -> (String, String) {
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::STANDARD;
    let facts = Facts::read(&stage.evidence, &stage.plan);
    let (_, answer) = facts.any_store().unwrap_or_else(|_| panic!("somebody reads it"));
    let value = answer.value(&etcd::node_key(node(index).as_str())).expect("it is there").to_owned();
    (engine.encode(&value), engine.encode(value.replace(&stage.address(index), "10.0.2.15")))
}

impl Case {
    fn down(self) -> Self {
        let mut stage = self.fails("address.calico-02", "lab0 is not up");
        let output = stage.output(2, What::Links);
        let (before, lab) = output.stdout.split_at(output.stdout.find("\"lab0\"").expect("it is there"));
        output.stdout = [before, &lab.replacen("\"UP\",\"LOWER_UP\"", "\"NO-CARRIER\"", 1)].concat();
        stage
    }
}

#[test]
fn of_two_causes_the_earlier_link_is_first_and_rivals_are_ruled_out_by_what_was_seen() {
    let stage = healthy()
        .half(3, 2, "Active", "Socket: Host is unreachable")
        .down()
        .fails("packet.calico-03.calico-01", "no answer")
        .change(3, What::Files, "ip_forward\n 1", "ip_forward\n 0");
    let diagnosis = stage.diagnosis();
    let first = diagnosis.first.as_ref().expect("a cause");
    assert_eq!(first.id, "link-down");
    assert!(diagnosis.also.iter().any(|cause| cause.id == "no-forwarding"), "{diagnosis:#?}");
    let rival = first.ruled_out.iter().find(|rival| rival.id == "etcd-stopped");
    assert!(rival.is_none_or(|rival| rival.by.contains("etcd runs")), "{first:#?}");
    let stopped = healthy().silent().change(
        2,
        What::Units,
        "ActiveState=active\nSubState=running",
        "ActiveState=failed\nSubState=failed",
    );
    let first = stopped.diagnosis().first.expect("a cause");
    let by = |id: &str| first.ruled_out.iter().find(|rival| rival.id == id).map(|rival| rival.by.clone());
    assert!(by("link-down").is_some_and(|by| by.contains("lab0 of calico-02 is up")), "{first:#?}");
    assert!(by("port-dropped").is_some() && by("bird-stopped").is_none());
}

#[test]
fn a_clock_that_is_off_is_named_on_recorded_evidence() {
    let mut stage = healthy().fails("clocks", "an hour");
    let clock = stage.evidence.proof.clocks.get_mut(&node(3)).expect("it was read");
    let hour = jiff::SignedDuration::from_hours(1);
    (clock.first, clock.last) = (clock.first + hour, clock.last + hour);
    let cause = stage.is("clock");
    assert!(cause.says.contains("calico-03") && cause.says.contains("ahead"), "{}", cause.says);
}

#[test]
fn late_packets_are_named_on_recorded_evidence() {
    let stage = healthy().fails("link.calico-01.calico-02", "answers after 300 ms at the least");
    stage.add(2, What::Queues, "qdisc netem 8001: dev lab0 root refcnt 2 limit 1000 delay 300ms\n").is("delay");
}

#[test]
fn a_card_that_takes_no_part_in_arp_is_named_with_its_own_repair() {
    let three = healthy().address(3);
    let lost = format!(r#"[{{"dst":"{three}","dev":"lab0","state":["FAILED"]}}]"#);
    let mut stage = healthy().fails("link.calico-02.calico-03", "no answer");
    stage.output(2, What::Neighbours).stdout = lost;
    assert!(stage.is("no-neighbour").remedy.contains("calicolab stop"));
    let mut stage = healthy().fails("link.calico-02.calico-03", "no answer");
    stage.output(2, What::Neighbours).stdout = format!(r#"[{{"dst":"{three}","dev":"lab0","state":["FAILED"]}}]"#);
    let output = stage.output(3, What::Links);
    output.stdout = output.stdout.replace("\"BROADCAST\"", "\"BROADCAST\",\"NOARP\"");
    assert!(stage.is("no-neighbour").remedy.contains("arp on"));
}

#[test]
fn a_certificate_out_of_date_is_named() {
    let stage = healthy().fails("datastore.calico-02", "curl: (60) certificate has expired");
    let mut stage = stage;
    let output = stage.output(1, What::Certificates);
    // Years later on its clock.
    output.stdout = output.stdout.replacen("now=1", "now=2", 1);
    stage.is("cert-expired");
}

/// What people break who know no catalogue.
#[test]
fn a_mac_of_nobody_and_a_kernel_protocol_that_is_down_are_named() {
    let mut stage = healthy().fails("link.calico-02.calico-03", "no answer");
    let own = stage.plan.nodes[&node(3)].lab_mac.clone();
    stage = stage.change(2, What::Neighbours, &own, "02:de:ad:be:ef:01");
    let cause = stage.is("neighbour-wrong");
    assert!(cause.says.contains("02:de:ad:be:ef:01") && cause.remedy.contains("ip neigh del"), "{cause:#?}");
    let row = "kernel1  Kernel   master   up  ";
    let stage = healthy().fails("route.calico-02.10.244.0.0-26", "no route").change(
        2,
        What::Bird,
        row,
        "kernel1  Kernel   master   down",
    );
    assert!(stage.is("kernel-off").remedy.contains("birdc enable kernel1"));
}

/// A session that is young beside a route that is missing: the route is what is asked about.
#[test]
fn what_only_has_to_age_is_not_what_is_undecided() {
    let mut stage =
        healthy().fails("session.calico-02.calico-03", "young").fails("route.calico-02.10.244.0.0-26", "no route");
    let young = stage.evidence.proof.findings.iter_mut().find(|one| one.id.as_str() == "session.calico-02.calico-03");
    let again_in = Some(std::time::Duration::from_secs(2));
    young.expect("it is there").verdict = Verdict::NotYet { why: "young".into(), again_in };
    let open = stage.undecided();
    assert!(open.last().is_some_and(|one| one.title.contains("BIRD keeps or refuses")), "{open:?}");
}

/// A busy node's answers are cut for their time: what they do not say may be so, and nothing is named by that.
#[test]
fn an_answer_that_was_cut_names_nothing() {
    for what in [What::Certificates, What::Files, What::BirdRoutes, What::Units] {
        let mut stage = healthy().fails("datastore.calico-02", "no answer").fails("packet.calico-02.calico-01", "lost");
        for index in 1..=3 {
            let output = stage.output(index, what);
            output.ended = Ended::Exit(124);
            output.stdout.truncate(output.stdout.len() / 3);
        }
        stage.undecided();
    }
    // A file was listed, and openssl killed before it said anything.
    let mut stage = healthy().fails("datastore.calico-02", "no answer");
    stage.output(2, What::Certificates).stdout = "file=node.crt\nissuer=CN = somebody\n".into();
    assert!(stage.undecided().iter().any(|open| open.id == "cert-foreign" && open.decides.contains("openssl verify")));
}

#[test]
fn evidence_and_diagnosis_survive_being_saved() {
    let stage = healthy().silent().frozen();
    let text = serde_json::to_string(&stage.evidence).expect("JSON");
    assert_eq!(serde_json::from_str::<Evidence>(&text).expect("the same"), stage.evidence);
    let diagnosis = stage.diagnosis();
    let text = serde_json::to_string(&diagnosis).expect("JSON");
    assert_eq!(serde_json::from_str::<Diagnosis>(&text).expect("the same"), diagnosis);
}

#[test]
fn rules_stand_in_the_order_of_the_chain_under_words_of_their_own() {
    let ids: std::collections::BTreeSet<&str> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(ids.len(), RULES.len());
    let links: Vec<Link> = RULES.iter().map(|rule| rule.link).collect();
    assert!(links.is_sorted(), "{links:?}");
}

/// Whatever a node says, nothing panics: bundles come from anywhere.
#[test]
fn nonsense_explains_nothing_and_breaks_nothing() {
    for nonsense in ["", "[]", "{}", "\u{0}", "table x {\nchain y {\n", "[{\"dst\":1}]", "curl: ("] {
        let mut stage = healthy().silent();
        for index in 1..=3 {
            let Some(Told::Answers(answers)) = stage.evidence.nodes.get_mut(&node(index)) else {
                panic!("it answered")
            };
            for output in answers.values_mut() {
                nonsense.clone_into(&mut output.stdout);
            }
        }
        stage.diagnosis();
    }
    let mut stage = healthy().silent();
    stage.evidence.nodes.clear();
    stage.diagnosis();
}
