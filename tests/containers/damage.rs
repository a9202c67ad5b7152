//! A proven cluster damaged in one way after the other: the proof names what is broken, and nothing before it.

use serde_json::Value;

use crate::lab::{Lab, Test};

/// The tests.
pub const ALL: &[Test] = &[("one_after_the_other", one_after_the_other)];

/// etcd drops its history, and the node has to read what there is now.
const FORGETS: &str = r#". /etc/calicolab/node.env
pki=/etc/calicolab/pki
export ETCDCTL_API=3 ETCDCTL_ENDPOINTS="https://$ETCD:2379" ETCDCTL_CACERT=$pki/ca.crt ETCDCTL_CERT=$pki/node.crt ETCDCTL_KEY=$pki/node.key
etcdctl compact "$(etcdctl get / --write-out=fields | grep ^.Revision | tr -dc 0-9)"
rm /etc/bird/bird.conf
systemctl restart calico-confd"#;

/// The checks that do not pass.
fn failing(proof: &Value) -> Vec<&str> {
    let all = proof["checks"].as_array().expect("checks").iter().filter(|check| check["verdict"] != "pass");
    all.filter_map(|check| check["id"].as_str()).collect()
}

fn one_after_the_other() {
    let lab = Lab::new();
    lab.ok(&["up"]);

    // Without the datastore the last configuration stays in force, and the journal says so.
    lab.on("calico-01", "systemctl stop etcd");
    lab.until("calico-02", "journalctl -u calico-confd -o cat | grep -q \"cannot be reached; keeping\"");
    lab.ok(&["verify", "session", "route", "packet"]);
    let broken = lab.json(&["verify", "-o", "json", "--timeout", "1"], 21);
    assert_eq!(broken["earliest_failing"], "datastore.calico-01", "{:?}", failing(&broken));
    lab.on("calico-01", "systemctl start etcd");
    lab.ok(&["verify"]);

    // Where etcd has forgotten how it came to what it has, a node reads that instead, and follows from there.
    lab.on("calico-02", FORGETS);
    lab.until("calico-02", "grep -q Mesh_ /etc/bird/bird.conf && birdc show protocols | grep -q Established");
    lab.ok(&["verify"]);

    // Established, and yet no way: the route is named, not the session.
    let block = "10.244.0.64/26";
    lab.on("calico-01", &format!("ip rule add to {block} unreachable priority 100"));
    let broken = lab.json(&["verify", "-o", "json", "--timeout", "1"], 21);
    assert_eq!(broken["earliest_failing"], "route.calico-01.10.244.0.64-26", "{:?}", failing(&broken));
    assert!(!failing(&broken).iter().any(|id| id.starts_with("session")), "{:?}", failing(&broken));
    lab.on("calico-01", &format!("ip rule del to {block} unreachable priority 100"));
    lab.ok(&["verify"]);

    // One of two DNS servers is gone: whoever asks it directly is not answered, from every node.
    lab.on("calico-02", "systemctl stop calicolab-dns");
    let broken = lab.json(&["verify", "-o", "json", "--timeout", "1"], 21);
    let servers =
        failing(&broken).iter().filter(|id| id.starts_with("dns-server.") && id.ends_with(".calico-02")).count();
    assert_eq!(servers, 3, "{:?}", failing(&broken));
    assert!(failing(&broken).iter().all(|id| id.starts_with("dns")), "{:?}", failing(&broken));
    lab.on("calico-02", "systemctl start calicolab-dns");
    lab.ok(&["verify"]);

    // A program that was altered on a node is not used again.
    let sum = || lab.on("calico-03", "sha256sum /usr/sbin/birdc");
    let before = sum();
    lab.on("calico-03", "echo altered >>/usr/sbin/birdc");
    assert_ne!(sum(), before);
    lab.ok(&["stop"]);
    lab.ok(&["start"]);
    assert_eq!(sum(), before);

    lab.down();
}
