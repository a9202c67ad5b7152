//! The rules on recorded evidence: a healthy lab of three nodes, changed as each kind of failure changes it.

use super::*;
use crate::command::Ended;
use crate::node::etcd;
use crate::proof::samples::node;

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

const REFUSED: (&str, &str) = ("Active", "Socket: Connection refused");

#[test]
fn a_healthy_lab_has_no_cause_and_no_warning() {
    let diagnosis = healthy().diagnosis();
    assert_eq!(diagnosis.outcome, Outcome::NothingBroken);
    assert!(diagnosis.first.is_none() && diagnosis.warnings.is_empty() && diagnosis.also.is_empty(), "{diagnosis:#?}");
}

/// Each text that BIRD shows of a session that is not up, with what was behind it.
#[test]
fn every_info_text_leads_to_its_cause() {
    let stopped = |stage: Case| {
        let stage = stage.silent().change(
            2,
            What::Units,
            "ActiveState=active\nSubState=running",
            "ActiveState=inactive\nSubState=dead",
        );
        stage.change(2, What::Listeners, ":179 ", ":180 ")
    };
    stopped(healthy().half(3, 2, REFUSED.0, REFUSED.1)).is("bird-stopped");
    stopped(healthy().half(3, 2, "Passive", "Socket: Connection closed")).is("bird-stopped");
    healthy().silent().half(3, 2, "Active", "BGP Error: Hold timer expired").is("bird-hung");
    for text in ["Active", "Connect"] {
        let stage = healthy().half(3, 2, text, "Socket: No route to host");
        stage.rules(2, "input", "tcp dport 179 reject").is("port-rejected");
    }
    let dropped = "tcp dport 179 drop\n\t\ttcp sport 179 drop";
    let timed_out = healthy().halves(("Passive", ""), ("Connect", "Socket: Connection timed out"));
    timed_out.rules(2, "input", dropped).rules(2, "output", dropped).is("port-dropped");
    healthy().halves(("Passive", ""), ("Connect", "")).rules(2, "input", dropped).is("port-one-way");
    healthy().half(3, 2, "Active", "Socket: Host is unreachable").down().is("link-down");
    for lost in ["Error: Neighbor lost", "Error: Link down", "Error: Invalid next hop"] {
        healthy().half(3, 2, "Idle", lost).down().is("link-down");
    }
    let lossy = healthy().half(3, 2, "Idle", "Received: Hold timer expired").rules(
        2,
        "input",
        "numgen random mod 100 < 60 drop",
    );
    lossy.is("loss");
    let template = "template bgp bgp_template {";
    let secret = |stage: Case| {
        stage.change(2, What::BirdConf, template, &format!("{template}\n  password \"removed\";")).add(
            2,
            What::BirdConf,
            "# password 1a2b3c4d\n",
        )
    };
    secret(healthy().halves(("Passive", ""), ("Connect", ""))).is("password");
    healthy()
        .halves(("Idle", "Received: Bad peer AS"), ("Idle", "BGP Error: Bad peer AS"))
        .change(2, What::BirdConf, " as 64512;", " as 64999;")
        .is("wrong-as");
    let (two, three) = (healthy().address(2), healthy().address(3));
    let ids = healthy().halves(("Idle", "BGP Error: Bad BGP identifier"), ("Idle", "Received: Bad BGP identifier"));
    ids.change(2, What::Bird, &format!("Router ID is {two}"), &format!("Router ID is {three}")).is("router-id");
    healthy().halves(("Down", ""), ("Active", "Received: Administrative shutdown")).is("session-disabled");
    for text in ["Socket: Connection reset by peer", "Received: Peer de-configured"] {
        // One side is missing: the peer accepts and resets.
        let name = format!("Mesh_{}", three.replace('.', "_"));
        let mut stage = healthy().half(3, 2, "Active", text);
        let output = stage.output(2, What::Bird);
        let at = output.stdout.find(&name).expect("it is there");
        output.stdout.truncate(at);
        stage.change(2, What::BirdConf, &format!("neighbor {three} as"), "neighbor 192.0.2.1 as").is("peer-missing");
    }
    for (own, far) in
        [("Error: No listening socket", "Socket: Connection refused"), ("", "Received: Connection rejected"), ("", "")]
    {
        let stage = healthy().halves((if own.is_empty() { "Passive" } else { "Down" }, own), ("OpenSent", far));
        let cause = stage.change(2, What::Listeners, "((\"bird\"", "((\"gobgpd\"").is("port-taken");
        assert!(cause.says.contains("gobgpd"), "{}", cause.says);
    }
    let moved = healthy().half(3, 2, "Active", "Socket: Network is unreachable").fails("address.calico-02", "gone");
    moved.change(2, What::Links, &format!("\"local\":\"{two}\""), "\"local\":\"192.0.2.7\"").is("address-missing");
    let object = registered(&healthy(), 2);
    let stage =
        healthy().half(3, 2, "Active", "Socket: Connection closed").fails("datastore.calico-02", "at 10.0.2.15");
    let mut stage = stage;
    for index in 1..=3 {
        stage = stage.change(index, What::Datastore, &object.0, &object.1);
    }
    let cause = stage.is("wrong-address");
    assert!(cause.evidence.iter().any(|side| side.saw.contains("the NAT card")), "{cause:#?}");
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

/// What no rule decides is said, with what would decide and what both ends said.
#[test]
fn what_cannot_be_decided_is_said() {
    for text in [
        "Received: Administrative reset",
        "Received: Other configuration change",
        "Received: Connection collision resolution",
        "BGP Error: Unacceptable hold time",
        "BGP Error: Required capability missing",
        "BGP Error: No supported AFI/SAFI",
        "BGP Error: Authentication failure",
        "Error: BFD session down",
        "Error: Kernel MD5 auth failed",
        "Automatic shutdown: Route limit exceeded",
    ] {
        let open = healthy().halves(("Idle", text), ("Passive", "")).undecided();
        let last = open.last().expect("at least one");
        assert_eq!(last.id, "unseen");
        assert!(last.decides.contains("tcpdump") && last.decides.contains(text), "{}", last.decides);
    }
    // A firewall that cannot be read leaves what it may do open.
    let mut stage = healthy().halves(("Passive", ""), ("Connect", ""));
    *stage.output(2, What::Firewall) =
        Output { ended: Ended::Exit(127), stdout: String::new(), stderr: "no nft".into() };
    let open = stage.undecided();
    let ids: Vec<&str> = open.iter().map(|one| one.id.as_str()).collect();
    assert!(ids.contains(&"port-dropped") && ids.contains(&"port-rejected") && !ids.contains(&"password"), "{ids:?}");
    assert!(open.iter().any(|one| one.decides.contains("nft") && one.decides.contains("calico-02")));
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
    let (before, own) = output.stdout.split_at(output.stdout.find("file=etcd.crt").expect("it is there"));
    output.stdout = [before, &own.replacen("current=yes\n", "current=no\n", 1)].concat();
    stage.is("cert-expired");
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
    let stage = healthy().silent();
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
            for what in What::ALL {
                if what != What::Connections {
                    nonsense.clone_into(&mut stage.output(index, what).stdout);
                }
            }
        }
        stage.diagnosis();
    }
    let mut stage = healthy().silent();
    stage.evidence.nodes.clear();
    stage.diagnosis();
}
