//! One cluster in detail: phase, nodes, last proof, files.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::ls::{age, of_state};
use super::table::columns;
use crate::cluster::lock::Holder;
use crate::cluster::state::{ClusterState, Phase};
use crate::lab::file::Installer;
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::machine::Power;

/// All that is shown of one cluster.
#[derive(Debug)]
pub struct Facts<'a> {
    /// What is remembered of it.
    pub state: &'a ClusterState,
    /// Who works on it now.
    pub holder: Option<&'a Holder>,
    /// Its plan, once that is saved.
    pub plan: Option<&'a Plan>,
    /// Its machines as the provider finds them; `None` if it could not be asked.
    pub power: Option<&'a [(NodeName, Power)]>,
    /// Its files: what each holds, and where it is.
    pub files: &'a [(&'static str, PathBuf)],
    /// The day until which its certificates are good, once there are any.
    pub good_until: Option<jiff::civil::Date>,
    /// The host's clock.
    pub now: Timestamp,
}

/// The files of a cluster that a user may want to read, made or not.
pub fn files(folder: &Path, state: &ClusterState) -> Vec<(&'static str, PathBuf)> {
    let mut files: Vec<_> = [
        ("state", "state.json"),
        ("plan", "plan.json"),
        ("log", "log"),
        ("events", "events.jsonl"),
        ("ssh-config", "ssh/config"),
        ("rendered", "rendered"),
    ]
    .map(|(what, name)| (what, folder.join(name)))
    .into();
    files.extend(state.last_proof.as_ref().map(|proof| ("last-proof", proof.file.clone())));
    files
}

/// For people.
pub fn text(facts: &Facts<'_>) -> String {
    let &Facts { state, holder, now, .. } = facts;
    let ago = |then: Timestamp| format!("{then:.0} ({} ago)", age(then, now));
    let mut pairs = vec![
        ("cluster", format!("{} ({})", state.name, state.id)),
        ("phase", phase(state, holder)),
        ("lab", state.lab.to_string()),
        ("provider", state.provider.to_string()),
        ("network", wired(state)),
        ("begun", format!("{} by calicolab {}", ago(state.created), state.calicolab)),
    ];
    if let Some(by) = holder {
        pairs.push(("in use", format!("by {by}")));
    }
    if let Some(proof) = &state.last_proof {
        let mut counts = format!("{} of {} passed", proof.pass, proof.total());
        for (count, word) in [(proof.not_yet, "not yet"), (proof.never, "never"), (proof.unknown, "unknown")] {
            if count > 0 {
                let _ = write!(counts, ", {count} {word}");
            }
        }
        pairs.push(("proof", format!("{counts}, {}", ago(proof.at))));
    }
    if let Some(page) = page(facts) {
        pairs.push(("page", page.shown()));
    }
    if let Some(day) = facts.good_until {
        pairs.push(("trust", format!("certificates are good until {day}")));
    }
    let mut text = String::new();
    for (what, value) in &pairs {
        let _ = writeln!(text, "{what:<9} {value}");
    }
    text.push('\n');
    text += &columns(
        &["NODE", "ADDRESS", "BLOCK", "SSH", "POWER", "MACHINE"],
        nodes(facts).into_iter().map(|node| {
            let shown = |value: Option<String>| value.unwrap_or_else(|| "-".into());
            vec![
                node.name.to_string(),
                shown(node.address),
                shown(node.block),
                shown(node.ssh),
                node.power.into(),
                shown(node.handle),
            ]
        }),
    );
    if !facts.files.is_empty() {
        text.push('\n');
        text += &columns(
            &["FILE", "PATH"],
            facts.files.iter().map(|(what, path)| vec![(*what).into(), path.display().to_string()]),
        );
    }
    text
}

