//! Evidence as values: what each node answered, parsed, or what would have to be asked.

use std::net::Ipv4Addr;

use super::{Clear, Evidence, Found, Origin, Side, Told, What};
use crate::command::{Ended, Output};
use crate::lab::name::NodeName;
use crate::lab::plan::{NodePlan, Plan};
use crate::node::bird::{Bgp, Bird, Protocol};
use crate::node::bird_conf::BirdConf;
use crate::node::certificate::Certificate;
use crate::node::etcd::{self, Answer};
use crate::node::files::Files;
use crate::node::firewall::Rule;
use crate::node::kube::Objects;
use crate::node::link::{Link, Neighbour};
use crate::node::process::Process;
use crate::node::route::{PolicyRule, Routes};
use crate::node::socket::Listener;
use crate::node::unit::Unit;
use crate::proof::{Finding, Proof};

/// The evidence, read.
pub(super) struct Facts<'a> {
    pub plan: &'a Plan,
    evidence: &'a Evidence,
}

impl<'a> Facts<'a> {
    pub fn read(evidence: &'a Evidence, plan: &'a Plan) -> Self {
        Self { plan, evidence }
    }

    pub fn proof(&self) -> &Proof {
        &self.evidence.proof
    }

    /// How the check with this id stands, if it was taken.
    pub fn finding(&self, id: &str) -> Option<&Finding> {
        self.proof().findings.iter().find(|finding| finding.id.as_str() == id)
    }

    pub fn part(&self, node: &NodeName) -> &NodePlan {
        &self.plan.nodes[node]
    }

    /// Why a node could not be asked, if it could not.
    pub fn unasked(&self, node: &NodeName) -> Option<&str> {
        match self.evidence.nodes.get(node) {
            Some(Told::Unasked(why)) => Some(why),
            _ => None,
        }
    }

    /// Whether calicolab did not make these nodes.
    pub fn foreign(&self) -> bool {
        self.evidence.origin == Origin::Diags
    }

    /// A command on a node, as the user would type it.
    pub fn on(&self, node: &NodeName, words: &str) -> String {
        if self.foreign() {
            return format!("on {node}: sudo {words}");
        }
        format!("calicolab ssh --name {} {node} -- sudo {words}", self.plan.cluster)
    }

    /// What a node said when this was read.
    pub fn output(&self, node: &NodeName, what: What) -> Option<&Output> {
        match self.evidence.nodes.get(node) {
            Some(Told::Answers(answers)) => answers.get(&what),
            _ => None,
        }
    }

    /// What was read, or what would have to be asked.
    fn text(&self, node: &NodeName, what: What) -> Result<&str, Clear> {
        let output = self.whole(node, what)?;
        // 127: there is no such program.
        let unread = !output.ok() && output.stdout.trim().is_empty();
        if unread { Err(Clear::Open(self.question(node, what))) } else { Ok(&output.stdout) }
    }

    /// What was said to its end: what is missing in an answer that was cut for its time may have been there.
    fn whole(&self, node: &NodeName, what: What) -> Result<&Output, Clear> {
        const CUT: [i32; 2] = [124, 137];
        let whole = |output: &&Output| matches!(output.ended, Ended::Exit(code) if !CUT.contains(&code));
        self.output(node, what).filter(whole).ok_or_else(|| Clear::Open(self.question(node, what)))
    }

    fn question(&self, node: &NodeName, what: What) -> String {
        let argv = what.argv(self.plan, node, "").to_string();
        let argv = if argv.len() > 70 { format!("{} …", argv.chars().take(66).collect::<String>()) } else { argv };
        format!("`{argv}` on {node}")
    }

