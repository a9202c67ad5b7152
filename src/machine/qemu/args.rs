//! One node's QEMU as an argument list: pure, so that it can be looked at without a machine.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::accel::{Accel, QEMU};
use super::files::Files;
use crate::command::Argv;
use crate::guest::API_PORT;
use crate::lab::plan::NodePlan;
use crate::machine::Image;

/// Room for translated code of one emulated machine, in MiB. QEMU's own default is 1024, which three small machines
/// do fill; half of it booted as fast.
pub const TRANSLATED_MIB: u64 = 512;

/// The most bytes of a socket's path that both QEMU and a client accept.
pub const SOCKET_PATH: usize = 107;

/// What one QEMU is made from.
#[derive(Clone, Copy, Debug)]
pub struct Spec<'a> {
    /// `LABEL/NODE`, by which the process is found again.
    pub name: &'a str,
    /// Size and MAC addresses.
    pub node: &'a NodePlan,
    /// What runs the guest's instructions.
    pub accel: Accel,
    /// For direct boot; the disk is the overlay in `files`.
    pub image: &'a Image,
    /// The artifacts' disk, if any.
    pub payload: Option<&'a Path>,
    /// Port of 127.0.0.1 that leads to the guest's port 22.
    pub ssh_port: u16,
    /// Port of 127.0.0.1 that leads to the API server of the guest, if that is to be reached from the host.
    pub api_port: Option<u16>,
    /// Multicast group and port of the lab network.
    pub wire: SocketAddr,
    /// The node's own files.
    pub files: &'a Files,
    /// How its guest begins.
    pub begins: Begins,
}

/// How the guest of a machine begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// It boots.
    Booting,
    /// It waits for a stream of its memory, and then to be let run on.
    Waiting,
}

