#!/bin/sh
# What a careful person would write by hand for one lab: the same machines as `calicolab up primer` makes, the same
# bytes, the same daemons, and no questions beyond "is BGP established" and "does a container get its DNS answer".
# The measure of `up` is how little it takes longer than this.
#
#   floor.sh KEPT WORK [boot]
#
# KEPT is a cluster's folder as `up` wrote it (vm/NODE/argv, vm/NODE/seed.img, ssh/, pki/) with nodes/NODE/ beside it:
# what was put on each node, by path; for containers see floor-incus.sh. WORK is a folder of this run alone. With `boot` it ends when every machine has
# said that it is ready. Prints `WHAT SECONDS` for what each node has reached, the slowest node last.
set -eu
kept=$1 work=$2 until=${3:-answer}
nodes=$(ls "$kept/nodes")
began=$(date +%s%N)
pids=

# Every machine that was started here is ended here, by its own process id.
finish() {
	[ -z "$pids" ] || kill $pids 2>/dev/null || :
	wait
}
prepare() { :; }

reached() { # WHAT: seconds since the beginning
	echo "$1 $((($(date +%s%N) - began) / 10000000))" | sed 's/\(..\)$/.\1/'
}

ssh_to() { # NODE COMMAND…
	ssh -F "$work/ssh_config" -o LogLevel=ERROR "$@"
}

boot() { # NODE
	mkdir -p "$work/vm/$1"
	old=$(sed -n "s|.*file=\([^,]*\)/vm/$1/overlay\.qcow2,.*|\1|p" "$kept/vm/$1/argv")
	image=$(cat "$kept/image") size=$(cat "$kept/size")
	qemu-img create -q -f qcow2 -F raw -b "$image" "$work/vm/$1/overlay.qcow2" "$size"
	cp "$kept/vm/$1/seed.img" "$work/vm/$1/seed.img"
	# The same arguments; only files, sockets and the name are this run's own.
	argv=$(sed "s|$old/vm/|$work/vm/|g; s|path=[^,']*\.qmp|path=$work/$1.qmp|; s|guest=[^,']*|guest=floor-$1|" \
		"$kept/vm/$1/argv")
	eval "set -- \"\$1\" $argv"
	node=$1
	shift
	"$@" </dev/null >"$work/vm/$node/qemu.log" 2>&1 &
	pids="$pids $!"
}

ready() { # NODE: whether this boot said so on its console
	grep -q CALICOLAB-READY "$work/vm/$1/console.log" 2>/dev/null
}

# shellcheck source=/dev/null # it is beside this one
[ ! -e "$kept/client" ] || . "$(dirname "$0")/floor-incus.sh"
trap finish EXIT
trap 'exit 1' HUP INT TERM

# Runs on the node, after its files have come.
cat >"$work/on-node.sh" <<'END'
set -eu
cd /
sums=/etc/calicolab/payload.sha256 peers=$1 name=$2 address=$3
for disk in /sys/block/vd*; do
	serial=
	read -r serial <"$disk/serial" || :
	[ "$serial" != payload ] || device=/dev/${disk##*/}
done
[ ! -e /opt/calicolab-payload.tar ] || device=/opt/calicolab-payload.tar
tar -x --keep-directory-symlink -f "$device" $(cut -c67- $sums)
sha256sum --check --quiet $sums >&2
. /run/floor-start.sh
echo installed
until [ "$(birdc show protocols 2>/dev/null | grep -c Established)" = "$peers" ]; do sleep 0.5; done
echo established
calicolab-pod ensure floor sleep 600 >/dev/null
until calicolab-pod exec floor nslookup "$name." 2>/dev/null | grep -q "Address: $address"; do sleep 0.5; done
echo answer
END

# What starts the daemons: a kept cluster may bring its own.
if [ -e "$kept/start.sh" ]; then
	cp "$kept/start.sh" "$work/start.sh"
else
	echo 'systemctl start --no-block calicolab.target' >"$work/start.sh"
fi

prepare
for node in $nodes; do boot "$node"; done
sed "s|IdentityFile .*|IdentityFile \"$kept/ssh/key\"|; s|UserKnownHostsFile .*|UserKnownHostsFile \"$kept/ssh/known_hosts\"|" \
	"$kept/ssh/config" >"$work/ssh_config"
peers=$(($(echo "$nodes" | wc -l) - 1))

bring() { # NODE
	until ready "$1"; do sleep 0.1; done
	reached ready
	[ "$until" != boot ] || return 0
	# Files and the script in one stream, everything else in one command.
	stage=$work/nodes/$1
	mkdir -p "$work/nodes"
	cp -R "$kept/nodes/$1" "$stage"
	mkdir -p "$stage/run"
	cp "$work/on-node.sh" "$stage/run/floor.sh"
	cp "$work/start.sh" "$stage/run/floor-start.sh"
	(cd "$stage" && find . -type f | tar --owner=0 --group=0 -c -T -) |
		ssh_to "$1" "sudo sh -c 'tar -xp -C / -f - && exec sh /run/floor.sh $peers $(cat "$kept/service")'" |
		while read -r what; do reached "$what"; done
}

waiting=
for node in $nodes; do
	bring "$node" >"$work/$node.times" &
	waiting="$waiting $!"
done
for one in $waiting; do wait "$one"; done
cat "$work"/*.times | sort -k1,1 -k2,2n
for node in $nodes; do
	grep -q "^$(if [ "$until" = boot ]; then echo ready; else echo answer; fi) " "$work/$node.times" ||
		{ echo "floor: $node did not come to its end; see $work" >&2; exit 1; }
done
