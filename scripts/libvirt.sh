#!/bin/sh
# Debian's own Vagrant and libvirt on a host whose first process is not systemd: for tests, and to try them.
#   scripts/libvirt.sh install        the packages, without starting anything of them
#   scripts/libvirt.sh start FOLDER   libvirt's daemons, unless they answer; what they need to be ended lies in FOLDER
#   scripts/libvirt.sh stop FOLDER    ends those that this script started; machines run on without them
set -eu

alive() { # PID-FILE: whether what it names runs; a zombie does not
	[ -s "$1" ] && pid=$(cat "$1" 2>/dev/null) && state=$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null) && [ "${state%% *}" != Z ]
}

answers() {
	virsh --quiet --connect qemu:///system version >/dev/null 2>&1
}

case ${1-} in
install)
	wanted=
	for program in vagrant:vagrant virsh:libvirt-clients libvirtd:libvirt-daemon virtlogd:libvirt-daemon \
		qemu-system-x86_64:qemu-system-x86 qemu-img:qemu-utils dnsmasq:dnsmasq-base dbus-daemon:dbus \
		iptables:iptables nft:nftables; do
		PATH="$PATH:/usr/sbin:/sbin" command -v "${program%:*}" >/dev/null || wanted="$wanted ${program#*:}"
	done
	for package in vagrant-libvirt libvirt-daemon-driver-qemu libvirt-daemon-system; do
		dpkg-query -W -f '${db:Status-Status}' $package 2>/dev/null | grep -qx installed || wanted="$wanted $package"
	done
	[ -n "$wanted" ] || exit 0
	# shellcheck disable=SC2086 # a list of words
	"$(dirname "$0")/install-asleep.sh" libvirt $wanted ;;
start)
	folder=$2
	command -v libvirtd >/dev/null || { echo 'libvirt: not installed: scripts/libvirt.sh install' >&2; exit 30; }
	answers && exit 0
	mkdir -p "$folder" /run/dbus
	[ -S /run/dbus/system_bus_socket ] || dbus-daemon --system --fork --print-pid >"$folder/dbus.pid"
	alive "$folder/virtlogd.pid" || virtlogd --daemon --pid-file "$folder/virtlogd.pid"
	# Where KVM opens for root and runs no guest of the unprivileged user that machines run as, libvirt would look at
	# QEMU anew before each thing it does, which takes seconds: here it does not see KVM.
	: >"$folder/no-kvm"
	chmod 000 "$folder/no-kvm"
	# Nor can machines then have a /dev of their own, in which what lies on /dev/kvm would have to be made again.
	{ cat /etc/libvirt/qemu.conf && echo 'namespaces = [ ]'; } >"$folder/qemu.conf"
	# shellcheck disable=SC2016 # the inner shell's words
	unshare --mount sh -c '
		[ ! -e /dev/kvm ] || grep -qwE "vmx|svm" /proc/cpuinfo || {
			mount --bind "$0/no-kvm" /dev/kvm
			mount --bind "$0/qemu.conf" /etc/libvirt/qemu.conf
		}
		exec libvirtd --daemon --pid-file "$0/libvirtd.pid"
	' "$folder"
	tries=0
	until answers; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || { echo 'libvirt: its daemon does not begin' >&2; exit 1; }
		sleep 0.2
	done ;;
stop)
	folder=$2
	for daemon in libvirtd virtlogd dbus; do
		! alive "$folder/$daemon.pid" || kill "$pid"
		tries=0
		while alive "$folder/$daemon.pid"; do
			tries=$((tries + 1))
			[ $tries -lt 100 ] || { echo "libvirt: process $pid does not end" >&2; exit 1; }
			sleep 0.1
		done
		rm -f "$folder/$daemon.pid"
	done ;;
*)
	sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
	exit 2 ;;
esac