impl Spec<'_> {
    /// The whole command. Fails only on paths that no argument list can carry.
    pub fn argv(&self) -> io::Result<Argv> {
        let node = self.node;
        let argv = Argv::new(QEMU)
            .arg("-name")
            .arg(format!("guest={}", escaped(self.name)))
            .args(["-M", "q35", "-nodefaults", "-no-user-config", "-display", "none"])
            .args(accelerator(self.accel))
            .arg("-smp")
            .arg(node.cpus.to_string())
            .arg("-m")
            .arg(node.memory_mib.to_string());
        let argv = self.disks(self.boot(argv)?)?;
        let argv = self.nics(argv).args(["-device", "virtio-rng-pci"]);
        let argv = self.control(argv)?;
        Ok(match self.begins {
            Begins::Booting => argv,
            Begins::Waiting => argv.args(["-S", "-incoming", "defer"]),
        })
    }

    fn boot(&self, argv: Argv) -> io::Result<Argv> {
        let Some(boot) = &self.image.boot else { return Ok(argv) };
        let argv = argv.arg("-kernel").arg(text(&boot.kernel)?).arg("-initrd").arg(text(&boot.initrd)?);
        // Under emulation on a busy host the kernel measures its time stamp counter wrongly (68 MHz were seen for 2445),
        // and clocks then drift apart by a second in two.
        let clock = match self.accel {
            Accel::Tcg => " clocksource=hpet",
            Accel::Kvm => "",
        };
        Ok(argv.arg("-append").arg(format!("{}{clock}", boot.cmdline)))
    }

    fn disks(&self, argv: Argv) -> io::Result<Argv> {
        // The first disk of a plain boot is said to be the first: the seed's FAT has the look of a boot sector, too.
        // With a kernel given, that place is the kernel's own.
        let first = if self.image.boot.is_some() { "" } else { ",bootindex=0" };
        let argv = argv
            .arg("-drive")
            // A lab is thrown away: what a crash of the *host* would lose is not worth a sync for each of the guest's.
            .arg(format!("if=none,id=root,file={},format=qcow2,cache=unsafe", path(&self.files.disk())?))
            .arg("-device")
            .arg(format!("virtio-blk-pci,drive=root,serial=root{first}"));
        let argv = read_only(argv, "seed", &self.files.seed)?;
        match self.payload {
            Some(payload) => read_only(argv, "payload", payload),
            None => Ok(argv),
        }
    }

    /// NAT first, the lab network second, as in every two-NIC lab. Neither gets a boot ROM: nothing boots from them.
    fn nics(&self, argv: Argv) -> Argv {
        let (group, port) = (self.wire.ip(), self.wire.port());
        let mut nat = format!("user,id=nat,hostfwd=tcp:127.0.0.1:{}-:22", self.ssh_port);
        if let Some(port) = self.api_port {
            // Writing into a String cannot fail.
            let _ = write!(nat, ",hostfwd=tcp:127.0.0.1:{port}-:{API_PORT}");
        }
        argv.arg("-netdev")
            .arg(nat)
            .arg("-device")
            .arg(format!("virtio-net-pci,netdev=nat,mac={},romfile=", self.node.nat_mac))
            .arg("-netdev")
            .arg(format!("socket,id=lab,mcast={group}:{port},localaddr=127.0.0.1"))
            .arg("-device")
            .arg(format!("virtio-net-pci,netdev=lab,mac={},romfile=", self.node.lab_mac))
    }

    fn control(&self, argv: Argv) -> io::Result<Argv> {
        let socket = &self.files.qmp;
        if socket.as_os_str().len() > SOCKET_PATH {
            let what = format!("the socket path {} has more than {SOCKET_PATH} bytes", socket.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        Ok(argv
            .arg("-chardev")
            .arg(format!("file,id=console,append=on,path={}", path(&self.files.console)?))
            .args(["-serial", "chardev:console"])
            .arg("-chardev")
            .arg(format!("socket,id=qmp,server=on,wait=off,path={}", path(socket)?))
            .args(["-mon", "chardev=qmp,mode=control"]))
    }
}

fn accelerator(accel: Accel) -> Vec<String> {
    match accel {
        Accel::Kvm => ["-accel", "kvm", "-cpu", "host"].map(String::from).into(),
        Accel::Tcg => {
            let tcg = format!("tcg,thread=multi,tb-size={TRANSLATED_MIB}");
            // The plain CPU is the fast one here: `max` costs a quarter more, for its longer page tables.
            vec!["-accel".into(), tcg, "-cpu".into(), "qemu64".into()]
        }
    }
}

fn read_only(argv: Argv, id: &str, file: &Path) -> io::Result<Argv> {
    Ok(argv
        .arg("-drive")
        .arg(format!("if=none,id={id},file={},format=raw,readonly=on", path(file)?))
        .arg("-device")
        .arg(format!("virtio-blk-pci,drive={id},serial={id}")))
}

/// The path as an argument. Absolute, since QEMU leaves our working directory.
pub fn text(path: &Path) -> io::Result<String> {
    let refused = |_| {
        let what = format!("the path {} is not UTF-8, which the arguments of QEMU must be here", path.display());
        io::Error::new(io::ErrorKind::InvalidInput, what)
    };
    std::path::absolute(path)?.into_os_string().into_string().map_err(refused)
}

/// The path as a value within an option.
fn path(file: &Path) -> io::Result<String> {
    text(file).map(|text| escaped(&text))
}

/// QEMU's options end a value at a comma unless it is doubled.
pub fn escaped(value: &str) -> String {
    value.replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::event::Events;
    use crate::machine::qemu::support::small_plan;
    use crate::machine::{DirectBoot, Place};

    fn image(direct: bool) -> Image {
        let boot = DirectBoot {
            kernel: "/cache/vmlinuz".into(),
            initrd: "/cache/initrd".into(),
            cmdline: "root=/dev/vda rw console=ttyS0 quiet".into(),
        };
        let boot = direct.then_some(boot);
        Image { disk: "/cache/image".into(), format: "qcow2", boot, tree: None, user: "lab".into() }
    }

    fn place(sockets: &str) -> Place {
        Place {
            cluster: "tiny".parse().expect("a name"),
            label: "calicolab/0a1b/tiny".into(),
            folder: "/home/u,v/clusters/tiny".into(),
            sockets: sockets.into(),
            events: Events::channel().0,
        }
    }

    /// One option a line, one paragraph a node.
    fn told(nodes: usize, accel: Accel, direct: bool, payload: Option<&str>) -> String {
        let (image, place, plan) = (image(direct), place("/run/s"), small_plan(nodes));
        let payload = payload.map(PathBuf::from);
        let node = |(node, sizes): (&crate::lab::name::NodeName, &NodePlan)| {
            let spec = Spec {
                name: &format!("{}/{node}", place.label),
                node: sizes,
                accel,
                image: &image,
                payload: payload.as_deref(),
                ssh_port: 40_000 + u16::try_from(sizes.index).expect("few"),
                api_port: (sizes.index == 0 && nodes == 3).then_some(40_100),
                wire: SocketAddr::from(([230, 1, 2, 3], 41_000)),
                files: &Files::of(&place, node),
                begins: Begins::Booting,
            };
            spec.argv().expect("arguments").to_string().replace(" -", "\n  -")
        };
        plan.nodes.iter().map(node).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn software_direct_one() {
        insta::assert_snapshot!(told(1, Accel::Tcg, true, None));
    }

    #[test]
    fn hardware_plain_two() {
        insta::assert_snapshot!(told(2, Accel::Kvm, false, None));
    }

    #[test]
    fn software_direct_payload_three() {
        insta::assert_snapshot!(told(3, Accel::Tcg, true, Some("/home/u,v/clusters/tiny/payload.tar")));
    }

    #[test]
    fn a_socket_path_that_nobody_can_connect_to_is_refused() {
        let place = place(&format!("/{}", "x".repeat(SOCKET_PATH)));
        let (plan, image) = (small_plan(1), image(true));
        let (node, sizes) = plan.nodes.iter().next().expect("a node");
        let files = Files::of(&place, node);
        let wire = SocketAddr::from(([230, 1, 2, 3], 41_000));
        let spec = Spec {
            name: "l/n1",
            node: sizes,
            accel: Accel::Kvm,
            image: &image,
            payload: None,
            ssh_port: 1,
            api_port: None,
            wire,
            files: &files,
            begins: Begins::Waiting,
        };
        assert!(spec.argv().expect_err("too long").to_string().contains("107 bytes"));
    }
}
