set -eu
# What a killed run left may still be at it.
exec 9>/run/calicolab-kubeadm
flock 9
kept=/var/lib/calicolab/kubeadm
mkdir -p $kept
config=/etc/kubernetes/kubeadm.yaml
case $1 in
init) [ ! -e $kept/made ] || exit 0 ;;
join) [ ! -e /etc/kubernetes/kubelet.conf ] || exit 0 ;;
esac

# kubeadm and what it makes call for images under the names of its own registry; the lab's have the lab's.
held=$(ctr -n k8s.io images ls -q)
kubeadm config images list --kubernetes-version "$(kubeadm version -o short)" | while read -r wanted; do
  echo "$held" | grep -qxF "$wanted" && continue
  if own=$(echo "$held" | grep -m 1 "/${wanted##*/}\$"); then
    ctr -n k8s.io images tag "$own" "$wanted" >/dev/null
    continue
  fi
  case $1:$wanted in
  join:*/kube-apiserver:* | join:*/kube-controller-manager:* | join:*/kube-scheduler:* | join:*/etcd:*) continue ;;
  esac
  echo "kubeadm wants the image ${wanted##*/}, and the lab has none of that name" >&2
  exit 1
done

case $1 in
init)
  # What a killed run made is what this one would make: kubeadm takes it over, once it does not mind finding it.
  found=
  if [ -e $kept/begun ]; then
    found=--ignore-preflight-errors=Port-6443,Port-10250,Port-10257,Port-10259,Port-2379,Port-2380,DirAvailable--var-lib-etcd
    for pod in apiserver controller-manager scheduler; do
      found=$found,FileAvailable--etc-kubernetes-manifests-kube-$pod.yaml
    done
    found=$found,FileAvailable--etc-kubernetes-manifests-etcd.yaml
  fi
  : >$kept/begun
  kubeadm init --config=$config --skip-token-print $found 9>&-
  : >$kept/made ;;
join)
  # What a killed run left, before the cluster knew the node; pods for proofs too.
  systemctl stop kubelet.service
  rm -f /etc/kubernetes/bootstrap-kubelet.conf /etc/kubernetes/pki/ca.crt /etc/kubernetes/manifests/*.json
  kubeadm join --config=$config 9>&- ;;
esac
