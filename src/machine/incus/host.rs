//! What this host has for containers: what is missing, with remedies, and how long a boot will take.

use super::answer::{self, Instance, Pool, PoolResources, Profile, Server};
use super::client::Client;
use super::instance;
use super::kernel::{self, Kernel};
use super::limits::{self, Limits};
use super::member::node_mib;
use super::names::{LABEL, NODE, Names};
use super::network;
use super::words::Dialect;
use crate::command;
use crate::lab::plan::Plan;
use crate::machine::uplink;
use crate::machine::{Estimate, Lack, ProviderError};

/// Memory that the host keeps.
const MARGIN_MIB: u64 = 256;
/// A node's tree and what it writes; with Kubernetes its programs and images too.
const TREE_MIB: u64 = 900;
const KUBERNETES_TREE_MIB: u64 = 2200;

/// What was seen of the host; judged by [`judge`], which is pure.
#[derive(Clone, Debug)]
pub struct Host {
    /// Memory to be had, in MiB.
    pub memory_mib: Option<u64>,
    /// Name of the pool and what is free in it, in MiB.
    pub pool: Option<(String, Option<u64>)>,
    /// Cluster and node of each instance that is there already, by the labels of any home.
    pub there: Vec<(String, String)>,
    /// Whether the daemon finds the server of names that its bridges need.
    pub dnsmasq: bool,
    /// Abilities of the kernel that nodes need and that are not there, with the module that brings each.
    pub modules: Vec<(&'static str, &'static str)>,
    /// Whether packets that stay on a bridge go through the host's firewall, and Docker is there, which closes it.
    pub bridge_filtered: bool,
}

/// What the kernel must be able to do, which a container cannot load: a name in its table of symbols, the module that
/// brings it, and what nodes use it for.
const ABILITIES: [(&str, &str, &str); 4] = [
    ("nft_do_chain", "nf_tables", "services and the way outside"),
    ("nft_nat_do_chain", "nft_chain_nat", "services"),
    ("nft_masq_init", "nft_masq", "the way outside"),
    ("nft_ng_inc_init", "nft_numgen", "several DNS servers behind one address"),
];

/// What the host lacks for this plan.
pub async fn lacks(plan: &Plan) -> Vec<Lack> {
    let client = match Client::any() {
        Ok(client) => client,
        Err((dialect, silence)) => return vec![silence.lack(dialect)],
    };
    match look(&client, plan).await {
        Ok((host, kernel, limits)) => {
            let own = judge(client.dialect, &host, plan).into_iter();
            let own = own.chain(kernel::judge(client.dialect, &kernel, plan));
            own.chain(limits::judge(client.dialect.client, &limits)).collect()
        }
        Err(error) => {
            let what = format!("{} does not answer as it should: {error}", client.dialect.name);
            vec![Lack { id: "incus.answer".into(), what, remedy: client.dialect.start.into(), bearable: false }]
        }
    }
}

/// The pool in which nodes are made.
pub async fn pool(client: &Client) -> Result<Option<Pool>, ProviderError> {
    let (pools, profiles): (Vec<Pool>, Vec<Profile>) =
        tokio::try_join!(client.get("/1.0/storage-pools?recursion=1"), client.get("/1.0/profiles?recursion=1"),)?;
    let name = answer::pool(&pools, &profiles).map(|pool| pool.name.clone());
    Ok(name.and_then(|name| pools.into_iter().find(|pool| pool.name == name)))
}

/// That there is none.
pub fn no_pool(client: &Client) -> ProviderError {
    ProviderError::Silent { why: format!("{} has no storage pool", client.dialect.name) }
}

/// What is free in a pool, in MiB, where the daemon knows; on one `member` of a cluster of servers, if one is named.
pub async fn free_mib(client: &Client, pool: &str, member: Option<&str>) -> Option<u64> {
    let target = member.map_or_else(String::new, |member| format!("?target={member}"));
    let path = format!("/1.0/storage-pools/{pool}/resources{target}");
    let space = client.get::<PoolResources>(&path).await.ok().map(|resources| resources.space);
    space.filter(|space| space.total > 0).map(|space| space.total.saturating_sub(space.used) >> 20)
}

/// Cluster and node of each instance that is one, by the labels of any home.
pub fn nodes_there(all: &[Instance]) -> Vec<(String, String)> {
    let node = |one: &Instance| {
        let label = one.config.get(LABEL)?;
        Some((label.rsplit('/').next()?.to_owned(), one.config.get(NODE)?.clone()))
    };
    all.iter().filter_map(node).collect()
}

