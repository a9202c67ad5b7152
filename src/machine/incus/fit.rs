//! What other servers lack for a plan: whether they answer, are members of what was asked for, and carry its packets.

use std::net::IpAddr;
use std::time::Duration;

use super::answer::Pool;
use super::away;
use super::door;
use super::host;
use super::kernel::{self, Kernel};
use super::member::Members;
use super::names::Names;
use super::network;
use super::project;
use super::record::Asked;
use super::stand::{Site, links};
use super::words::Dialect;
use crate::lab::placement::{Away, TUNNEL};
use crate::lab::plan::Plan;
use crate::machine::{Lack, ProviderError};

/// How long a server may take to accept a connection.
const ANSWER: Duration = Duration::from_secs(5);

/// What was seen of the servers; judged by [`judge`], which is pure.
#[derive(Clone, Debug)]
struct Servers {
    /// Whose they are.
    dialect: &'static Dialect,
    /// The kinds of instances that the daemon makes, as it lists them.
    drivers: String,
    /// Name of the storage pool, and what is free in it on all members, in MiB.
    pool: Option<(String, Option<u64>)>,
    /// How many nodes are not there yet.
    new: u64,
    /// Whether there is a network left that the way outside can have.
    free_network: bool,
    /// The members of their cluster.
    members: Members,
    /// The members that are not reached from here, each with its address.
    shut: Vec<(String, String)>,
    /// The addresses at which ways in will be, and nobody answers from any port.
    swallowed: Vec<IpAddr>,
    /// The largest packet that goes between members, where it is known.
    between: Option<u32>,
}

/// What the servers lack for this plan.
pub async fn lacks(away: &Away, plan: &Plan) -> Vec<Lack> {
    let answering = match away::answering(&away.remote, None).await {
        Ok(answering) => answering,
        Err((dialect, silence)) => return vec![silence.lack(dialect)],
    };
    let asked = Asked { client: answering.client.clone(), answering: Some(answering) };
    let dialect = asked.client.dialect;
    let looked = async {
        Ok::<_, ProviderError>(match project::confined(&asked.client).await? {
            Some(projects) => vec![confined(dialect, &away.remote, &projects)],
            None => judge(&look(&asked, away, plan).await?, away, plan),
        })
    };
    looked.await.unwrap_or_else(|error| {
        let what = format!("the remote `{}` does not answer as it should: {error}", away.remote);
        let remedy = format!("{} query {}", dialect.client, asked.client.thing("/1.0"));
        vec![Lack { id: "incus.answer".into(), what, remedy, bearable: false }]
    })
}

/// One line on how machines will run there.
pub async fn describe(away: &Away) -> String {
    let remote = &away.remote;
    let answering = match away::answering(remote, None).await {
        Ok(answering) => answering,
        Err((dialect, silence)) => return silence.lack(dialect).what,
    };
    let (name, version) = (answering.client.dialect.name, answering.server.environment.server_version.clone());
    let at = answering.address.map_or_else(String::new, |at| format!(" at {at}"));
    let asked = Asked { client: answering.client.clone(), answering: Some(answering) };
    let members = match Site::of(&asked, Some(away)).await {
        Ok(site) if !site.members.usable.is_empty() => {
            let names: Vec<&str> = site.members.usable.iter().map(|member| member.name.as_str()).collect();
            format!(", on its members {}", names.join(", "))
        }
        _ => String::new(),
    };
    format!("{name} {version} behind `{remote}`{at}{members}: it answers")
}

fn confined(dialect: &Dialect, remote: &str, projects: &[String]) -> Lack {
    let client = dialect.client;
    let what = format!(
        "the remote `{remote}` keeps this user's certificate to {}, and a lab has a project and networks of its own",
        if projects.is_empty() { "no project at all".into() } else { projects.join(", ") }
    );
    let remedy =
        format!("there, `{client} config trust list`, then `{client} config trust edit` with `restricted: false`");
    Lack { id: "incus.remote-restricted".into(), what, remedy, bearable: false }
}

