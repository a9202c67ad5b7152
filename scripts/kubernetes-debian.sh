#!/bin/sh
# Kubernetes 1.20 from Debian's source package, built with Debian's Go, and images of Debian's packages: the pieces of
# the labs kubernetes-debian and kubeadm-debian in tests/labs, all under target/kubernetes. Some ten minutes at first,
# then nothing. Installs nothing on the host.
#   scripts/kubernetes-debian.sh         makes them: www/ for a web server, registry/ for a registry, labs/ with their locks
#   scripts/kubernetes-debian.sh serve   and serves them on 127.0.0.1 until it is ended; says how they are found
set -eu
cd "$(dirname "$0")/.."

version=1.20.2
into=$PWD/target/kubernetes
programs='kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl kubeadm'

for program in apt-get dpkg-source dpkg-deb mmdebstrap curl; do
	command -v $program >/dev/null || { echo "kubernetes: $program is not there: apt-get install dpkg-dev mmdebstrap curl" >&2; exit 30; }
done

mkdir -p "$into"
# What a killed run left is gone on from; two runs at once would not agree.
exec 9>"$into/lock"
flock 9
work=$into/work
apt=$into/apt
labs=$PWD/tests/labs
lab=$labs/kubernetes-debian

# apt in folders of our own, with the host's addresses, whose sources are wanted too. It checks the archive's signature,
# and by that each file.
sources() {
	mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/debs"
	apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' | sort -u | while read -r uri suite; do
		for kind in deb deb-src; do
			echo "$kind [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main"
		done
	done >"$apt/sources.list"
	grep '^deb ' "$apt/sources.list" >"$apt/binary.list"
}
own() { # WORDS…: apt-get in those folders
	apt-get -qq -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$apt/lists" \
		-o Dir::Cache="$apt" -o Dir::Cache::Archives="$apt/archives" -o APT::Sandbox::User=root "$@"
}

programs() { # programs.tar: every program of Kubernetes, about seven minutes
	if [ "$(cat "$work/unpacked" 2>/dev/null)" != "$built" ]; then
		echo "kubernetes: fetching the source of Kubernetes $version and the compiler"
		rm -rf "$work" "$apt"
		sources
		own update
		mkdir -p "$work/go"
		cd "$apt/debs"
		own source --download-only kubernetes >/dev/null
		own download golang-1.19-go golang-1.19-src golang-github-modern-go-reflect2-dev >/dev/null
		dpkg-source --no-check -x kubernetes_*"really$version"*.dsc "$work/source" >/dev/null
		for package in *.deb; do
			dpkg-deb -x "$package" "$work/go"
		done
		# The copy of reflect2 that comes with it ends in a panic when a Go since 1.18 writes a map as JSON.
		reflect2=github.com/modern-go/reflect2
		rm -rf "$work/source/vendor/$reflect2"
		cp -r "$work/go/usr/share/gocode/src/$reflect2" "$work/source/vendor/$reflect2"
		echo "$built" >"$work/unpacked"
	fi

	export GOROOT="$work/go/usr/lib/go-1.19" GOPATH="$work/gopath" GOCACHE="$work/cache" GO111MODULE=off CGO_ENABLED=0 GOFLAGS=
	PATH="$GOROOT/bin:$PATH"
	mkdir -p "$GOPATH/src/k8s.io" "$work/programs"
	ln -sfn "$work/source" "$GOPATH/src/k8s.io/kubernetes"
	cd "$GOPATH/src/k8s.io/kubernetes"

	# The one generated file that the source package lacks.
	if [ ! -e pkg/generated/openapi/zz_generated.openapi.go ]; then
		echo 'kubernetes: generating its OpenAPI'
		go build -o "$work/openapi-gen" k8s.io/kubernetes/vendor/k8s.io/kube-openapi/cmd/openapi-gen
		folders=$(grep -rl --include='*.go' --exclude-dir=code-generator --exclude-dir=sample-apiserver --exclude='*_test.go' \
			'+k8s:openapi-gen=' staging/src/k8s.io pkg cmd plugin | grep -v -e /_examples/ -e /testdata/ | xargs -n1 dirname | sort -u |
			sed 's,^staging/src/,k8s.io/kubernetes/vendor/,; t; s,^,k8s.io/kubernetes/,' | paste -sd,)
		"$work/openapi-gen" --logtostderr -h hack/boilerplate/boilerplate.generatego.txt -i "$folders" \
			-p k8s.io/kubernetes/pkg/generated/openapi -O zz_generated.openapi -r "$work/violations.txt"
	fi

	# The version, under the plain path of each package and the vendored one.
	flags='-s -w'
	for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
		for path in $package k8s.io/kubernetes/vendor/$package; do
			flags="$flags -X $path.gitVersion=v$version -X $path.gitMajor=1 -X $path.gitMinor=20 -X $path.gitTreeState=archive"
		done
	done
	# All in one call: what they share is compiled once, and one is linked while the next is compiled. Compiled packages
	# are kept, so a killed run is gone on from.
	echo 'kubernetes: building'
	# shellcheck disable=SC2046 # a list of words
	go build -trimpath -ldflags "$flags" -o "$work/programs/" $(printf 'k8s.io/kubernetes/cmd/%s ' $programs)
	# shellcheck disable=SC2086 # a list of words
	tar -C "$work/programs" --owner=0 --group=0 --mtime=@0 -cf "$into/programs.tar.new" $programs
	sync "$into/programs.tar.new"
	mv "$into/programs.tar.new" "$into/programs.tar"
	# What the build needed takes three gigabytes.
	chmod -R u+w "$work"
	rm -rf "$work" "$apt"
}

