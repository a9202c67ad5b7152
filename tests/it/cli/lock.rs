//! Locks on the command line: judged as they are, and made anew out of what real servers on loopback say.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use calicolab::failure::Exit;
use calicolab::lab::pin::{Digest, Lock, Pin};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use super::{Said, User};

fn sha256(bytes: impl AsRef<[u8]>) -> String {
    Digest::Sha256(Sha256::digest(bytes).into()).hex()
}

/// An upstream: files by their paths, which a test may change; a path that is not there is not found.
struct Upstream {
    files: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    host: String,
    // Its threads end with it.
    _runtime: tokio::runtime::Runtime,
}

impl Upstream {
    fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads");
        let files: Arc<Mutex<HashMap<String, Vec<u8>>>> = Arc::default();
        let listener = runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0))).expect("a port");
        let host = listener.local_addr().expect("bound").to_string();
        let kept = Arc::clone(&files);
        let router = axum::Router::new().fallback(move |uri: Uri| async move { served(&kept, uri.path()) });
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { files, host, _runtime: runtime }
    }

    fn put(&self, path: &str, bytes: impl AsRef<[u8]>) {
        self.files.lock().expect("whole").insert(path.into(), bytes.as_ref().to_vec());
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.host)
    }
}

fn served(files: &Mutex<HashMap<String, Vec<u8>>>, path: &str) -> Response {
    if path == "/around" {
        return (StatusCode::FOUND, [(header::LOCATION, "/around")]).into_response();
    }
    if path == "/endless" {
        let zeros = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'0'; 1 << 16]));
        return Body::from_stream(zeros).into_response();
    }
    let Some(bytes) = files.lock().expect("whole").get(path).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let kind =
        if path.starts_with("/v2/") { "application/vnd.oci.image.index.v1+json" } else { "application/octet-stream" };
    ([(header::CONTENT_TYPE, kind)], bytes).into_response()
}

/// A lab `mine` of these artifacts in the user's folder; returns the words that choose it.
fn lab(user: &User, artifacts: &str) -> String {
    let folder = user.path("mine");
    let text = format!(
        "schema: 1\nabout: a\nimage: ubuntu-20.04\ninstaller: kubeadm\nnodes: {{count: 2}}\nkubernetes: {{version: 1.2.3}}\nartifacts:\n{artifacts}"
    );
    std::fs::create_dir_all(format!("{folder}/labs/mine")).expect("made");
    std::fs::write(format!("{folder}/labs/mine/lab.yaml"), text).expect("written");
    folder
}

fn url(name: &str, file: &str, sums: Option<&str>) -> String {
    let sums = sums.map_or_else(String::new, |sums| format!(", sums: \"{sums}\""));
    format!("  - {{name: {name}, version: \"1.2\", url: {{urls: [\"{file}\"]{sums}}}}}\n")
}

fn own_lock(user: &User) -> String {
    user.path("config/calicolab/labs/mine/lock.yaml")
}

fn pins(user: &User) -> HashMap<String, Value> {
    let text = std::fs::read_to_string(own_lock(user)).expect("written");
    let lock = Lock::read(&text, "lock.yaml").expect("right");
    let named = |pin: &Pin| format!("{} {}", pin.name, pin.arch.words().0);
    lock.pins.iter().map(|pin| (named(pin), json!(pin))).collect()
}

#[test]
fn every_carried_lock_is_complete_or_says_by_name_what_is_missing() {
    let user = User::new();
    let checked = user.json(&["--offline", "lock", "--check", "-o", "json"]);
    let missing: HashMap<&str, Vec<&str>> = checked
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| {
            assert_eq!(one["problems"], json!([]), "{}", one["lab"]);
            let names = one["missing"].as_array().expect("a list").iter().map(|name| name.as_str().expect("a name"));
            (one["lab"].as_str().expect("a name"), names.collect())
        })
        .collect();
    assert_eq!(missing.len(), 8);
    for lab in ["primer", "calico-2.4-etcd", "calico-3.0-etcd", "calico-3.14-kubeadm"] {
        assert_eq!(missing[lab], [""; 0], "{lab}");
    }
    assert_eq!(missing["calico-3.21-kdd"], ["kubernetes-server"]);
    assert_eq!(missing["calico-3.21-etcd"], ["kubernetes-server"]);
    assert_eq!(missing["calico-3.32"], ["kube-proxy", "calicoctl"]);
    let table = user.ends(&["lock", "--check", "calico-3.32", "primer"], Exit::Done).out;
    assert_eq!(table.lines().count(), 3, "{table}");
    user.ends(&["lock", "--check", "primr"], Exit::NoSuch).tells(&["did you mean `primer`?"]);
}

