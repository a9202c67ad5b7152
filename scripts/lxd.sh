#!/bin/sh
# Debian's own LXD as a private daemon, on a host whose first process is not systemd: for tests, and to try it.
#   scripts/lxd.sh install        the packages, without starting anything of them
#   scripts/lxd.sh start FOLDER   a daemon that keeps everything in FOLDER, with a storage pool; prints what to export
#   scripts/lxd.sh stop FOLDER    ends it with all its instances; FOLDER may be removed then
set -eu

alive() { # PID-FILE: whether what it names runs; a zombie does not
	[ -s "$1" ] && read -r pid <"$1" && state=$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null) && [ "${state%% *}" != Z ]
}

background() { # PID-FILE LOG COMMAND…: outlives this script
	pid_file=$1 log=$2
	shift 2
	# shellcheck disable=SC2016 # the inner shell's words
	setsid --fork sh -c 'echo $$ >"$0"; exec "$@"' "$pid_file" "$@" </dev/null >>"$log" 2>&1
}

case ${1-} in
install)
	wanted=
	for program in lxd:lxd lxc:lxd-client lxcfs:lxcfs dnsmasq:dnsmasq-base nft:nftables ip:iproute2; do
		PATH="$PATH:/usr/sbin:/sbin" command -v "${program%:*}" >/dev/null || wanted="$wanted ${program#*:}"
	done
	[ -n "$wanted" ] || exit 0
	# shellcheck disable=SC2086 # a list of words
	"$(dirname "$0")/install-asleep.sh" lxd $wanted ;;
start)
	folder=$2
	mkdir -p "$folder"
	export LXD_DIR="$folder/lxd"
	command -v lxd >/dev/null || { echo 'lxd: not installed: scripts/lxd.sh install' >&2; exit 30; }
	# What a container reads in /proc of memory and processors: one for the host, so it is ended by nobody.
	# A mount whose process was killed stays, and containers would be given the host's figures without a word.
	if grep -q ' /var/lib/lxcfs fuse.lxcfs ' /proc/self/mounts && ! [ -d /var/lib/lxcfs/proc ]; then
		umount -l /var/lib/lxcfs
	fi
	if ! grep -q ' /var/lib/lxcfs fuse.lxcfs ' /proc/self/mounts; then
		background "$folder/lxcfs.pid" "$folder/lxcfs.log" lxcfs --pidfile="$folder/lxcfs.lock" /var/lib/lxcfs
		tries=0
		until grep -q ' /var/lib/lxcfs fuse.lxcfs ' /proc/self/mounts; do
			tries=$((tries + 1))
			[ $tries -lt 100 ] || { echo "lxd: lxcfs does not begin; see $folder/lxcfs.log" >&2; exit 1; }
			sleep 0.1
		done
	fi
	if ! alive "$folder/lxd.pid"; then
		mkdir -p "$LXD_DIR"
		background "$folder/lxd.pid" "$folder/lxd.log" lxd --group lxd
	fi
	lxd waitready --timeout=60
	lxc storage show lab >/dev/null 2>&1 || lxc storage create lab dir >/dev/null
	echo "LXD_DIR=$LXD_DIR" ;;
stop)
	folder=$2
	export LXD_DIR="$folder/lxd"
	if alive "$folder/lxd.pid"; then
		lxd shutdown --timeout=60 || kill "$pid"
		tries=0
		while alive "$folder/lxd.pid"; do
			tries=$((tries + 1))
			[ $tries -lt 200 ] || { echo "lxd: process $pid does not end" >&2; exit 1; }
			sleep 0.1
		done
	fi
	rm -f "$folder/lxd.pid"
	if alive "$folder/lxcfs.pid"; then
		kill "$pid"
		rm -f "$folder/lxcfs.pid"
	fi
	# Mounts of its own that its end leaves.
	for mount in devlxd shmounts; do
		! grep -q " $LXD_DIR/$mount " /proc/self/mounts || umount -l "$LXD_DIR/$mount"
	done ;;
*)
	sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
	exit 2 ;;
esac
