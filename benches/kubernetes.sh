#!/bin/sh
# Measures `calicolab up kubernetes-debian` in containers against benches/floor.sh, which does the same installs with the
# nodes in parallel and ends at the same answers of DNS, in alternating runs; tells how long each step took. `make bench`
# calls it, after scripts/kubernetes-debian.sh has made what is served.
#
#   kubernetes.sh [RUNS]     (3 runs unless said)
#
# Exit 1 if `up` takes longer than the floor.
set -eu
runs=${1:-3}
here=$(cd "$(dirname "$0")" && pwd)
lab=kubernetes-debian words="--labs $here/../target/kubernetes"
held='etc/calicolab/images etc/kubernetes/pki etc/etcd var/lib/calicolab/manifests'
# shellcheck source=benches/beside.sh
. "$here/beside.sh"

port=$((20000 + $$ % 20000))
PORT=$port setsid "$here/../scripts/kubernetes-debian.sh" serve >"$work/served" 2>&1 &
served=$!
also() { kill -- "-$served" 2>/dev/null || :; }
until grep -q MIRRORS= "$work/served"; do kill -0 "$served" && sleep 0.2; done
export "$(sed -n "s/^export \(.*\)/\1/p" "$work/served" | tr -d "'")"

# What follows on a node when its files are there; the master has what it applies.
start() {
	cat "$here/../src/install/cluster.sh"
	cat <<'END'
if [ -e /var/lib/calicolab/manifests/00-nodes.json ]; then
	k='kubectl --kubeconfig=/etc/kubernetes/admin.conf'
	until $k get --raw=/readyz >/dev/null 2>&1; do sleep 0.5; done
	for file in /var/lib/calicolab/manifests/*; do until $k apply -f "$file" >/dev/null 2>&1; do sleep 0.5; done; done
fi
END
}
start >"$work/start.sh"
alternate "$runs"
echo "$up $floor" | awk '{ printf "  up : floor  %.3f (at most 1.0)\n", $1 / $2 }'
echo "the steps of the last run"
grep '\] .* ok' "$work/said.$runs"
echo "$up $floor" | awk '{ exit !($1 <= $2) }' || { echo "bench: a bound is not kept" >&2; exit 1; }
