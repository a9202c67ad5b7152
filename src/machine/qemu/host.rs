//! What this host has for emulated machines: what is missing, with remedies, and how long a boot will take.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::accel::Accel;
use super::accel::QEMU;
use super::args::TRANSLATED_MIB;
use super::process;
use crate::command;
use crate::lab::plan::Plan;
use crate::machine::{Estimate, Lack};

/// What was seen of the host; judged by [`lacks`], which is pure.
#[derive(Clone, Debug)]
pub struct Host {
    /// `linux`, …
    pub os: &'static str,
    /// `x86_64`, …
    pub arch: &'static str,
    /// Programs that are needed and not found.
    pub missing: Vec<&'static str>,
    /// Whether packages are named and installed as on Debian.
    pub debian: bool,
    /// Whether the processor could accelerate and the device is there, but closed to this user.
    pub kvm_closed: bool,
    /// Memory to be had, in MiB.
    pub memory_mib: Option<u64>,
    /// Free space under the state directory and under the cache.
    pub disks: [Disk; 2],
    /// The guest names of the QEMUs that run already.
    pub running: Vec<String>,
}

/// Free space in one place.
#[derive(Clone, Debug)]
pub struct Disk {
    /// What lies there, for people.
    pub holds: &'static str,
    /// Where.
    pub path: PathBuf,
    /// How much is free for this user, in MiB.
    pub free_mib: Option<u64>,
}

/// Memory of a QEMU beside its guest's.
const QEMU_MIB: u64 = 100;
/// Memory that the host keeps.
const MARGIN_MIB: u64 = 256;
/// What a node writes over its image.
const OVERLAY_MIB: u64 = 512;
/// The image and the artifacts; less where they are cached already.
const CACHE_MIB: u64 = 2048;

impl Host {
    /// Look. Takes some milliseconds and changes nothing.
    pub fn look(home: &Path, cache: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let could = cpu.split_ascii_whitespace().any(|word| word == "vmx" || word == "svm");
        let opened = OpenOptions::new().read(true).write(true).open("/dev/kvm");
        let closed = opened.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
        let disk = |holds, path: &Path| Disk { holds, path: path.into(), free_mib: free_mib(path) };
        Self {
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            missing: [QEMU, "qemu-img"].into_iter().filter(|program| command::find(program).is_none()).collect(),
            debian: is_debian(&read("/etc/os-release")),
            kvm_closed: could && closed,
            memory_mib: available_mib(&read("/proc/meminfo")),
            disks: [disk("state", home), disk("cache", cache)],
            running: process::names().unwrap_or_default(),
        }
    }
}

/// What the host lacks for this plan.
pub fn lacks(host: &Host, plan: &Plan, accel: Accel) -> Vec<Lack> {
    let lack = |id: &str, what: String, remedy: String, bearable| Lack { id: id.into(), what, remedy, bearable };
    if (host.os, host.arch) != ("linux", "x86_64") {
        let what = format!("machines run on linux/x86_64 alone, this host is {}/{}", host.os, host.arch);
        return vec![lack("qemu.unsupported-host", what, "use a host with Linux on x86_64".into(), false)];
    }
    let mut lacks = Vec::new();
    if !host.missing.is_empty() {
        let programs = host.missing.join(" and ");
        let remedy = if host.debian {
            "apt-get install --no-install-recommends qemu-system-x86 qemu-utils".into()
        } else {
            format!("install the packages that bring {programs}")
        };
        lacks.push(lack("qemu.missing", format!("{programs} not found"), remedy, false));
    }
    if host.kvm_closed {
        let what = "/dev/kvm may not be opened by this user: machines would be emulated, many times slower";
        let remedy = "sudo usermod -aG kvm \"$USER\", then log in again";
        lacks.push(lack("qemu.kvm-denied", what.into(), remedy.into(), true));
    }
    let (need, free) = (memory_mib(host, plan, accel), host.memory_mib);
    if let Some(free) = free.filter(|free| *free < need) {
        let what = format!("{need} MiB of memory are needed, {free} MiB are to be had");
        lacks.push(lack("qemu.memory", what, "end other programs, or set fewer or smaller nodes".into(), false));
    }
    let nodes = plan.nodes.len() as u64;
    // The cache may hold everything already: only the state directory's lack is sure to hurt.
    for (disk, need, bearable) in [(&host.disks[0], nodes * OVERLAY_MIB, false), (&host.disks[1], CACHE_MIB, true)] {
        if let Some(free) = disk.free_mib.filter(|free| *free < need) {
            let what =
                format!("the {} in {} may take {need} MiB, {free} MiB are free", disk.holds, disk.path.display());
            let remedy = format!("make room below {}", disk.path.display());
            lacks.push(lack(&format!("qemu.disk-{}", disk.holds), what, remedy, bearable));
        }
    }
    lacks
}

