//! What is asked of every node to explain a failure: only reads, all of them in one script a node.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Evidence, Origin, SCHEMA, Told};
use crate::command::Argv;
use crate::lab::addressing::samples;
use crate::lab::name::NodeName;
use crate::lab::plan::Plan;
use crate::node::{
    bird, bird_conf, certificate, container, etcd, files, firewall, kube, link, process, route, socket, unit,
};
use crate::proof::ask::Askers;
use crate::proof::driver::{self, Question, When};
use crate::proof::{Place, Probe, Proof};

/// The longest that one node may take: emulated machines on a busy host are slow, not dead.
const LIMIT: Duration = Duration::from_secs(90);

/// One thing that is read on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Devices and addresses.
    Links,
    /// Neighbours on its links.
    Neighbours,
    /// Routes of all tables, and the ways to peers and blocks.
    Routes,
    /// Policy rules.
    Rules,
    /// BIRD's protocols.
    Bird,
    /// BIRD's routes.
    BirdRoutes,
    /// BIRD's configuration.
    BirdConf,
    /// Units.
    Units,
    /// Who listens.
    Listeners,
    /// The connections of BGP.
    Connections,
    /// nftables.
    Firewall,
    /// Queues of devices.
    Queues,
    /// The nodes' objects in the datastore.
    Datastore,
    /// The datastore asked without TLS.
    DatastorePlain,
    /// Certificates.
    Certificates,
    /// Small configuration files.
    Files,
    /// Containers.
    Pods,
    /// The last words of BIRD and of what configures it.
    Journal,
    /// The processes of daemons.
    Processes,
    /// What the API server knows, from the master.
    Objects,
    /// The last words of the containers of pods.
    ContainerLogs,
}

impl What {
    /// Everything.
    pub const ALL: [Self; 21] = [
        Self::Links,
        Self::Neighbours,
        Self::Routes,
        Self::Rules,
        Self::Bird,
        Self::BirdRoutes,
        Self::BirdConf,
        Self::Units,
        Self::Listeners,
        Self::Connections,
        Self::Firewall,
        Self::Queues,
        Self::Datastore,
        Self::DatastorePlain,
        Self::Certificates,
        Self::Files,
        Self::Pods,
        Self::Journal,
        Self::Processes,
        Self::Objects,
        Self::ContainerLogs,
    ];

    /// Whether `node` has it: the datastore and its certificates are elsewhere with Kubernetes, and nobody but it knows objects.
    pub fn of(self, plan: &Plan, node: &NodeName) -> bool {
        let kubernetes = plan.installer.has_kubernetes();
        match self {
            Self::Datastore | Self::DatastorePlain | Self::Certificates | Self::BirdConf => !kubernetes,
            Self::Objects => kubernetes && *node == plan.master,
            Self::ContainerLogs => kubernetes,
            _ => true,
        }
    }

    /// How long it may take on `node`: what goes over a broken network, or waits for a daemon that hangs, must not hold up the
    /// rest; all else is only as slow as the machine.
    fn limit(self, plan: &Plan, node: &NodeName) -> Duration {
        Duration::from_secs(match self {
            Self::Datastore | Self::DatastorePlain if *node != plan.master => 2,
            Self::Bird | Self::BirdRoutes => 10,
            _ => 30,
        })
    }

    /// How `node` is asked. `salt` hides passwords and is not kept.
    pub fn argv(self, plan: &Plan, node: &NodeName, salt: &str) -> Argv {
        let master = plan.master_node().address;
        match self {
            Self::Links => link::ask(),
            Self::Neighbours => link::ask_neighbours(),
            Self::Routes => route::ask(&addresses(plan, node)),
            Self::Rules => route::ask_rules(),
            Self::Bird => bird::ask(),
            Self::BirdRoutes => bird::ask_routes(),
            Self::BirdConf => bird_conf::ask(salt),
            Self::Units => unit::ask(plan.installer),
            Self::Listeners => socket::ask_listeners(),
            Self::Connections => socket::ask_connections(),
            Self::Firewall => firewall::ask(),
            Self::Queues => firewall::ask_queues(),
            Self::Datastore => etcd::ask_keys(&[format!("{master}:2379")], &keys(plan)),
            Self::DatastorePlain => etcd::ask_plainly(&format!("{master}:2379")),
            Self::Certificates => certificate::ask(),
            Self::Files => files::ask(&plan.network.lab_device),
            Self::Pods => Argv::new(container::HELPER).arg("list"),
            Self::Journal => unit::ask_journal(plan.installer),
            Self::Processes => process::ask(),
            Self::Objects => kube::ask_objects(crate::proof::has_pool(plan)),
            Self::ContainerLogs => kube::ask_container_logs(),
        }
    }
}

/// The peers, and the first, middle and last address of every foreign block.
fn addresses(plan: &Plan, node: &NodeName) -> Vec<Ipv4Addr> {
    let others = || plan.nodes.iter().filter(move |(other, _)| *other != node);
    let blocks = others().flat_map(|(_, part)| samples(part.block));
    others().map(|(_, part)| part.address).chain(blocks).collect()
}

/// Every node's object and claim.
fn keys(plan: &Plan) -> Vec<String> {
    let both = |(node, part): (&NodeName, &crate::lab::plan::NodePlan)| {
        [etcd::node_key(node.as_str()), etcd::block_key(node.as_str(), part.block)]
    };
    plan.nodes.iter().flat_map(both).collect()
}

/// Ask every node at once.
pub async fn gather(plan: &Plan, proof: Proof, askers: &Askers) -> Evidence {
    // Unlike in the whole world is enough: it is thrown away.
    let salt = format!("{}-{}", proof.nonce, jiff::Timestamp::now().as_nanosecond());
    let asking = askers.iter().map(|(node, asker)| {
        let question = |what: What| -> Question {
            let argv = what.argv(plan, node, &salt).bounded(what.limit(plan, node));
            (Probe { node: node.clone(), place: Place::Node, argv }, When::AT_ONCE)
        };
        let asked: Vec<What> = What::ALL.into_iter().filter(|what| what.of(plan, node)).collect();
        let questions: Vec<Question> = asked.iter().copied().map(question).collect();
        async move {
            let output = asker.ask(&driver::script(&questions, ""), LIMIT).await;
            let told = match output.and_then(|output| driver::parse(&questions, &output)) {
                Ok(report) => {
                    let answers = report.answers.into_iter().map(|(output, _)| output);
                    Told::Answers(asked.into_iter().zip(answers).collect())
                }
                Err(why) => Told::Unasked(why),
            };
            (node.clone(), told)
        }
    });
    let nodes: BTreeMap<NodeName, Told> = futures::future::join_all(asking).await.into_iter().collect();
    Evidence { schema: SCHEMA, origin: Origin::Lab, proof, nodes }
}
