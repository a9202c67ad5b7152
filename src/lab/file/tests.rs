//! Right labs and wrong ones: every problem has its place, its nearest word or its remedy.

use super::super::addressing::{LAB_POOL, NAT, overlap};
use super::super::builtin::Library;
use super::*;

pub(in crate::lab) fn primer_text() -> String {
    let library = Library::open(None).expect("the binary's own");
    library.lab(&"primer".parse().expect("a name")).expect("it is carried").text
}

fn images() -> &'static Images {
    static IMAGES: std::sync::LazyLock<Images> =
        std::sync::LazyLock::new(|| Library::open(None).expect("the binary's own").images().expect("they are right"));
    &IMAGES
}

pub(in crate::lab) fn read(text: &str, sets: &[&str]) -> Result<Lab, Problems> {
    let sets: Vec<Setting> = sets
        .iter()
        .map(|set| match set.strip_prefix("--nodes ") {
            Some(count) => Setting::nodes(count.parse().expect("a number")),
            None => set.parse().expect("a setting"),
        })
        .collect();
    Lab::read(&"primer".parse().expect("a name"), text, "lab.yaml", &sets, images())
}

pub(in crate::lab) fn primer(sets: &[&str]) -> Lab {
    read(&primer_text(), sets).expect("right")
}

#[test]
fn every_carried_lab_is_right_and_its_lock_too() {
    let library = Library::open(None).expect("the binary's own");
    let images = library.images().expect("right images");
    let labs = library.labs().expect("readable");
    assert!(labs.iter().any(|lab| lab.as_str() == "primer"));
    for name in labs {
        let text = library.lab(&name).expect("it is listed");
        let lab = Lab::read(&name, &text.text, &text.shown, &[], &images);
        assert!(lab.is_ok(), "{}", lab.expect_err("checked"));
        if let Some(lock) = library.lock_text(&name, None).expect("readable") {
            let lock = super::super::pin::Lock::read(&lock.text, &lock.shown);
            assert!(lock.is_ok(), "{}", lock.expect_err("checked"));
        }
    }
}

#[test]
fn what_primer_does_not_say_is_what_it_says() {
    let text = "schema: 1\nabout: a\nimage: debian-12\ninstaller: primer\nnodes: {count: 3}\nartifacts: []\n";
    let small = read(text, &[]).expect("right");
    let primer = primer(&[]);
    let whole = Lab { about: small.about.clone(), artifacts: Vec::new(), ..primer };
    assert_eq!(small, whole);
}

#[test]
fn settings_change_a_lab_as_its_text_would() {
    let lab =
        primer(&["bgp.mesh=off", "bgp.reflectors=calico-01, calico-03", "nodes.memory=1GiB", "network.domain=lab.1"]);
    let reflectors: Vec<&str> = lab.bgp.reflectors.iter().map(NodeName::as_str).collect();
    assert_eq!((lab.bgp.mesh, reflectors), (false, vec!["calico-01", "calico-03"]));
    assert_eq!((lab.nodes.memory_mib, lab.network.domain.as_str()), (1024, "lab.1"));
    let named = primer(&["nodes.names=alice,bob"]);
    assert_eq!(named.nodes.names.iter().map(NodeName::as_str).collect::<Vec<_>>(), ["alice", "bob"]);
    for word in ["on", "yes", "true", "On"] {
        assert!(primer(&[&format!("bgp.mesh={word}")]).bgp.mesh, "{word}");
    }
    let text = primer_text().replace("mesh: on ", "mesh: true ");
    assert!(read(&text, &[]).expect("right").bgp.mesh);
    assert_eq!(primer(&["--nodes 9"]).nodes.names.len(), 9);
}