/// How many nodes of the plan are not there.
pub fn new_nodes(there: &[(String, String)], plan: &Plan) -> u64 {
    let known = |node: &str| there.iter().any(|(cluster, other)| cluster == plan.cluster.as_str() && other == node);
    plan.nodes.names().filter(|node| !known(node.as_str())).count() as u64
}

async fn look(client: &Client, plan: &Plan) -> Result<(Host, Kernel, Limits), ProviderError> {
    let pool = pool(client).await?;
    let pool = match pool {
        None => None,
        Some(Pool { name }) => Some((name.clone(), free_mib(client, &name, None).await)),
    };
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let there = nodes_there(&instance::all(client).await?);
    let server: Server = client.get("/1.0").await?;
    let kernel = Kernel::look(plan, server.environment.driver);
    let limits = limits::look(network::any_free(client, &uplink::of_this_host()).await?).await;
    let host = Host {
        there,
        memory_mib: crate::machine::qemu::available_mib(&read("/proc/meminfo")),
        pool,
        dnsmasq: command::find("dnsmasq").is_some() || std::path::Path::new("/snap/lxd").exists(),
        modules: missing(&read("/proc/kallsyms")),
        bridge_filtered: read("/proc/sys/net/bridge/bridge-nf-call-iptables").trim() == "1"
            && command::find("dockerd").is_some(),
    };
    Ok((host, kernel, limits))
}

/// Which abilities the table of symbols lacks; a kernel that hides it lacks none for all one knows.
fn missing(symbols: &str) -> Vec<(&'static str, &'static str)> {
    let there: std::collections::HashSet<&str> =
        symbols.lines().filter_map(|line| line.split_ascii_whitespace().nth(2)).collect();
    if there.is_empty() {
        return Vec::new();
    }
    ABILITIES.iter().filter(|(symbol, ..)| !there.contains(symbol)).map(|&(_, module, what)| (module, what)).collect()
}

/// What such a host lacks for this plan.
fn judge(dialect: &Dialect, host: &Host, plan: &Plan) -> Vec<Lack> {
    let lack = |id: &str, what: String, remedy: String, bearable| Lack { id: id.into(), what, remedy, bearable };
    let (name, client) = (dialect.name, dialect.client);
    let new = new_nodes(&host.there, plan);
    let (node_mib, tree_mib) = (node_mib(plan), tree_mib(plan));
    let mut lacks: Vec<Lack> = privileged(plan).into_iter().collect();
    for node in plan.nodes.names().filter(|node| !Names::fits(node)) {
        let what = format!("the name {node} is too long for an instance of {name}");
        lacks.push(lack("incus.name", what, "give the node a name of at most 52 characters".into(), false));
    }
    match &host.pool {
        None => {
            let what = format!("{name} has no storage pool");
            lacks.push(lack("incus.storage", what, format!("{client} storage create default dir"), false));
        }
        Some((pool, Some(free))) if *free < new * tree_mib => {
            let what = format!("the storage pool {pool} may have to take {} MiB, {free} MiB are free", new * tree_mib);
            lacks.push(lack("incus.storage-full", what, format!("make room in it: {client} list"), false));
        }
        Some(_) => {}
    }
    let need = if new == 0 { 0 } else { new * node_mib + MARGIN_MIB };
    if let Some(free) = host.memory_mib.filter(|free| *free < need) {
        let what = format!("{need} MiB of memory are needed, {free} MiB are to be had");
        lacks.push(lack("incus.memory", what, "end other programs, or set fewer nodes".into(), false));
    }
    if !host.dnsmasq {
        let what = format!("dnsmasq, which {name} starts for a network with an address, is not found");
        lacks.push(lack("incus.dnsmasq", what, "apt-get install --no-install-recommends dnsmasq-base".into(), false));
    }
    for (module, what_for) in &host.modules {
        let what = format!("the kernel has not loaded {module} ({what_for}), and a container cannot load it");
        lacks.push(lack("incus.module", what, format!("sudo modprobe {module}"), true));
    }
    if host.bridge_filtered {
        let what = "packets between containers go through the host's firewall, in which Docker may drop them";
        lacks.push(lack(
            "incus.bridge-filtered",
            what.into(),
            "sudo sysctl net.bridge.bridge-nf-call-iptables=0".into(),
            true,
        ));
    }
    lacks
}

/// The room that each node's tree and what it writes take, in MiB.
pub fn tree_mib(plan: &Plan) -> u64 {
    if plan.installer.has_kubernetes() { KUBERNETES_TREE_MIB } else { TREE_MIB }
}

