//! What other servers lack for a plan: whether they answer, are members of what was asked for, and carry its packets.

use std::time::Duration;

use super::away;
use super::host;
use super::member::Members;
use super::names::Names;
use super::record::Asked;
use super::stand::{Site, links};
use crate::lab::placement::{Away, TUNNEL};
use crate::lab::plan::Plan;
use crate::machine::{Lack, ProviderError};

/// How long a server may take to accept a connection.
const ANSWER: Duration = Duration::from_secs(5);

/// What was seen of the servers; judged by [`judge`], which is pure.
#[derive(Clone, Debug, Default)]
struct Servers {
    /// How the client's verbs begin.
    client: String,
    /// Whether there is a storage pool.
    pool: bool,
    /// The members of their cluster.
    members: Members,
    /// The members that are not reached from here, each with its address.
    shut: Vec<(String, String)>,
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
    match look(&asked, plan).await {
        Ok(servers) => judge(&servers, away, plan),
        Err(error) => {
            let dialect = asked.client.dialect;
            let what = format!("the remote `{}` does not answer as it should: {error}", away.remote);
            let remedy = format!("{} query {}", dialect.client, asked.client.thing("/1.0"));
            vec![Lack { id: "incus.answer".into(), what, remedy, bearable: false }]
        }
    }
}

async fn look(asked: &Asked, plan: &Plan) -> Result<Servers, ProviderError> {
    let client = asked.client.in_project(None);
    let (pool, site) = tokio::try_join!(host::pool(&client), Site::of(asked, plan))?;
    let mut shut = Vec::new();
    for member in &site.members.usable {
        let Some(at) = member.address else { continue };
        let connected = tokio::time::timeout(ANSWER, tokio::net::TcpStream::connect((at, member.port))).await;
        if !connected.is_ok_and(|connected| connected.is_ok()) {
            shut.push((member.name.clone(), at.to_string()));
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
    let client = client.dialect.client.to_owned();
    Ok(Servers { client, pool: pool.is_some(), members: site.members, shut, between })
}

fn judge(servers: &Servers, away: &Away, plan: &Plan) -> Vec<Lack> {
    let lack = |id: &str, what: String, remedy: String, bearable| Lack { id: id.into(), what, remedy, bearable };
    let (remote, client, members) = (&away.remote, &servers.client, &servers.members);
    let mut lacks: Vec<Lack> = host::privileged(plan).into_iter().collect();
    for node in plan.nodes.names().filter(|node| !Names::fits(node)) {
        let what = format!("the name {node} is too long for an instance");
        lacks.push(lack("incus.name", what, "give the node a name of at most 52 characters".into(), false));
    }
    if !servers.pool {
        let what = format!("the remote `{remote}` has no storage pool");
        lacks.push(lack("incus.storage", what, format!("{client} storage create {remote}:default dir"), false));
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
    for (name, at) in &servers.shut {
        let what = format!("the member {name} of `{remote}` is not reachable from here at {at}");
        lacks.push(lack("incus.member-unreachable", what, "--target with the names of those that are".into(), false));
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
    use super::*;
    use crate::machine::qemu::support::small_plan;

    fn fit() -> Servers {
        let member = |name: &str| Member { name: name.into(), address: None, port: 8443, room: None, instances: 0 };
        let members = Members {
            all: vec!["north".into(), "south".into()],
            usable: vec![member("north"), member("south")],
            away: Vec::new(),
        };
        Servers { client: "lxc".into(), pool: true, members, shut: Vec::new(), between: Some(1500) }
    }

    fn away(targets: &[&str]) -> Away {
        Away { remote: "class".into(), targets: targets.iter().map(|target| (*target).to_owned()).collect() }
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
    fn who_brings_up_a_kubelet_there_is_told_what_that_takes() {
        let away = away(&[]);
        let plan = Plan { installer: crate::lab::file::Installer::Binaries, ..small_plan(2).away(away.clone()) };
        let lacks = judge(&fit(), &away, &plan);
        assert!(matches!(&lacks[..], [only] if only.bearable && only.id == "incus.privileged"), "{lacks:?}");
        assert_eq!(judge(&fit(), &away, &Plan { vm: true, ..plan }), []);
    }

    #[test]
    fn what_servers_lack_is_named_with_its_remedy() {
        let mut some = fit();
        some.members.away.push(("west".into(), "Offline".into()));
        let none = Members { usable: Vec::new(), away: vec![("north".into(), "Evacuated".into())], ..fit().members };
        let shut = vec![("south".into(), "198.51.100.7".into())];
        let all = [
            told(&some, &away(&[])),
            told(&Servers { members: none, ..fit() }, &away(&["north"])),
            told(&Servers { shut, pool: false, between: Some(1400), ..fit() }, &away(&["sooth"])),
            told(&Servers { members: Members::default(), ..fit() }, &away(&["north"])),
        ];
        insta::assert_snapshot!(all.join("\n\n"));
    }
}
