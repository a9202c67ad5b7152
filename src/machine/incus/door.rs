//! The way to a node on another server: the daemon's own proxy, from an address of that server to the node's sshd.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};

use super::answer::Instance;

/// The first and the last port that may lead to a node.
pub fn range() -> (u16, u16) {
    (PORTS.start, PORTS.end - 1)
}

/// The device's name.
pub const DEVICE: &str = "ssh";

/// Ports below those that systems give to whoever asks for any.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// How long something that listens takes to say so.
const ANSWER: Duration = Duration::from_millis(500);

/// How long it takes until nobody is thought to answer at all.
const SWALLOWED: Duration = Duration::from_secs(3);

/// A way in: where the server listens, and where that is seen from here.
///
/// It listens at the one address by which the server is reached anyway and at no other: on its loopback nobody from here
/// could come in, and everywhere would be further than is needed. Behind it is an sshd that lets nobody in but the bearer
/// of the cluster's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Door {
    /// The server's own address.
    pub listen: IpAddr,
    /// The same from here, which differs where addresses are rewritten on the way.
    pub at: IpAddr,
    /// The port of both.
    pub port: u16,
}

impl Door {
    /// The device as the daemon is asked for it.
    pub fn device(self) -> Value {
        json!({"type": "proxy", "bind": "host", "listen": self.listens(), "connect": "tcp:127.0.0.1:22"})
    }

    /// Where it listens, in the daemon's words.
    fn listens(self) -> String {
        format!("tcp:{}", SocketAddr::new(self.listen, self.port))
    }

    /// The same for a virtual machine, in which the daemon has no process to connect by: the server rewrites addresses,
    /// and must know the guest's, which its card on the way outside names too.
    pub fn device_of_guest(self, guest: std::net::Ipv4Addr) -> Value {
        let mut device = self.device();
        device["nat"] = "true".into();
        device["connect"] = format!("tcp:{guest}:22").into();
        device
    }

    /// The same door at another port, as it is changed on an instance that has it already: what it leads to stays.
    pub fn moved(self, instance: &Instance) -> Value {
        let mut device = instance.devices.get(DEVICE).cloned().unwrap_or_default();
        device.insert("listen".into(), self.listens());
        json!({"devices": {DEVICE: device}})
    }

    /// Whether an instance other than `own` has it, or would once it runs.
    pub fn is_anothers(self, own: &str, all: &[Instance]) -> bool {
        let others = all.iter().filter(|one| one.name != own).flat_map(|one| one.devices.values());
        let mut at = others.filter_map(|device| device.get("listen")?.strip_prefix("tcp:")?.parse().ok());
        at.any(|at: SocketAddr| at.port() == self.port && (at.ip() == self.listen || at.ip().is_unspecified()))
    }

    /// Whether anything answers there.
    pub async fn answers(self) -> bool {
        answers(self.target()).await
    }

    /// Where the node's sshd answers.
    pub fn target(self) -> SocketAddr {
        SocketAddr::new(self.at, self.port)
    }
}

/// The port of the way into an instance that is there already.
pub fn port_of(instance: &Instance) -> Option<u16> {
    port(instance.devices.get(DEVICE)?.get("listen")?)
}

/// The ports on which any instance's server listens for it.
pub fn ports(all: &[Instance]) -> BTreeSet<u16> {
    all.iter().flat_map(|one| one.devices.values()).filter_map(|device| port(device.get("listen")?)).collect()
}

fn port(listen: &str) -> Option<u16> {
    listen.rsplit(':').next()?.parse().ok()
}

/// The first of the `candidates` at `at` that nobody has; it is taken from now on.
pub async fn free(candidates: impl Iterator<Item = u16>, at: IpAddr, taken: &mut BTreeSet<u16>) -> Option<u16> {
    for port in candidates {
        if !taken.insert(port) {
            continue;
        }
        // Something that no instance owns may listen there.
        if !answers(SocketAddr::new(at, port)).await {
            return Some(port);
        }
    }
    None
}

/// Whether what goes to a door at `at` is swallowed on the way: nobody says so much as that nobody listens. `taken` is known
/// to be somebody's.
pub async fn is_swallowed(at: IpAddr, taken: &BTreeSet<u16>) -> bool {
    let Some(port) = candidates(0).find(|port| !taken.contains(port)) else { return false };
    let connecting = tokio::net::TcpStream::connect(SocketAddr::new(at, port));
    match tokio::time::timeout(SWALLOWED, connecting).await {
        Err(_) => true,
        Ok(connected) => connected.is_err_and(|error| error.kind() != std::io::ErrorKind::ConnectionRefused),
    }
}

