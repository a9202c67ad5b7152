//! What this host has for machines by Vagrant: what is missing, with remedies.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::client::VAGRANT;
use super::said::{Said, What, version};
use super::virsh::VIRSH;
use crate::command::{self, Argv};
use crate::lab::plan::Plan;
use crate::machine::Lack;
use crate::machine::qemu::accel::Accel;
use crate::machine::qemu::args::TRANSLATED_MIB;

/// Debian's packages that bring all of it.
const INSTALL: &str = "apt-get install --no-install-recommends vagrant vagrant-libvirt libvirt-daemon-system \
    libvirt-clients qemu-system-x86 qemu-utils dnsmasq-base iptables";
const PLUGIN: &str = "vagrant-libvirt";
/// The oldest whose words this program was made for.
const OLDEST: (&str, &str) = ("2.3.0", "0.10.0");
/// Where libvirt's daemons for machines of the whole host listen.
const SOCKETS: [&str; 2] = ["/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock"];
/// Where VirtualBox is told which networks it may make beside its own.
const RANGES: &str = "/etc/vbox/networks.conf";
/// What VirtualBox allows by itself.
const ALLOWED: Ipv4Net = Ipv4Net::new_assert(std::net::Ipv4Addr::new(192, 168, 56, 0), 21);
/// Memory of QEMU itself beside its machine's, and what the host keeps, in MiB.
const QEMU_MIB: u64 = 100;
const MARGIN_MIB: u64 = 256;

/// Why libvirt cannot be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Its socket is closed to this user.
    Denied,
    /// Nobody listens.
    NoDaemon,
}

/// What was seen of the host; judged by [`judge`], which is pure.
#[derive(Clone, Debug)]
pub struct Host {
    /// Vagrant's version, as it says it.
    pub vagrant: Option<String>,
    /// The version of its plugin for libvirt.
    pub plugin: Option<String>,
    /// Whether VirtualBox is there, and what it may do beside its own.
    pub virtualbox: Option<String>,
    /// Programs that were looked for in vain.
    pub missing: Vec<&'static str>,
    /// Why libvirt is silent, if it is.
    pub silence: Option<Silence>,
    /// Memory to be had, in MiB.
    pub memory_mib: Option<u64>,
    /// Cluster and node of each machine that runs, of all users.
    pub running: Vec<String>,
    /// What runs the machines' instructions.
    pub accel: Accel,
}

impl Host {
    /// Look. Changes nothing.
    pub async fn look(accel: Accel) -> Self {
        let vagrant = vagrant_version().await;
        let plugin = if vagrant.is_some() { plugin_version().await } else { None };
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let programs = [VIRSH, "qemu-img", "qemu-system-x86_64", "dnsmasq", "setpriv"];
        Self {
            vagrant,
            plugin,
            virtualbox: command::find("VBoxManage").map(|_| read(RANGES)),
            missing: programs.into_iter().filter(|program| command::find(program).is_none()).collect(),
            silence: silence(),
            memory_mib: crate::machine::qemu::available_mib(&read("/proc/meminfo")),
            running: running(Path::new("/run/libvirt/qemu")),
            accel,
        }
    }
}

/// Why libvirt's daemon does not answer, if it does not.
pub fn silence() -> Option<Silence> {
    let mut silence = Some(Silence::NoDaemon);
    for socket in SOCKETS {
        match UnixStream::connect(socket) {
            Ok(_) => return None,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => silence = Some(Silence::Denied),
            Err(_) => {}
        }
    }
    silence
}

/// `2.3.4`
pub async fn vagrant_version() -> Option<String> {
    let argv = Argv::new(VAGRANT).arg("--version");
    let said = command::run(&argv, Duration::from_secs(60)).await.ok()?.success(&argv).ok()?;
    said.trim().strip_prefix("Vagrant ").map(str::to_owned)
}

async fn plugin_version() -> Option<String> {
    let argv = Argv::new(VAGRANT).args(["plugin", "list", "--machine-readable"]);
    let said = command::run(&argv, Duration::from_secs(60)).await.ok()?.success(&argv).ok()?;
    said.lines().filter_map(Said::read).find_map(|said| match said.what {
        What::Plugin { name, version } if name == PLUGIN => Some(version),
        _ => None,
    })
}

/// The names of machines that run, which not everybody may see.
fn running(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".pid")?.to_owned())).collect()
}

/// What such a host lacks for this plan. `running` are the plan's machines that need nothing more.
pub fn judge(host: &Host, plan: &Plan) -> Vec<Lack> {
    let lack = |id: &str, what: String, remedy: String| Lack { id: id.into(), what, remedy, bearable: false };
    let mut lacks = Vec::new();
    let old = |there: &str, least: &str| version(there) < version(least);
    match &host.vagrant {
        None => lacks.push(lack("vagrant.missing", "there is no Vagrant".into(), INSTALL.into())),
        Some(there) if old(there, OLDEST.0) => {
            let what = format!("Vagrant {there} is too old, {} is the least", OLDEST.0);
            lacks.push(lack("vagrant.old", what, INSTALL.into()));
        }
        Some(_) => {
            lacks.extend(
                plugin(host)
                    .map(|(id, what)| lack(id, what, format!("{INSTALL}\n  or: vagrant plugin install {PLUGIN}"))),
            );
        }
    }
    if host.plugin.is_none()
        && let Some(ranges) = &host.virtualbox
    {
        let what = "VirtualBox is there, but machines are made by libvirt alone";
        lacks.push(lack("vagrant.virtualbox", what.into(), INSTALL.into()));
        lacks.extend(refused(plan.network.lab, ranges));
    }
    if !host.missing.is_empty() {
        lacks.push(lack("vagrant.programs", format!("{} not found", host.missing.join(" and ")), INSTALL.into()));
    }
    match host.silence {
        None => {}
        Some(Silence::Denied) => {
            let remedy = "sudo usermod -aG libvirt \"$USER\", then log in again";
            lacks.push(lack("vagrant.libvirt-denied", "libvirt's socket is closed to this user".into(), remedy.into()));
        }
        Some(Silence::NoDaemon) => {
            let what = format!("libvirt's daemon does not answer at {}", SOCKETS[0]);
            lacks.push(lack("vagrant.libvirt", what, "sudo systemctl start libvirtd".into()));
        }
    }
    let (need, free) = (memory_mib(host, plan), host.memory_mib);
    if let Some(free) = free.filter(|free| *free < need) {
        let what = format!("{need} MiB of memory are needed, {free} MiB are to be had");
        lacks.push(lack("vagrant.memory", what, "end other programs, or set fewer or smaller nodes".into()));
    }
    lacks
}

