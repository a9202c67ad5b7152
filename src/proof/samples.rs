//! Plans and readings for the tests of the judges.

use crate::command::{Argv, Ended, Output};
use crate::lab::addressing::unused_pod;
use crate::lab::example;
use crate::lab::file::Lab;
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::node::{container, etcd, identity, link, reach};
use crate::proof::{Answer, Check, Clock, Place, Probe, Reading, Readings, Scene, Verdict};

pub const NONCE: &str = "1795270000-0a1b";
pub const MEMBER: &str = r#"{"header":{"cluster_id":"77","member_id":"3735928559"}}"#;

pub fn node(index: usize) -> NodeName {
    format!("calico-{index:02}").parse().expect("a name")
}

fn lab(nodes: usize) -> Lab {
    let names: Vec<String> = (1..=nodes).map(|index| node(index).to_string()).collect();
    example::lab(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

fn planned(lab: &Lab) -> Plan {
    example::planned(lab, "demo")
}

/// The mesh of 198.18.7.11, .12, … with blocks of 10.244.0.0/16.
pub fn plan(nodes: usize) -> Plan {
    planned(&lab(nodes))
}

/// A proof of a plan: its first checks with these verdicts; all of them, and they pass, if there are none.
pub fn proof(plan: &Plan, verdicts: &[Verdict]) -> super::Proof {
    let pass = [Verdict::Pass { seen: "as planned".into() }];
    let checks = super::expect::expect(plan);
    let given = if verdicts.is_empty() {
        pass.iter().cycle().take(checks.len())
    } else {
        verdicts.iter().cycle().take(verdicts.len())
    };
    let finding = |(check, verdict): (Check, &Verdict)| super::Finding {
        id: check.id(),
        check,
        verdict: verdict.clone(),
        evidence: Vec::new(),
        took: std::time::Duration::ZERO,
        rounds: 1,
    };
    super::Proof {
        schema: super::PROOF_SCHEMA,
        cluster: plan.cluster.clone(),
        plan: super::plan_digest(plan),
        without_stability: false,
        nonce: NONCE.into(),
        started: jiff::Timestamp::UNIX_EPOCH,
        took: std::time::Duration::ZERO,
        rounds: 1,
        readings: Vec::new(),
        clocks: std::collections::BTreeMap::new(),
        findings: checks.into_iter().zip(given).map(finding).collect(),
        flapped: Vec::new(),
    }
}

/// The same with its first node as the only reflector.
pub fn reflected(nodes: usize) -> Plan {
    let mut lab = lab(nodes);
    lab.bgp.mesh = false;
    lab.bgp.reflectors = vec![node(1)];
    planned(&lab)
}

/// Readings to which a test adds what it needs.
pub struct Stage {
    pub plan: Plan,
    pub readings: Readings,
}

impl Stage {
    pub fn new(nodes: usize) -> Self {
        Self { plan: plan(nodes), readings: Readings::default() }
    }

    pub fn scene(&self) -> Scene<'_> {
        Scene { plan: &self.plan, nonce: NONCE, readings: &self.readings }
    }

    pub fn judge(&self, check: &Check) -> Verdict {
        check.judge(&self.scene())
    }

    pub fn answer(&mut self, probe: Probe, answer: Answer) {
        let at = jiff::Timestamp::UNIX_EPOCH;
        self.readings.by_probe.insert(probe.clone(), Reading { probe, answer, at });
    }

    pub fn say(&mut self, probe: Probe, status: i32, stdout: &str, stderr: &str) {
        let output = Output { ended: Ended::Exit(status), stdout: stdout.into(), stderr: stderr.into() };
        self.answer(probe, Answer::Said(output));
    }

    pub fn on_node(&mut self, index: usize, argv: Argv, status: i32, stdout: &str) {
        self.say(Probe { node: node(index), place: Place::Node, argv }, status, stdout, "");
    }

    pub fn in_pod(&mut self, index: usize, argv: Argv, status: i32, stdout: &str) {
        self.say(Probe { node: node(index), place: Place::Pod, argv }, status, stdout, "");
    }

    pub fn identity(&mut self, index: usize, hostname: &str, id: char) {
        let text = format!("{hostname}\n{}\n", id.to_string().repeat(32));
        self.on_node(index, identity::ask(), 0, &text);
    }

    pub fn links(&mut self, index: usize, mac: &str, address: &str) {
        let text = format!(
            r#"[{{"ifname":"nat0","flags":["UP","LOWER_UP"],"mtu":1500,"address":"52:54:00:00:00:01","addr_info":[{{"family":"inet","local":"10.0.2.15","prefixlen":24}}]}},
            {{"ifname":"lab0","flags":["UP","LOWER_UP"],"mtu":1500,"address":"{mac}","addr_info":[{{"family":"inet","local":"{address}","prefixlen":24}}]}}]"#
        );
        self.on_node(index, link::ask(), 0, &text);
    }

    /// The container of every node, with the first free address of its block.
    pub fn raised(&mut self) {
        for index in 1..=self.plan.nodes.len() {
            let address = self.pod_address(index).to_string();
            let raise = self.scene().raise(&node(index));
            self.say(raise, 0, &format!("{address}\n"), "");
        }
    }

    pub fn pod_address(&self, index: usize) -> std::net::Ipv4Addr {
        crate::lab::addressing::first_free_pod(self.plan.nodes[&node(index)].block)
    }

    /// Good answers to everything a container asks of another.
    pub fn packets(&mut self, from: usize, to: usize) {
        let (target, block) = (self.pod_address(to), self.plan.nodes[&node(to)].block);
        let yes = "1 packets transmitted, 1 packets received, 0% packet loss\n";
        let no = "1 packets transmitted, 0 packets received, 100% packet loss\n";
        self.in_pod(from, reach::ping_from_pod(target, 84, 2), 0, yes);
        self.in_pod(from, reach::ping_from_pod_anew(target, 1500, 2), 0, yes);
        self.in_pod(from, reach::ping_from_pod(unused_pod(block), 84, 1), 1, no);
        let url = format!("http://{target}:{}/", container::HTTP_PORT);
        let page = format!("{}\n", container::probe_page(NONCE, node(to).as_str()));
        self.in_pod(from, reach::fetch_from_pod(&url), 0, &page);
    }

    pub fn master_says(&mut self, body: &str) {
        self.answers(1, [body, body]);
    }

    /// What a node got at the master's own address and at the service's.
    pub fn answers(&mut self, index: usize, bodies: [&str; 2]) {
        let probe = super::machine::datastore(&self.plan, &node(index));
        let text = bodies.iter().fold(String::new(), |text, body| text + body + "\ncurl: (0) \n");
        self.say(probe, 0, &text, "");
    }

    pub fn clock(&mut self, index: usize, ahead_ms: i64, round_ms: i64) {
        let at = |ms: i64| jiff::Timestamp::from_millisecond(1_795_270_000_000 + ms).expect("in range");
        let clock = Clock {
            asked: at(0),
            first: at(ahead_ms + 100),
            last: at(ahead_ms + round_ms - 100),
            answered: at(round_ms),
        };
        self.readings.clocks.insert(node(index), clock);
    }

    /// What a node reads in the datastore.
    pub fn datastore(&mut self, index: usize, address: &str, with_block: bool) {
        use base64::Engine as _;
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let name = node(index);
        let part = &self.plan.nodes[&name];
        let object = format!(r#"{{"spec":{{"bgp":{{"ipv4Address":"{address}/24","asNumber":64512}}}}}}"#);
        let mut pairs = vec![(etcd::node_key(name.as_str()), object)];
        if with_block {
            pairs.push((etcd::block_key(name.as_str(), part.block), "{}".into()));
        }
        let kvs: Vec<_> =
            pairs.iter().map(|(key, value)| serde_json::json!({"key": encode(key), "value": encode(value)})).collect();
        let body = serde_json::json!({
            "header": {"cluster_id": "77", "member_id": "3735928559"},
            "responses": [{"response_range": {"kvs": kvs}}],
        });
        self.answers(index, [&body.to_string(), MEMBER]);
    }
}
