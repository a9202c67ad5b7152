#!/bin/sh
# Measures `calicolab up primer --provider incus` against benches/floor.sh with the same containers, in alternating runs;
# against the same lab in QEMU if its seconds are told; then `verify` of 3, 6 and 9 nodes. `make bench` calls it.
#
#   incus.sh [RUNS] [QEMU-SECONDS]     (3 runs unless said)
#
# Exit 1 if a bound is not kept: `up` at most 1.3 times the floor; `verify` of three nodes under 10 s, and under 2 s with
# --no-stable. A private LXD is started where LXD_DIR names none.
set -eu
runs=${1:-3} qemu=${2:-}
here=$(cd "$(dirname "$0")" && pwd)
calicolab=${CALICOLAB:-$here/../target/release/calicolab}
work=$(mktemp -d "${TMPDIR:-/tmp}/cl-bench.XXXXXX")
own=
if [ -z "${LXD_DIR:-}" ]; then
	own=1
	chmod 711 "$work"
	"$here/../scripts/lxd.sh" start "$work" >/dev/null
	export LXD_DIR="$work/lxd"
fi
export CALICOLAB_HOME="$work/home" CALICOLAB_UP_PROVIDER=incus
finish() {
	"$calicolab" down --all >/dev/null 2>&1 || :
	[ -z "$own" ] || "$here/../scripts/lxd.sh" stop "$work" >/dev/null 2>&1 || :
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

median() { sort -n | awk '{ all[NR] = $1 } END { print (all[int((NR + 1) / 2)] + all[int(NR / 2) + 1]) / 2 }'; }

timed() { # WORDS…: seconds that calicolab takes
	began=$(date +%s%N)
	"$calicolab" "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; echo "bench: calicolab $* failed" >&2; exit 1; }
	echo "$began $(date +%s%N)" | awk '{ printf "%.2f\n", ($2 - $1) / 1e9 }'
}

keep() { # what the floor needs of a cluster that is up
	cp -R "$CALICOLAB_HOME/clusters/bench" "$work/kept"
	echo lxc >"$work/kept/client"
	for instance in $(lxc list --format csv --columns n | grep '^cl'); do
		node=${instance#*-} base=${instance%%-*}
		lxc config show "$instance" | sed "s/$base/floor/g; /^  volatile\./d; /^  image\./d; /^  user\.calicolab: /d; /^  user\.calicolab\.node: /d" \
			>"$work/kept/$node.yaml"
		mkdir -p "$work/kept/nodes/$node"
		"$calicolab" ssh -n bench "$node" -- 'cd / && sudo tar -c etc/calicolab/pki etc/calicolab/payload.sha256 $(ls etc/calicolab/datastore.txn 2>/dev/null)' |
			tar -x -C "$work/kept/nodes/$node"
		lxc config get "$instance" volatile.base_image >"$work/kept/image"
	done
	lxc profile show "$base" | sed "s/^name: .*/name: floor/; /user\.calicolab/d" >"$work/kept/profile.yaml"
	echo "ipv4.address=$(lxc network get "${base}n" ipv4.address) ipv4.nat=true ipv4.dhcp=false ipv6.address=none" >"$work/kept/floorn"
	echo "bridge.mtu=$(lxc network get "${base}l" bridge.mtu) ipv4.address=none ipv6.address=none dns.mode=none" >"$work/kept/floorl"
	sed -n 's/^  *"api_name": "\(.*\)",*/\1/p; s/^  *"api": "\(.*\)",*/\1/p' "$work/kept/plan.json" | sort -r |
		tr '\n' ' ' >"$work/kept/service"
}

echo "bench: one \`up\` beforehand, so that image and packages are there"
timed up primer --name bench >/dev/null
keep
"$calicolab" down bench >/dev/null 2>&1
run=0
while [ "$run" -lt "$runs" ]; do
	run=$((run + 1))
	timed up primer --name bench >>"$work/up"
	"$calicolab" down bench >/dev/null 2>&1
	mkdir "$work/floor.$run"
	"$here/floor.sh" "$work/kept" "$work/floor.$run" >"$work/floor.times"
	for what in ready answer; do
		awk -v what=$what '$1 == what && $2 > most { most = $2 } END { print most }' "$work/floor.times" >>"$work/$what"
	done
	echo "run $run: up $(tail -n 1 "$work/up") s, floor $(tail -n 1 "$work/answer") s, of it ready $(tail -n 1 "$work/ready") s" \
		"  (load $(cut -d' ' -f1 /proc/loadavg))"
done
up=$(median <"$work/up") floor=$(median <"$work/answer") ready=$(median <"$work/ready")
echo
echo "medians of $runs alternating runs"
printf '  %-28s %7.2f s\n' "calicolab up" "$up" "floor.sh, answering" "$floor" "floor.sh, logged in" "$ready"
echo "$up $floor" | awk '{ printf "  up : floor  %.3f (at most 1.3)\n", $1 / $2 }'
[ -z "$qemu" ] || echo "$qemu $up" | awk '{ printf "  the same lab in QEMU takes %.1f times as long\n", $1 / $2 }'
for nodes in 3 6 9; do
	timed up primer --name bench --nodes $nodes >"$work/up.$nodes"
	# The first one after `up` finds sessions that are young.
	timed verify --name bench >/dev/null
	full=$(timed verify --name bench) quick=$(timed verify --name bench --no-stable)
	used=$(awk '/MemTotal/ { all = $2 } /MemAvailable/ { free = $2 } END { print int((all - free) / 1024) }' /proc/meminfo)
	printf '  %d nodes: up %6.2f s, verify %5.2f s, with --no-stable %5.2f s, memory in use on the host %d MiB\n' \
		$nodes "$(cat "$work/up.$nodes")" "$full" "$quick" "$used"
	[ $nodes != 3 ] || echo "$full $quick" >"$work/verify"
	"$calicolab" down bench >/dev/null 2>&1
done
echo "$up $floor $(cat "$work/verify")" | awk '{ exit !($1 <= 1.3 * $2 && $3 < 10 && $4 < 2) }' ||
	{ echo "bench: a bound is not kept" >&2; exit 1; }
