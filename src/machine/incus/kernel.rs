//! What a lab needs of its kernel, held against the kernel that containers share with their host.

use std::path::Path;

use super::words::Dialect;
use crate::lab::kernel::{Module, Need};
use crate::lab::plan::Plan;
use crate::machine::Lack;

/// What was seen of the host's kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The kinds of instances that the daemon makes, as it lists them: `lxc`, or `lxc | qemu`.
    pub drivers: String,
    /// The lab's modules that are neither loaded nor built in.
    pub missing: Vec<Module>,
    /// Whether what is built in is known: a kernel without modules may come without that list.
    pub listed: bool,
}

impl Kernel {
    /// Look, for the modules of `plan`.
    pub fn look(plan: &Plan, drivers: String) -> Self {
        let read = |path: &Path| std::fs::read_to_string(path).ok();
        let release = read("/proc/sys/kernel/osrelease".as_ref()).unwrap_or_default();
        let built_in = read(&Path::new("/lib/modules").join(release.trim()).join("modules.builtin"));
        let loaded = |module: &Module| Path::new("/sys/module").join(module.listed()).exists();
        let built = |module: &Module| is_built_in(built_in.as_deref().unwrap_or_default(), module);
        let missing = plan.modules.iter().filter(|module| !loaded(module) && !built(module)).cloned().collect();
        Self { drivers, missing, listed: built_in.is_some() }
    }
}

/// Whether `modules.builtin` (a path a line) has the module.
fn is_built_in(list: &str, module: &Module) -> bool {
    let names = list.lines().filter_map(|line| line.rsplit('/').next()?.split(".ko").next());
    names.map(|name| name.replace('-', "_")).any(|name| name == module.listed())
}

/// What such a kernel lacks for this plan.
pub fn judge(dialect: &Dialect, kernel: &Kernel, plan: &Plan) -> Vec<Lack> {
    let lack = |id: &str, what: String, remedy: String, bearable| Lack { id: id.into(), what, remedy, bearable };
    if plan.vm {
        let able = kernel.drivers.split('|').any(|driver| driver.trim() == "qemu");
        let what =
            format!("this daemon of {} makes no virtual machines (its drivers: {})", dialect.name, kernel.drivers);
        let remedy = "install QEMU and its firmware where /dev/kvm works, or leave out --vm".into();
        // The guests load their own modules.
        return if able { Vec::new() } else { vec![lack("incus.no-vm", what, remedy, false)] };
    }
    let mut lacks = Vec::new();
    if let Some(Need::Kernel) = plan.needs {
        let what = format!("the lab {} needs a kernel of its own, and containers share their host's", plan.lab);
        lacks.push(lack("incus.shared-kernel", what, "--vm, or --provider qemu".into(), false));
    }
    for module in &kernel.missing {
        let what = if kernel.listed {
            format!("the kernel has not loaded {module}, which the lab needs and a container cannot load")
        } else {
            format!("whether the kernel has {module}, which the lab needs, cannot be seen")
        };
        lacks.push(lack("incus.lab-module", what, format!("sudo modprobe {module}"), !kernel.listed));
    }
    lacks
}

#[cfg(test)]
mod tests {
    use super::super::words::{INCUS, LXD};
    use super::*;
    use crate::machine::qemu::support::small_plan;

    fn module(name: &str) -> Module {
        name.parse().expect("a name")
    }

    #[test]
    fn what_is_built_in_is_read_from_the_kernels_list() {
        let list = "kernel/net/ipv4/ipip.ko\nkernel/net/netfilter/nf_conntrack.ko.xz\nkernel/drivers/net/dummy-x.ko\n";
        assert!(["ipip", "nf_conntrack", "dummy_x", "dummy-x"].iter().all(|name| is_built_in(list, &module(name))));
        assert!(!["ip", "pip", "vxlan"].iter().any(|name| is_built_in(list, &module(name))));
    }

    #[test]
    fn containers_are_refused_where_they_cannot_do_and_virtual_machines_where_there_are_none() {
        let plain = small_plan(2);
        let own = Plan { needs: Some(Need::Kernel), modules: vec![module("ipip")], ..plain.clone() };
        let asked = Plan { vm: true, ..own.clone() };
        let lxd = Kernel { drivers: "lxc".into(), missing: vec![module("ipip")], listed: true };
        let blind = Kernel { listed: false, ..lxd.clone() };
        let incus = Kernel { drivers: "lxc | qemu".into(), missing: vec![module("ipip")], listed: true };
        assert_eq!(judge(&LXD, &Kernel { missing: Vec::new(), ..lxd.clone() }, &plain), []);
        assert_eq!(judge(&INCUS, &incus, &asked), []);
        let all =
            [judge(&LXD, &lxd, &own), judge(&LXD, &blind, &own)[1..].to_vec(), judge(&LXD, &lxd, &asked)].concat();
        let told = all.iter().map(|lack| format!("{} {}: {}\n  {}", lack.bearable, lack.id, lack.what, lack.remedy));
        insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"));
    }
}
