//! A cluster of two LXD servers, each in a system container of the tests' own daemon: other machines, as far as a lab can tell.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::daemon::{self, lxc, ok};
use crate::lab::eventually;

/// What the client calls the cluster.
pub const REMOTE: &str = "far";

/// The servers' names, the first of which is asked.
pub const MEMBERS: [&str; 2] = ["north", "south"];

/// What a server is made of.
const PACKAGES: &str =
    "systemd-sysv,dbus,iproute2,iputils-ping,procps,lxd,lxd-client,dnsmasq-base,nftables,xz-utils,attr,uidmap";

/// A server's file system has what LXD wants of a host, and each of the two groups of processors' controllers alone, as
/// this host has them: the servers' own containers cannot be given what systemd would make of them.
const PREPARE: &str = r#"set -eu
ip address add "$1/24" dev eth0
ip link set eth0 up
ip route add default via "$2"
if [ -L /sys/fs/cgroup/cpu ]; then
	mount -o remount,rw /sys/fs/cgroup
	for one in cpu cpuacct; do
		rm /sys/fs/cgroup/$one
		mkdir /sys/fs/cgroup/$one
		mount -t cgroup -o $one cgroup /sys/fs/cgroup/$one 2>/dev/null || rmdir /sys/fs/cgroup/$one
	done
fi
lxd waitready --timeout=60"#;

/// Two servers that are one cluster and trust this user; gone when it is dropped.
pub struct Servers {
    network: String,
    addresses: [String; 2],
}

impl Servers {
    /// Make them. The image of a server is built once for all runs.
    pub fn start() -> Self {
        let network = format!("srv{}", std::process::id());
        // A network that hosts have no use for; another run of the tests has another.
        let net = format!("100.64.{}", std::process::id() % 250);
        let servers = Self { network, addresses: [format!("{net}.11"), format!("{net}.12")] };
        // Without rewriting: what a bridge rewrites of packets to a group comes from nobody that can be answered.
        let gateway = format!("ipv4.address={net}.1/24");
        ok(&[
            "network",
            "create",
            &servers.network,
            &gateway,
            "ipv4.nat=false",
            "ipv4.dhcp=false",
            "ipv6.address=none",
        ]);
        let image = import();
        for (name, address) in MEMBERS.iter().zip(&servers.addresses) {
            let privileges = "raw.lxc=lxc.apparmor.profile=unconfined\nlxc.cap.drop=\nlxc.cgroup.devices.allow=a\nlxc.mount.auto=proc:rw sys:rw cgroup:rw";
            let words =
                ["-s", "lab", "-n", &servers.network, "-c", "security.privileged=true", "-c", "security.nesting=true"];
            ok(&[&["init", &image, name][..], &words[..], &["-c", privileges]].concat());
            ok(&["start", name]);
            eventually("systemd in the server", || {
                lxc(&["exec", name, "--", "systemctl", "is-active", "lxd.socket"]).status.success().then_some(())
            });
            ok(&["exec", name, "--", "sh", "-c", PREPARE, "prepare", address, &format!("{net}.1")]);
        }
        servers.form();
        servers
    }

    fn form(&self) {
        let [north, south] = &self.addresses;
        let first = format!(
            "config: {{core.https_address: '{north}:8443', core.trust_password: open}}\n\
             storage_pools: [{{name: default, driver: dir}}]\n\
             cluster: {{enabled: true, server_name: {}}}\n",
            MEMBERS[0]
        );
        daemon::with_input(&["exec", MEMBERS[0], "--", "lxd", "init", "--preseed"], &first);
        let certificate = ok(&["exec", MEMBERS[0], "--", "cat", "/var/lib/lxd/cluster.crt"]);
        let second = serde_json::json!({"cluster": {
            "enabled": true, "server_name": MEMBERS[1], "server_address": format!("{south}:8443"),
            "cluster_address": format!("{north}:8443"), "cluster_password": "open", "cluster_certificate": certificate,
            "member_config": [],
        }});
        // JSON is YAML.
        daemon::with_input(&["exec", MEMBERS[1], "--", "lxd", "init", "--preseed"], &second.to_string());
        ok(&["remote", "add", REMOTE, &format!("https://{north}:8443"), "--password", "open", "--accept-certificate"]);
    }

