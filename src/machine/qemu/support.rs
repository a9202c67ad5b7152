//! What this folder's tests share: a plan, and a cluster of tiny real guests that leaves nothing behind.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use super::end::Limits;
use super::process::{Identity, labelled};
use super::*;
use crate::event::Events;
use crate::lab::example;
use crate::machine::{Leased, this_boot};
use crate::wait::{Asked, Patience, until};

/// What the tiny guest says on its console once it runs.
pub const SAID: &str = "HI";

/// Interrupts off; `H`, `I` and a line feed to the first serial port; halt for ever.
const GUEST: [u8; 17] =
    [0xfa, 0xba, 0xf8, 0x03, 0xb0, b'H', 0xee, 0xb0, b'I', 0xee, 0xb0, b'\n', 0xee, 0xf4, 0xeb, 0xfd, 0x90];

/// The same, but instead of halting it writes a point now and then, for ever.
const TICKING: [u8; 31] = [
    0xfa, 0xba, 0xf8, 0x03, 0xb0, b'H', 0xee, 0xb0, b'I', 0xee, 0xb0, b'\n', 0xee, // as above
    0xb0, b'.', 0xee, 0xbb, 0x00, 0x01, // `.`, then 256 times
    0x31, 0xc9, 0xe2, 0xfe, 0x4b, 0x75, 0xf9, // 65536 turns of nothing
    0xeb, 0xf1, 0x90, 0x90, 0x90, // and again
];

/// A plan of small nodes `n1`, `n2`, ….
pub fn small_plan(nodes: usize) -> Plan {
    let names: Vec<String> = (1..=nodes).map(|number| format!("n{number}")).collect();
    let mut lab = example::lab(&names.iter().map(String::as_str).collect::<Vec<_>>());
    lab.nodes.memory_mib = 16;
    lab.nodes.disk_mib = 8;
    example::planned(&lab, "tiny")
}

/// A cluster of tiny guests in a folder of its own.
pub struct Tiny {
    pub qemu: Qemu,
    pub place: Place,
    pub plan: Plan,
    pub leased: Leased,
    pub image: Image,
    pub seeds: PerNode<Seed>,
    _folder: tempfile::TempDir,
}

impl Tiny {
    pub fn new(nodes: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temp folder");
        let plan = small_plan(nodes);
        let disk = folder.path().join("guest.raw");
        let mut bytes = vec![0; 1 << 20];
        bytes[..GUEST.len()].copy_from_slice(&GUEST);
        bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
        fs::write(&disk, bytes).expect("write");
        // All are held until each is chosen, so that no two are the same.
        let held = plan.nodes.map(|_, _| TcpListener::bind("127.0.0.1:0").expect("a port"));
        let ssh_ports = held.map(|_, port| port.local_addr().expect("an address").port());
        let wire = SocketAddr::from(([230, 0, 77, 1], *ssh_ports.values().next().expect("a node")));
        let of = |node: &NodeName| format!("instance-id: {node}\n");
        let seed = |node: &NodeName| Seed { meta_data: of(node), payload: None, ..crate::machine::seed::example() };
        let place = Place {
            cluster: plan.cluster.clone(),
            label: format!("calicolab/test{}/tiny", folder.path().file_name().expect("a name").display()),
            folder: folder.path().join("cluster"),
            sockets: folder.path().join("s"),
            events: Events::channel().0,
        };
        Self {
            qemu: Self::provider(folder.path()),
            seeds: plan.nodes.map(|node, _| seed(node)),
            image: Image { disk, format: "raw", boot: None, tree: None, user: "lab".into() },
            leased: Leased { ssh_ports, api_port: None, wire },
            place,
            plan,
            _folder: folder,
        }
    }

    /// Guests that can be seen to run.
    pub fn ticking(nodes: usize) -> Self {
        let tiny = Self::new(nodes);
        let mut disk = fs::read(&tiny.image.disk).expect("the disk");
        disk[..TICKING.len()].copy_from_slice(&TICKING);
        fs::write(&tiny.image.disk, disk).expect("write");
        tiny
    }

    /// The same, with another word than [`SAID`].
    pub fn saying(nodes: usize, word: &str) -> Self {
        const BEGIN: usize = 4;
        let tiny = Self::new(nodes);
        let mut code = TICKING[..BEGIN].to_vec();
        code.extend(word.bytes().flat_map(|byte| [0xb0, byte, 0xee]));
        code.extend(&TICKING[BEGIN + 3 * (SAID.len() + 1)..]);
        let mut disk = fs::read(&tiny.image.disk).expect("the disk");
        disk[..code.len()].copy_from_slice(&code);
        fs::write(&tiny.image.disk, disk).expect("write");
        tiny
    }

    /// A provider with short limits that remembers nothing.
    fn provider(folder: &Path) -> Qemu {
        let short = Duration::from_millis(100);
        let limits = Limits { power_off: short, button: short, quit: 20 * short, kill: 100 * short };
        Qemu { limits, ..Qemu::new(folder, folder) }
    }

    /// The same cluster as a later run of the program sees it.
    pub fn later(&mut self) {
        self.qemu = Self::provider(&self.place.folder);
    }

    /// Boot, with the nodes in the order in which they were told of.
    pub async fn boot(&self) -> (Result<PerNode<Machine>, ProviderError>, Vec<(NodeName, Machine)>) {
        let mut told = Vec::new();
        let mut found = |node: &NodeName, machine: &Machine| told.push((node.clone(), machine.clone()));
        let Self { qemu, place, plan, leased, image, seeds, .. } = self;
        let booted = qemu.boot(&Order { place, plan, leased, image, seeds }, &mut found).await;
        (booted, told)
    }

    pub async fn booted(&self) -> PerNode<Machine> {
        self.boot().await.0.expect("machines (apt-get install qemu-system-x86 qemu-utils)")
    }

    pub async fn machines(&self) -> Vec<(String, Power)> {
        let machines = self.qemu.machines(&self.place).await.expect("machines");
        machines.into_iter().map(|(node, power)| (node.into(), power)).collect()
    }

    pub fn node(n: usize) -> NodeName {
        format!("n{n}").parse().expect("a host name")
    }

    pub fn files(&self, n: usize) -> Files {
        Files::of(&self.place, &Self::node(n))
    }

    pub fn process(&self, n: usize) -> Identity {
        let running = labelled(&self.place.label).expect("proc");
        running.into_iter().find(|(node, _)| *node == Self::node(n)).expect("it runs").1
    }

    /// Wait until the guest of this boot has spoken.
    pub async fn speaks(&self, n: usize) {
        let console = self.files(n).console;
        eventually(|| async {
            let text = fs::read_to_string(&console).unwrap_or_default();
            this_boot(&text).contains(SAID).then_some(()).ok_or(text)
        })
        .await;
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        for (_, process) in labelled(&self.place.label).unwrap_or_default() {
            if let Ok(Some(held)) = process.hold() {
                let _ = held.kill();
            }
        }
    }
}

/// Wait for what must come to be true.
pub async fn eventually<T, F: Future<Output = Result<T, String>>>(mut ask: impl FnMut() -> F) -> T {
    let patience = Patience { limit: Duration::from_secs(30), pause: Duration::from_millis(20) };
    let asked = until(patience, || {
        let answer = ask();
        async { answer.await.map_or_else(Asked::NotYet, Asked::Yes) }
    });
    asked.await.expect("it comes true")
}
