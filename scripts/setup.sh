#!/bin/sh
# Installs what building calicolab and running its machines need, by the host's own apt. Starts no daemon, and
# says what it does. A second run finds everything there and is done at once.
set -eu

wanted=
want() { # want PROGRAM PACKAGE…: the packages are wanted unless the program is there
	program=$1
	shift
	PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null 2>&1 || wanted="$wanted $*"
}

# std::fs::File::lock came with 1.89; Debian's own newer compiler has packages of its own.
new_enough() {
	version=$(cargo --version 2>/dev/null | cut -d' ' -f2 | cut -d. -f1,2) || return 1
	[ -n "$version" ] && [ "${version%%.*}" -ge 1 ] && [ "${version#*.}" -ge 89 ]
}
new_enough || wanted="$wanted cargo-web rustc-web"

want cc gcc libc6-dev
want pkg-config pkg-config
pkg-config --exists openssl zlib 2>/dev/null || wanted="$wanted libssl-dev zlib1g-dev"
want qemu-system-x86_64 qemu-system-x86
want qemu-img qemu-utils
want mmdebstrap mmdebstrap
want newuidmap uidmap
want fakeroot fakeroot
want mke2fs e2fsprogs
want ssh openssh-client
# Kubernetes for the tests is built from Debian's source package.
want dpkg-source dpkg-dev
want curl curl

root=
[ "$(id -u)" = 0 ] || root=sudo

if [ -n "$wanted" ]; then
	if ! command -v apt-get >/dev/null 2>&1; then
		echo "setup: this host has no apt-get; install by its own means what these Debian packages hold:$wanted" >&2
		exit 30
	fi
	echo "setup: installing$wanted"
	# A host may carry a qemu-utils newer than its archive's QEMU, which then refuses to be installed beside it: name
	# the version that belongs to it.
	# shellcheck disable=SC2016,SC2086 # the inner shell's words; a list of words
	$root env DEBIAN_FRONTEND=noninteractive sh -c '
		apt-get update -qq
		case " $* " in
		*" qemu-system-x86 "*)
			version=$(apt-cache policy qemu-system-x86 | sed -n "s/^ *Candidate: //p")
			set -- "$@" "qemu-utils=$version" ;;
		esac
		apt-get install -y -qq --no-install-recommends --allow-downgrades "$@" >/dev/null
	' sh $wanted
	echo 'setup: done'
fi