    /// The address of a server.
    pub fn address(&self, member: &str) -> &str {
        &self.addresses[usize::from(member == MEMBERS[1])]
    }

    /// Names of ours at a path of the cluster's interface.
    #[track_caller]
    pub fn names(path: &str) -> Vec<String> {
        let query = format!("{REMOTE}:/1.0/{path}{}recursion=1", if path.contains('?') { '&' } else { '?' });
        let all: Vec<Value> = serde_json::from_str(&ok(&["query", &query])).expect("JSON");
        let own = all.iter().filter(|one| one["managed"] != false);
        let names = own.filter_map(|one| one["name"].as_str()).filter(|name| name.starts_with("cl"));
        names.map(str::to_owned).collect()
    }

    /// Where each instance is, by its name.
    pub fn places() -> Vec<(String, String)> {
        let all = ok(&["query", &format!("{REMOTE}:/1.0/instances?recursion=1&all-projects=true")]);
        let all: Vec<Value> = serde_json::from_str(&all).expect("JSON");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        all.iter().map(|one| (text(&one["name"]), text(&one["location"]))).collect()
    }

    /// A line for each thing of ours that is left on a server: by its daemon's word and by its own.
    pub fn left() -> Vec<String> {
        let mut left = Vec::new();
        for path in ["instances?all-projects=true", "networks", "profiles", "projects"] {
            left.extend(Self::names(path).into_iter().map(|name| format!("{path}: {name}")));
        }
        for member in MEMBERS {
            let own = "ls /sys/class/net | grep ^cl || true; ss -Htln | awk '{print $4}' | grep -v :8443 | grep -E ':(2|3)[0-9]{4}$' || true";
            left.extend(ok(&["exec", member, "--", "sh", "-c", own]).lines().map(|line| format!("{member}: {line}")));
        }
        left
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // As far as it got.
        lxc(&["remote", "remove", REMOTE]);
        for member in MEMBERS {
            lxc(&["delete", "--force", member]);
        }
        lxc(&["network", "delete", &self.network]);
    }
}

/// The image of a server in the tests' daemon; its fingerprint, since labs leave no names.
fn import() -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let about = folder.path().join("metadata.yaml");
    // Without properties of its own an image that is given some ends LXD 5.0.2.
    std::fs::write(&about, "architecture: x86_64\ncreation_date: 1\nproperties: {os: debian}\n").expect("ours");
    let metadata = folder.path().join("metadata.tar");
    let (from, into) = (folder.path().display().to_string(), metadata.display().to_string());
    let packed = Command::new("tar").args(["-C", &from, "-cf", &into, "metadata.yaml"]).status().expect("tar");
    assert!(packed.success());
    ok(&["image", "import", &into, &tree().display().to_string(), "--quiet", "for=servers"]);
    let all: Vec<Value> = serde_json::from_str(&ok(&["query", "/1.0/images?recursion=1"])).expect("JSON");
    let own = all.iter().find(|one| one["properties"]["for"] == "servers").expect("it was imported");
    own["fingerprint"].as_str().expect("text").into()
}

/// The server's tree: Debian's own packages out of the host's archive, kept for the next run.
fn tree() -> PathBuf {
    let tree = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lxd-server.tar");
    if tree.exists() {
        return tree;
    }
    let part = tree.with_extension("part.tar");
    let include = format!("--include={PACKAGES}");
    let built = Command::new("mmdebstrap")
        .args(["--quiet", "--variant=minbase", &include, "--dpkgopt=path-exclude=/usr/share/doc/*"])
        .args(["--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*"])
        .args(["--customize-hook=rm -f \"$1/etc/hostname\"; : >\"$1/etc/machine-id\"", "bookworm"])
        .arg(&part)
        .status()
        .expect("mmdebstrap: scripts/setup.sh");
    assert!(built.success(), "mmdebstrap built no server");
    std::fs::rename(&part, &tree).expect("ours");
    tree
}
