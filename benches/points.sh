#!/bin/sh
# Measures what a lab costs cold (every machine boots), warm (each is resumed from a template), kept as a point, and
# brought back; all in one run, so that the figures compare. `make bench` calls it as an ordinary user.
#
#   points.sh [RUNS]     (3 unless said)
#
# Exit 1 if a bound is not kept: warm at most 0.6 of cold; the lab stands still for at most 1 s while it is saved; brought
# back until all nodes answered at most 0.15 of cold, until proven at most that plus one `verify` plus 2 s.
set -eu
runs=${1:-3}
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=benches/common.sh
. "$here/common.sh"
needs "$calicolab" qemu-system-x86_64 qemu-img awk
# Where a daemon of containers answers it would be chosen before emulation, and has no templates.
export CALICOLAB_UP_PROVIDER=qemu

timed() { # FILE WORDS…: its seconds go to FILE
	file=$1
	shift
	seconds "$calicolab" "$@" >>"$file"
}

steps() { # STEP…: the seconds that these took when the last words were said, together
	awk -v wanted="$*" 'BEGIN { split(wanted, of, " ") } /"event":"step-done"/ {
		for (n in of) if (index($0, "\"step\":\"" of[n] "\"")) {
			secs = nanos = $0
			sub(/.*"secs":/, "", secs); sub(/.*"nanos":/, "", nanos)
			all += secs + nanos / 1e9
		}
	} END { printf "%.2f\n", all }' "$work/said"
}

echo "bench: one \`up\` beforehand, so that image and packages are there"
timed "$work/beforehand" up primer --name bench --cold
"$calicolab" down bench >/dev/null 2>&1
# What the first warm `up` of all costs, which makes its template.
rm -rf "${XDG_CACHE_HOME:-$HOME/.cache}/calicolab/templates"
run=0
while [ "$run" -lt "$runs" ]; do
	run=$((run + 1))
	timed "$work/cold" up primer --name bench --cold
	"$calicolab" down bench >/dev/null 2>&1
	if [ "$run" = 1 ]; then
		timed "$work/first" up primer --name bench
		"$calicolab" down bench >/dev/null 2>&1
	fi
	timed "$work/warm" up primer --name bench
	timed "$work/save" --json snapshot save "point-$run" --name bench
	sed -n 's/.*stood still for \([0-9]*\) ms.*/\1/p' "$work/said" | head -n 1 >>"$work/pause"
	timed "$work/verify" verify --name bench
	timed "$work/proven" --json snapshot restore "point-$run" --replace --name bench
	steps check restore >>"$work/answered"
	"$calicolab" down bench >/dev/null 2>&1
	echo "run $run: cold $(tail -n 1 "$work/cold") s, warm $(tail -n 1 "$work/warm") s, save $(tail -n 1 "$work/save") s" \
		"(still $(tail -n 1 "$work/pause") ms), back $(tail -n 1 "$work/answered") s, proven" \
		"$(tail -n 1 "$work/proven") s   (load $(cut -d' ' -f1 /proc/loadavg))"
done

echo
echo "medians of $runs alternating runs"
for what in cold warm first save answered proven verify; do
	eval "$what=$(median <"$work/$what")"
done
pause=$(median <"$work/pause")
cat <<END | awk -F'|' '{ printf "  %-44s %8.2f %s\n", $1, $2, $3 }'
up, cold|$cold|s
up, warm|$warm|s
up, warm, with its template made first|$first|s
snapshot save|$save|s
  of which the lab stands still|$pause|ms
snapshot restore until all nodes answered|$answered|s
snapshot restore until proven|$proven|s
verify|$verify|s
END
echo "$cold $warm $first $answered $proven $verify $pause" | awk '{
	printf "  warm : cold      %.3f (at most 0.6)\n  first : cold     %.3f\n", $2 / $1, $3 / $1
	printf "  answered : cold  %.3f (at most 0.15)\n", $4 / $1
	printf "  proven - answered - verify  %.2f s (at most 2)\n", $5 - $4 - $6
	exit !($2 <= 0.6 * $1 && $4 <= 0.15 * $1 && $5 <= $4 + $6 + 2 && $7 <= 1000)
}' || { echo "bench: a bound is not kept" >&2; exit 1; }
