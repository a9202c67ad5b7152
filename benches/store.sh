#!/bin/sh
# Measures the store against the field's own programs, in alternating runs against one nginx on loopback. `make bench`
# calls it as an ordinary user.
#
#   store.sh PROGRAM [RUNS]     (PROGRAM is what `cargo bench --no-run --bench store` built; 5 runs unless said)
#
# Exit 1 if a bound is not kept: one file of 1 GiB at most 1.1 times `curl | tee | sha256sum` and `sync`; twenty of
# 50 MiB at most 1.1 times aria2c with checking and `sync`; a full cache verified in at most the time of sha256sum;
# memory under 60 MiB.
set -eu
store=${1:?the program that cargo built of benches/store.rs}
runs=${2:-5}
here=$(cd "$(dirname "$0")" && pwd)
programs=$here/../target/programs/root
# shellcheck source=benches/common.sh
. "$here/common.sh"
needs "$store" "$programs/usr/sbin/nginx" "$programs/usr/bin/aria2c" curl sha256sum tee awk
server=
undo() { [ -z "$server" ] || kill "$server"; }
# Only for the programs that were unpacked: the host's own have their own.
unpacked() { LD_LIBRARY_PATH="$programs/usr/lib/x86_64-linux-gnu:$programs/lib/x86_64-linux-gnu" "$@"; }

mkdir "$work/www"
echo "bench: making 2 GiB of random bytes"
head -c 1073741824 /dev/urandom >"$work/www/large"
for number in $(seq -w 20); do head -c 52428800 /dev/urandom >"$work/www/file$number"; done
(cd "$work/www" && sha256sum large file* >"$work/sums")

port=$((20000 + $$ % 20000))
url=http://127.0.0.1:$port
cat >"$work/nginx.conf" <<CONF
daemon off; master_process off; pid pid; error_log error.log;
events {}
http {
	access_log off; sendfile on; tcp_nopush on;
	client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
	server { listen 127.0.0.1:$port; root $work/www; }
}
CONF
# nginx as root gives up its rights to a user that the host may lack.
[ "$(id -u)" != 0 ] || sed -i '1i user root;' "$work/nginx.conf"
LD_LIBRARY_PATH=$programs/usr/lib/x86_64-linux-gnu "$programs/usr/sbin/nginx" -p "$work" -c "$work/nginx.conf" 2>"$work/stderr" &
server=$!
until curl -s -o "$work/seen" "$url/file01" -r 0-0; do
	kill -0 "$server" 2>/dev/null || { cat "$work/stderr" >&2; exit 1; }
done

timed() { # WHAT COMMAND…: seconds go into $work/WHAT
	what=$1
	shift
	seconds "$@" >>"$work/$what"
}
fresh() { rm -rf "$work/cache" "$work/out"; mkdir "$work/out"; sync; }

awk -v url="$url" '$2 == "large" { print "sha256:" $1, 1073741824, url "/" $2 }' "$work/sums" >"$work/one"
awk -v url="$url" '$2 != "large" { print "sha256:" $1, 52428800, url "/" $2 }' "$work/sums" >"$work/twenty"
awk -v url="$url" '$2 != "large" { print url "/" $2; print "  checksum=sha-256=" $1 }' "$work/sums" >"$work/aria2"
sum=$(awk '$2 == "large" { print $1 }' "$work/sums")

ours() { "$store" fetch "$work/cache" <"$work/$1" >>"$work/memory"; }
pipe() {
	got=$(curl -s "$url/large" | tee "$work/out/large" | sha256sum)
	[ "${got%% *}" = "$sum" ] && sync "$work/out/large"
}
aria() {
	unpacked "$programs/usr/bin/aria2c" -q -j 8 --check-integrity=true --file-allocation=none -d "$work/out" -i "$work/aria2" &&
		sync "$work"/out/*
}
verify() { "$store" verify "$work/cache" >>"$work/memory"; }
sums() { find "$work/cache/sha256" -type f -exec sha256sum {} + >"$work/seen"; }

run=0
while [ "$run" -lt "$runs" ]; do
	run=$((run + 1))
	fresh; timed large.ours ours one
	fresh; timed large.curl pipe
	fresh; timed twenty.aria2c aria
	fresh; timed twenty.ours ours twenty
	timed verify.sha256sum sums
	timed verify.ours verify
	line=
	for what in large.ours large.curl twenty.ours twenty.aria2c verify.ours verify.sha256sum; do
		line="$line $what $(tail -n 1 "$work/$what") s,"
	done
	echo "run $run:$line load $(cut -d' ' -f1 /proc/loadavg)"
done

echo "medians of $runs alternating runs"
kept=0
judge() { # WHAT OTHER BOUND
	ours=$(median <"$work/$1.ours") other=$(median <"$work/$1.$2")
	echo "$1 $2 $ours $other $3" |
		awk '{ printf "  %-8s ours %7.3f s, %-10s %7.3f s: %.3f (at most %s)\n", $1, $3, $2, $4, $3 / $4, $5; exit $3 > $4 * $5 }' || kept=1
}
judge large curl 1.1
judge twenty aria2c 1.1
judge verify sha256sum 1.0
sort -n "$work/memory" | tail -n 1 | awk '{ printf "  memory, at most %.1f MiB (under 60)\n", $1 / 1024; exit $1 >= 60 * 1024 }' || kept=1
[ "$kept" = 0 ] || { echo "bench: a bound is not kept" >&2; exit 1; }
