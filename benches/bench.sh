#!/bin/sh
# Measures `calicolab up primer --cold` against benches/floor.sh and against the bare boot of the same machines, in
# alternating runs; then the start of the binary and its memory. `make bench` calls it as an ordinary user.
#
#   bench.sh [RUNS]     (3 unless said)
#
# Exit 1 if a bound is not kept: `up` at most 1.1 times the floor, a start under 20 ms, memory under 60 MiB.
set -eu
runs=${1:-3}
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=benches/common.sh
. "$here/common.sh"
needs "$calicolab" qemu-system-x86_64 qemu-img ssh tar awk
# Where a daemon of containers answers it would be chosen before emulation, and the floor is a QEMU's.
export CALICOLAB_UP_PROVIDER=qemu

# The image and the packages are brought in beforehand: what is measured is the bringing up.
up() { # prints seconds; the highest memory goes into $work/memory
	began=$(date +%s%N)
	"$calicolab" up primer --name bench --cold >"$work/up.log" 2>&1 &
	pid=$!
	while grep VmHWM "/proc/$pid/status" 2>/dev/null; do sleep 0.3; done | awk '{ print $2 }' >>"$work/memory"
	wait "$pid" || { cat "$work/up.log" >&2; echo "bench: up failed" >&2; exit 1; }
	echo "$began $(date +%s%N)" | awk '{ printf "%.2f\n", ($2 - $1) / 1e9 }'
}

# A cluster's folder and what was put on its nodes, for the floor to put there again.
keep() {
	folder=$CALICOLAB_HOME/clusters/bench
	cp -R "$folder" "$work/kept"
	for node in $(ls "$work/kept/vm"); do
		mkdir -p "$work/kept/nodes/$node"
		rm -f "$work/kept/vm/$node/overlay.qcow2"
		"$calicolab" ssh -n bench "$node" -- 'cd / && sudo tar -c etc/calicolab/pki etc/calicolab/payload.sha256 $(ls etc/calicolab/datastore.txn 2>/dev/null)' |
			tar -x -C "$work/kept/nodes/$node"
	done
	qemu-img info -U "$folder/vm/$(ls "$folder/vm" | head -n 1)/overlay.qcow2" >"$work/disk"
	sed -n 's/^backing file: \([^ ]*\).*/\1/p' "$work/disk" >"$work/kept/image"
	sed -n 's/^virtual size:.*(\([0-9]*\) bytes)/\1/p' "$work/disk" >"$work/kept/size"
	sed -n 's/^  *"api_name": "\(.*\)",*/\1/p; s/^  *"api": "\(.*\)",*/\1/p' "$work/kept/plan.json" | sort -r |
		tr '\n' ' ' >"$work/kept/service"
}

took() { # WHAT FILE: when the slowest node had reached it
	awk -v what="$1" '$1 == what && $2 > most { most = $2 } END { print most }' "$2"
}

steps() { # the steps of the last `up`, from its events
	sed -n 's/.*"event":"step-done","step":"\([a-z]*\)","took":{"secs":\([0-9]*\),"nanos":\([0-9]*\)}.*/\1 \2 \3/p' \
		"$CALICOLAB_HOME/clusters/bench/events.jsonl" | awk '{ printf "%s %.2f\n", $1, $2 + $3 / 1e9 }'
}

echo "bench: one \`up\` beforehand, so that image and packages are there"
up >/dev/null
keep
"$calicolab" down bench >/dev/null 2>&1
: >"$work/memory"
run=0
while [ "$run" -lt "$runs" ]; do
	run=$((run + 1))
	up >>"$work/up"
	steps >>"$work/steps"
	"$calicolab" down bench >/dev/null 2>&1
	mkdir "$work/floor.$run" "$work/boot.$run"
	"$here/floor.sh" "$work/kept" "$work/floor.$run" >"$work/floor.$run.times"
	for what in ready installed established answer; do
		echo "$what $(took $what "$work/floor.$run.times")" >>"$work/floor"
	done
	"$here/floor.sh" "$work/kept" "$work/boot.$run" boot >"$work/boot.$run.times"
	took ready "$work/boot.$run.times" >>"$work/boot"
	echo "run $run: up $(tail -n 1 "$work/up") s, floor $(tail -n 1 "$work/floor" | cut -d' ' -f2) s," \
		"bare boot $(tail -n 1 "$work/boot") s   (load $(cut -d' ' -f1 /proc/loadavg))"
	rm -rf "$work/floor.$run" "$work/boot.$run"
done

of() { awk -v what="$2" '$1 == what { print $2 }' "$work/$1" | median; }
up=$(median <"$work/up") floor=$(of floor answer) boot=$(median <"$work/boot")
echo
echo "medians of $runs alternating runs"
printf '  %-28s %7.2f s\n' "calicolab up" "$up" "floor.sh" "$floor" "bare boot" "$boot"
echo "$up $floor $boot" | awk '{ printf "  up : floor  %.3f (at most 1.1)\n  up : boot   %.3f\n", $1 / $2, $1 / $3 }'
echo "  where up spends it (reach and install overlap)"
for step in plan fetch render boot reach install prove; do printf '    %-26s %7.2f s\n' "$step" "$(of steps $step)"; done
echo "  when the floor's slowest node had it"
for what in ready installed established answer; do printf '    %-26s %7.2f s\n' "$what" "$(of floor $what)"; done

start() { # milliseconds of each of 20 starts
	count=0
	while [ $count -lt 20 ]; do
		count=$((count + 1))
		began=$(date +%s%N)
		"$calicolab" "$@" >/dev/null 2>&1
		echo $((($(date +%s%N) - began) / 1000)) | awk '{ print $1 / 1000 }'
	done | median
}
# One lab broken, and explained by what was read anew: how long that takes beside the failing reads themselves.
up >/dev/null
"$calicolab" fault add bird-stopped --no-point -n bench >/dev/null 2>&1
now() { date +%s%N; }
began=$(now)
"$calicolab" verify --timeout 1 -n bench >/dev/null 2>&1 || true
read=$(now)
"$calicolab" explain --last -n bench >"$work/explained" 2>&1
ended=$(now)
"$calicolab" down bench >/dev/null 2>&1
echo "$began $read $ended" | awk '{ printf "  a fault: failing reads %.2f s, explained %.2f s after them\n", ($2 - $1) / 1e9, ($3 - $2) / 1e9 }'
sed -n 1,2p "$work/explained"

version=$(start --version) list=$(start ls)
memory=$(sort -n "$work/memory" | tail -n 1)
printf '  %-28s %7.1f ms\n' "calicolab --version" "$version" "calicolab ls" "$list"
echo "$memory" | awk '{ printf "  %-28s %7.1f MiB\n", "memory of up, at most", $1 / 1024 }'
echo "$up $floor $version $list $memory" | awk '{ exit !($1 <= 1.1 * $2 && $3 < 20 && $4 < 20 && $5 < 60 * 1024) }' ||
	{ echo "bench: a bound is not kept" >&2; exit 1; }