async fn look(asked: &Asked, away: &Away, plan: &Plan) -> Result<Servers, ProviderError> {
    let client = asked.client.in_project(None);
    let (pool, site) = tokio::try_join!(host::pool(&client), Site::of(asked, Some(away)))?;
    let (mut shut, mut swallowed) = (Vec::new(), Vec::new());
    for member in &site.members.usable {
        let Some(at) = member.address else { continue };
        let connected = tokio::time::timeout(ANSWER, tokio::net::TcpStream::connect((at, member.port))).await;
        if !connected.is_ok_and(|connected| connected.is_ok()) {
            shut.push((member.name.clone(), at.to_string()));
        }
    }
    let taken = door::ports(&site.instances);
    for at in site.doors() {
        // Who is not reached at all was told.
        let told = shut.iter().any(|(_, other)| *other == at.to_string());
        if !told && door::is_swallowed(at, &taken).await {
            swallowed.push(at);
        }
    }
    let mut between = None;
    if site.apart() {
        let known = links(&client, &site.members).await?;
        let carries = known.iter().filter(|link| {
            link.addresses.iter().any(|at| site.members.usable.iter().any(|member| member.address == Some(at.address)))
        });
        between = carries.map(|link| link.mtu).min();
    }
    let pool = match pool {
        None => None,
        Some(Pool { name }) => {
            let targets: Vec<Option<&str>> = match site.members.usable.as_slice() {
                [] => vec![None],
                usable => usable.iter().map(|member| Some(member.name.as_str())).collect(),
            };
            let free = targets.into_iter().map(|member| host::free_mib(&client, &name, member));
            let free: Option<Vec<u64>> = futures::future::join_all(free).await.into_iter().collect();
            Some((name, free.map(|free| free.iter().sum())))
        }
    };
    Ok(Servers {
        dialect: client.dialect,
        drivers: site.server.environment.driver.clone(),
        pool,
        new: host::new_nodes(&host::nodes_there(&site.instances), plan),
        free_network: network::any_free(&client, &site.taken).await?,
        members: site.members,
        shut,
        swallowed,
        between,
    })
}

fn judge(servers: &Servers, away: &Away, plan: &Plan) -> Vec<Lack> {
    let lack = |id: &str, what: String, remedy: String, bearable| Lack { id: id.into(), what, remedy, bearable };
    let (remote, client, members) = (&away.remote, servers.dialect.client, &servers.members);
    let mut lacks = Vec::new();
    for node in plan.nodes.names().filter(|node| !Names::fits(node)) {
        let what = format!("the name {node} is too long for an instance");
        lacks.push(lack("incus.name", what, "give the node a name of at most 52 characters".into(), false));
    }
    // What kernel they have loaded is not told.
    let kernel = Kernel { drivers: servers.drivers.clone(), missing: plan.modules.clone(), listed: false };
    lacks.extend(kernel::judge(servers.dialect, &kernel, plan));
    let need = servers.new * host::TREE_MIB;
    match &servers.pool {
        None => {
            let what = format!("the remote `{remote}` has no storage pool");
            lacks.push(lack("incus.storage", what, format!("{client} storage create {remote}:default dir"), false));
        }
        Some((pool, Some(free))) if *free < need => {
            let what =
                format!("the storage pool {pool} of `{remote}` may have to take {need} MiB, {free} MiB are free");
            lacks.push(lack("incus.storage-full", what, format!("make room in it: {client} list {remote}:"), false));
        }
        Some(_) => {}
    }
    if !servers.free_network {
        let what = format!("`{remote}` uses all of 10.64.0.0/10, where the nodes' way outside would begin");
        let remedy = format!("take a network there away: {client} network list {remote}:");
        lacks.push(lack("incus.subnet", what, remedy, false));
    }
    for target in away.targets.iter().filter(|target| !members.all.contains(target)) {
        let (what, remedy) = match members.all.as_slice() {
            [] => (format!("the remote `{remote}` is one server and no cluster"), "leave --target out".into()),
            all => (
                format!("`{remote}` has no member `{target}`; there is {}", all.join(", ")),
                format!("--target {}", all[0]),
            ),
        };
        lacks.push(lack("incus.member", what, remedy, false));
    }
    let none = !members.all.is_empty() && members.usable.is_empty();
    for (name, status) in &members.away {
        let what = format!("the member {name} of `{remote}` is {}", status.to_lowercase());
        lacks.push(lack("incus.member-away", what, format!("{client} cluster list {remote}:"), !none));
    }
    let others = || "--target with the names of those that are".to_owned();
    for member in members.usable.iter().filter(|member| member.address.is_none()) {
        let what = format!("where the member {} of `{remote}` is found is not known here", member.name);
        lacks.push(lack("incus.member-address", what, format!("name it in /etc/hosts, or {}", others()), false));
    }
    for (name, at) in &servers.shut {
        let what = format!("the member {name} of `{remote}` is not reachable from here at {at}");
        lacks.push(lack("incus.member-unreachable", what, others(), false));
    }
    for at in &servers.swallowed {
        let (first, last) = door::range();
        let what = format!("nothing is answered from {at} at ports {first} to {last}, one of which leads to each node");
        let remedy = "open them in the firewall of that server, or in one on the way".to_owned();
        lacks.push(lack("incus.door", what, remedy, true));
    }
    let need = u32::from(plan.network.mtu + TUNNEL);
    if let Some(carried) = servers.between.filter(|carried| *carried < need) {
        let what = format!(
            "packets of {} bytes go through the tunnel as {need}, and between the members of `{remote}` only {carried} pass",
            plan.network.mtu
        );
        let fits = carried.saturating_sub(TUNNEL.into());
        lacks.push(lack("incus.mtu", what, format!("--set network.mtu={fits}, or --target with one member"), false));
    }
    lacks
}

