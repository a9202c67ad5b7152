# A Debian as its own cloud image is: nothing in it knows of labs. $1 is the tree; root of a user namespace.
set -eu
tree=$1

# The cloud image has these on; the package leaves them off.
chroot "$tree" systemctl enable --quiet systemd-networkd.service systemd-resolved.service

# Upkeep of a machine that lives for months, which emulated processors have no time for.
chroot "$tree" systemctl mask --quiet apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
  e2scrub_reap.service fstrim.timer

# What tells one machine from another is made at its first boot.
rm -f "$tree"/etc/ssh/ssh_host_* "$tree/var/lib/dbus/machine-id"
: >"$tree/etc/machine-id"
: >"$tree/etc/fstab"
rm -rf "$tree"/var/lib/cloud/* "$tree"/var/log/*.log "$tree"/var/cache/apt/* "$tree"/var/lib/apt/lists/*
ln -sf ../run/systemd/resolve/stub-resolv.conf "$tree/etc/resolv.conf"
