//! The edge of the pods' network, broken: NAT, and ports of nodes that lead to pods.

use crate::lab::{Lab, eventually};

/// A node that rewrites nothing, and one whose ports lead to no pod: each is named, and nothing else.
pub fn broken(lab: &Lab) {
    const LIST: &str = "/etc/cni/net.d/10-calico.conflist";
    let failing = |check: &str| {
        let out = lab.run(&["verify", "--timeout", "1", "-o", "json", check]);
        let proof: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
        let checks = proof["checks"].as_array().expect("a list").iter().filter(|one| one["verdict"] != "pass");
        let told = checks.map(|one| format!("{}: {}", one["id"], one["text"])).collect::<Vec<_>>();
        assert_eq!(out.status.code(), Some(if told.is_empty() { 0 } else { 21 }));
        told
    };
    let named = |told: &[String], whose: &str, why: &str| match told {
        [one] => one.contains(whose) && one.contains(why),
        _ => false,
    };
    let rule = |verb: &str| {
        let words = format!("iptables -w -t nat -{verb} POSTROUTING -s 10.244.0.0/16 ! -d 10.244.0.0/16 -j MASQUERADE");
        lab.on("kube-02", &words);
    };
    rule("D");
    let told = failing("nat");
    assert!(named(&told, "nat.kube-02.kube-03", "its address is not rewritten, planned is its node's"), "{told:?}");
    rule("A");
    lab.ok(&["verify", "nat"]);

    // Pods made once containerd has read the list anew, and the proof makes its own, ask for ports in vain.
    let cut = r#"tr -d "\n" </root/kept | sed "s/, *{.type.: .portmap.*/]}/""#;
    lab.on("kube-03", &format!("cp {LIST} /root/kept; {cut} >{LIST}.new; mv {LIST}.new {LIST}"));
    eventually("a port that leads to no pod is named, alone", || {
        named(&failing("hostport"), "hostport.kube-02.kube-03", "no answer").then_some(())
    });
    // containerd hears of names that go from that folder, not of those that come.
    lab.on("kube-03", &format!("mv /root/kept {LIST}.new; mv {LIST}.new {LIST}"));
    eventually("ports lead to pods again", || failing("hostport").is_empty().then_some(()));
}