# A layer out of a folder, and the image's own texts: OCI's documents, by hand.
layer() { # FOLDER: prints digest, length and digest before packing; the layer goes to $blobs
	tar -C "$1" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf "$work/layer" .
	before=$(sum "$work/layer")
	gzip -n -1 -c "$work/layer" >"$work/layer.gz"
	after=$(sum "$work/layer.gz")
	mv "$work/layer.gz" "$blobs/$after"
	echo "$after $(size "$blobs/$after") $before"
}
sum() { sha256sum "$1" | cut -d' ' -f1; }
size() { stat -c %s "$1"; }

image() { # NAME:TAG COMMAND LAYER…: configuration and manifest; pushed by digest, noted in $work/images
	reference=$1 command=$2
	shift 2
	ids= layers=
	for line; do
		# shellcheck disable=SC2086 # three words
		set -- $line
		layers="$layers${layers:+,}{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"sha256:$1\",\"size\":$2}"
		ids="$ids${ids:+,}\"sha256:$3\""
	done
	printf '%s' "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Env\":[\"PATH=/usr/sbin:/usr/bin:/sbin:/bin\"],\"Entrypoint\":[$command]},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[$ids]}}" >"$work/config"
	config=$(sum "$work/config")
	mv "$work/config" "$blobs/$config"
	printf '%s' "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"sha256:$config\",\"size\":$(size "$blobs/$config")},\"layers\":[$layers]}" >"$work/manifest"
	manifest=$(sum "$work/manifest")
	name=${reference%:*}
	for blob in $(grep -o 'sha256:[0-9a-f]*' "$work/manifest" | cut -d: -f2 | sort -u); do
		place=$(curl -fsS -X POST -D - -o /dev/null "$registry/v2/$name/blobs/uploads/" | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
		curl -fsS -X PUT -H 'Content-Type: application/octet-stream' --data-binary "@$blobs/$blob" "$place&digest=sha256:$blob" -o /dev/null
	done
	curl -fsS -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary "@$work/manifest" \
		"$registry/v2/$name/manifests/sha256:$manifest" -o /dev/null
	echo "$reference $manifest $(size "$work/manifest")" >>"$work/images"
}

# Debian's registry over FOLDER on a port of its own choice; its address in $registry, its process in $server.
open_registry() { # FOLDER
	program=$PWD/target/programs/root/usr/bin/docker-registry
	[ -x "$program" ] || scripts/test-programs.sh
	printf '{"version": 0.1, "storage": {"filesystem": {"rootdirectory": "%s"}}, "http": {"addr": "127.0.0.1:0"}}\n' "$1" >"$into/registry.yml"
	"$program" serve "$into/registry.yml" >"$into/registry.log" 2>&1 9>&- &
	server=$!
	tries=0 registry=
	until registry=$(sed -n 's/.*listening on \([0-9.:]*\).*/\1/p' "$into/registry.log") && [ -n "$registry" ]; do
		tries=$((tries + 1))
		[ $tries -lt 200 ] || { echo "kubernetes: the registry does not begin; see $into/registry.log" >&2; exit 1; }
		sleep 0.05
	done
	registry=http://$registry
}

served() { # www/, registry/ and labs/: what labs fetch, from the programs and from Debian's packages
	echo 'kubernetes: making images and archives'
	blobs=$work/blobs
	rm -rf "$work" "$into/www" "$into/registry" "$into/labs"
	mkdir -p "$work/programs" "$work/debs" "$blobs" "$work/www/v$version"
	: >"$work/images"
	tar -C "$work/programs" -xf "$into/programs.tar"

	# As upstream cuts them: what every node has, and what only the master has.
	for part in node server; do
		mkdir -p "$work/$part/kubernetes/$part/bin"
	done
	for program in kubelet kube-proxy kubectl kubeadm; do
		ln "$work/programs/$program" "$work/node/kubernetes/node/bin/"
	done
	for program in kube-apiserver kube-controller-manager kube-scheduler; do
		ln "$work/programs/$program" "$work/server/kubernetes/server/bin/"
	done
	for part in node server; do
		tar -C "$work/$part" --sort=name --owner=0 --group=0 --mtime=@0 -c kubernetes | gzip -n -1 >"$work/www/v$version/kubernetes-$part-linux-amd64.tar.gz"
	done
	cp "$lab"/www/* "$labs/kubeadm-debian/www/"* "$work/www/"

	open_registry "$into/registry"
	trap 'kill $server' EXIT

	# pause, under the tag that kubeadm wants: catatonit has a mode for that, and needs no library.
	sources
	(cd "$work/debs" && own update && own download catatonit busybox-static etcd-server >/dev/null)
	for package in catatonit busybox-static etcd-server; do
		dpkg-deb -x "$work/debs/$package"_*.deb "$work/$package"
	done
	mkdir -p "$work/pause/usr/bin"
	cp "$work/catatonit/usr/bin/catatonit" "$work/pause/usr/bin/pause"
	image pause:3.2 '"/usr/bin/pause","-P"' "$(layer "$work/pause")"

	# busybox with all its applets, and the files that programs expect of a system.
	mkdir -p "$work/busybox/bin" "$work/busybox/etc" "$work/busybox/root"
	mkdir -m 1777 "$work/busybox/tmp"
	cp "$work/busybox-static/bin/busybox" "$work/busybox/bin/"
	"$work/busybox/bin/busybox" --list | while read -r applet; do
		[ "$applet" = busybox ] || ln -s busybox "$work/busybox/bin/$applet"
	done
	echo 'root:x:0:0:root:/root:/bin/sh' >"$work/busybox/etc/passwd"
	echo 'root:x:0:' >"$work/busybox/etc/group"
	busybox=$(layer "$work/busybox")
	image library/busybox:1.35 '"/bin/sh"' "$busybox"

	# dnsmasq, BIRD and what kube-proxy calls, with their libraries, unpacked and never set up; busybox takes the place
	# of what they leave out.
	mkdir -p "$work/base"
	mmdebstrap --quiet --variant=extract --include=dnsmasq-base,bird,iptables,conntrack --dpkgopt='path-exclude=/usr/share/*' --dpkgopt='path-exclude=/etc/*' \
		--dpkgopt='path-exclude=/lib/systemd/*' --format=tar bookworm "$work/base.tar" "$apt/binary.list" 9>&-
	tar -C "$work/base" -xf "$work/base.tar" --exclude='./dev/*'
	# One folder of programs and of libraries, as Debian has it since.
	base=$(layer "$work/base")
	mkdir -p "$work/kubectl/usr/bin"
	cp "$work/programs/kubectl" "$work/kubectl/usr/bin/"
	kubectl=$(layer "$work/kubectl")
	for name in dns node; do
		mkdir -p "$work/own-$name/usr/bin"
	done
	cp "$lab/images/cluster-dns" "$work/own-dns/usr/bin/"
	cp "$lab/images/calico-node" "$lab/images/install-cni" "$work/own-node/usr/bin/"
	ln -s ../sbin/birdc "$work/own-node/usr/bin/birdcl"
	image cluster-dns:2.90 '"/usr/bin/cluster-dns"' "$base" "$busybox" "$kubectl" "$(layer "$work/own-dns")"
	image calico/node:1.6.8 '"/usr/bin/calico-node"' "$base" "$busybox" "$kubectl" "$(layer "$work/own-node")"

	# What kubeadm makes pods of.
	image coredns:1.7.0 '"/usr/bin/cluster-dns","alone"' "$base" "$busybox" "$kubectl" "$(layer "$work/own-dns")"
	for program in kube-apiserver kube-controller-manager kube-scheduler; do
		mkdir -p "$work/own-$program/usr/bin"
		ln "$work/programs/$program" "$work/own-$program/usr/bin/"
		image "$program:v$version" "\"$program\"" "$(layer "$work/own-$program")"
	done
	mkdir -p "$work/own-etcd/usr/bin" "$work/own-proxy/usr/local/bin" "$work/own-proxy/usr/sbin"
	ln "$work/etcd-server/usr/bin/etcd" "$work/own-etcd/usr/bin/"
	image etcd:3.4.13-0 '"etcd"' "$base" "$(layer "$work/own-etcd")"
	ln "$work/programs/kube-proxy" "$work/own-proxy/usr/local/bin/"
	for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
		ln -s xtables-nft-multi "$work/own-proxy/usr/sbin/$name"
	done
	image "kube-proxy:v$version" '"kube-proxy"' "$base" "$busybox" "$(layer "$work/own-proxy")"
	kill $server
	trap - EXIT

	for name in kubernetes-debian kubeadm-debian; do
		mkdir -p "$work/labs/$name"
		cp "$labs/$name/lab.yaml" "$work/labs/$name/"
		lock "$labs/$name/lab.yaml" >"$work/labs/$name/lock.yaml"
	done
	mv "$work/www" "$work/labs" "$into/"
	chmod -R u+w "$work"
	rm -rf "$work" "$apt"
}

lock() { # LAB.YAML: its lock: digests of what was made here, and what the archive's signed index says of packages
	echo '# Made by scripts/kubernetes-debian.sh.'
	echo 'schema: 1'
	echo 'pins:'
	url kubernetes-node $version "v$version/kubernetes-node-linux-amd64.tar.gz"
	if grep -q '^  - name: kubernetes-server' "$1"; then
		url kubernetes-server $version "v$version/kubernetes-server-linux-amd64.tar.gz"
	fi
	for path in "$work"/www/*.yaml "$work/www/crictl"; do
		file=${path##*/}
		grep -q "kubernetes.example/$file\"" "$1" || continue
		url "$(echo "$file" | sed 's/\.yaml$/-manifest/')" 1 "$file"
	done
	while read -r reference digest bytes; do
		name=${reference%:*}
		grep -q "registry.example/$name:" "$1" || continue
		printf -- '- name: %s\n  version: "%s"\n  arch: amd64\n  source:\n    oci:\n      reference: %s\n  digest: sha256:%s\n  bytes: %s\n  trust: first-use\n  found: made on this host\n' \
			"$(echo "${name#library/}" | tr / -)" "${reference##*:}" "registry.example/$reference" "$digest" "$bytes"
	done <"$work/images"
	sed -n 's/.*apt: {package: \([a-z0-9.+-]*\),.*/\1/p' "$1" | while read -r package; do
		apt-cache show "$package" | awk -v RS= 'NR == 1' | awk -v package="$package" '
			/^Version: / { version = $2 } /^Size: / { size = $2 } /^SHA256: / { sum = $2 } /^Architecture: / { arch = $2 }
			END { printf "- name: %s\n  version: %s\n  arch: %s\n  source:\n    apt:\n      package: %s\n      suite: bookworm\n  digest: sha256:%s\n  bytes: %s\n  found: signed index of Debian bookworm\n", package, version, arch, package, sum, size }'
	done
}
url() { # NAME VERSION PATH
	printf -- '- name: %s\n  version: "%s"\n  arch: amd64\n  source:\n    url:\n      urls:\n      - https://kubernetes.example/%s\n  digest: sha256:%s\n  bytes: %s\n  trust: first-use\n  found: made on this host\n' \
		"$1" "$2" "$3" "$(sum "$work/www/$3")" "$(size "$work/www/$3")"
}

# What each is made of; made anew when that changes. The programs: how they are built, and out of which revision, which the
# host's own index knows by kubectl's package.
revision=$(apt-cache show --no-all-versions kubernetes-client | sed -n 's/^Version: //p')
built=$( (echo "$revision"; sed '/^# A layer out of/,$d' "$0") | sha256sum | cut -d' ' -f1)
if [ ! -e "$into/programs.tar" ] || [ "$(cat "$into/built" 2>/dev/null)" != "$built" ]; then
	(programs)
	echo "$built" >"$into/built"
fi
made=$(cat "$into/built" "$0" "$labs"/*/lab.yaml "$labs"/*/images/* "$labs"/*/www/* | sha256sum | cut -d' ' -f1)
if [ "$(cat "$into/made" 2>/dev/null)" != "$made" ]; then
	served
	echo "$made" >"$into/made"
fi
[ "${1-}" = serve ] || exit 0
open_registry "$into/registry"
trap 'kill $server' EXIT
echo "# calicolab --labs $into up kubernetes-debian, or kubeadm-debian, after"
echo "export CALICOLAB_MIRRORS='registry.example=$registry kubernetes.example=http://127.0.0.1:${PORT:-8090}'"
exec 9>&-
target/programs/root/bin/busybox httpd -f -p "127.0.0.1:${PORT:-8090}" -h "$into/www"
