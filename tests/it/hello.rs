//! The API server as a container asks for it: a busybox, against a real server of TLS as Go makes it.

use std::path::Path;
use std::process::Command;

use calicolab::node::kube::hello;

use crate::support::registry::PROGRAMS;

/// The registry's program serves TLS like the API server does, by Go. In a network of its own port 443 is free.
const SERVE: &str = r#"ip link set lo up
"$1" serve "$2" >"$3" 2>&1 & server=$!
# A line of a socket that listens there.
until grep -q ':01BB .* 0A ' /proc/net/tcp; do kill -0 $server || exit; done
PATH=$4
shift 4
"$@"
status=$?
kill $server
exit $status"#;

/// What a container is told by a server with a key of this kind, whose certificate is good for `names`.
fn told(kind: &[&str], names: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name).display().to_string();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=kube-apiserver", "-newkey"])
        .args(kind)
        .args(["-addext", &format!("subjectAltName={names}")])
        .args(["-keyout", &place("key"), "-out", &place("certificate")])
        .output()
        .expect("openssl is needed (sudo apt-get install openssl)");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let config = serde_json::json!({
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": place("data")}},
        "http": {"addr": "127.0.0.1:443", "tls": {"certificate": place("certificate"), "key": place("key")}},
    });
    std::fs::write(place("config"), config.to_string()).expect("written");
    std::fs::create_dir(place("bin")).expect("made");
    let program = |path: &str| {
        let program = Path::new(PROGRAMS).join(path);
        assert!(program.exists(), "{} is missing: run scripts/test-programs.sh", program.display());
        program
    };
    for applet in ["sh", "nc", "tr", "grep", "head"] {
        let link = folder.path().join("bin").join(applet);
        std::os::unix::fs::symlink(program("bin/busybox"), link).expect("linked");
    }
    let argv = hello::ask(std::net::Ipv4Addr::LOCALHOST);
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-c", SERVE, "serve"])
        .arg(program("usr/bin/docker-registry"))
        .args([place("config"), place("log"), place("bin")])
        .args(argv.words())
        .output()
        .expect("unshare is needed (sudo apt-get install util-linux)");
    let log = std::fs::read_to_string(place("log")).unwrap_or_default();
    assert!(output.status.success(), "{}\n{log}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_busybox_reads_the_name_of_the_api_server_whatever_key_it_has() {
    let names = "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,\
        DNS:kubernetes.default.svc.cluster.local,DNS:one,IP:10.96.0.1";
    let (curve, rsa) = (["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], ["rsa:2048"]);
    for kind in [&curve[..], &rsa[..]] {
        let told = told(kind, names);
        assert!(hello::is_api(&told), "{kind:?}: {told:?}");
    }
    // Any other server of TLS that may stand at its address.
    let other = told(&curve, "DNS:etcd.default.svc,DNS:kubernetes.default.svc.example");
    assert!(!hello::is_api(&other), "{other:?}");
}
