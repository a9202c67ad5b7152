//! `explain --bundle` on what calicoctl collects, in an empty home: the archive as its own tar writes it.

use std::process::Command;

use calicolab::failure::Exit;

use super::User;

/// A folder as `calicoctl node diags` leaves it, packed by tar as it does.
fn packed(user: &User, hostname: &str, files: &[(&str, &str)]) -> String {
    let folder = user.path(hostname);
    let top = std::path::Path::new(&folder).join("diagnostics");
    std::fs::create_dir_all(top.join("logs/bird")).expect("made");
    std::fs::write(top.join("hostname"), format!("{hostname}\n")).expect("written");
    for (name, text) in files {
        std::fs::write(top.join(name), text).expect("written");
    }
    // Nobody follows what leads out.
    std::os::unix::fs::symlink("/etc/passwd", top.join("ipv6_addr")).expect("linked");
    let file = format!("{folder}/diags-20250101_101112.tar.gz");
    let tar = Command::new("tar").args(["-zcf", &file, "-C", &folder, "diagnostics"]).status().expect("tar starts");
    assert!(tar.success());
    file
}

#[test]
fn a_bundle_of_calicoctl_is_explained_anywhere() {
    let user = User::new();
    let file = packed(
        &user,
        "node-a",
        &[
            ("netstat", "tcp 0 0 0.0.0.0:179 0.0.0.0:* LISTEN\ntcp 0 0 0.0.0.0:22 0.0.0.0:* LISTEN\n"),
            (
                "ipv4_route",
                "172.18.18.0/24 dev eth1 proto kernel scope link src 172.18.18.101\nblackhole 192.168.0.0/26 proto bird\n",
            ),
            (
                "ipv4_addr",
                "3: eth1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 state UP\n    inet 172.18.18.101/24 scope global eth1\n",
            ),
            (
                "ipv4_tables",
                "*filter\n:INPUT ACCEPT [0:0]\n[9:540] -A INPUT -p tcp -m tcp --dport 179 -j REJECT --reject-with tcp-reset\nCOMMIT\n",
            ),
            (
                "logs/bird/current",
                "bird: Mesh_172_18_18_102: State changed to start\nbird: Mesh_172_18_18_102: Socket error: Connection refused\n",
            ),
        ],
    );
    let diagnosis = user.json(&["explain", "--offline", "--bundle", &file, "-o", "json"]);
    assert_eq!(diagnosis["first"]["id"], "port-rejected", "{diagnosis:#}");
    assert!(diagnosis["blind"].as_array().is_some_and(|blind| blind.len() > 3), "{diagnosis:#}");
    let shown = user.ends(&["explain", "--bundle", &file], Exit::Done).out;
    assert!(shown.contains("cannot be told: ") && shown.contains("repair: on node-a: sudo nft"), "{shown}");

    // An archive of something else, none at all, and one that is cut.
    let other = packed(&user, "node-b", &[]);
    let said = user.ends(&["explain", "--bundle", &other], Exit::NoSuch).err;
    assert!(said.contains("error[bundle.read]") && said.contains("no address"), "{said}");
    let cut = user.path("cut.tar.gz");
    let whole = std::fs::read(&file).expect("it was written");
    std::fs::write(&cut, &whole[..whole.len() / 2]).expect("written");
    user.ends(&["explain", "--bundle", &cut], Exit::NoSuch);
    user.ends(&["explain", "--bundle", &user.path("nowhere")], Exit::NoSuch);
}