async fn answers(at: SocketAddr) -> bool {
    let connecting = tokio::net::TcpStream::connect(at);
    tokio::time::timeout(ANSWER, connecting).await.is_ok_and(|connected| connected.is_ok())
}

/// All that may be used, beginning where the number says: each cluster begins elsewhere.
pub fn candidates(number: u32) -> impl Iterator<Item = u16> {
    let count = u32::from(PORTS.end - PORTS.start);
    (0..count)
        .filter_map(move |step| u16::try_from((number % count + step) % count).ok())
        .map(|port| PORTS.start + port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_is_one_address_and_leads_to_sshd() {
        let door = Door { listen: [10, 0, 0, 7].into(), at: [198, 51, 100, 7].into(), port: 20_022 };
        assert_eq!(
            door.device(),
            json!({"type": "proxy", "bind": "host", "listen": "tcp:10.0.0.7:20022", "connect": "tcp:127.0.0.1:22"})
        );
        assert_eq!(door.target(), "198.51.100.7:20022".parse().expect("an address"));
        let six = Door { listen: "2001:db8::7".parse().expect("an address"), ..door };
        assert_eq!(six.device()["listen"], "tcp:[2001:db8::7]:20022");
        assert_eq!(port("tcp:[2001:db8::7]:20022"), Some(20_022));
        assert_eq!(port("unix:/run/x"), None);
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_passed_over() {
        let listen = || std::net::TcpListener::bind(("127.0.0.1", 0)).expect("any port");
        let port = |one: &std::net::TcpListener| one.local_addr().expect("it listens").port();
        let (listening, closed) = (listen(), listen());
        let (busy, idle) = (port(&listening), port(&closed));
        drop(closed);
        let mut taken = BTreeSet::from([1]);
        let found = free([1, busy, idle].into_iter(), [127, 0, 0, 1].into(), &mut taken).await;
        assert_eq!((found, &taken), (Some(idle), &[1, busy, idle].into()));
        assert_eq!(free([idle].into_iter(), [127, 0, 0, 1].into(), &mut taken).await, None);
    }

    #[test]
    fn each_cluster_begins_elsewhere_and_every_port_comes_once() {
        use super::super::names::Names;
        let (demo, other) = (Names::of("calicolab/00000000/demo"), Names::of("calicolab/00000000/other"));
        let first = |number| candidates(number).next();
        assert_ne!(first(demo.number()), first(other.number()));
        let node = |name: &str| name.parse().expect("a name");
        let drawn = [(&demo, "n1", 0), (&demo, "n1", 1), (&demo, "n2", 0), (&other, "n1", 0)];
        let drawn: BTreeSet<_> = drawn.map(|(names, name, draw)| first(names.drawn(&node(name), draw))).into();
        assert_eq!(drawn.len(), 4);
        let all: Vec<u16> = candidates(demo.number()).collect();
        let distinct: BTreeSet<u16> = all.iter().copied().collect();
        assert!(distinct.len() == all.len() && distinct.iter().copied().eq(PORTS));
    }

    #[test]
    fn a_door_is_anothers_where_both_would_listen_at_one_address() {
        let with = |name: &str, listen: &str| Instance {
            name: name.into(),
            status: "Stopped".into(),
            config: [].into(),
            devices: [(DEVICE.to_owned(), [("listen".to_owned(), listen.to_owned())].into())].into(),
            location: "none".into(),
        };
        let door = Door { listen: [10, 0, 0, 7].into(), at: [198, 51, 100, 7].into(), port: 20_022 };
        let anothers = |name, listen| door.is_anothers("own", &[with(name, listen)]);
        assert!(anothers("other", "tcp:10.0.0.7:20022") && anothers("other", "tcp:0.0.0.0:20022"));
        assert!(!anothers("own", "tcp:10.0.0.7:20022"));
        assert!(!anothers("other", "tcp:10.0.0.8:20022") && !anothers("other", "tcp:10.0.0.7:20023"));
        let moved = Door { port: 20_099, ..door }.moved(&with("own", "tcp:10.0.0.7:20022"));
        assert_eq!(moved, json!({"devices": {"ssh": {"listen": "tcp:10.0.0.7:20099"}}}));
    }
}
