# Says once a boot, on the serial console if there is one, that this node can be reached. The boot's id tells this
# mark from one an earlier boot left.
read -r node </proc/sys/kernel/hostname
read -r boot </proc/sys/kernel/random/boot_id
read -r instance </var/lib/cloud/data/instance-id
line="CALICOLAB-READY node=$node boot=$boot instance=$instance"
[ -d /run/calicolab ] || mkdir /run/calicolab
echo "$line" >/run/calicolab/ready
# A container has no serial port; a failed write must not fail the unit.
if [ -c /dev/ttyS0 ]; then echo "$line" 2>/dev/null >/dev/ttyS0; fi
exit 0
