set -eu
# What a killed run left may still be at it.
exec 9>/run/calicolab-kubeadm
flock 9
kept=/var/lib/calicolab/kubeadm
mkdir -p $kept
config=/etc/kubernetes/kubeadm.yaml
# Swap: its kubelets are told not to mind. The two programs: kube-proxy and Calico bring their own in their images. The
# setting is for networks made of bridges; this one has none.
found=--ignore-preflight-errors=Swap,FileExisting-iptables,FileExisting-conntrack
found=$found,FileContent--proc-sys-net-bridge-bridge-nf-call-iptables
case $1 in
init) [ ! -e $kept/made ] || exit 0 ;;
join) [ ! -e /etc/kubernetes/kubelet.conf ] || exit 0 ;;
esac

# kubeadm and what it makes call for images under the names of its own registry; the lab's have the lab's.
runtime=containerd
[ ! -e /usr/local/bin/dockerd ] || runtime=docker
case $runtime in
docker) held=$(docker images --format '{{.Repository}}:{{.Tag}}') ;;
*) held=$(ctr -n k8s.io images ls -q) ;;
esac
case $1 in
init) of="--config=$config" ;;
join) of="--kubernetes-version=$(kubeadm version -o short)" ;;
esac
kubeadm config images list "$of" | while read -r wanted; do
  echo "$held" | grep -qxF "$wanted" && continue
  # In the archives of Kubernetes' own releases the processor is a part of the name.
  image=${wanted##*/}
  if own=$(echo "$held" | grep -m 1 -E "/${image%:*}(-[a-z0-9]+)?:${image#*:}\$"); then
    case $runtime in
    docker) docker tag "$own" "$wanted" ;;
    *) ctr -n k8s.io images tag "$own" "$wanted" >/dev/null ;;
    esac
    continue
  fi
  case $1:$wanted in
  join:*/kube-apiserver:* | join:*/kube-controller-manager:* | join:*/kube-scheduler:* | join:*/etcd:*) continue ;;
  # Under which name pods are begun containerd is told; older kubeadms want to see the one they would use.
  *:*/pause:*) ! grep -q 'imagePullPolicy: Never' $config || continue ;;
  esac
  echo "kubeadm wants the image ${wanted##*/}, and the lab has none of that name" >&2
  exit 1
done

case $1 in
init)
  # An etcd beside Kubernetes answers only once enough members found each other, on nodes that are begun meanwhile.
  if [ -e /etc/systemd/system/etcd.service ]; then
    waited=0
    until systemctl -q is-active etcd.service; do
      waited=$((waited + 1))
      if [ $waited -gt 1200 ]; then
        echo "etcd is $(systemctl is-active etcd.service): its members do not find each other" >&2
        journalctl --no-pager -q -o cat -n 8 -u etcd.service >&2
        exit 1
      fi
      sleep 0.5
    done
  fi
  # What a killed run made is what this one would make: kubeadm takes it over, once it does not mind finding it.
  if [ -e $kept/begun ]; then
    found=$found,Port-6443,Port-10250,Port-10251,Port-10252,Port-10257,Port-10259,Port-2379,Port-2380
    found=$found,DirAvailable--var-lib-etcd
    for pod in apiserver controller-manager scheduler; do
      found=$found,FileAvailable--etc-kubernetes-manifests-kube-$pod.yaml
    done
    found=$found,FileAvailable--etc-kubernetes-manifests-etcd.yaml
  fi
  : >$kept/begun
  kubeadm init --config=$config --skip-token-print "$found" 9>&-
  : >$kept/made ;;
join)
  # What a killed run left, before the cluster knew the node; pods for proofs too.
  systemctl stop kubelet.service
  rm -f /etc/kubernetes/bootstrap-kubelet.conf /etc/kubernetes/pki/ca.crt /etc/kubernetes/manifests/*.json
  kubeadm join --config=$config $found 9>&- ;;
esac
