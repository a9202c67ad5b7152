mkdir -p /opt/kubernetes/manifests /var/lib/etcd2
# sudo looks here and not in /opt/bin; on CoreOS itself, where this cannot be written, it looks there too.
for program in /opt/bin/*; do
  ln -sf "$program" /usr/local/sbin/ 2>/dev/null || break
done
systemctl daemon-reload

# The card of the lab, as udev would call it at the next boot.
link=/etc/systemd/network/10-lab.link
mac=$(sed -n 's/^MACAddress=//p' $link) lab=$(sed -n 's/^Name=//p' $link)
for card in /sys/class/net/*; do
  read -r own <"$card/address" || continue
  if [ "$own" = "$mac" ] && [ "${card##*/}" != "$lab" ]; then
    ip link set "${card##*/}" down
    ip link set "${card##*/}" name "$lab"
  fi
done
systemctl enable --quiet systemd-networkd.service
systemctl restart systemd-networkd.service

# Images before whoever runs them: nothing is pulled.
systemctl start docker.service
for archive in /var/lib/calicolab/images/*.tar; do
  # What was taken in once is there after a restart too.
  [ "$archive.taken" -nt "$archive" ] && continue
  docker load -i "$archive" >/dev/null
  : >"$archive.taken"
done

# Blocks before whoever would draw others. What Calico wrote into one since stays.
blocks=/etc/calicolab/blocks
if [ -e $blocks ]; then
  systemctl start etcd2.service
  while read -r key value; do
    etcdctl get "$key" >/dev/null 2>&1 </dev/null || etcdctl mk "$key" "$value" >/dev/null </dev/null
  done <$blocks
fi

xargs systemctl enable --quiet </etc/calicolab/units
xargs systemctl start --no-block </etc/calicolab/units
