runtime=containerd
[ ! -e /usr/local/bin/dockerd ] || runtime=docker
systemctl start $runtime.service
take() { # ARCHIVE: takes its images in; their names in $names
  case $runtime in
  docker) said=$(docker load -i "$1") names=$(echo "$said" | sed -n 's/^Loaded image: //p') ;;
  # containerd 1 says `unpacking NAME (DIGEST)`, 2 says `NAME saved`.
  *) said=$(ctr -n k8s.io images import "$1") names=$(echo "$said" | sed -n 's/^unpacking \(.*\) (.*/\1/p; s/^\([^ ]*:[^ ]*\) *saved.*/\1/p') ;;
  esac
}
name() { # OLD NEW
  case $runtime in
  docker) docker tag "$1" "$2" ;;
  *) ctr -n k8s.io images tag --force "$1" "$2" >/dev/null ;;
  esac
}
# What the nodes ask needs none of the images: it comes up while they are taken in.
[ ! -e /etc/systemd/system/kube-apiserver.service ] ||
  systemctl start --no-block kube-controller-manager.service kube-scheduler.service kube-apiserver.service
for archive in /var/lib/calicolab/images/*.tar; do
  # What was taken in once is there after a restart too.
  [ "$archive.taken" -nt "$archive" ] && continue
  take "$archive"
  # Some archives have other names than the manifests that call for them.
  own=$(sed -n "s,^$archive ,,p" /etc/calicolab/images 2>/dev/null)
  [ -z "$own" ] || echo "$names" | grep -qxF "$own" || name "$(echo "$names" | head -n 1)" "$own"
  : >"$archive.taken"
done
systemctl start --no-block calicolab.target