#[test]
fn wrong_locks_are_told_with_every_place() {
    let user = User::new();
    let folder = lab(&user, &url("a", "https://x.example/a", None));
    let pin = |digits: usize| {
        let digest = "a".repeat(digits);
        format!(
            "- name: a\n  version: '1.2'\n  arch: all\n  source: {{url: {{urls: ['https://x.example/a']}}}}\n  digest: sha256:{digest}\n  found: a test\n"
        )
    };
    let check = ["--labs", &folder, "lock", "--check", "mine"];
    let write = |text: String| std::fs::write(format!("{folder}/labs/mine/lock.yaml"), text).expect("written");
    user.ends(&check, Exit::LabInvalid).tells(&["`a` is neither pinned nor listed as missing", "lock mine"]);
    write(format!("schema: 1\npins:\n{}", pin(64)));
    user.ends(&check, Exit::Done);
    write(format!("schema: 1\npins:\n{}{}  seen: yes\n", pin(63), pin(64).repeat(2)));
    user.ends(&check, Exit::LabInvalid).tells(&[
        "lock.yaml:7:11: ",
        "is no digest",
        "lock.yaml:15:9: `a` is pinned twice for one processor",
        "lock.yaml:21:3: unknown key `seen`",
    ]);
    write(format!("schema: 1\npins:\n{}", pin(64).replace("name: a", "name: b")));
    user.ends(&check, Exit::LabInvalid).tells(&["lock.yaml:3:3: the lab has no artifact `b`"]);
    user.ends(&["--labs", &folder, "lock", "--check"], Exit::LabInvalid).tells(&["lock.yaml:3:3"]);
}

#[test]
fn what_is_missing_is_told_by_name_with_the_command_that_finds_it() {
    let user = User::new();
    let words = ["calico-3.32", "-o", "json"];
    let said = user.ends(&[&["plan"], &words[..]].concat(), Exit::LabInvalid);
    said.tells(&["lock.incomplete", "kube-proxy: ", "calicoctl: ", "hint: calicolab lock calico-3.32\n"]);
    let plan: Value = serde_json::from_str(&said.out).expect("the plan all the same");
    assert_eq!(plan["cluster"], "calico-3-32");
    assert_eq!(plan["missing"][0]["name"], "kube-proxy");
    assert_eq!(plan["network"]["api_name"], "kubernetes.default.svc.cluster.local");
    let said = user.ends(&["up", "coreos-0.15"], Exit::LabInvalid);
    said.tells(&["lock.incomplete", "kube-ui: ", "calicolab lock coreos-0.15", "a file of your own, by its digest"]);
    user.ends(&["up", "calico-3.32"], Exit::LabInvalid).tells(&["lock.incomplete", "kube-proxy: ", "calicoctl: "]);
    for (lab, set) in [("calico-3.32", "calico.install=operator"), ("calico-3.21-kdd", "kubernetes=1.22.17")] {
        let said = user.ends(&["up", lab, "--set", set], Exit::HostUnfit);
        said.tells(&["installer.none", "labs yet", &format!("calicolab fetch {lab}"), "calicolab up primer"]);
    }
    user.ends(&["up", "calico-3.32", "--set", "image=ubuntu-20.04"], Exit::LabInvalid)
        .tells(&["--set image", "cgroup v1, with which kubelets since 1.35 do not start"]);
    assert!(!std::path::Path::new(&user.path("home/clusters")).exists(), "nothing was begun");
    let list = user.ends(&["labs"], Exit::Done).out;
    let line = |lab: &str| list.lines().find(|line| line.starts_with(lab)).expect(lab).to_owned();
    assert!(line("calico-3.32").contains("2 missing") && line("primer").contains("complete"), "{list}");
    assert!(user.ends(&["labs", "show", "coreos-0.15"], Exit::Done).out.contains("calicoctl: no sum of the era"));
    let unfit = user.ends(&["doctor", "calico-3.32", "--set", "calico.install=operator"], Exit::HostUnfit);
    assert!(unfit.out.contains("no way to install `kubeadm` labs yet"), "{}", unfit.out);
}

