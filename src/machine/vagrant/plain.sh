#!/bin/sh
# What the machines of this folder stand on in libvirt: a pool with their disks, and two networks. The Vagrantfile calls it.
#   libvirt.sh up NAME      makes what is not there
#   libvirt.sh down NAME    takes it away once none of the machines is left
set -eu
cd "$(dirname "$0")/libvirt"
name=$2
# Vagrant brings machines up at once, and each asks.
exec 9>lock
flock 9

v() {
	LC_ALL=C virsh --quiet --connect qemu:///system "$@"
}

known() { # SORT NAME: whether it is there. What bears the name and is another's ends this.
	id=$(v "$1-uuid" "$2" 2>/dev/null) || return 1
	grep -q "<uuid>$id</uuid>" "$2.xml" || { echo "libvirt.sh: $2 is there already and is not this folder's" >&2; exit 1; }
}

open() { # SORT NAME: whether it is in use.
	v "$1-list" --name | grep -qx "$2 *"
}

case $1 in
up)
	known pool "$name" || v pool-define "$name.xml"
	open pool "$name" || { v pool-build "$name"; v pool-start "$name"; }
	for network in "${name}n" "${name}l"; do
		known net "$network" || v net-define "$network.xml"
		open net "$network" || v net-start "$network"
	done
	for disk in disks/*; do
		volume=${disk#disks/}
		# Only what was brought in to its last byte has its mark.
		[ ! -e "there-$volume" ] || continue
		v vol-delete --pool "$name" "$volume" >/dev/null 2>&1 || :
		v vol-create-as "$name" "$volume" "$(wc -c <"$disk")" --format raw
		v vol-upload --pool "$name" "$volume" "$disk" --sparse
		: >"there-$volume"
	done ;;
down)
	! v list --all --name | grep -q "^$name-" || exit 0
	rm -f there-*
	if known pool "$name"; then
		open pool "$name" || { v pool-build "$name"; v pool-start "$name"; }
		v pool-refresh "$name"
		v vol-list "$name" | while read -r volume _; do
			[ -z "$volume" ] || v vol-delete --pool "$name" "$volume"
		done
		for verb in pool-destroy pool-delete pool-undefine; do v $verb "$name"; done
	fi
	for network in "${name}n" "${name}l"; do
		known net "$network" || continue
		! open net "$network" || v net-destroy "$network"
		v net-undefine "$network"
	done ;;
*)
	sed -n '2,4s/^# \{0,1\}//p' "$0" >&2
	exit 2 ;;
esac
