#!/bin/sh
# Unpacks the programs that only the tests need under target/programs: real daemons, none of them installed, none
# started. Done once; again when the list changes.
set -eu
cd "$(dirname "$0")/.."

# Two versions of BIRD (they share paths, so each has a folder of its own), an sshd with the library that few hosts
# have, and systemd-nspawn with systemd's own library.
bird1='bird'
bird2='bird2'
tools='openssh-server openssh-sftp-server libwrap0 systemd-container libsystemd-shared libip4tc2 libseccomp2 libkmod2 libreadline8 libtinfo6
	busybox-static dnsmasq-base libnetfilter-conntrack3 libnfnetlink0 libdbus-1-3 libidn2-0 libnettle8 libhogweed6 libgmp10 libunistring2 nftables'
# A web server, and the downloader that the store is measured against.
web='nginx libpcre2-8-0 aria2 libaria2-0 libc-ares2 libssh2-1 libxml2 libicu72 libsqlite3-0 libgnutls30 libp11-kit0 libtasn1-6'
# A registry of container images, and those who take such an image as a file: containerd, docker's engine, skopeo.
images='docker-registry docker.io containerd runc skopeo libgpgme11 libassuan0 libgpg-error0 libdevmapper1.02.1 libudev1 libselinux1'

root=
[ "$(id -u)" = 0 ] || root=sudo
[ -n "$(find /var/lib/apt/lists -name '*Packages*' -print -quit 2>/dev/null)" ] || $root apt-get update -qq

# cloud-init with its schema validator, and the interpreter they are made for: their modules are of one version.
python=$(apt-cache depends python3-minimal | sed -n 's/.*Depends: \(python3\.[0-9]*\)-minimal.*/\1/p' | head -n 1)
seed="cloud-init $python-minimal lib$python-minimal lib$python-stdlib python3-yaml python3-jsonschema python3-attr
	python3-pyrsistent python3-requests python3-urllib3 python3-six python3-chardet python3-idna python3-certifi
	python3-configobj python3-jsonpatch python3-json-pointer python3-jinja2 python3-markupsafe python3-pkg-resources"

# An sshd that runs as root insists on a user to whom its unprivileged half belongs.
if [ "$(id -u)" = 0 ] && ! id sshd >/dev/null 2>&1; then
	echo 'test-programs: making the system user sshd'
	useradd --system --no-create-home --home-dir /run/sshd --shell /usr/sbin/nologin sshd
fi

into=target/programs
list="$bird1 / $bird2 / $tools / $web / $images / $seed"
[ "$(cat "$into/list" 2>/dev/null)" = "$list" ] && exit 0

echo "test-programs: unpacking under $into: $bird1 $bird2 $tools $web $images $seed" | tr -s '\n\t' ' ' && echo
rm -rf "$into"
mkdir -p "$into/debs" "$into/debs/seed" "$into/bird1" "$into/bird2" "$into/root" "$into/cloud-init"

# apt drops its rights to a user that cannot write here; nothing is run from these packages, so it need not.
# shellcheck disable=SC2086 # lists of words
(cd "$into/debs" && apt-get -o APT::Sandbox::User=root download -qq $bird1 $bird2 $tools $web $images >/dev/null)
# shellcheck disable=SC2086 # a list of words
(cd "$into/debs/seed" && apt-get -o APT::Sandbox::User=root download -qq $seed >/dev/null)
for package in "$into"/debs/seed/*.deb; do
	dpkg-deb -x "$package" "$into/cloud-init"
done
ln -s "$python" "$into/cloud-init/usr/bin/python3"
for package in "$into"/debs/*.deb; do
	case ${package##*/} in
	bird_*) dpkg-deb -x "$package" "$into/bird1" ;;
	bird2_*) dpkg-deb -x "$package" "$into/bird2" ;;
	*) dpkg-deb -x "$package" "$into/root" ;;
	esac
done
printf '%s' "$list" >"$into/list"
