//! A lab that travels: packed here, unpacked and complete in a new home without a network.

use std::process::Command;

use crate::lab::{Lab, Test};

pub const ALL: &[Test] =
    &[("a_pack_is_all_that_a_new_home_without_a_network_needs", a_pack_is_all_that_a_new_home_without_a_network_needs)];

fn a_pack_is_all_that_a_new_home_without_a_network_needs() {
    let (lab, new) = (Lab::new(), tempfile::tempdir().expect("a temporary folder"));
    let pack = lab.home().join("primer.pack").display().to_string();
    lab.ok(&["pack", "primer", "-o", &pack]);
    let alone = |words: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net"]).arg(env!("CARGO_BIN_EXE_calicolab")).args(words);
        for (name, folder) in [("CALICOLAB_HOME", "home"), ("XDG_CACHE_HOME", "cache"), ("XDG_CONFIG_HOME", "config")] {
            command.env(name, new.path().join(folder));
        }
        let out = command.output().expect("unshare starts");
        assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).expect("text")
    };
    assert_eq!(alone(&["unpack", &pack]).trim(), "next: calicolab up primer");
    let lines: Vec<serde_json::Value> =
        serde_json::from_str(&alone(&["--offline", "fetch", "primer", "-o", "json"])).expect("JSON");
    assert!(lines.len() == 8 && lines.iter().all(|line| line["state"] == "there"), "{lines:#?}");
}
