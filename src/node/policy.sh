# ADMIN NONCE NODE… : what has been found out so far; the first call begins it. Whoever asks is not held up.
at=/run/calicolab/policy-$2
if [ -d "$at" ]; then
  cat "$at/said"
  # What went wrong is told, and tried once more.
  grep -q '^wrong' "$at/said" || exit 0
fi
rm -rf "$at"
mkdir -p "$at"
: >"$at/said"
# Of proofs that were killed.
find /run/calicolab -maxdepth 1 -name 'policy-*' -mmin +15 -exec rm -rf {} +
setsid sh -c '
at=$1 admin=$2 nonce=$3
shift 3
. /etc/calicolab/node.env
name=policy-$nonce
exec >>"$at/said" 2>>"$at/errors" </dev/null
kubectl() { command kubectl --kubeconfig="$admin" --request-timeout=10s -n default "$@"; }
gone() { kubectl delete pods,networkpolicies -l "calicolab-policy=$nonce" --wait=false --grace-period=0 --force >&2; }
wrong() { echo "wrong $*"; gone; exit; }
pod() { # ROLE NODE COMMAND HOST-PORT
  echo "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"$name-$1-$2\",
    \"labels\": {\"calicolab-policy\": \"$nonce\", \"role\": \"$1\"}}, \"spec\": {\"nodeName\": \"$2\",
    \"terminationGracePeriodSeconds\": 0, \"activeDeadlineSeconds\": 300, \"tolerations\": [{\"operator\": \"Exists\"}],
    \"containers\": [{\"name\": \"one\", \"image\": \"$PROBE_IMAGE\", \"imagePullPolicy\": \"Never\",
    \"command\": [\"sh\", \"-c\", \"$3\"]}]}}"
}
policy() { # NAME RULES
  echo "{\"apiVersion\": \"networking.k8s.io/v1\", \"kind\": \"NetworkPolicy\", \"metadata\": {\"name\": \"$name-$1\",
    \"labels\": {\"calicolab-policy\": \"$nonce\"}}, \"spec\": {\"podSelector\": {\"matchLabels\":
    {\"calicolab-policy\": \"$nonce\", \"role\": \"server\"}}$2}}"
}
asked() { # ROLE: a line for each server, whether it answers that one
  timeout 15 kubectl --kubeconfig="$admin" -n default exec "$name-$1-$asker" -- sh -c "$ask" ask $servers
}
ask="for one; do (
  wget -q -O - http://\${one#*=}:8080/ >/tmp/\${one%%=*} 2>/dev/null & w=\$!
  ( sleep 3; kill \$w 2>/dev/null ) & k=\$!
  wait \$w 2>/dev/null && echo \"\${one%%=*} answers\" || echo \"\${one%%=*} is silent\"
  kill \$k 2>/dev/null
) & done; wait"
until_all() { # WHAT ROLE answers|silent
  end=$(($(date +%s) + 25))
  while :; do
    all=$(asked "$2")
    case $3 in
    answers) bad=$(echo "$all" | grep -v " answers$") ;;
    silent) bad=$(echo "$all" | grep -v " is silent$") ;;
    esac
    if [ -n "$all" ] && [ -z "$bad" ]; then
      echo "$1 $2 $3"
      return
    fi
    [ "$(date +%s)" -lt $end ] || wrong "$1 $2: $(echo $bad)"
    sleep 0.3
  done
}
for node; do asker=$node; done
{
  for node; do pod server "$node" "mkdir /tmp/www; echo $nonce >/tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www"; done
  pod caller "$asker" "exec sleep 300"
  pod stranger "$asker" "exec sleep 300"
} | kubectl apply -f - >&2 || wrong "pods: $(tail -n 2 "$at/errors")"
wanted=$(($# + 2)) end=$(($(date +%s) + 60))
until [ "$(kubectl get pods -l "calicolab-policy=$nonce" -o jsonpath="{range .items[*]}{.status.podIP} {.status.phase}{\"\\n\"}{end}" | grep -c ". Running")" = $wanted ]; do
  [ "$(date +%s)" -lt $end ] || wrong "pods: not all of $wanted run"
  sleep 0.5
done
servers=$(kubectl get pods -l "calicolab-policy=$nonce,role=server" -o jsonpath="{range .items[*]}{.spec.nodeName}={.status.podIP} {end}")
until_all before caller answers
policy deny "" | kubectl apply -f - >&2
until_all deny caller silent
policy allow ", \"ingress\": [{\"from\": [{\"podSelector\": {\"matchLabels\": {\"role\": \"caller\"}}}], \"ports\": [{\"port\": 8080}]}]" |
  kubectl apply -f - >&2
until_all allow caller answers
until_all allow stranger silent
kubectl delete networkpolicies -l "calicolab-policy=$nonce" >&2
until_all back stranger answers
gone
' policy "$at" "$@" </dev/null >/dev/null 2>&1 &
