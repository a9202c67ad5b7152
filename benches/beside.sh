# What benches in containers share: `up` beside benches/floor.sh with the same containers, in alternating runs. Sourced, with
# $here the folder of benches, $lab and $words (what stands before `up`) and $held (what the floor needs of each node's files).
# A private LXD is started where LXD_DIR names none.
# shellcheck source=benches/common.sh
. "$here/common.sh"
own=
if [ -z "${LXD_DIR:-}" ]; then
	own=1
	chmod 711 "$work"
	"$here/../scripts/lxd.sh" start "$work" >/dev/null
	export LXD_DIR="$work/lxd"
fi
export CALICOLAB_UP_PROVIDER=incus
also() { :; }
undo() {
	"$calicolab" down --all >/dev/null 2>&1 || :
	also
	[ -z "$own" ] || "$here/../scripts/lxd.sh" stop "$work" >/dev/null 2>&1 || :
}

timed() { # WORDS…: seconds that calicolab takes
	# shellcheck disable=SC2086 # a list of words
	seconds "$calicolab" $words "$@"
}

keep() { # what the floor needs of a cluster that is up
	cp -R "$CALICOLAB_HOME/clusters/bench" "$work/kept"
	[ ! -e "$work/start.sh" ] || cp "$work/start.sh" "$work/kept/"
	echo lxc >"$work/kept/client"
	for instance in $(lxc list --format csv --columns n | grep '^cl'); do
		node=${instance#*-} base=${instance%%-*}
		lxc config show "$instance" | sed "s/$base/floor/g; /^  volatile\./d; /^  image\./d; /^  user\.calicolab: /d; /^  user\.calicolab\.node: /d" \
			>"$work/kept/$node.yaml"
		mkdir -p "$work/kept/nodes/$node"
		"$calicolab" ssh -n bench "$node" -- "cd / && sudo tar -c etc/calicolab/payload.sha256 \$(ls -d $held 2>/dev/null)" |
			tar -x -C "$work/kept/nodes/$node"
		lxc config get "$instance" volatile.base_image >"$work/kept/image"
	done
	lxc profile show "$base" | sed "s/^name: .*/name: floor/; /user\.calicolab/d" >"$work/kept/profile.yaml"
	echo "ipv4.address=$(lxc network get "${base}n" ipv4.address) ipv4.nat=true ipv4.dhcp=false ipv6.address=none" >"$work/kept/floorn"
	echo "bridge.mtu=$(lxc network get "${base}l" bridge.mtu) ipv4.address=none ipv6.address=none dns.mode=none" >"$work/kept/floorl"
	sed -n 's/^  *"api_name": "\(.*\)",*/\1/p; s/^  *"api": "\(.*\)",*/\1/p' "$work/kept/plan.json" | sort -r |
		tr '\n' ' ' >"$work/kept/service"
}

alternate() { # RUNS: leaves medians in $up, $floor and $ready
	echo "bench: one \`up\` beforehand, so that image and bytes are there"
	timed up "$lab" --name bench >/dev/null
	keep
	"$calicolab" down bench >/dev/null 2>&1
	run=0
	while [ "$run" -lt "$1" ]; do
		run=$((run + 1))
		timed up "$lab" --name bench >>"$work/up"
		cp "$work/said" "$work/said.$run"
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
	echo "medians of $1 alternating runs"
	printf '  %-28s %7.2f s\n' "calicolab up" "$up" "floor.sh, answering" "$floor" "floor.sh, logged in" "$ready"
}
