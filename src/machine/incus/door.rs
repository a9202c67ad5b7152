//! The way to a node on another server: the daemon's own proxy, from an address of that server to the node's sshd.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};

use super::answer::Instance;
use super::names::Names;

/// The device's name.
pub const DEVICE: &str = "ssh";

/// Ports below those that systems give to whoever asks for any.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// How long something that listens takes to say so.
const ANSWER: Duration = Duration::from_millis(500);

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
        let listen = SocketAddr::new(self.listen, self.port);
        json!({"type": "proxy", "bind": "host", "listen": format!("tcp:{listen}"), "connect": "tcp:127.0.0.1:22"})
    }

    /// The same for a virtual machine, in which the daemon has no process to connect by: the server rewrites addresses,
    /// and must know the guest's, which its card on the way outside names too.
    pub fn device_of_guest(self, guest: std::net::Ipv4Addr) -> Value {
        let mut device = self.device();
        device["nat"] = "true".into();
        device["connect"] = format!("tcp:{guest}:22").into();
        device
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
        let connecting = tokio::net::TcpStream::connect(SocketAddr::new(at, port));
        // Something that no instance owns may listen there.
        if !tokio::time::timeout(ANSWER, connecting).await.is_ok_and(|connected| connected.is_ok()) {
            return Some(port);
        }
    }
    None
}

/// All that may be used; each cluster begins elsewhere.
pub fn candidates(names: &Names) -> impl Iterator<Item = u16> {
    let (count, begin) = (u32::from(PORTS.end - PORTS.start), names.number());
    (0..count).filter_map(move |step| u16::try_from((begin % count + step) % count).ok()).map(|port| PORTS.start + port)
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
        let all: Vec<u16> = candidates(&Names::of("calicolab/00000000/demo")).collect();
        assert_ne!(candidates(&Names::of("calicolab/00000000/other")).next(), all.first().copied());
        let distinct: BTreeSet<u16> = all.iter().copied().collect();
        assert!(distinct.len() == all.len() && distinct.iter().copied().eq(PORTS));
    }
}
