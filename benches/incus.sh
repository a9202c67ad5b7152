#!/bin/sh
# Measures `calicolab up primer --provider incus` against benches/floor.sh with the same containers, in alternating runs;
# against the same lab in QEMU if its seconds are told; then `verify` of 3, 6 and 9 nodes. `make bench` calls it.
#
#   incus.sh [RUNS] [QEMU-SECONDS]     (3 runs unless said)
#
# Exit 1 if a bound is not kept: `up` at most 1.3 times the floor; `verify` of three nodes under 10 s, and under 2 s with
# --no-stable.
set -eu
runs=${1:-3} qemu=${2:-}
here=$(cd "$(dirname "$0")" && pwd)
lab=primer words= held='etc/calicolab/pki etc/calicolab/datastore.txn'
# shellcheck source=benches/beside.sh
. "$here/beside.sh"

alternate "$runs"
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
