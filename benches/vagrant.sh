#!/bin/sh
# Measures `calicolab up primer` by QEMU and by Vagrant against plain `vagrant up` with libvirt, for the same three
# machines in alternating runs on one host. `make bench-vagrant` calls it as root, which libvirt wants.
#
#   vagrant.sh [RUNS]     (1 unless said: a run takes a quarter of an hour where processors are emulated)
#
# Exit 1 if a bound is not kept: by QEMU at most half of plain Vagrant's time, by Vagrant at most 1.1 of it and the proof.
set -eu
runs=${1:-1}
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=benches/common.sh
. "$here/common.sh"
needs "$calicolab" vagrant virsh qemu-system-x86_64 awk
export VAGRANT_HOME="$work/vagrant"
undo() {
	[ ! -e "$work/plain/Vagrantfile" ] || (cd "$work/plain" && vagrant destroy -f) >/dev/null 2>&1 || :
	"$calicolab" down --all >/dev/null 2>&1 || :
	"$here/../scripts/libvirt.sh" stop "$work/libvirt" || :
}
"$here/../scripts/libvirt.sh" start "$work/libvirt"

timed() { # FILE COMMAND…: its seconds into FILE
	into=$1
	shift
	seconds "$@" >>"$into"
}

plain() { (cd "$work/plain" && timed "$1" vagrant up --provider=libvirt) && (cd "$work/plain" && vagrant destroy -f) >/dev/null 2>&1; }

up() { # PROVIDER FILE
	timed "$2" "$calicolab" up primer --name bench --provider "$1"
	sed -n 's/.*"event":"step-done","step":"prove","took":{"secs":\([0-9]*\),"nanos":\([0-9]*\)}.*/\1 \2/p' \
		"$CALICOLAB_HOME/clusters/bench/events.jsonl" | awk '{ printf "%.2f\n", $1 + $2 / 1e9 }' >>"$work/prove-$1"
	"$calicolab" down bench >/dev/null 2>&1
}

# Image and packages, QEMU's template, and the box in Vagrant's home are there before: what is measured is bringing up.
echo "bench: each once beforehand, so that image, box and packages are there"
"$calicolab" vagrantfile primer -o "$work/plain" >"$work/said" 2>&1 || { cat "$work/said" >&2; exit 1; }
plain "$work/before"
up qemu "$work/before"
rm -f "$work"/prove-*
run=0
while [ "$run" -lt "$runs" ]; do
	run=$((run + 1))
	plain "$work/plain.times"
	up qemu "$work/qemu.times"
	up vagrant "$work/vagrant.times"
	echo "run $run: vagrant up $(tail -n 1 "$work/plain.times") s, by QEMU $(tail -n 1 "$work/qemu.times") s," \
		"by Vagrant $(tail -n 1 "$work/vagrant.times") s   (load $(cut -d' ' -f1 /proc/loadavg))"
done
plain=$(median <"$work/plain.times") qemu=$(median <"$work/qemu.times") vagrant=$(median <"$work/vagrant.times")
proof=$(median <"$work/prove-vagrant")
echo
echo "medians of $runs alternating runs"
printf '  %-36s %7.2f s\n' "vagrant up" "$plain" "calicolab up --provider qemu" "$qemu" \
	"calicolab up --provider vagrant" "$vagrant" "  of which the proof" "$proof"
echo "$plain $qemu $vagrant $proof" | awk '{
	printf "  by QEMU : vagrant up               %.3f (at most 0.5)\n", $2 / $1
	printf "  by Vagrant less proof : vagrant up %.3f (at most 1.1)\n", ($3 - $4) / $1
	exit !($2 <= 0.5 * $1 && $3 - $4 <= 1.1 * $1)
}' || { echo "bench: a bound is not kept" >&2; exit 1; }
