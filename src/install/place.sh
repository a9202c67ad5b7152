set -eu
cd /
sums=/etc/calicolab/payload.sha256
# What was saved before it was anyone has everything in its place, and hashed it there since it was booted: what is
# another node's goes.
unpacked=/run/calicolab/unpacked.sha256
lacking=all
if [ -e $unpacked ]; then
  rm -f -- $(grep -vxFf $sums $unpacked | cut -c67-)
  lacking=$(grep -vxFf $unpacked $sums) || :
  rm $unpacked
fi
# Both are the system's own wherever there is a busybox, too: its sums take longer, and its tar has other words.
sum=/usr/bin/sha256sum tar=/bin/tar
if [ -n "$lacking" ] && ! $sum --check --status $sums 2>/dev/null; then
  case $1 in
  disk)
    # In a container it is a file.
    device=/opt/calicolab-payload.tar
    [ -e $device ] || device=
    for disk in /sys/block/vd*; do
      # The kernel ends the serial without a newline, which `read` reports as a failure.
      serial=
      read -r serial <"$disk/serial" || :
      [ "$serial" != payload ] || device=/dev/${disk##*/}
    done
    [ -n "$device" ] || { echo 'no disk bears the serial `payload`' >&2; exit 1; }
    $tar -x --keep-directory-symlink -f $device $(cut -c67- $sums) ;;
  stream)
    $tar -x --keep-directory-symlink -f - $(cut -c67- $sums) ;;
  esac
  $sum --check --quiet $sums >&2 || exit 65
fi