fn plugin(host: &Host) -> Option<(&'static str, String)> {
    match &host.plugin {
        None => Some(("vagrant.plugin", format!("Vagrant lacks its plugin {PLUGIN}"))),
        Some(there) if version(there) < version(OLDEST.1) => {
            Some(("vagrant.plugin-old", format!("{PLUGIN} {there} is too old, {} is the least", OLDEST.1)))
        }
        Some(_) => None,
    }
}

/// That VirtualBox would refuse this lab network, by the text of its list of networks.
pub fn refused(lab: Ipv4Net, ranges: &str) -> Option<Lack> {
    let listed = ranges.lines().filter_map(|line| line.trim().strip_prefix('*')).flat_map(str::split_ascii_whitespace);
    // A list replaces what is allowed without one.
    let mut listed: Vec<Ipv4Net> = listed.filter_map(|net| net.trim_end_matches(',').parse().ok()).collect();
    if listed.is_empty() {
        listed.push(ALLOWED);
    }
    if listed.iter().any(|net| net.contains(&lab)) {
        return None;
    }
    Some(Lack {
        id: "vagrant.virtualbox-range".into(),
        what: format!("VirtualBox makes no host-only network {lab}"),
        remedy: format!("echo '* {lab}' | sudo tee -a {RANGES}"),
        bearable: false,
    })
}

fn memory_mib(host: &Host, plan: &Plan) -> u64 {
    let beside = match host.accel {
        Accel::Kvm => QEMU_MIB,
        Accel::Tcg => QEMU_MIB + TRANSLATED_MIB,
    };
    let runs =
        |node: &str| host.running.iter().any(|name| name.starts_with("cl") && name.ends_with(&format!("-{node}")));
    let need: u64 =
        plan.nodes.iter().filter(|(node, _)| !runs(node.as_str())).map(|(_, node)| node.memory_mib + beside).sum();
    if need == 0 { 0 } else { need + MARGIN_MIB }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::qemu::support::small_plan;

    fn fit() -> Host {
        Host {
            vagrant: Some("2.3.4".into()),
            plugin: Some("0.11.2".into()),
            virtualbox: None,
            missing: Vec::new(),
            silence: None,
            memory_mib: Some(64_000),
            running: Vec::new(),
            accel: Accel::Tcg,
        }
    }

    #[test]
    fn a_fit_host_lacks_nothing() {
        assert_eq!(judge(&fit(), &small_plan(3)), []);
        assert_eq!(judge(&Host { virtualbox: Some(String::new()), ..fit() }, &small_plan(3)), []);
    }

    #[test]
    fn everything_missing_is_named_at_once_with_its_remedy() {
        let none = Host {
            vagrant: None,
            plugin: None,
            virtualbox: Some(String::new()),
            missing: vec![VIRSH, "qemu-img"],
            silence: Some(Silence::NoDaemon),
            memory_mib: Some(100),
            ..fit()
        };
        let old = Host { vagrant: Some("2.2.19".into()), silence: Some(Silence::Denied), ..fit() };
        let bare = Host { plugin: None, ..fit() };
        let old_plugin = Host { plugin: Some("0.9.0".into()), ..fit() };
        let shown = |l: &Lack| format!("{}\n  {}\n  {}\n", l.id, l.what, l.remedy);
        let told = [none, old, bare, old_plugin]
            .map(|host| judge(&host, &small_plan(3)).iter().map(shown).collect::<Vec<_>>().concat());
        insta::assert_snapshot!(told.join("--\n"));
    }

    #[test]
    fn ranges_are_read_as_virtualbox_reads_them() {
        let net = |text: &str| text.parse::<Ipv4Net>().expect("a network");
        let told = refused(net("172.18.18.0/24"), "").expect("it is refused");
        assert_eq!(told.remedy, "echo '* 172.18.18.0/24' | sudo tee -a /etc/vbox/networks.conf");
        assert_eq!(refused(net("192.168.57.0/24"), ""), None);
        assert_eq!(refused(net("172.18.18.0/24"), "# mine\n* 10.0.0.0/8 172.16.0.0/12\n* fd00::/8\n"), None);
        assert!(refused(net("192.168.57.0/24"), "* 10.0.0.0/8\n").is_some(), "the list replaces the default");
    }

    #[test]
    fn nodes_that_run_need_no_memory_again() {
        let host = Host { memory_mib: Some(10), ..fit() };
        assert_eq!(judge(&host, &small_plan(2)).len(), 1);
        let running = vec!["cl00000000-n1".into(), "cl00000000-n2".into()];
        assert_eq!(judge(&Host { running, ..host }, &small_plan(2)), []);
    }
}
