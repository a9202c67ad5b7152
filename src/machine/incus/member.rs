//! The members of a cluster of servers, and which of them each node is put on.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::answer::{ClusterMember, Instance, Resources};
use super::client::Client;
use crate::lab::name::{NodeName, PerNode};
use crate::lab::placement::Placement;
use crate::machine::ProviderError;

/// Memory that a node's own daemons take.
pub const NODE_MIB: u64 = 160;

/// One member that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Where its daemon answers the others, and us.
    pub address: Option<IpAddr>,
    /// And at which port.
    pub port: u16,
    /// How many more nodes its memory takes, where it says.
    pub room: Option<u64>,
    /// How many instances of anybody are on it.
    pub instances: usize,
}

/// What was found of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// The names of all.
    pub all: Vec<String>,
    /// Those that may be used: asked for, and online.
    pub usable: Vec<Member>,
    /// Those that were asked for and do not answer the others, with what the cluster says of them.
    pub away: Vec<(String, String)>,
}

/// The members of the cluster behind `client`; those of them that may be used are `targets`, or all if none is named.
pub async fn ask(client: &Client, targets: &[String], there: &[Instance]) -> Result<Members, ProviderError> {
    let all: Vec<ClusterMember> = client.get("/1.0/cluster/members?recursion=1").await?;
    let mut members = Members { all: all.iter().map(|one| one.server_name.clone()).collect(), ..Members::default() };
    members.all.sort_unstable();
    for one in all.iter().filter(|one| targets.is_empty() || targets.contains(&one.server_name)) {
        if one.status != "Online" {
            members.away.push((one.server_name.clone(), one.status.clone()));
            continue;
        }
        // A server that cannot count its memory is not full for that.
        let asked = client.get::<Resources>(&format!("/1.0/resources?target={}", one.server_name)).await;
        let found = address(&one.url).await;
        let memory = asked.ok().map(|resources| resources.memory);
        members.usable.push(Member {
            name: one.server_name.clone(),
            address: found.map(|found| found.ip()),
            port: found.map_or(0, |found| found.port()),
            room: memory.map(|memory| (memory.total.saturating_sub(memory.used) >> 20) / NODE_MIB),
            instances: there.iter().filter(|instance| instance.location == one.server_name).count(),
        });
    }
    members.usable.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(members)
}

/// Where a member's daemon listens; none where its name says nothing to this host.
async fn address(url: &str) -> Option<SocketAddr> {
    let url = reqwest::Url::parse(url).ok()?;
    let host = url.host_str()?.trim_matches(['[', ']']);
    tokio::net::lookup_host((host, url.port_or_known_default()?)).await.ok()?.next()
}

/// Which member each node is on, or will be: those that are there stay (`known`). None if no member may be used.
pub fn place<'a>(
    nodes: &PerNode<Option<&str>>,
    usable: &'a [Member],
    placement: Placement,
) -> Option<PerNode<&'a Member>> {
    let mut put: HashMap<NodeName, usize> = HashMap::new();
    let mut own = vec![0_usize; usable.len()];
    for (node, known) in nodes.iter() {
        if let Some(at) = known.and_then(|known| usable.iter().position(|member| member.name == known)) {
            own[at] += 1;
            put.insert(node.clone(), at);
        }
    }
    let there = own.clone();
    for node in nodes.names() {
        if put.contains_key(node) {
            continue;
        }
        let full = |at: usize| usable[at].room.is_some_and(|room| (own[at] - there[at]) as u64 >= room);
        let best = match placement {
            // As few on each as can be; where that leaves a choice, where the least of anybody is.
            Placement::Spread => (0..usable.len()).min_by_key(|&at| (own[at], full(at), usable[at].instances)),
            // Where most are already, as long as there is room.
            Placement::Pack => (0..usable.len())
                .min_by_key(|&at| (full(at), usize::MAX - own[at], u64::MAX - usable[at].room.unwrap_or(0))),
        };
        own[best?] += 1;
        put.insert(node.clone(), best?);
    }
    Some(nodes.map(|node, _| &usable[put[node]]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::qemu::support::small_plan;

    fn member(name: &str, room: Option<u64>, instances: usize) -> Member {
        Member { name: name.into(), address: None, port: 0, room, instances }
    }

    fn placed(known: &[Option<&str>], usable: &[Member], placement: Placement) -> String {
        let nodes = small_plan(known.len()).nodes.map(|_, node| known[node.index]);
        let placed = place(&nodes, usable, placement).expect("there are members");
        placed.values().map(|member| member.name.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn spread_is_even_and_begins_where_least_is() {
        let two = [member("a", None, 5), member("b", Some(100), 2)];
        assert_eq!(placed(&[None; 3], &two, Placement::Spread), "b a b");
        assert_eq!(placed(&[None; 1], &two[..1], Placement::Spread), "a");
        // What is there stays and counts; a member that may not be used any more has no say.
        assert_eq!(placed(&[Some("b"), None, None], &two, Placement::Spread), "b a b");
        assert_eq!(placed(&[Some("gone"), Some("b"), None], &two, Placement::Spread), "a b b");
        // A full one is taken only where all others have more.
        let full = [member("a", Some(0), 0), member("b", Some(9), 9)];
        assert_eq!(placed(&[None; 4], &full, Placement::Spread), "b a b a");
    }

    #[test]
    fn pack_takes_the_roomiest_and_the_next_when_that_is_full() {
        let three = [member("a", Some(2), 0), member("b", Some(3), 7), member("c", Some(1), 0)];
        assert_eq!(placed(&[None; 5], &three, Placement::Pack), "b b b a a");
        assert_eq!(placed(&[Some("c"), None, None], &three, Placement::Pack), "c c b");
        assert_eq!(placed(&[None; 3], &[member("a", None, 0), member("b", None, 0)], Placement::Pack), "a a a");
    }

    #[test]
    fn where_no_member_may_be_used_nothing_is_placed() {
        assert_eq!(place(&small_plan(1).nodes.map(|_, _| None), &[], Placement::Spread), None);
    }

    #[tokio::test]
    async fn a_members_address_is_in_its_url() {
        assert_eq!(address("https://198.51.100.7:8443").await, Some(([198, 51, 100, 7], 8443).into()));
        assert_eq!(address("https://[2001:db8::7]:8443").await, "[2001:db8::7]:8443".parse().ok());
        assert_eq!(address("unix://").await, None);
    }
}
