# In a container of Incus or LXD on a host that mounts `cpu` and `cpuacct` apart, systemd leaves links to a hierarchy of
# both that it could not mount: the kubelet wants each. Anywhere else nothing is to be done.
mkdir -p /etc/kubernetes/manifests
[ -e /sys/fs/cgroup/cgroup.controllers ] && exit 0
for controller in cpu cpuacct; do
  mountpoint -q "$(readlink -f /sys/fs/cgroup/$controller)" && continue
  mount -o remount,rw /sys/fs/cgroup
  [ ! -L /sys/fs/cgroup/$controller ] || rm /sys/fs/cgroup/$controller
  mkdir -p /sys/fs/cgroup/$controller
  mount -t cgroup -o $controller cgroup /sys/fs/cgroup/$controller
done
