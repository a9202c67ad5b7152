# Names and addresses of {{ node.name }}'s cards, which are known by their MAC addresses. Run at each boot.
for card in /sys/class/net/*; do
  read -r mac <"$card/address"
  case $mac in
    {{ node.nat_mac }}) nat=${card##*/};;
    {{ node.lab_mac }}) lab=${card##*/};;
  esac
done
{% if cloud_init %}
# cloud-init has named the cards, and the host was asked for the address outside.
nat_address= nat_gateway=
{% else %}
# Behind a NAT card of QEMU's kind every node is alone and has the same address; where nodes share one network it is said.
nat_address=10.0.2.15/24 nat_gateway=10.0.2.2
{% endif %}
[ ! -e /etc/calicolab/uplink ] || read -r nat_address nat_gateway </etc/calicolab/uplink
# A host that gives addresses out says on the kernel's command line which this node has.
read -r words </proc/cmdline
for word in $words; do
  case $word in
    calicolab.uplink=*) given=${word#*=} nat_address=${given%,*} nat_gateway=${given#*,};;
  esac
done
echo 1 >/proc/sys/net/ipv4/ip_forward
# Strict reverse paths would drop packets that come by the lab card and would be answered by the other.
echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
echo 0 >/proc/sys/net/ipv4/conf/default/rp_filter
{
  [ "$nat" = {{ net.nat_device }} ] || echo "link set $nat name {{ net.nat_device }}"
  [ "$lab" = {{ net.lab_device }} ] || echo "link set $lab name {{ net.lab_device }}"
  echo "link set lo up
link set {{ net.nat_device }} up
link set {{ net.lab_device }} mtu {{ net.mtu }} up
addr replace {{ node.address }}/{{ node.prefix_len }} dev {{ net.lab_device }}
route replace {{ net.services }} dev {{ net.lab_device }} src {{ node.address }}"
  [ -z "$nat_address" ] || echo "addr replace $nat_address dev {{ net.nat_device }}
route replace default via $nat_gateway dev {{ net.nat_device }}"
{% if not calico %}
  echo "route replace unreachable {{ net.pods }} metric 65535"
{% endif %}
  # Services: the node's own packets to one would else leave with the NAT card's address, and no answer would come
  # back. Pods: what BGP gives no route to must not wander out of the NAT card into the host's own networks;
  # Calico's BIRD would learn such a route, and tell all peers that it knows the way to every pod.
} >/run/network.batch
ip -batch /run/network.batch || exit
# The address is there already; it is asked for so that the host knows who has it, by which Vagrant finds machines.
[ -z "$given" ] || busybox udhcpc -i {{ net.nat_device }} -n -q -s /bin/true >/dev/null 2>&1 &