    fn parsed<T, E>(&self, node: &NodeName, what: What, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<T, Clear> {
        parse(self.text(node, what)?).map_err(|_| Clear::Open(self.question(node, what)))
    }

    pub fn links(&self, node: &NodeName) -> Result<Vec<Link>, Clear> {
        self.parsed(node, What::Links, Link::parse)
    }

    /// The lab device of a node, if it has one.
    pub fn lab_link(&self, node: &NodeName) -> Result<Option<Link>, Clear> {
        let device = self.device(node);
        Ok(self.links(node)?.into_iter().find(|link| link.name == device))
    }

    /// The name of the lab device: on nodes that we did not make the one that has the address, if one has.
    pub fn device(&self, node: &NodeName) -> String {
        let address = self.part(node).address;
        let holds = |link: &Link| link.addresses.iter().any(|own| own.local == address);
        let holder = if self.foreign() { self.links(node).ok() } else { None };
        let holder = holder.and_then(|links| links.into_iter().find(holds));
        holder.map_or_else(|| self.plan.network.lab_device.clone(), |link| link.name)
    }

    pub fn neighbours(&self, node: &NodeName) -> Result<Vec<Neighbour>, Clear> {
        self.parsed(node, What::Neighbours, Neighbour::parse)
    }

    pub fn routes(&self, node: &NodeName) -> Result<Routes, Clear> {
        let errors = self.output(node, What::Routes).map_or("", |output| output.stderr.as_str());
        self.parsed(node, What::Routes, |text| Routes::parse(text, errors))
    }

    pub fn rules(&self, node: &NodeName) -> Result<Vec<PolicyRule>, Clear> {
        self.parsed(node, What::Rules, PolicyRule::parse)
    }

    /// What BIRD says; `None` if it was asked and says nothing.
    pub fn bird(&self, node: &NodeName) -> Result<Option<Bird>, Clear> {
        match self.output(node, What::Bird) {
            Some(output) => Ok(Bird::parse(&output.stdout).ok()),
            None => Err(Clear::Open(self.question(node, What::Bird))),
        }
    }

    /// A node's half of a session, if its BIRD has one.
    pub fn half(&self, node: &NodeName, peer: &NodeName) -> Result<Option<(Protocol, Bgp)>, Clear> {
        let address = self.part(peer).address;
        let Some(bird) = self.bird(node)? else { return Ok(None) };
        let half = bird.sessions().find(|(_, bgp)| bgp.neighbor == Some(address));
        Ok(half.map(|(protocol, bgp)| (protocol.clone(), bgp.clone())))
    }

    /// A half in a few words.
    pub fn half_text(&self, node: &NodeName, peer: &NodeName) -> String {
        match self.half(node, peer) {
            Ok(Some((protocol, bgp))) => {
                let error = bgp.last_error.as_deref().map(|error| format!(", {error}")).unwrap_or_default();
                let state = if bgp.state.is_empty() { protocol.state } else { bgp.state };
                format!("{} is {state}{error}", protocol.name)
            }
            Ok(None) => match self.bird(node) {
                Ok(Some(_)) => format!("its BIRD has no session with {peer}"),
                _ => "its BIRD does not answer".into(),
            },
            Err(_) => "its BIRD was not asked".into(),
        }
    }

    pub fn bird_routes(&self, node: &NodeName) -> Result<&str, Clear> {
        self.text(node, What::BirdRoutes)
    }

    pub fn conf(&self, node: &NodeName) -> Result<BirdConf, Clear> {
        self.text(node, What::BirdConf).map(BirdConf::parse)
    }

    pub fn unit(&self, node: &NodeName, name: &str) -> Result<Option<Unit>, Clear> {
        let units = Unit::parse(self.text(node, What::Units)?);
        Ok(units.into_iter().find(|unit| unit.name == name && unit.loaded))
    }

    /// The process of this name: its unit's own where there is such a unit that runs one, else any.
    pub fn process(&self, node: &NodeName, name: &str) -> Result<Option<Process>, Clear> {
        let all = Process::parse(&self.whole(node, What::Processes)?.stdout);
        let own = self.unit(node, name).ok().flatten().and_then(|unit| unit.pid);
        Ok(all.into_iter().find(|one| one.name == name && one.lives() && own.is_none_or(|own| one.pid == own)))
    }

    /// What the API server knows, or what kubectl was told instead.
    pub fn objects(&self) -> Result<Result<Objects, String>, Clear> {
        let output = self.whole(&self.plan.master, What::Objects)?;
        // Refused, kubectl prints a list with nothing in it.
        if !output.ok() {
            return Ok(Err(output.tail(2)));
        }
        Ok(Objects::parse(&output.stdout).map_err(|_| output.tail(2)))
    }

    /// The last line of a node's journal in which one of its daemons says that something is wrong.
    pub fn last_word(&self, node: &NodeName, unit: &str) -> Option<String> {
        let journal = &self.output(node, What::Journal)?.stdout;
        let own = journal.lines().filter(|line| line.contains(&format!(" {unit}[")));
        let mut words = own.filter_map(|line| line.split_once("]: ").map(|(_, words)| words.to_owned()));
        words.rfind(|words| ["rror", "ailed", "atal"].iter().any(|sign| words.contains(sign)))
    }

    pub fn listeners(&self, node: &NodeName) -> Result<Vec<Listener>, Clear> {
        match self.output(node, What::Listeners) {
            Some(output) if output.ok() => Ok(Listener::parse(&output.stdout)),
            _ => Err(Clear::Open(self.question(node, What::Listeners))),
        }
    }

    pub fn firewall(&self, node: &NodeName) -> Result<Vec<Rule>, Clear> {
        match self.output(node, What::Firewall) {
            Some(output) if output.ok() => Ok(Rule::parse(&output.stdout)),
            _ => Err(Clear::Open(self.question(node, What::Firewall))),
        }
    }

    pub fn queues(&self, node: &NodeName) -> Result<&str, Clear> {
        self.text(node, What::Queues)
    }

    /// What a node reads in the datastore, or what it was told instead.
    pub fn store(&self, node: &NodeName) -> Result<Result<Answer, String>, Clear> {
        let text = self.text(node, What::Datastore)?;
        let answer = etcd::answers(text).into_iter().next();
        let answer = answer.ok_or_else(|| Clear::Open(self.question(node, What::Datastore)))?;
        Ok(answer.map_err(|error| error.to_string()))
    }

    /// What anybody reads in the datastore, and who.
    pub fn any_store(&self) -> Result<(NodeName, Answer), Clear> {
        let mut why = Clear::Open(self.question(&self.plan.master, What::Datastore));
        for node in self.plan.nodes.names() {
            match self.store(node) {
                Ok(Ok(answer)) => return Ok((node.clone(), answer)),
                Ok(Err(_)) => {}
                Err(open) => why = open,
            }
        }
        Err(why)
    }

    /// Whether the datastore answers a node without TLS.
    pub fn plain(&self, node: &NodeName) -> Result<bool, Clear> {
        Ok(etcd::is_plain(self.text(node, What::DatastorePlain)?))
    }

    pub fn certificates(&self, node: &NodeName) -> Result<Vec<Certificate>, Clear> {
        Ok(Certificate::parse(self.text(node, What::Certificates)?))
    }

    pub fn files(&self, node: &NodeName) -> Result<Files, Clear> {
        Ok(Files::parse(&self.whole(node, What::Files)?.stdout))
    }

    /// Name and address of each container that runs.
    pub fn pods(&self, node: &NodeName) -> Result<Vec<(String, Ipv4Addr)>, Clear> {
        let output = self.output(node, What::Pods).ok_or_else(|| Clear::Open(self.question(node, What::Pods)))?;
        let pod = |line: &str| {
            let (name, address) = line.split_once(' ')?;
            Some((name.to_owned(), address.trim().parse().ok()?))
        };
        Ok(output.stdout.lines().filter_map(pod).collect())
    }
}

/// The devices into which Calico wraps packets; each has an address of its node's own block.
pub(super) const TUNNELS: [&str; 4] = ["tunl0", "vxlan.calico", "wireguard.cali", "kube-ipvs0"];

/// What was seen at one end.
pub(super) fn side(node: &NodeName, saw: impl Into<String>) -> Side {
    Side { node: node.clone(), saw: saw.into() }
}

/// A cause that was found.
pub(super) fn found(says: impl Into<String>, sides: Vec<Side>, remedy: String) -> Found {
    Found { says: says.into(), sides, remedy }
}

/// Why it is not so.
pub(super) fn not(by: impl Into<String>) -> Clear {
    Clear::Not(by.into())
}
