//! What of this host's own set-up keeps containers from running, from their limits, or from the world outside.

use std::fs;
use std::time::Duration;

use crate::command::{self, Argv};
use crate::machine::Lack;

/// What was seen of the host; judged by [`judge`], which is pure.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Whether there is a network left that the way outside can have.
    pub free_network: bool,
    /// The controllers of the host's control groups, of either version.
    pub controllers: Vec<String>,
    /// How many user namespaces may be made; none known where the kernel does not say.
    pub user_namespaces: Option<u64>,
    /// How many user ids there are here: fewer than all where this host is itself a container.
    pub ids: u64,
    /// Whether the host's firewall drops what it forwards unless a rule says otherwise; false where it cannot be read.
    pub drops_forwarded: bool,
}

/// The controllers that a node's limits are kept by, and what each is for.
const CONTROLLERS: [(&str, &str); 3] = [
    ("memory", "a node's memory is not limited"),
    ("cpuset", "a node sees all processors"),
    ("pids", "nothing counts a node's processes"),
];

/// A container's own ids.
const IDS: u64 = 1 << 16;

/// Look. `free_network` is known to who asked the daemon.
pub async fn look(free_network: bool) -> Limits {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let mut controllers = controllers(&read("/proc/mounts"));
    controllers.extend(read("/sys/fs/cgroup/cgroup.controllers").split_ascii_whitespace().map(str::to_owned));
    // Only root may read it; who may not is told nothing.
    let argv = Argv::new("iptables").args(["-w", "1", "-S", "FORWARD"]);
    let rules = match command::run(&argv, Duration::from_secs(3)).await {
        Ok(output) => output.success(&argv).unwrap_or_default(),
        Err(_) => String::new(),
    };
    Limits {
        free_network,
        controllers,
        user_namespaces: read("/proc/sys/user/max_user_namespaces").trim().parse().ok(),
        ids: ids(&read("/proc/self/uid_map")),
        drops_forwarded: drops(&rules),
    }
}

/// The controllers of control groups version 1, each mounted by itself.
fn controllers(mounts: &str) -> Vec<String> {
    let options = mounts.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(2);
        (words.next()? == "cgroup").then(|| words.next()).flatten()
    });
    options.flat_map(|options| options.split(',')).map(str::to_owned).collect()
}

/// How many ids the maps have in all.
fn ids(map: &str) -> u64 {
    map.lines().filter_map(|line| line.split_ascii_whitespace().nth(2)?.parse::<u64>().ok()).sum()
}

fn drops(rules: &str) -> bool {
    rules.lines().any(|line| line.trim() == "-P FORWARD DROP")
}

/// What such a host lacks. `client` is the project's client.
pub fn judge(client: &str, limits: &Limits) -> Vec<Lack> {
    let lack = |id: &str, what: String, remedy: String, bearable| Lack { id: id.into(), what, remedy, bearable };
    let mut lacks = Vec::new();
    if !limits.free_network {
        let what = "this host uses all of 10.64.0.0/10, where the nodes' way outside would begin".into();
        lacks.push(lack(
            "incus.subnet",
            what,
            format!("take a network there away: {client} network list; ip route"),
            false,
        ));
    }
    for (controller, for_what) in CONTROLLERS {
        if !limits.controllers.iter().any(|known| known == controller) {
            let what = format!("the host's control groups have no `{controller}`: {for_what}");
            let remedy = format!("start the host's kernel with cgroup_enable={controller}");
            lacks.push(lack("incus.cgroup", what, remedy, true));
        }
    }
    if limits.user_namespaces == Some(0) {
        let what = "user namespaces are switched off, and unprivileged containers are made of them".into();
        lacks.push(lack("incus.user-namespaces", what, "sudo sysctl user.max_user_namespaces=15000".into(), false));
    }
    if limits.ids < 2 * IDS {
        let what = format!("this host is itself a container with {} user ids, and each node needs {IDS}", limits.ids);
        let remedy = "give it more (security.idmap.size), or run calicolab on the host outside".into();
        lacks.push(lack("incus.ids", what, remedy, true));
    }
    if limits.drops_forwarded {
        let what = "the host's firewall drops what it forwards: the nodes' way outside may be closed".into();
        let remedy = "sudo iptables -I FORWARD -i 'cl+' -j ACCEPT; sudo iptables -I FORWARD -o 'cl+' -j ACCEPT".into();
        lacks.push(lack("incus.forward", what, remedy, true));
    }
    lacks
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "cgroup /sys/fs/cgroup/memory cgroup rw,nosuid,memory 0 0
cgroup /sys/fs/cgroup/cpuset cgroup rw,relatime,cpuset 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
tmpfs /pids tmpfs rw,pids 0 0
";

    #[test]
    fn what_the_kernel_and_the_firewall_say_is_read() {
        let known = controllers(MOUNTS);
        assert!(["memory", "cpuset"].iter().all(|name| known.iter().any(|one| one == name)), "{known:?}");
        assert!(!known.iter().any(|one| one == "pids"));
        assert_eq!(ids("         0          0 4294967295\n"), 4_294_967_295);
        assert_eq!(ids("0 100000 65536\n65536 200000 1000\n"), 66_536);
        assert!(drops("-P FORWARD DROP\n-A FORWARD -j DOCKER-USER\n"));
        assert!(!drops("-P FORWARD ACCEPT\n-A FORWARD -j DROP\n") && !drops(""));
    }

    #[test]
    fn everything_in_the_way_is_named_with_its_remedy() {
        let all = || CONTROLLERS.map(|(name, _)| name.to_owned()).to_vec();
        let fit = Limits {
            free_network: true,
            controllers: all(),
            user_namespaces: Some(15_000),
            ids: 4_294_967_295,
            drops_forwarded: false,
        };
        assert_eq!(judge("lxc", &fit), []);
        assert_eq!(judge("lxc", &Limits { user_namespaces: None, ..fit }), []);
        let bad = Limits {
            free_network: false,
            controllers: Vec::new(),
            user_namespaces: Some(0),
            ids: 65_536,
            drops_forwarded: true,
        };
        let told = judge("lxc", &bad);
        let told = told.iter().map(|lack| format!("{} {}: {}\n  {}", lack.bearable, lack.id, lack.what, lack.remedy));
        insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"));
    }
}
