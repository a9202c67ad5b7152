#!/bin/sh
# Installs packages by the host's own apt, without any daemon of theirs being started.
#   scripts/install-asleep.sh NAME PACKAGE…     NAME is what they are for, as it is told
set -eu
name=$1
shift
root=
[ "$(id -u)" = 0 ] || root=sudo
echo "$name: installing $*"
# The packages would start daemons for the whole host; Debian asks this program whether they may.
policy=/usr/sbin/policy-rc.d own=
if [ ! -e $policy ]; then
	own=1
	printf '#!/bin/sh\nexit 101\n' | $root tee $policy >/dev/null
	$root chmod +x $policy
fi
# It goes again also when apt fails: nothing on this host would be started any more.
trap '[ -z "$own" ] || $root rm -f $policy' EXIT
$root apt-get update -qq
$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
