//! Networks, groups and ports leased host-wide, so that no two labs of any user clash.

mod folder;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use self::folder::Guard;
use super::routes::{Route, Routes};
use super::{random, random_below};
use crate::guest::Leased;
use crate::lab::addressing::{LAB_POOL, overlap};
use crate::lab::name::{ClusterName, NodeName, PerNode};
use crate::lab::plan::LabNet;
use crate::wait::WaitError;

/// Length of a lab network taken from the pool.
const LAB_PREFIX: u8 = 24;

/// Ports are leased below the range from which Linux takes the ports of outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_768;

/// Groups are leased out of the scope that organisations use as they like (RFC 2365).
const GROUPS: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(239, 192, 0, 0), 14);

/// The leases of this host, of all its users: a folder with one file each.
#[derive(Clone, Debug)]
pub struct Leases {
    folder: PathBuf,
}

/// What can be leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// A lab network.
    Network(Ipv4Net),
    /// A TCP port of 127.0.0.1.
    Port(u16),
    /// A multicast group and UDP port on loopback: the wire of a lab network.
    Wire(SocketAddrV4),
}

/// In whose name something is leased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The folder in which that user's clusters are remembered.
    pub home: PathBuf,
    /// The cluster.
    pub cluster: ClusterName,
    /// The cluster's id.
    pub id: String,
    /// Since when.
    pub since: jiff::Timestamp,
}

/// A lease as it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What is leased.
    pub what: What,
    /// By whom; `None` if its file cannot be read, which makes it no less taken.
    pub owner: Option<Owner>,
}