/// For programs: what `ls` tells, and the rest.
pub fn json(facts: &Facts<'_>) -> Value {
    let mut value = of_state(facts.state, facts.holder, facts.power);
    let nodes: Vec<Value> = nodes(facts)
        .into_iter()
        .map(|node| {
            json!({
                "name": node.name,
                "address": node.address,
                "block": node.block,
                "ssh": node.ssh,
                "power": node.power,
                "machine": node.handle,
                "console": node.console,
            })
        })
        .collect();
    if let Some(page) = page(facts) {
        value["page"] = json!({"url": page.url, "forward": page.forward});
    }
    value["certificates_until"] = facts.good_until.map(|day| day.to_string()).into();
    value["machines"] = nodes.into();
    value["wire"] = json!(facts.state.leased.as_ref().map(|leased| leased.wire));
    value["wish"] = json!(facts.state.wish);
    value["lab_digest"] = json!(facts.state.lab_digest);
    value["calicolab"] = json!(facts.state.calicolab);
    value["files"] = facts.files.iter().map(|(what, path)| ((*what).to_owned(), json!(path))).collect();
    value
}

/// Where kube-ui is, as the API server of 2016 hands it on to everybody.
const KUBE_UI: &str = ":8080/api/v1/proxy/namespaces/kube-system/services/kube-ui/";

/// The web page of a lab that has one.
struct Page {
    url: String,
    /// What leads to it, where this host is on no network of the machine's.
    forward: Option<String>,
}

impl Page {
    fn shown(&self) -> String {
        match &self.forward {
            None => self.url.clone(),
            Some(forward) => format!("{} while this runs: {forward}", self.url),
        }
    }
}

fn page(facts: &Facts<'_>) -> Option<Page> {
    let plan = facts.plan.filter(|plan| plan.installer == Installer::Coreos)?;
    let (_, machine) = facts.state.machines.iter().find(|(node, _)| *node == plan.master)?;
    let ip = machine.target.addr.ip();
    let forward = ip.is_loopback().then(|| {
        let config = facts.files.iter().find(|(what, _)| *what == "ssh-config");
        let config = config.map(|(_, path)| path.display().to_string()).unwrap_or_default();
        let words = ["ssh", "-F", &config, "-N", "-L", "8080:127.0.0.1:8080", plan.master.as_str()];
        crate::command::quoted(&words)
    });
    Some(Page { url: format!("http://{ip}{KUBE_UI}"), forward })
}

struct Node<'a> {
    name: &'a NodeName,
    address: Option<String>,
    block: Option<String>,
    ssh: Option<String>,
    power: &'static str,
    handle: Option<String>,
    console: Option<&'a Path>,
}

fn nodes<'a>(facts: &Facts<'a>) -> Vec<Node<'a>> {
    let one = |name: &'a NodeName| {
        let planned = facts.plan.and_then(|plan| plan.nodes.get(name));
        let machine = facts.state.machines.iter().find(|(node, _)| node == name).map(|(_, machine)| machine);
        let port = facts.state.leased.as_ref().and_then(|leased| leased.ssh_ports.get(name));
        let power = facts.power.map(|all| all.iter().find(|(node, _)| node == name).map(|(_, power)| *power));
        Node {
            name,
            address: planned.map(|node| node.address.to_string()),
            block: planned.map(|node| node.block.to_string()),
            ssh: machine
                .map(|machine| machine.target.addr.to_string())
                .or_else(|| port.map(|port| format!("127.0.0.1:{port}"))),
            power: match power {
                Some(Some(Power::Running)) => "running",
                Some(Some(Power::Off)) => "off",
                Some(None) => "absent",
                None => "unknown",
            },
            handle: machine.map(|machine| machine.handle.clone()),
            console: machine.and_then(|machine| machine.console.as_deref()),
        }
    };
    facts.state.nodes.iter().map(one).collect()
}

fn phase(state: &ClusterState, holder: Option<&Holder>) -> String {
    let word = state.phase.word();
    match &state.phase {
        phase if phase.needs_holder() && holder.is_none() => format!("interrupted while {word}"),
        Phase::Ready { at } => format!("{word} since {at:.0}"),
        Phase::Unproven { failing } => format!("{word}: {}", failing.join(", ")),
        Phase::Failed { message } => format!("{word}: {}", message.replace('\n', "\n          ")),
        Phase::Raising | Phase::Stopped | Phase::Destroying => word.into(),
    }
}