#[cfg(test)]
mod tests {
    use super::super::member::Member;
    use super::super::words::LXD;
    use super::*;
    use crate::lab::kernel::Need;
    use crate::machine::qemu::support::small_plan;

    fn fit() -> Servers {
        let address = Some([198, 51, 100, 7].into());
        let member = |name: &str| Member { name: name.into(), address, port: 8443, room: None, instances: 0 };
        let members = Members {
            all: vec!["north".into(), "south".into()],
            usable: vec![member("north"), member("south")],
            away: Vec::new(),
        };
        Servers {
            dialect: &LXD,
            drivers: "lxc".into(),
            pool: Some(("default".into(), Some(100_000))),
            new: 2,
            free_network: true,
            members,
            shut: Vec::new(),
            swallowed: Vec::new(),
            between: Some(1500),
        }
    }

    fn away(targets: &[&str]) -> Away {
        Away { remote: "class".into(), targets: targets.iter().map(|target| (*target).to_owned()).collect() }
    }

    #[test]
    fn what_needs_a_kernel_of_its_own_is_refused_elsewhere_too() {
        let own = |vm| Plan { needs: Some(Need::Kernel), vm, ..small_plan(2).away(away(&[])) };
        let ids = |plan: &Plan| judge(&fit(), &away(&[]), plan).into_iter().map(|lack| lack.id).collect::<Vec<_>>();
        assert_eq!(
            (ids(&own(false)), ids(&own(true))),
            (vec!["incus.shared-kernel".into()], vec!["incus.no-vm".into()])
        );
        let modules = Plan { modules: vec!["ipip".parse().expect("a name")], ..small_plan(2).away(away(&[])) };
        let lacks = judge(&fit(), &away(&[]), &modules);
        assert!(lacks.len() == 1 && lacks[0].bearable && lacks[0].what.contains("cannot be seen"), "{lacks:?}");
    }

    fn told(servers: &Servers, away: &Away) -> String {
        let plan = small_plan(2).away(away.clone());
        let lacks = judge(servers, away, &plan);
        let lines = lacks.iter().map(|lack| format!("{} {}: {}\n  {}", lack.bearable, lack.id, lack.what, lack.remedy));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn fit_servers_lack_nothing() {
        assert_eq!(told(&fit(), &away(&[])), "");
        assert_eq!(told(&fit(), &away(&["south"])), "");
        assert_eq!(told(&Servers { members: Members::default(), between: None, ..fit() }, &away(&[])), "");
    }

    #[test]
    fn what_servers_lack_is_named_with_its_remedy() {
        let mut some = fit();
        some.members.away.push(("west".into(), "Offline".into()));
        let none = Members { usable: Vec::new(), away: vec![("north".into(), "Evacuated".into())], ..fit().members };
        let shut = vec![("south".into(), "198.51.100.7".into())];
        let full = Some(("default".into(), Some(1000)));
        let mut nameless = fit();
        nameless.members.usable[1].address = None;
        let swallowed = vec![[198, 51, 100, 7].into()];
        let all = [
            told(&some, &away(&[])),
            told(&Servers { members: none, ..fit() }, &away(&["north"])),
            told(&Servers { shut, pool: None, between: Some(1400), ..fit() }, &away(&["sooth"])),
            told(&Servers { members: Members::default(), ..fit() }, &away(&["north"])),
            told(&Servers { pool: full, swallowed, free_network: false, ..fit() }, &away(&[])),
            told(&nameless, &away(&[])),
        ];
        let kept = ["team", "other"].map(str::to_owned);
        let kept = [&kept[..], &[]].map(|kept| confined(&LXD, "class", kept)).map(|lack| format!("{lack:?}"));
        insta::assert_snapshot!([&all[..], &kept].concat().join("\n\n"));
    }
}
