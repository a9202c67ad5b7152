# Turns a minimal Debian into a node that starts fast under emulation. $1 is the tree; root of a user namespace.
set -eu
tree=$1
units=$tree/etc/systemd/system

mask() {
  for unit in "$@"; do ln -sf /dev/null "$units/$unit"; done
}

want() { # TARGET UNIT-FILE
  mkdir -p "$units/$1.wants"
  ln -sf "$2" "$units/$1.wants/${2##*/}"
}

# Upkeep of a machine that lives for months.
mask apt-daily.service apt-daily.timer apt-daily-upgrade.service apt-daily-upgrade.timer \
  dpkg-db-backup.service dpkg-db-backup.timer e2scrub_all.service e2scrub_all.timer e2scrub_reap.service \
  fstrim.service fstrim.timer man-db.service man-db.timer systemd-tmpfiles-clean.timer

# Consoles nobody types at: the serial one carries the ready mark and the kernel's words.
mask getty@tty1.service serial-getty@ttyS0.service getty.target getty-static.service console-getty.service \
  systemd-ask-password-console.path systemd-ask-password-wall.path systemd-initctl.socket systemd-initctl.service

# First-boot and update chores whose results are in the image already.
mask systemd-hwdb-update.service ldconfig.service systemd-journal-catalog-update.service systemd-update-done.service \
  systemd-machine-id-commit.service systemd-firstboot.service systemd-sysusers.service systemd-remount-fs.service \
  systemd-repart.service systemd-random-seed.service systemd-boot-system-token.service systemd-pcrphase.service \
  systemd-pcrphase-sysinit.service

# Records nobody reads; the journal is kept in memory.
mask systemd-pstore.service systemd-update-utmp.service systemd-update-utmp-runlevel.service \
  systemd-journal-flush.service rsyslog.service

# The initrd loads every driver there is a device for, so no udev; cards are found by their MAC addresses.
mask systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket systemd-udev-trigger.service \
  systemd-udev-settle.service systemd-modules-load.service kmod-static-nodes.service \
  systemd-tmpfiles-setup-dev.service systemd-rfkill.socket modprobe@drm.service modprobe@fuse.service \
  modprobe@configfs.service modprobe@efi_pstore.service modprobe@loop.service modprobe@dm_mod.service

# File systems nothing of a lab uses.
mask sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount \
  dev-hugepages.mount dev-mqueue.mount systemd-binfmt.service proc-sys-fs-binfmt_misc.automount \
  proc-sys-fs-binfmt_misc.mount remote-fs.target remote-cryptsetup.target remote-veritysetup.target \
  cryptsetup.target veritysetup.target integritysetup.target

# Network, time, names and logins are set by one script of the node's own or come from the host.
mask systemd-networkd.service systemd-networkd.socket systemd-networkd-wait-online.service systemd-resolved.service \
  systemd-timesyncd.service systemd-logind.service systemd-sysctl.service nftables.service tcpdump.service \
  rescue-ssh.target

# Logins need no permission: there is nobody to keep out until all has begun.
mask systemd-user-sessions.service
mkdir -p "$tree/etc/tmpfiles.d"
ln -sf /dev/null "$tree/etc/tmpfiles.d/systemd-nologin.conf"

# cloud-init runs once, in one stage (cloud-init-local.service).
mask cloud-init.service cloud-config.service cloud-final.service cloud-init-hotplugd.service \
  cloud-init-hotplugd.socket cloud-config.target cloud-init.target

rm -f "$units"/getty.target.wants/* "$units"/timers.target.wants/* "$units"/sysinit.target.wants/systemd-pstore.service

# Generators look at disks, fstab and credentials at each boot; there is nothing for them to find.
mkdir -p "$tree/etc/systemd/system-generators"
for generator in "$tree"/usr/lib/systemd/system-generators/*; do
  ln -sf /dev/null "$tree/etc/systemd/system-generators/${generator##*/}"
done

want multi-user.target /lib/systemd/system/cloud-init-local.service
want multi-user.target /etc/systemd/system/calicolab-network.service
want multi-user.target /etc/systemd/system/calicolab-ready.service
want multi-user.target /etc/systemd/system/calicolab.target
ln -sf /lib/systemd/system/multi-user.target "$units/default.target"

# What tells one machine from another is given by its seed; what the packages' scripts made here would be the same
# on all. An empty machine-id is filled at the first boot.
rm -f "$tree"/etc/ssh/ssh_host_* "$tree/var/lib/dbus/machine-id"
: >"$tree/etc/machine-id"

# The initrd mounts the root; cron has no part in this.
rm -f "$tree/etc/fstab" "$tree"/etc/cron.d/*
rm -rf "$tree"/var/lib/cloud/* "$tree"/var/log/*.log "$tree"/var/cache/apt/* "$tree"/var/lib/apt/lists/*

# No locales are installed; without this every shell warns.
echo LANG=C.UTF-8 >"$tree/etc/default/locale"