/// Why something was not leased or given back.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The lab's own network is one this host uses.
    #[error("the lab network {network} overlaps {}, which this host reaches by {}", route.net, route.by)]
    Routed {
        /// The lab network.
        network: Ipv4Net,
        /// What the host does with it.
        route: Route,
    },
    /// Another cluster has it.
    #[error("{what} is leased{}", by.as_ref().map(|by| format!(" to {by}")).unwrap_or_default())]
    Taken {
        /// What was wanted.
        what: What,
        /// Who has it, if that can be read.
        by: Option<Owner>,
    },
    /// There is none left.
    #[error("this host has no free {0} left")]
    NoneFree(&'static str),
    /// Another run keeps the folder of leases to itself for longer than leasing takes.
    #[error("the leases in `{}` are being changed by another run", folder.display())]
    Busy {
        /// The folder.
        folder: PathBuf,
        /// How long was waited.
        source: WaitError,
    },
    /// The folder of leases is not one that all users can share.
    #[error("`{}` cannot hold leases: it {why}", folder.display())]
    Unfit {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A file failed us.
    #[error("`{}` could not be {doing}", path.display())]
    Io {
        /// What was to be done to it.
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl Leases {
    /// The one folder of a host: it outlives a restart, as clusters do.
    pub fn default_path() -> &'static Path {
        Path::new("/var/tmp/calicolab-leases")
    }

    /// The leases in `folder`, which need not exist.
    pub fn open(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Everything that is leased now, abandoned leases left out. Changes nothing.
    pub fn list(&self) -> Result<Vec<Lease>, LeaseError> {
        Ok(folder::read(&self.folder)?.into_iter().map(|entry| entry.lease).collect())
    }

    /// What is leased to clusters that are surely gone, as the files that say so. Changes nothing: whoever leases
    /// next removes them.
    pub fn abandoned(&self) -> Result<Vec<PathBuf>, LeaseError> {
        folder::left(&self.folder)
    }

    /// Remove what is leased to clusters that are surely gone.
    pub async fn sweep(&self) -> Result<(), LeaseError> {
        if self.folder.exists() {
            Guard::take(&self.folder).await?.remove_if_empty();
        }
        Ok(())
    }

    /// A lab network that is in no route, address or lease of this host: `wanted`, or any free one of the pool.
    /// Changes nothing: [`lease`](Self::lease) may find that another run was faster ([`LeaseError::Taken`]).
    pub fn choose(&self, wanted: Option<Ipv4Net>, host: &Routes) -> Result<LabNet, LeaseError> {
        let leases = self.list()?;
        if let Some(network) = wanted {
            if let Some(route) = host.overlapping(network) {
                return Err(LeaseError::Routed { network, route: route.clone() });
            }
            return match clash(&leases, What::Network(network)) {
                Some(lease) => Err(LeaseError::Taken { what: lease.what, by: lease.owner.clone() }),
                None => Ok(LabNet(network)),
            };
        }
        let free: Vec<Ipv4Net> = LAB_POOL
            .subnets(LAB_PREFIX)
            .into_iter()
            .flatten()
            .filter(|net| host.overlapping(*net).is_none() && clash(&leases, What::Network(*net)).is_none())
            .collect();
        free.get(random_below(free.len())).copied().map(LabNet).ok_or(LeaseError::NoneFree("lab network"))
    }

    /// Lease all that a cluster needs, or nothing: its lab network, a port for each node, one for its API server if it
    /// has an `api`, a wire. What it may hold from a run that died before it could record this is given back first.
    pub async fn lease<T>(
        &self,
        owner: &Owner,
        network: LabNet,
        nodes: &PerNode<T>,
        api: bool,
    ) -> Result<Leased, LeaseError> {
        let mut guard = Guard::take(&self.folder).await?;
        guard.give_back(&owner.home, &owner.cluster)?;
        let leased = take_all(&mut guard, owner, network, nodes, api);
        if leased.is_err() {
            guard.take_back_all();
        }
        leased
    }

    /// Hold again what a cluster that was leased `leased` had: before its machines are started. A port that belongs
    /// to somebody else by now is replaced if its machine is off (`running` says), the API server's being its `master`'s,
    /// and so is the wire if all are.
    pub async fn renew(
        &self,
        owner: &Owner,
        network: LabNet,
        leased: &Leased,
        master: &NodeName,
        running: impl Fn(&NodeName) -> bool,
    ) -> Result<Leased, LeaseError> {
        let mut guard = Guard::take(&self.folder).await?;
        let renewed = hold_all(&mut guard, owner, network, leased, master, running);
        if renewed.is_err() {
            guard.take_back_all();
        }
        renewed
    }

    /// Give back all that a cluster of a home holds, under whatever id; fine if that is nothing.
    pub async fn release(&self, home: &Path, cluster: &ClusterName) -> Result<(), LeaseError> {
        if !self.folder.exists() {
            return Ok(());
        }
        let mut guard = Guard::take(&self.folder).await?;
        guard.give_back(home, cluster)?;
        guard.remove_if_empty();
        Ok(())
    }
}

fn take_all<T>(
    guard: &mut Guard,
    owner: &Owner,
    network: LabNet,
    nodes: &PerNode<T>,
    api: bool,
) -> Result<Leased, LeaseError> {
    // Of a lab that is brought back beside itself the network is one on two wires.
    guard.hold(What::Network(network.0), owner)?;
    let ssh_ports = nodes.try_map(|_, _| take_port(guard, owner))?;
    let api_port = api.then(|| take_port(guard, owner)).transpose()?;
    Ok(Leased { ssh_ports, api_port, wire: take_wire(guard, owner)?.into() })
}

fn hold_all(
    guard: &mut Guard,
    owner: &Owner,
    network: LabNet,
    leased: &Leased,
    master: &NodeName,
    running: impl Fn(&NodeName) -> bool,
) -> Result<Leased, LeaseError> {
    guard.hold(What::Network(network.0), owner)?;
    let ssh_ports = leased.ssh_ports.try_map(|node, &port| hold_port(guard, owner, port, running(node)))?;
    let api_port = leased.api_port.map(|port| hold_port(guard, owner, port, running(master))).transpose()?;
    let any_running = leased.ssh_ports.names().any(running);
    let wire = match (leased.wire, any_running) {
        (SocketAddr::V4(wire), true) => guard.hold(What::Wire(wire), owner).map(|()| wire)?,
        (SocketAddr::V4(wire), false) if wire_is_free(wire) => match guard.hold(What::Wire(wire), owner) {
            Err(LeaseError::Taken { .. }) => take_wire(guard, owner)?,
            held => held.map(|()| wire)?,
        },
        (SocketAddr::V4(wire), false) => {
            guard.drop_one(What::Wire(wire), owner)?;
            take_wire(guard, owner)?
        }
        (SocketAddr::V6(_), _) => take_wire(guard, owner)?,
    };
    Ok(Leased { ssh_ports, api_port, wire: wire.into() })
}

/// This port again; another where its machine is off and somebody else has it.
fn hold_port(guard: &mut Guard, owner: &Owner, port: u16, running: bool) -> Result<u16, LeaseError> {
    let what = What::Port(port);
    if running {
        // The machine itself is bound to it.
        return guard.hold(what, owner).map(|()| port);
    }
    match guard.hold(what, owner) {
        Ok(()) if port_is_free(port) => Ok(port),
        Ok(()) => {
            guard.drop_one(what, owner)?;
            take_port(guard, owner)
        }
        Err(LeaseError::Taken { .. }) => take_port(guard, owner),
        Err(other) => Err(other),
    }
}

fn take_port(guard: &mut Guard, owner: &Owner) -> Result<u16, LeaseError> {
    for port in from_anywhere() {
        if guard.clash(What::Port(port)).is_none() && port_is_free(port) {
            return guard.take_one(What::Port(port), owner).map(|()| port);
        }
    }
    Err(LeaseError::NoneFree("port of 127.0.0.1 between 20000 and 32767"))
}

fn take_wire(guard: &mut Guard, owner: &Owner) -> Result<SocketAddrV4, LeaseError> {
    for port in from_anywhere() {
        let group = Ipv4Addr::from_bits(GROUPS.network().to_bits() | (random() & GROUPS.hostmask().to_bits()));
        let wire = SocketAddrV4::new(group, port);
        if guard.clash(What::Wire(wire)).is_none() && wire_is_free(wire) {
            return guard.take_one(What::Wire(wire), owner).map(|()| wire);
        }
    }
    Err(LeaseError::NoneFree("multicast group"))
}

/// Every port once, beginning anywhere.
fn from_anywhere() -> impl Iterator<Item = u16> {
    PORTS.cycle().skip(random_below(PORTS.len())).take(PORTS.len())
}

/// Whether nothing listens there, on 127.0.0.1 or on all addresses.
fn port_is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Whether nothing is bound to the group's port, or to the port on all addresses without sharing it.
fn wire_is_free(wire: SocketAddrV4) -> bool {
    UdpSocket::bind(wire).is_ok()
}

/// The lease that stands in the way of another one for `what`.
fn clash(leases: &[Lease], what: What) -> Option<&Lease> {
    leases.iter().find(|lease| match (lease.what, what) {
        (What::Network(a), What::Network(b)) => overlap(a, b),
        (What::Port(a), What::Port(b)) => a == b,
        (What::Wire(a), What::Wire(b)) => a.ip() == b.ip() || a.port() == b.port(),
        _ => false,
    })
}

impl What {
    /// The name of its file.
    fn file_name(self) -> String {
        match self {
            Self::Network(net) => format!("network-{}-{}", net.network(), net.prefix_len()),
            Self::Port(port) => format!("port-{port}"),
            Self::Wire(wire) => format!("wire-{}-{}", wire.ip(), wire.port()),
        }
    }

    fn from_file_name(name: &str) -> Option<Self> {
        fn parsed<T: FromStr>(word: Option<&str>) -> Option<T> {
            word?.parse().ok()
        }
        let mut parts = name.splitn(3, '-');
        match parts.next()? {
            "network" => Ipv4Net::new(parsed(parts.next())?, parsed(parts.next())?).ok().map(Self::Network),
            "port" => parsed(parts.next()).map(Self::Port),
            "wire" => Some(Self::Wire(SocketAddrV4::new(parsed(parts.next())?, parsed(parts.next())?))),
            _ => None,
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(net) => write!(f, "the lab network {net}"),
            Self::Port(port) => write!(f, "port {port} of 127.0.0.1"),
            Self::Wire(wire) => write!(f, "the multicast group {wire}"),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { uid, home, cluster, since, .. } = self;
        write!(f, "the cluster `{cluster}` in `{}` (user id {uid}) since {since:.0}", home.display())
    }
}

#[cfg(test)]
mod tests;
