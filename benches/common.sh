# What all benches share. Sourced, with $here the folder of benches; leaves $calicolab, $work (a folder of this run alone) and
# the clusters' home in it. What is to be undone at the end is in `undo`, which a bench gives anew.
calicolab=${CALICOLAB:-$here/../target/release/calicolab}
work=$(mktemp -d "${TMPDIR:-/tmp}/cl-bench.XXXXXX")
export CALICOLAB_HOME="$work/home"
undo() { [ ! -e "$CALICOLAB_HOME" ] || "$calicolab" down --all >/dev/null 2>&1 || :; }
trap 'undo; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

needs() { # PROGRAM…
	for program; do
		command -v "$program" >/dev/null ||
			{ echo "bench: $program is missing; \`make setup build\` and scripts/test-programs.sh bring it" >&2; exit 30; }
	done
}

median() { sort -n | awk '{ all[NR] = $1 } END { print (all[int((NR + 1) / 2)] + all[int(NR / 2) + 1]) / 2 }'; }

seconds() { # COMMAND…: the seconds that it takes; what it says stays in $work/said
	began=$(date +%s%N)
	"$@" >"$work/said" 2>&1 || { tail -n 40 "$work/said" >&2; echo "bench: $* failed" >&2; exit 1; }
	echo "$began $(date +%s%N)" | awk '{ printf "%.3f\n", ($2 - $1) / 1e9 }'
}