#[test]
fn every_problem_is_told_with_place_and_remedy() {
    let primer = primer_text();
    let with = |from: &str, to: &str| {
        assert!(primer.contains(from), "primer does not say {from}");
        primer.replace(from, to)
    };
    let nodes = "nodes: {count: 3, prefix: calico-, cpus: 1, memory: 512MiB, disk: 4GiB}";
    let bird = "files: [usr/sbin/bird, usr/sbin/birdc]";
    let cases: &[(&str, String, &[&str])] = &[
        ("no yaml", "a: [\n".into(), &[]),
        ("empty", String::new(), &[]),
        ("a list", "- a\n".into(), &[]),
        ("other schema", with("schema: 1", "schema: 2\nnew: thing"), &[]),
        ("unknown keys", with(nodes, "nodes: {count: 3, memroy: 1GiB}\nkernel: 6"), &[]),
        ("a key twice", with(nodes, &format!("{nodes}\nimage: debian-12")), &[]),
        ("wrong types", with(nodes, "nodes: {count: three, prefix: [a], cpus: 1.5, memory: 512, disk: true}"), &[]),
        ("out of range", with(nodes, "nodes: {count: 10, cpus: 0, memory: 64MiB, disk: 1TB}"), &[]),
        ("no host names", with(nodes, "nodes: {names: [alice, Bob, 'c d', alice, 7]}"), &[]),
        ("no host name prefix", with("prefix: calico-", "prefix: calico_"), &[]),
        ("names and count", with("prefix: calico-", "names: [a, b]"), &[]),
        ("neither names nor count", with(nodes, "nodes: {cpus: 2}"), &[]),
        (
            "unknown words",
            with("installer: primer", "installer: pimer").replace("image: debian-12", "image: debian12"),
            &[],
        ),
        ("unknown image", with("image: debian-12 ", "image: windows"), &[]),
        ("overlaps", with("10.244.0.0/16", "10.0.0.0/8"), &[]),
        ("lab overlap", with("lab: auto", "lab: 10.96.3.0/24"), &[]),
        ("pool overlap", with("10.244.0.0/16", "198.18.0.0/16"), &[]),
        ("no ranges", with("10.244.0.0/16", "10.244.0.1/16").replace("10.96.0.0/16", "10.96/16"), &[]),
        ("unusable ranges", with("10.244.0.0/16", "127.0.0.0/16").replace("10.96.0.0/16", "10.96.0.0/30"), &[]),
        ("pods too small", with("10.244.0.0/16", "10.244.0.0/25"), &["--nodes 5"]),
        ("block larger than pods", with("10.244.0.0/16", "10.244.0.0/24").replace("block: 26", "block: 22"), &[]),
        ("block and mtu", with("block: 26", "block: 28").replace("mtu: 1500", "mtu: 100"), &[]),
        ("domain", with("cluster.local", "cluster_local").replace("mtu: 1500", "mtu: big"), &[]),
        ("domain with a dot", with("cluster.local", "cluster.local."), &[]),
        ("bgp", with("as: 64512", "as: 23456").replace("timers: quick", "timers: slow"), &[]),
        ("placement", with("placement: spread", "placement: stack"), &[]),
        ("bgp switch", with("mesh: on ", "mesh: maybe "), &[]),
        ("reflectors with mesh", with("reflectors: []", "reflectors: [calico-01]"), &[]),
        ("no reflectors", with("mesh: on ", "mesh: off "), &[]),
        (
            "strange reflectors",
            with("mesh: on ", "mesh: off ")
                .replace("reflectors: []", "reflectors: [calico-1, alice, calico-02, calico-02]"),
            &[],
        ),
        ("bad paths", with(bird, "files: [/usr/sbin/bird, ../etc/passwd, a//b, 'a b', usr/bin/etcd]"), &[]),
        ("no files", with(bird, "files: []").replace("files: [usr/bin/etcd]", ""), &[]),
        ("artifact names", with("name: runc", "name: bird").replace("name: etcd-client", "name: --etcd"), &[]),
        (
            "artifact sources",
            with("apt: {package: runc, suite: bookworm}", "oci: {reference: 'a/b:latest'}")
                .replace(
                    "apt: {package: bird, suite: bookworm}",
                    "url: {urls: ['ftp://x/y']}\n    apt: {package: bird}",
                )
                .replace("apt: {package: etcd-server, suite: bookworm}", "apt: {package: etcd-server}")
                .replace("    apt: {package: etcd-client, suite: bookworm}\n", ""),
            &[],
        ),
        (
            "artifacts no list",
            "schema: 1\nabout: a\nimage: debian-12\ninstaller: primer\nnodes: {count: 2}\nartifacts: {a: b}\n".into(),
            &[],
        ),
        ("times", with("stability: 5s", "stability: 30s").replace("up: 300s", "up: 300"), &[]),
        (
            "times, strange",
            with("stability: 5s", "stability: soon")
                .replace("up: 300s", "up: 1.5s")
                .replace("verify: 25s", "verify: 3d"),
            &[],
        ),
        ("missing", "schema: 1\n".into(), &[]),
        (
            "settings",
            primer.clone(),
            &["bgp.mish=off", "nodes.memroy=1GiB", "artifacts.0.name=x", "network.lab.a=b", "nodes.cpus=many"],
        ),
        ("settings of groups", primer.clone(), &["bgp=off", "artifacts=bird", "nodes.names.0=a"]),
        ("setting a mesh off", primer.clone(), &["bgp.mesh=off"]),
        ("setting an unknown reflector", primer.clone(), &["bgp.mesh=off", "bgp.reflectors=calico-04"]),
        ("too many nodes", primer.clone(), &["--nodes 12"]),
        ("names and --nodes", primer.clone(), &["nodes.names=a,b", "--nodes 3"]),
        ("setting to nothing", primer.clone(), &["image="]),
    ];
    let told = cases
        .iter()
        .map(|(title, text, sets)| format!("# {title}\n{}\n", read(text, sets).expect_err(title)))
        .collect::<Vec<_>>()
        .join("\n");
    insta::assert_snapshot!(told);
}

#[test]
fn problems_are_data_too() {
    let problems = read(&primer_text().replace("cpus", "cups"), &["bgp.mesh=off"]).expect_err("wrong");
    insta::assert_snapshot!(serde_json::to_string_pretty(&problems).expect("JSON"));
}

#[test]
fn ranges_of_the_host_are_apart() {
    assert!(!overlap(LAB_POOL, NAT));
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]
    #[test]
    fn no_text_breaks_the_reader(text in ".{0,200}", at in 0usize..2000, cut in 0usize..40) {
        let _ = read(&text, &[]);
        let primer = primer_text();
        let from = (0..=at.min(primer.len())).rev().find(|&i| primer.is_char_boundary(i)).unwrap_or(0);
        let to = (from..=(from + cut).min(primer.len())).rev().find(|&i| primer.is_char_boundary(i)).unwrap_or(from);
        let _ = read(&format!("{}{}{}", &primer[..from], text, &primer[to..]), &[]);
    }
}
