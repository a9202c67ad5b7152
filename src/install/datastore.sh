set -eu
cd "$1"
export ETCDCTL_API="$2" ETCDCTL_ENDPOINTS="$3"
if [ -e "$4/calico.key" ]; then
  # The two APIs have their own words for the same.
  export ETCDCTL_CACERT="$4/ca.crt" ETCDCTL_CERT="$4/calico.crt" ETCDCTL_KEY="$4/calico.key"
  export ETCDCTL_CA_FILE="$4/ca.crt" ETCDCTL_CERT_FILE="$4/calico.crt" ETCDCTL_KEY_FILE="$4/calico.key"
fi
case $2 in
2) put=set own= ;;
*) put=put own=--print-value-only ;;
esac
for file in *; do
  { read -r key && read -r value; } <"$file"
  case $file in
  # shellcheck disable=SC2086 # a word or none
  *.once) [ -z "$(etcdctl get $own "$key" 2>/dev/null)" ] || continue ;;
  esac
  etcdctl $put "$key" "$value" >/dev/null
done
