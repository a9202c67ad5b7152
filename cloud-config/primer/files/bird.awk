# `etcdctl watch --prefix /calico/` (a line that says PUT or DELETE, one with the key, then the JSON) -> bird.conf of
# `node`. What was said of a key last is what holds.
# Sessions are named as Calico names them: Mesh_, Node_, Global_ and the peer's address.

function text(json, key,   found) {        # "key":"text"
  if (!match(json, "\"" key "\":\"[^\"]*\"")) return ""
  found = substr(json, RSTART, RLENGTH)
  sub(/^"[^"]*":"/, "", found); sub(/"$/, "", found)
  return found
}
function number(json, key,   found) {      # "key":123 or "key":"123"
  if (!match(json, "\"" key "\":\"?[0-9]+")) return ""
  found = substr(json, RSTART, RLENGTH)
  sub(/^"[^"]*":"?/, "", found)
  return found
}
function last(path) { sub(/.*\//, "", path); return path }
function value(address,   part) {          # for comparing addresses
  split(address, part, ".")
  return ((part[1] * 256 + part[2]) * 256 + part[3]) * 256 + part[4]
}
function as_of(name) { return as[name] != "" ? as[name] : default_as }

function happened() {                      # one change is read
  if (key == "" || change == "PUT" && json == "") return    # its rest is still to come
  if (!(key in said)) keys[++key_count] = key
  said[key] = json                         # of what is deleted, nothing
}

function take(   name) {                   # one key with all of its JSON
  json = said[key]
  if (json == "") return
  gsub(/[ \t\r]/, "", json)
  if (key ~ /\/projectcalico.org\/nodes\//) {
    name = last(key)
    address[name] = text(json, "ipv4Address"); sub(/\/.*/, "", address[name])
    if (address[name] == "") { delete address[name]; return }
    names[++count] = name
    as[name] = number(json, "asNumber")
    reflects[name] = text(json, "routeReflectorClusterID")
  } else if (key ~ /\/projectcalico.org\/bgpconfigurations\/default$/) {
    if (json ~ /"nodeToNodeMeshEnabled":false/) mesh = 0
    if (number(json, "asNumber") != "") default_as = number(json, "asNumber")
  } else if (key ~ /\/projectcalico.org\/ippools\//) {
    pools = pools (pools == "" ? "" : ", ") text(json, "cidr") "{" number(json, "blockSize") ",32}"
  } else if (key ~ /\/projectcalico.org\/bgppeers\//) {
    peers++
    peer_address[peers] = text(json, "peerIP")
    peer_as[peers] = number(json, "asNumber")
    peer_node[peers] = text(json, "node")
  } else if (key ~ ("^/calico/ipam/v2/host/" node "/ipv4/block/")) {
    name = last(key); sub(/-/, "/", name)
    blocks[++block_count] = name
  }
}

function session(kind, to, to_as, extra,   name) {
  name = kind "_" to; gsub(/\./, "_", name)
  if (name in made) return
  made[name] = 1
  print "protocol bgp " name " from bgp_template {"
  print "  neighbor " to " as " to_as ";"
  if (value(me) < value(to)) print "  passive on;   # the side with the higher address calls"
  printf "%s", extra
  print "}"
}

BEGIN { mesh = 1; default_as = 64512 }
/^(PUT|DELETE)$/ { happened(); change = $0; key = json = ""; next }
key == "" { key = $0; next }
{ json = json $0 }

END {
  happened()
  for (k = 1; k <= key_count; k++) { key = keys[k]; take() }
  if (!(node in address)) exit 1
  me = address[node]
  print "# Written by calico-confd from etcd: change the datastore, not this file."
  print "log stderr all;"
  print "router id " me ";"
  print "listen bgp address " me ";"
  print "protocol device { scan time 2; }"
  # Without it the next hops of iBGP cannot be resolved, and every route is unreachable though Established.
  print "protocol direct { interface \"" device "\"; }"
  print "protocol static blocks {"
  for (i = 1; i <= block_count; i++) print "  route " blocks[i] " blackhole;"
  print "}"
  print "protocol kernel {"
  print "  scan time 2;"
  print "  import none;   # the default route of the NAT card would resolve wrong next hops"
  print "  export where source = RTS_STATIC || source = RTS_BGP;"
  if (timers == "calico") print "  persist;\n  graceful restart;"
  print "}"
  print "template bgp bgp_template {"
  print "  local " me " as " as_of(node) ";"
  print "  import where net ~ [ " (pools == "" ? "0.0.0.0/0+" : pools) " ];"
  print "  export where source = RTS_STATIC || source = RTS_BGP;"
  if (timers == "calico")
    print "  hold time 240;\n  keepalive time 80;\n  graceful restart;\n  connect delay time 2;\n  connect retry time 5;\n  error wait time 5,30;"
  else
    print "  hold time 12;\n  keepalive time 4;\n  graceful restart off;\n  connect delay time 1;\n  connect retry time 3;\n  error wait time 1,3;\n  error forget time 10;"
  print "}"
  if (mesh && reflects[node] == "")
    for (i = 1; i <= count; i++)
      if (names[i] != node && reflects[names[i]] == "") session("Mesh", address[names[i]], as_of(names[i]), "")
  for (p = 1; p <= peers; p++) {
    if (peer_address[p] != "") {           # by address: of one node, or of all
      if (peer_address[p] == me) continue
      if (peer_node[p] == "") session("Global", peer_address[p], peer_as[p], "")
      else if (peer_node[p] == node) session("Node", peer_address[p], peer_as[p], "")
    } else {                               # by selectors: every node and the reflectors
      for (i = 1; i <= count; i++) {
        other = names[i]
        if (other == node) continue
        if (reflects[node] != "" && reflects[other] == "")
          session("Node", address[other], as_of(other), "  rr client;\n  rr cluster id " reflects[node] ";\n")
        else if (reflects[other] != "") session("Node", address[other], as_of(other), "")
      }
    }
  }
}