/// What a kubelet in a container takes of the host under it; nothing in a virtual machine.
pub fn privileged(plan: &Plan) -> Option<Lack> {
    let what = "a kubelet needs privileged containers: root in a node is root on its host, whose \
                vm.overcommit_memory, kernel.panic and kernel.panic_on_oops it sets and leaves";
    let remedy = "where that matters use virtual machines: --vm, or --provider qemu";
    let wanted = plan.installer.has_kubernetes() && !plan.vm;
    wanted.then(|| Lack { id: "incus.privileged".into(), what: what.into(), remedy: remedy.into(), bearable: true })
}

/// How long `nodes` containers take until each answers.
pub fn estimate(cores: usize, nodes: usize) -> Estimate {
    // To unpack the tree and to boot keep a core busy.
    let seconds = (4 * nodes as u64).div_ceil(cores.max(1) as u64).max(4);
    Estimate {
        seconds,
        why: format!("system containers, about 4 s of a core for each of {nodes} nodes on {cores} cores"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::Silence;
    use super::super::words::{INCUS, LXD};
    use super::*;
    use crate::machine::qemu::support::small_plan;

    fn fit() -> Host {
        let pool = Some(("default".into(), Some(100_000)));
        let there = Vec::new();
        Host { memory_mib: Some(64_000), pool, there, dnsmasq: true, modules: Vec::new(), bridge_filtered: false }
    }

    #[test]
    fn a_fit_host_lacks_nothing() {
        assert_eq!(judge(&LXD, &fit(), &small_plan(3)), []);
        let unknown = Host { memory_mib: None, pool: Some(("default".into(), None)), ..fit() };
        assert_eq!(judge(&INCUS, &unknown, &small_plan(9)), []);
    }

    #[test]
    fn everything_missing_is_named_at_once_with_its_remedy() {
        let modules = vec![("nf_tables", "services and the way outside")];
        let bare = Host { memory_mib: Some(100), pool: None, dnsmasq: false, modules, bridge_filtered: true, ..fit() };
        let full = Host { pool: Some(("default".into(), Some(10))), ..fit() };
        let silent = [
            Silence::NoClient.lack(&INCUS),
            Silence::Denied("/run/incus/unix.socket".into()).lack(&INCUS),
            Silence::NoDaemon("/var/lib/lxd/unix.socket".into()).lack(&LXD),
        ];
        let all = [judge(&LXD, &bare, &small_plan(3)), judge(&INCUS, &full, &small_plan(2)), silent.to_vec()].concat();
        let told = all.iter().map(|lack| format!("{} {}: {}\n  {}", lack.bearable, lack.id, lack.what, lack.remedy));
        insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn who_brings_up_a_kubelet_is_told_what_that_takes() {
        let plan = Plan { installer: crate::lab::file::Installer::Binaries, ..small_plan(3) };
        let lacks = judge(&LXD, &fit(), &plan);
        assert!(matches!(&lacks[..], [only] if only.bearable && only.id == "incus.privileged"), "{lacks:?}");
        let small = Host { memory_mib: Some(1000), pool: Some(("default".into(), Some(3000))), ..fit() };
        let ids: Vec<String> = judge(&LXD, &small, &plan).into_iter().map(|lack| lack.id).collect();
        assert_eq!(ids, ["incus.privileged", "incus.storage-full", "incus.memory"]);
        assert_eq!(judge(&LXD, &fit(), &Plan { vm: true, ..plan }), []);
    }

    #[test]
    fn nodes_that_are_there_already_need_no_room_again() {
        let plan = small_plan(2);
        let there = plan.nodes.names().map(|node| (plan.cluster.to_string(), node.to_string())).collect();
        let full = Host { pool: Some(("default".into(), Some(10))), memory_mib: Some(10), there, ..fit() };
        assert_eq!(judge(&LXD, &full, &plan), []);
        let others = Host { there: vec![("other".into(), "n1".into())], ..full };
        assert_eq!(judge(&LXD, &others, &plan).len(), 2);
    }

    #[test]
    fn the_kernels_abilities_are_read_from_its_symbols() {
        let all = ABILITIES.map(|(symbol, ..)| format!("0000000000000000 T {symbol}\t[module]")).join("\n");
        assert_eq!(missing(&all), []);
        let names: Vec<_> =
            missing("0000000000000000 T nft_do_chain\n").into_iter().map(|(module, _)| module).collect();
        assert_eq!(names, ["nft_chain_nat", "nft_masq", "nft_numgen"]);
        // A kernel that hides its symbols is not accused.
        assert_eq!(missing(""), []);
    }
}
