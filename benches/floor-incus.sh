# How benches/floor.sh makes its machines as containers: read by it where KEPT has a file `client`. By the client of Incus
# or LXD, as a careful person would; everything is called floor….
client=$(cat "$kept/client")

finish() {
	for node in $nodes; do "$client" delete --force --quiet "floor-$node" 2>/dev/null || :; done
	for network in floorn floorl; do "$client" network delete --quiet "$network" 2>/dev/null || :; done
	"$client" profile delete --quiet floor 2>/dev/null || :
	wait
}

prepare() { # networks and profile, before the machines
	# shellcheck disable=SC2046 # a list of settings
	"$client" network create floorn $(cat "$kept/floorn") --quiet
	# shellcheck disable=SC2046
	"$client" network create floorl $(cat "$kept/floorl") --quiet
	"$client" profile create floor --quiet
	"$client" profile edit floor <"$kept/profile.yaml"
}

boot() { # NODE
	"$client" init "local:$(cat "$kept/image")" "floor-$1" --quiet <"$kept/$1.yaml" && "$client" start "floor-$1" --quiet &
	pids="$pids $!"
}

ready() { # NODE: whether it lets us in
	ssh_to -o ConnectTimeout=1 "$1" true 2>/dev/null
}
