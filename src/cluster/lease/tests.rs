//! Leases on a real folder, with real ports.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use super::*;
use crate::cluster::example;
use crate::cluster::home::{Home, Locked};
use crate::lab::plan::NodePlan;

struct Temp {
    home: Home,
    leases: Leases,
    folder: tempfile::TempDir,
}

fn temp() -> Temp {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = Home::at(&folder.path().join("home"), folder.path(), "up").expect("a home");
    let leases = Leases::open(folder.path().join("leases"));
    Temp { home, leases, folder }
}

fn cluster(home: &Home, name: &str) -> Locked {
    home.create(example::state(name)).expect("begun")
}

fn nodes() -> PerNode<NodePlan> {
    example::plan_of("any").nodes
}

fn net(text: &str) -> Ipv4Net {
    text.parse().expect("a network")
}

fn files(leases: &Leases) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(&leases.folder) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("read").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

/// A free lab network and all else, as `up` does it.
async fn lease(leases: &Leases, owner: &Owner) -> (LabNet, Leased) {
    loop {
        let free = leases.choose(None, &Routes::default()).expect("there are 512");
        match leases.lease(owner, free, &nodes(), true).await {
            Ok(got) => return (free, got),
            Err(LeaseError::Taken { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn twenty_at_once_get_distinct_values() {
    let Temp { home, leases, folder: _folder } = temp();
    let clusters: Vec<Locked> = (0..20).map(|n| cluster(&home, &format!("c{n}"))).collect();
    let all: Vec<(LabNet, Leased)> = std::thread::scope(|scope| {
        let threads: Vec<_> = clusters
            .iter()
            .map(|locked| {
                let (leases, owner) = (leases.clone(), locked.owner());
                scope.spawn(move || {
                    let runtime =
                        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                    runtime.block_on(lease(&leases, &owner))
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let networks: HashSet<_> = all.iter().map(|(network, _)| network.0).collect();
    let ports: HashSet<u16> = all.iter().flat_map(|(_, leased)| leased.ssh_ports.values().copied()).collect();
    let groups: HashSet<_> = all.iter().map(|(_, leased)| leased.wire.ip()).collect();
    let wire_ports: HashSet<_> = all.iter().map(|(_, leased)| leased.wire.port()).collect();
    assert_eq!((networks.len(), ports.len(), groups.len(), wire_ports.len()), (20, 60, 20, 20));
    assert!(networks.iter().all(|network| LAB_POOL.contains(network)));
    assert_eq!(files(&leases).len(), 20 * 6);
    assert_eq!(leases.list().expect("listed").len(), 20 * 6);
}

#[tokio::test]
async fn leases_are_for_all_to_read_and_go_with_their_cluster() {
    let Temp { home, leases, folder: _folder } = temp();
    let (one, two) = (cluster(&home, "one"), cluster(&home, "two"));
    lease(&leases, &one.owner()).await;
    assert_eq!(std::fs::metadata(&leases.folder).expect("there").permissions().mode() & 0o7777, MODE_OF_FOLDER);
    for name in files(&leases) {
        let mode = std::fs::metadata(leases.folder.join(name)).expect("there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o644);
    }
    lease(&leases, &two.owner()).await;
    leases.release(home.root(), one.cluster()).await.expect("released");
    assert!(
        leases
            .list()
            .expect("listed")
            .iter()
            .all(|lease| lease.owner.as_ref().is_some_and(|by| by.id == two.state().id))
    );
    leases.release(home.root(), two.cluster()).await.expect("released");
    leases.release(home.root(), two.cluster()).await.expect("fine to repeat");
    assert!(!leases.folder.exists(), "an empty folder is not left behind");
}

const MODE_OF_FOLDER: u32 = 0o1777;

#[tokio::test]
async fn all_or_nothing() {
    let Temp { home, leases, folder: _folder } = temp();
    let (one, two) = (cluster(&home, "one"), cluster(&home, "two"));
    let (network, _) = lease(&leases, &one.owner()).await;
    let before = files(&leases);
    let error = leases.lease(&two.owner(), network, &nodes(), true).await.expect_err("it is taken");
    assert!(matches!(&error, LeaseError::Taken { by: Some(by), .. } if by.cluster == *one.cluster()), "{error}");
    assert_eq!(files(&leases), before);

    // What was taken before a later part failed goes back.
    let mut guard = Guard::take(&leases.folder).await.expect("free");
    guard.take_one(What::Port(20_000), &two.owner()).expect("free");
    assert_ne!(files(&leases), before);
    guard.take_back_all();
    assert_eq!(files(&leases), before);
}

#[tokio::test]
async fn leasing_again_replaces_what_a_dead_run_took() {
    let Temp { home, leases, folder: _folder } = temp();
    let one = cluster(&home, "one");
    lease(&leases, &one.owner()).await;
    lease(&leases, &one.owner()).await;
    assert_eq!(files(&leases).len(), 6);
}

#[tokio::test]
async fn abandoned_leases_are_reclaimed() {
    let Temp { home, leases, folder: _folder } = temp();
    let (gone, again, kept) = (cluster(&home, "gone"), cluster(&home, "again"), cluster(&home, "kept"));
    for locked in [&gone, &again, &kept] {
        lease(&leases, &locked.owner()).await;
    }
    assert_eq!(leases.list().expect("listed").len(), 18);
    gone.remove().expect("removed without giving back");
    again.remove().expect("removed without giving back");
    let again = cluster(&home, "again");
    assert_eq!(leases.list().expect("listed").len(), 6, "one has no state, one is another cluster's name now");
    assert_eq!(leases.abandoned().expect("listed").len(), 12);
    assert_eq!(files(&leases).len(), 18, "to look changes nothing");
    leases.sweep().await.expect("swept");
    assert_eq!(files(&leases).len(), 6);
    assert!(leases.abandoned().expect("listed").is_empty());
    drop((again, kept));
}

#[tokio::test]
async fn what_cannot_be_judged_is_kept() {
    let Temp { home, leases, folder: _folder } = temp();
    let locked = cluster(&home, "one");
    lease(&leases, &locked.owner()).await;
    std::fs::write(leases.folder.join("port-20001"), "no JSON").expect("written");
    std::fs::write(leases.folder.join(".killed"), "half").expect("written");
    std::fs::write(leases.folder.join("README"), "not ours").expect("written");
    // A damaged state says nothing about its id, so it does not free the leases.
    std::fs::write(locked.folder().join("state.json"), "{").expect("written");
    let mut guard = Guard::take(&leases.folder).await.expect("free");
    let error = guard.take_one(What::Port(20_001), &locked.owner()).expect_err("taken by nobody knows whom");
    assert!(matches!(error, LeaseError::Taken { by: None, .. }));
    assert_eq!(files(&leases).len(), 6 + 2, "the rest of a killed writer is swept away, and nothing else");
}

#[tokio::test]
async fn a_home_that_cannot_be_looked_into_is_not_gone() {
    let Temp { home, leases, folder } = temp();
    let hidden = folder.path().join("hidden");
    // Even root gets an error here that is not "not found".
    std::os::unix::fs::symlink(&hidden, &hidden).expect("a link to itself");
    let owner = Owner { home: hidden, ..cluster(&home, "foreign").owner() };
    lease(&leases, &owner).await;
    assert_eq!(leases.list().expect("listed").len(), 6);
}

#[tokio::test]
async fn a_network_this_host_uses_is_not_chosen() {
    let Temp { home, leases, folder: _folder } = temp();
    // All but 198.18.200.0/24 are routed or leased.
    let mut main = String::from("Iface Destination Gateway Flags RefCnt Use Metric Mask\n");
    for subnet in LAB_POOL.subnets(24).expect("a /15 has /24s").filter(|n| !overlap(*n, net("198.18.200.0/23"))) {
        let hex = format!("{:08X}", u32::from_ne_bytes(subnet.network().octets()));
        let mask = format!("{:08X}", u32::from_ne_bytes([255, 255, 255, 0]));
        writeln!(main, "tun7 {hex} 00000000 0001 0 0 0 {mask} 0 0 0").expect("memory");
    }
    let host = Routes::parse(&main, "");
    let one = cluster(&home, "one");
    leases.lease(&one.owner(), LabNet(net("198.18.201.0/24")), &nodes(), true).await.expect("free");
    assert_eq!(leases.choose(None, &host).expect("one is left").0, net("198.18.200.0/24"));

    let error = leases.choose(Some(net("198.18.0.0/23")), &host).expect_err("routed").to_string();
    assert_eq!(error, "the lab network 198.18.0.0/23 overlaps 198.18.0.0/24, which this host reaches by tun7");
    let error = leases.choose(Some(net("198.18.201.128/25")), &host).expect_err("leased").to_string();
    assert!(error.starts_with("the lab network 198.18.201.0/24 is leased to the cluster `one` in "), "{error}");
    assert_eq!(leases.choose(Some(net("10.9.0.0/24")), &host).expect("free").0, net("10.9.0.0/24"));

    let two = cluster(&home, "two");
    leases.lease(&two.owner(), LabNet(net("198.18.200.0/24")), &nodes(), true).await.expect("free");
    assert!(matches!(leases.choose(None, &host), Err(LeaseError::NoneFree("lab network"))));
}

#[tokio::test]
async fn a_taken_port_is_not_leased_and_a_lost_one_is_replaced() {
    let Temp { home, leases, folder: _folder } = temp();
    let one = cluster(&home, "one");
    let (network, leased) = lease(&leases, &one.owner()).await;
    let first = leased.ssh_ports.names().next().expect("three nodes").clone();
    let lost = leased.ssh_ports[&first];

    let same = leases.renew(&one.owner(), network, &leased, &first, |_| false).await.expect("all is free");
    assert_eq!(same, leased);

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, lost)).expect("it was free");
    assert!(!port_is_free(lost));
    let same =
        leases.renew(&one.owner(), network, &leased, &first, |node| *node == first).await.expect("its own machine's");
    assert_eq!(same, leased);
    let api = leased.api_port.expect("it was asked for");
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, api)).expect("it was free");
    let renewed = leases.renew(&one.owner(), network, &leased, &first, |_| false).await.expect("another is free");
    assert_ne!(renewed.ssh_ports[&first], lost);
    assert!(renewed.api_port.is_some_and(|port| port != api));
    drop(other);
    assert_eq!(renewed.wire, leased.wire);
    let kept = leased.ssh_ports.iter().filter(|(node, port)| renewed.ssh_ports[*node] == **port).count();
    assert_eq!(kept, 2);
    assert!(!files(&leases).contains(&format!("port-{lost}")));
    assert_eq!(files(&leases).len(), 6);
    drop(listener);

    // Files that a cleaner of old files removed come back.
    std::fs::remove_dir_all(&leases.folder).expect("removed");
    assert_eq!(
        leases.renew(&one.owner(), network, &renewed, &first, |_| true).await.expect("nobody has them"),
        renewed
    );
    assert_eq!(files(&leases).len(), 6);
}

#[tokio::test]
async fn a_lost_wire_is_replaced_only_while_no_machine_is_on_it() {
    let Temp { home, leases, folder: _folder } = temp();
    let (one, two) = (cluster(&home, "one"), cluster(&home, "two"));
    let (network, leased) = lease(&leases, &one.owner()).await;
    let first = leased.ssh_ports.names().next().expect("three nodes").clone();
    let SocketAddr::V4(wire) = leased.wire else { panic!("a group of IPv4") };
    let mut guard = Guard::take(&leases.folder).await.expect("free");
    guard.drop_one(What::Wire(wire), &one.owner()).expect("dropped");
    guard.take_one(What::Wire(wire), &two.owner()).expect("free");
    drop(guard);
    let error = leases.renew(&one.owner(), network, &leased, &first, |_| true).await.expect_err("two labs on one wire");
    assert!(matches!(error, LeaseError::Taken { what: What::Wire(_), by: Some(by) } if by.id == two.state().id));
    let renewed = leases.renew(&one.owner(), network, &leased, &first, |_| false).await.expect("another is free");
    assert_ne!(renewed.wire, leased.wire);
    assert_eq!(files(&leases).len(), 7, "the other's lease is untouched");
}

#[tokio::test]
async fn afolder_that_cannot_be_shared_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("leases");
    std::fs::write(&file, "").expect("written");
    assert!(matches!(Guard::take(&file).await.err(), Some(LeaseError::Unfit { .. })));
    std::fs::remove_file(&file).expect("removed");
    std::os::unix::fs::symlink(folder.path(), &file).expect("linked");
    assert!(matches!(Guard::take(&file).await.err(), Some(LeaseError::Unfit { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_stuck_writer_is_not_waited_for_forever() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path: Arc<Path> = folder.path().join("leases").into();
    let held = Guard::take(&path).await.expect("free");
    assert!(matches!(Guard::take(&path).await.err(), Some(LeaseError::Busy { .. })));
    drop(held);
    drop(Guard::take(&path).await.expect("free again"));
}

#[test]
fn names_of_files_are_read_as_written() {
    for what in
        [What::Network(net("198.18.7.0/24")), What::Port(20_022), What::Wire("239.192.1.2:20001".parse().expect("one"))]
    {
        assert_eq!(What::from_file_name(&what.file_name()), Some(what));
    }
    for name in ["", "port", "port-", "port-99999", "network-1.2.3.4", "wire-1.2.3.4-x", "README"] {
        assert_eq!(What::from_file_name(name), None, "{name}");
    }
}