/// Memory for the nodes that do not run yet, in MiB.
fn memory_mib(host: &Host, plan: &Plan, accel: Accel) -> u64 {
    let beside = match accel {
        Accel::Kvm => QEMU_MIB,
        Accel::Tcg => QEMU_MIB + TRANSLATED_MIB,
    };
    let runs = |node: &str| host.running.iter().any(|name| name.ends_with(&format!("/{}/{node}", plan.cluster)));
    let new = plan.nodes.iter().filter(|(node, _)| !runs(node.as_str()));
    let need: u64 = new.map(|(_, node)| node.memory_mib + beside).sum();
    if need == 0 { 0 } else { need + MARGIN_MIB }
}

/// How long `nodes` machines take, all at once, until each has its ready mark.
pub fn estimate(accel: Accel, cores: usize, nodes: usize) -> Estimate {
    let cores = cores.max(1);
    let (alone, how) = match accel {
        Accel::Kvm => (5, "hardware acceleration"),
        Accel::Tcg => (15, "software emulation"),
    };
    // A boot keeps one core busy; more machines than cores share them.
    let seconds = (alone * nodes as u64).div_ceil(cores as u64).max(alone);
    let why = format!("{how}, about {alone} s of a core for each of {nodes} nodes on {cores} cores");
    Estimate { seconds, why }
}

fn is_debian(os_release: &str) -> bool {
    let value = |key: &str| os_release.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    [value("ID="), value("ID_LIKE=")].iter().any(|ids| ids.trim_matches('"').split(' ').any(|id| id == "debian"))
}

/// Memory to be had, in MiB, by the text of `/proc/meminfo`.
pub fn available_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.split_ascii_whitespace().next()?.parse::<u64>().ok()? >> 10)
}

/// Free space where `path` is or will be.
fn free_mib(path: &Path) -> Option<u64> {
    let path = std::path::absolute(path).ok()?;
    let there = path.ancestors().find(|folder| folder.exists())?;
    let stat = rustix::fs::statvfs(there).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize) >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::qemu::support::small_plan;

    fn fit() -> Host {
        let disk = |holds| Disk { holds, path: "/somewhere".into(), free_mib: Some(100_000) };
        Host {
            os: "linux",
            arch: "x86_64",
            missing: Vec::new(),
            debian: true,
            kvm_closed: false,
            memory_mib: Some(64_000),
            disks: [disk("state"), disk("cache")],
            running: Vec::new(),
        }
    }

    fn ids(host: &Host) -> Vec<(String, bool)> {
        lacks(host, &small_plan(3), Accel::Tcg).into_iter().map(|lack| (lack.id, lack.bearable)).collect()
    }

    #[test]
    fn a_fit_host_lacks_nothing() {
        assert_eq!(ids(&fit()), []);
    }

    #[test]
    fn everything_missing_is_named_at_once_with_its_remedy() {
        let mut host = fit();
        host.missing = vec![QEMU, "qemu-img"];
        host.kvm_closed = true;
        host.memory_mib = Some(1000);
        host.disks[0].free_mib = Some(1000);
        host.disks[1].free_mib = Some(1000);
        let lacks = lacks(&host, &small_plan(3), Accel::Tcg);
        let told: Vec<String> =
            lacks.iter().map(|l| format!("{} {}\n  {}\n  {}", l.id, l.bearable, l.what, l.remedy)).collect();
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn another_distribution_gets_no_debian_command() {
        let host = Host { missing: vec!["qemu-img"], debian: false, ..fit() };
        let remedy = lacks(&host, &small_plan(1), Accel::Kvm).remove(0).remedy;
        assert_eq!(remedy, "install the packages that bring qemu-img");
    }

    #[test]
    fn another_kind_of_host_is_refused_first() {
        let host = Host { arch: "aarch64", missing: vec![QEMU], ..fit() };
        assert_eq!(ids(&host), [("qemu.unsupported-host".to_owned(), false)]);
    }

    #[test]
    fn nodes_that_run_already_need_no_memory_again() {
        let mut host = Host { memory_mib: Some(10), ..fit() };
        assert_eq!(ids(&host), [("qemu.memory".to_owned(), false)]);
        host.running = (1..=3).map(|n| format!("calicolab/h/tiny/n{n}")).collect();
        assert_eq!(ids(&host), []);
    }

    #[test]
    fn machines_share_cores() {
        let seconds = |accel, cores, nodes| estimate(accel, cores, nodes).seconds;
        assert_eq!(seconds(Accel::Tcg, 8, 3), seconds(Accel::Tcg, 8, 1));
        assert!(seconds(Accel::Tcg, 2, 3) > seconds(Accel::Tcg, 8, 3));
        assert!(seconds(Accel::Kvm, 2, 3) < seconds(Accel::Tcg, 2, 3));
        assert!(estimate(Accel::Tcg, 2, 3).why.contains("3 nodes on 2 cores"));
    }

    #[test]
    fn the_hosts_own_words_are_read() {
        assert!(is_debian("ID=debian\n") && is_debian("NAME=x\nID=mint\nID_LIKE=\"ubuntu debian\"\n"));
        assert!(!is_debian("ID=fedora\n"));
        assert_eq!(available_mib("MemTotal: 9 kB\nMemAvailable:    2097152 kB\n"), Some(2048));
        assert!(free_mib(Path::new("/not/there/yet")).is_some());
    }
}
