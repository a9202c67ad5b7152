systemctl start --no-block calicolab.target
calicolab-pod prepare </dev/null >/dev/null 2>&1 &