#[test]
fn digests_are_taken_from_the_upstreams_own_lists() {
    let (user, upstream) = (User::new(), Upstream::new());
    let sha512 = Digest::Sha512(Sha512::digest("disk").into()).hex();
    upstream.put("/v1.2/amd64/tool.sha256", sha256("tool for amd64"));
    upstream.put("/v1.2/arm64/tool.sha256", sha256("tool for arm64"));
    upstream.put("/v1.2/SHA256SUMS", format!("{}  other\n{} *listed\n", sha256("no"), sha256("listed")));
    upstream.put(
        "/disk.img.DIGESTS",
        format!("# MD5 HASH\n{}  disk.img\n# SHA512 HASH\n{sha512}  disk.img\n", "1".repeat(32)),
    );
    upstream.put("/alone", "nobody sums it");
    let tool = upstream.url("/v{version}/{arch}/tool");
    let artifacts = [
        url("tool", &tool, Some(&format!("{tool}.sha256"))),
        url("listed", &upstream.url("/v{version}/listed"), Some(&upstream.url("/v{version}/SHA256SUMS"))),
        url("disk", &upstream.url("/disk.img"), Some(&upstream.url("/disk.img.DIGESTS"))),
        url("alone", &upstream.url("/alone"), None),
    ];
    let folder = lab(&user, &artifacts.concat());
    let lock = |more: &[&str], exit: Exit| user.ends(&[&["--labs", &folder, "lock", "mine"], more].concat(), exit);

    let dry = lock(&["--dry-run", "--only", "tool,disk"], Exit::LabInvalid);
    assert!(dry.out.contains(&format!("1.2 sha256:{}", &sha256("tool for arm64")[..12])), "{}", dry.out);
    assert!(!dry.out.contains("listed") && !std::path::Path::new(&own_lock(&user)).exists());

    lock(&[], Exit::LabInvalid).tells(&[
        "lock.incomplete",
        "alone: its upstream publishes no sum",
        "--first-use --only alone",
    ]);
    let found = pins(&user);
    assert_eq!(found["tool amd64"]["digest"], format!("sha256:{}", sha256("tool for amd64")));
    assert_eq!(found["listed all"]["digest"], format!("sha256:{}", sha256("listed")));
    assert_eq!(found["disk all"]["digest"], format!("sha512:{sha512}"));
    assert!(
        found["listed all"]["found"]
            .as_str()
            .expect("a place")
            .starts_with(&upstream.url("/v1.2/SHA256SUMS, read on "))
    );

    lock(&["--first-use"], Exit::Done);
    let first = &pins(&user)["alone all"];
    assert_eq!((&first["trust"], &first["bytes"]), (&json!("first-use"), &json!(14)));
    assert_eq!(first["digest"], format!("sha256:{}", sha256("nobody sums it")));
    user.ends(&["--labs", &folder, "plan", "mine"], Exit::Done);
    user.ends(&["--labs", &folder, "lock", "--check", "mine"], Exit::Done);
    lock(&[], Exit::Done).tells(&["as it should be"]);
    lock(&["--only", "tol"], Exit::NoSuch).tells(&["did you mean `tool`?"]);
}

#[test]
fn a_variant_has_a_lock_of_its_own() {
    let (user, upstream) = (User::new(), Upstream::new());
    for version in ["1.2.3", "1.2.4"] {
        upstream.put(&format!("/{version}/kubectl.sha256"), sha256(version));
    }
    upstream.put("/tool.sha256", sha256("tool"));
    let kubectl = upstream.url("/{version}/kubectl");
    let of_release =
        url("kubectl", &kubectl, Some(&format!("{kubectl}.sha256"))).replace("\"1.2\"", "\"{kubernetes}\"");
    let tool = url("tool", &upstream.url("/tool"), Some(&upstream.url("/tool.sha256")));
    let folder = lab(&user, &[of_release, tool].concat());
    let run = |words: &[&str], exit: Exit| user.ends(&[&["--labs", &folder], words].concat(), exit);
    run(&["lock", "mine"], Exit::Done);
    let of_the_lab = std::fs::read_to_string(own_lock(&user)).expect("written");

    let other = ["--set", "kubernetes=1.2.4"];
    run(&[&["plan", "mine"][..], &other].concat(), Exit::LabInvalid)
        .tells(&["no digest for kubectl", "calicolab lock mine --set kubernetes=1.2.4"]);
    run(&[&["lock", "mine"][..], &other].concat(), Exit::Done);
    let own = user.path("config/calicolab/labs/mine/lock-kubernetes-1.2.4.yaml");
    let own = std::fs::read_to_string(own).expect("written");
    assert!(own.contains(&sha256("1.2.4")) && own.contains(&sha256("tool")), "{own}");
    assert_eq!(std::fs::read_to_string(own_lock(&user)).expect("there"), of_the_lab);
    // Each is found again by the words that made it; what changes no release changes no lock.
    run(&[&["plan", "mine"][..], &other].concat(), Exit::Done);
    run(&["plan", "mine", "--set", "nodes.count=3"], Exit::Done);
    run(&["plan", "mine", "--set", "kubernetes=1.2.5"], Exit::LabInvalid).tells(&["no digest for kubectl"]);
    run(&["lock", "mine", "--set", "kubernetes=1.2.4"], Exit::Done).tells(&["as it should be"]);
    // An image of the user's own is for nobody else.
    run(&["lock", "mine", "--set", "image.tool=./mine.tar"], Exit::Usage)
        .tells(&["no lock can name", "--set image.tool=./mine.tar"]);
}

