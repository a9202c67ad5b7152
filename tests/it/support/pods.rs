//! Containers of busybox for nodes that are namespaces: the node's helper in its own words, without a runtime.

use std::fs;
use std::process::{Command, Stdio};

use calicolab::node::container;

use super::birds::{Birds, script};
use super::waiting::eventually;

/// `list`, `ensure NAME CMD…`, `add NAME CMD…`, `exec NAME CMD…`, `del NAME`; PODS, ROOT, NODE and BLOCK are set by the line above it.
const HELPER: &str = r#"
set -eu
verb=$1; [ $# -lt 2 ] || { name=$2; shift; }; shift
netns=$NODE-${name-}; d=$PODS/${name-}
case $verb in
  list) for one in "$PODS"/*/ip; do [ ! -e "$one" ] || { one=${one%/ip}; echo "${one##*/} $(cat "$one/ip" 2>/dev/null)"; }; done;;
  ensure) [ ! -s "$d/pid" ] || { cat "$d/ip"; exit; }; exec "$0" add "$name" "$@";;
  add)
    mkdir -p "$d"
    used=$(cat "$PODS/used" 2>/dev/null || echo 15); used=$((used + 1)); echo $used >"$PODS/used"
    address=$BLOCK$((BASE + used)); outside=v$used
    ip netns add "$netns"
    ip link add "$outside" type veth peer name eth0 netns "$netns"
    ip link set "$outside" up
    ip route add "$address" dev "$outside"
    ip -n "$netns" link set lo up
    ip -n "$netns" link set eth0 up
    ip -n "$netns" addr add "$address/32" dev eth0
    ip -n "$netns" route add 169.254.1.1 dev eth0
    ip -n "$netns" route add default via 169.254.1.1
    ip -n "$netns" neigh add 169.254.1.1 lladdr "$(ip -o link show "$outside" | sed 's/.*ether \([^ ]*\).*/\1/')" dev eth0
    echo "$address" >"$d/ip"
    ROOT=$ROOT setsid ip netns exec "$netns" unshare -m sh -ec 'mount -t tmpfs tmp $ROOT/tmp; mount -t proc proc $ROOT/proc
      mount --bind /dev $ROOT/dev; echo $$ >"$0/pid"; exec chroot $ROOT /bin/env PATH=/bin "$@"' "$d" "$@" </dev/null >/dev/null 2>&1 &
    until [ -s "$d/pid" ]; do :; done
    echo "$address";;
  exec) exec nsenter -t "$(cat "$d/pid")" -m -n chroot "$ROOT" /bin/env PATH=/bin "$@";;
  del)
    [ -e "$d" ] || exit 0
    exec 2>>"$PODS.log"; set -x
    # One that is being made may enter its namespace only now.
    while pids=$(ip netns pids "$netns"); [ -n "$pids" ]; do kill -9 $pids || true; done
    ip netns del "$netns"
    rm -r "$d";;
esac
"#;

/// Give every node the helper, and let it forward.
pub fn give(birds: &Birds) {
    let root = birds.node_folder(0).join("root");
    for folder in ["bin", "tmp", "proc", "dev"] {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    let busybox = root.join("bin/busybox");
    fs::copy(Birds::package("busybox-static").join("bin/busybox"), &busybox).expect("copied");
    let applets = Command::new(&busybox).arg("--list").output().expect("busybox runs").stdout;
    for applet in String::from_utf8(applets).expect("text").lines().filter(|applet| *applet != "busybox") {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).expect("a link");
    }
    for (node, index) in birds.plan.nodes.values().zip(0..) {
        let pods = birds.node_folder(index).join("pods");
        fs::create_dir_all(&pods).expect("a folder");
        let [a, b, c, base] = node.block.addr().octets();
        let (pods, root, netns) = (pods.display(), root.display(), birds.netns(index));
        let head = format!("PODS={pods} ROOT={root} NODE={netns} BLOCK={a}.{b}.{c}. BASE={base}");
        script(&birds.node_folder(index).join("bin").join(container::HELPER), &format!("#!/bin/sh\n{head}\n{HELPER}"));
        inside(birds, index, &["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"]);
    }
}

/// The containers of a node.
pub fn list(birds: &Birds, index: usize) -> Vec<String> {
    let helper = birds.node_folder(index).join("bin").join(container::HELPER);
    let text = inside(birds, index, &[&helper.display().to_string(), "list"]);
    text.lines().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
}

/// Wait until no node has a container: nodes remove them by themselves once they are told.
pub async fn until_none(birds: &Birds) {
    let _why = Removals(birds);
    let none = || (0..birds.plan.nodes.len()).all(|index| list(birds, index).is_empty()).then_some(());
    eventually("the containers go away", none).await;
}

/// What removing containers printed: nobody waits for it, so a test that fails says it, the last line first.
struct Removals<'a>(&'a Birds);

impl Drop for Removals<'_> {
    #[expect(clippy::print_stderr, reason = "a test's own words")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            for index in 0..self.0.plan.nodes.len() {
                let log = self.0.node_folder(index).join("pods.log");
                let text = fs::read_to_string(&log).unwrap_or_default();
                eprintln!("{}:", log.display());
                text.lines().rev().take(20).for_each(|line| eprintln!("  {line}"));
            }
        }
    }
}

/// Run a program in a node's namespace.
pub fn inside(birds: &Birds, index: usize, words: &[&str]) -> String {
    let out = Command::new("nsenter").arg(birds.entrance(index)).args(words).stderr(Stdio::inherit()).output();
    let out = out.expect("nsenter runs");
    assert!(out.status.success(), "{words:?}");
    String::from_utf8(out.stdout).expect("text")
}