fn wired(state: &ClusterState) -> String {
    match &state.leased {
        Some(leased) => format!("{} on {}", state.network, leased.wire),
        None => state.network.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::example;
    use crate::cluster::state::LastProof;
    use crate::machine::{Leased, Machine, Target};

    fn at(text: &str) -> Timestamp {
        format!("2026-05-04T{text}Z").parse().expect("a time")
    }

    fn state(phase: Phase) -> ClusterState {
        let mut state = example::state("demo");
        (state.created, state.changed, state.id, state.phase) = (at("03:00:00"), at("03:00:00"), "00ab".into(), phase);
        state.calicolab = "0.1.0".into();
        state
    }

    #[test]
    fn a_cluster_in_detail() {
        let plan = example::plan_of("demo");
        let mut state = state(Phase::Unproven { failing: vec!["session/calico-02/calico-03".into()] });
        let mut port = 20_000;
        let ssh_ports = plan.nodes.map(|_, _| {
            port += 1;
            port
        });
        state.leased =
            Some(Leased { ssh_ports, api_port: None, wire: "239.192.1.2:20100".parse().expect("an address") });
        let target =
            Target { addr: "127.0.0.1:20001".parse().expect("one"), user: "lab".into(), host_key: String::new() };
        let console = Some("/h/clusters/demo/vm/calico-01/console".into());
        let machine = Machine { handle: "pid 4711".into(), target, console, payload_attached: false };
        state.machines.push((state.nodes[0].clone(), machine));
        let file = "/h/clusters/demo/proof/1.json".into();
        state.last_proof = Some(LastProof { at: at("03:02:00"), pass: 28, not_yet: 2, never: 0, unknown: 1, file });
        let power = [(state.nodes[0].clone(), Power::Running), (state.nodes[1].clone(), Power::Off)];
        let files = files(Path::new("/h/clusters/demo"), &state);
        let facts = Facts {
            state: &state,
            holder: None,
            plan: Some(&plan),
            power: Some(&power),
            files: &files,
            good_until: Some(jiff::civil::date(2028, 5, 4)),
            now: at("03:10:00"),
        };
        insta::assert_snapshot!(text(&facts));
        insta::assert_snapshot!(serde_json::to_string_pretty(&json(&facts)).expect("it is JSON"));
    }

    #[test]
    fn the_page_of_2016_is_told_with_the_way_to_it() {
        let plan = Plan { installer: Installer::Coreos, ..example::plan_of("demo") };
        let mut state = state(Phase::Stopped);
        let files = [("ssh-config", PathBuf::from("/h/ssh/config"))];
        for (addr, wanted) in [
            ("192.168.121.5:22", "http://192.168.121.5:8080/api/v1/proxy/namespaces/kube-system/services/kube-ui/"),
            (
                "127.0.0.1:20001",
                "http://127.0.0.1:8080/api/v1/proxy/namespaces/kube-system/services/kube-ui/ while this runs: \
                 ssh -F /h/ssh/config -N -L 8080:127.0.0.1:8080 calico-01",
            ),
        ] {
            let addr = addr.parse().expect("an address");
            let target = Target { addr, user: "lab".into(), host_key: String::new() };
            let machine = Machine { handle: String::new(), target, console: None, payload_attached: false };
            state.machines = vec![(plan.master.clone(), machine)];
            let now = at("03:10:00");
            let mut facts = Facts {
                state: &state,
                holder: None,
                plan: Some(&plan),
                power: None,
                files: &files,
                good_until: None,
                now,
            };
            assert_eq!(page(&facts).expect("a page").shown(), wanted);
            let other = example::plan_of("demo");
            facts.plan = Some(&other);
            assert!(page(&facts).is_none());
        }
    }

    #[test]
    fn a_cluster_that_was_interrupted_at_once() {
        let state = state(Phase::Raising);
        let facts = Facts {
            state: &state,
            holder: None,
            plan: None,
            power: None,
            files: &[],
            good_until: None,
            now: at("03:00:07"),
        };
        insta::assert_snapshot!(text(&facts), @r"
        cluster   demo (00ab)
        phase     interrupted while raising
        lab       primer
        provider  qemu
        network   198.18.7.0/24
        begun     2026-05-04T03:00:00Z (7s ago) by calicolab 0.1.0

        NODE       ADDRESS  BLOCK  SSH  POWER    MACHINE
        calico-01  -        -      -    unknown  -
        calico-02  -        -      -    unknown  -
        calico-03  -        -      -    unknown  -
        ");
    }
}