#[test]
fn a_list_that_says_otherwise_than_the_pin_is_refused() {
    let (user, upstream) = (User::new(), Upstream::new());
    upstream.put("/a.sha256", sha256("one"));
    let folder = lab(&user, &url("a", &upstream.url("/a"), Some(&upstream.url("/a.sha256"))));
    let lock = |more: &[&str], exit: Exit| user.ends(&[&["--labs", &folder, "lock", "mine"], more].concat(), exit);
    lock(&[], Exit::Done);
    // What others recorded becomes the upstream's word when it says the same.
    let text = std::fs::read_to_string(own_lock(&user)).expect("written");
    std::fs::write(own_lock(&user), text.replace("found:", "trust: recorded\n  found:")).expect("written");
    let confirmed = lock(&[], Exit::Done);
    assert!(confirmed.out.contains("(recorded)"), "{}", confirmed.out);
    assert_eq!(pins(&user)["a all"]["trust"], Value::Null);

    upstream.put("/a.sha256", sha256("two"));
    let (one, two) = (format!("sha256:{}", sha256("one")), format!("sha256:{}", sha256("two")));
    lock(&[], Exit::Digest).tells(&["lock.changed", &one, &two, "nothing was written", "--accept-changed"]);
    assert_eq!(pins(&user)["a all"]["digest"], one);
    lock(&["--accept-changed", "--dry-run"], Exit::Done);
    assert_eq!(pins(&user)["a all"]["digest"], one);
    lock(&["--accept-changed"], Exit::Done);
    assert_eq!(pins(&user)["a all"]["digest"], two);
}

#[test]
fn a_registry_says_what_a_tag_means() {
    let (user, upstream) = (User::new(), Upstream::new());
    let list = |note: &str| {
        let one = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 7,
            "digest": format!("sha256:{}", sha256(note)), "platform": {"os": "linux", "architecture": "amd64"}});
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [one]})
            .to_string()
    };
    upstream.put("/v2/team/tool/manifests/v1.2", list("one"));
    upstream.put("/v2/", "{}");
    let host = &upstream.host;
    let artifacts = format!(
        "  - {{name: tool, version: \"1.2\", oci: {{reference: \"{host}/team/tool:v{{version}}\"}}}}\n  - {{name: none, version: \"1.2\", oci: {{reference: \"{host}/team/none:v{{version}}\"}}}}\n"
    );
    let folder = lab(&user, &artifacts);
    let lock = |more: &[&str], exit: Exit| user.ends(&[&["--labs", &folder, "lock", "mine"], more].concat(), exit);
    lock(&[], Exit::Download).tells(&["lock.unresolved", "none: ", "has no "]);
    let one = format!("sha256:{}", sha256(list("one")));
    assert_eq!(pins(&user)["tool all"]["digest"], one);
    // A tag may be moved: the manifest that is pinned stays what it is.
    upstream.put("/v2/team/tool/manifests/v1.2", list("two"));
    lock(&["--only", "tool"], Exit::LabInvalid).tells(&["stays as it is pinned", &sha256(list("two"))]);
    assert_eq!(pins(&user)["tool all"]["digest"], one);
}

#[test]
fn upstreams_that_fail_are_named_and_nothing_hangs() {
    let (user, upstream) = (User::new(), Upstream::new());
    upstream.put("/silent", "");
    let refused = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let cases = [
        ("gone", upstream.url("/gone")),
        ("around", upstream.url("/around")),
        ("endless", upstream.url("/endless")),
        ("silent", upstream.url("/silent")),
        ("closed", format!("http://{refused}/a")),
    ];
    let artifacts: String = cases.iter().map(|(name, sums)| url(name, &upstream.url("/file"), Some(sums))).collect();
    let folder = lab(&user, &artifacts);
    let said: Said = user.ends(&["--labs", &folder, "lock", "mine"], Exit::Download);
    said.tells(&[
        "gone: ",
        "status 404",
        "around: ",
        "leads on and on",
        "endless: ",
        "sends more than the 4194304 bytes",
        "has no sum of",
        "closed: ",
        "Connection refused",
    ]);
    user.ends(&["--offline", "--labs", &folder, "lock", "mine"], Exit::Offline)
        .tells(&["lock.offline", "lock --check"]);
}
