systemctl start --no-block calicolab.target
