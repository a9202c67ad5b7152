//! What labs say wrongly of their Kubernetes and Calico, each with its place and its remedy.

use super::*;
use crate::lab::builtin::Library;
use crate::lab::example::carried_lab;
use crate::lab::file::Lab;
use crate::lab::problem::Problems;

fn read(lab: &str, sets: &[&str], from: &str, to: &str) -> Result<Lab, Problems> {
    let library = Library::open(None).expect("own");
    let text = library.lab(&lab.parse().expect("a name")).expect("carried").text;
    assert!(text.contains(from), "{lab} does not say {from}");
    let sets: Vec<_> = sets.iter().map(|set| set.parse().expect("a setting")).collect();
    let images = library.images().expect("right");
    Lab::read(&lab.parse().expect("a name"), &text.replacen(from, to, 1), "lab.yaml", &sets, &images)
}

#[test]
fn every_problem_is_told_with_place_and_remedy() {
    let cases: &[(&str, &[&str], &str, &str)] = &[
        ("calico-3.21-kdd", &["kubernetes=1.25.3"], "", ""),
        ("calico-3.21-kdd", &["calico=3.27.0"], "", ""),
        ("calico-3.21-kdd", &["calico=3.32.1", "kubernetes=1.20"], "", ""),
        ("calico-3.32", &["image=ubuntu-20.04"], "", ""),
        ("calico-3.14-kubeadm", &[], "image: ubuntu-20.04", "image: debian-13-cloud"),
        ("calico-3.14-kubeadm", &["kubernetes=1.21.14", "image=debian-12-cloud", "calico.backend=vxlan"], "", ""),
        ("calico-3.21-kdd", &["calico.backend=vxlan"], "", ""),
        ("calico-3.21-kdd", &["calico.datastore=etcd"], "", ""),
        ("calico-3.21-kdd", &["calico.install=operator"], "", ""),
        ("calico-3.21-kdd", &["calico.encapsulation=geneve", "calico.detection=first-found"], "", ""),
        ("calico-3.0-etcd", &["calico.encapsulation=vxlan", "calico.detection=cidr"], "", ""),
        ("calico-3.0-etcd", &["network.block=25"], "", ""),
        ("calico-3.0-etcd", &[], "  etcd: {on: master, tls: on}     # one for both\n", ""),
        (
            "calico-3.0-etcd",
            &[],
            "file: var/lib/calicolab/images/calico-node.tar",
            "file: var/lib/calicolab/images/node.tar",
        ),
        ("calico-3.21-kdd", &[], "kubernetes: {version: 1.20.8}\n", ""),
        (
            "primer",
            &[],
            "    apt: {package: runc, suite: bookworm}",
            "    version: \"{calico}\"\n    url: {urls: ['http://x.example/y']}",
        ),
        ("calico-3.21-kdd", &[], "{of: calico-release, member: \"release", "{of: calico-relase, membre: \"release"),
        (
            "calico-3.21-kdd",
            &[],
            "  manifests:\n",
            "  edits:\n    - {in: calico-node, at: spec..x, set: 1}\n    - {in: DaemonSet/a, at: spec, set: 1, put: 2}\n    - {in: DaemonSet/a, at: spec}\n  manifests:\n",
        ),
        ("primer", &["kubernetes=1.20.8"], "", ""),
        (
            "calico-3.21-kdd",
            &[],
            "kubernetes: {version: 1.20.8",
            "kubernetes: {network: {nat: on, hostport: on}, version: 1.20.8",
        ),
        ("calico-3.0-etcd", &["kubernetes.network.nat=maybe"], "", ""),
        (
            "coreos-0.15",
            &["kubernetes.version=1.1.2", "kubernetes.network.nat=on", "kubernetes.network.hostport=on"],
            "",
            "",
        ),
    ];
    let told = cases
        .iter()
        .map(|(lab, sets, from, to)| {
            let problems = read(lab, sets, from, to).expect_err("wrong");
            let what = if to.is_empty() { from } else { to };
            format!("# {lab} {}{}\n{problems}\n", sets.join(" "), what.trim())
        })
        .collect::<Vec<_>>()
        .join("\n");
    insta::assert_snapshot!(told);
}

#[test]
fn the_artifacts_of_a_release_are_of_the_one_that_is_asked_for() {
    let lab = carried_lab("calico-3.32", &["kubernetes=1.35.7", "calico=3.31.2"]);
    let version = |name: &str| lab.artifact(name).expect(name).version.clone().expect("a version");
    assert_eq!([version("kubelet"), version("calico-node"), version("busybox")], ["1.35.7", "3.31.2", "1.28"]);
}

#[test]
fn edits_of_a_lab_are_values_of_any_kind() {
    let edits = "  edits:
    - {in: DaemonSet/calico-node, at: 'spec.template.spec.containers[calico-node].env[A]', put: {name: A, value: 'on'}}
    - {in: ConfigMap/calico-config, at: data.a, set: [1, true, 1.5, null, x]}
    - {in: ConfigMap/calico-config, at: data.b, remove: on}
  manifests:\n";
    let lab = read("calico-3.21-kdd", &[], "  manifests:\n", edits).expect("right");
    let text = serde_json::to_string(&lab.calico.expect("there").edits).expect("JSON");
    assert_eq!(
        text,
        r#"[{"in":"DaemonSet/calico-node","at":"spec.template.spec.containers[calico-node].env[A]","put":{"name":"A","value":"on"}},{"in":"ConfigMap/calico-config","at":"data.a","set":[1,true,1.5,null,"x"]},{"in":"ConfigMap/calico-config","at":"data.b","remove":null}]"#
    );
    let again: Vec<Edit> = serde_json::from_str(&text).expect("read again");
    assert_eq!(again.len(), 3);
}

#[test]
fn only_the_plugin_of_2016_takes_a_policy() {
    let told = read("primer", &["policy=k8s-annotations"], "", "").expect_err("refused").to_string();
    assert!(told.contains("the installer `primer` takes no `policy`") && told.contains("remove it"), "{told}");
    let told = read("coreos-0.15", &["policy=k8s-anotations"], "", "").expect_err("refused").to_string();
    assert!(told.contains("k8s-annotations"), "{told}");
    let lab = read("coreos-0.15", &["policy=k8s-annotations", "image=flatcar"], "", "").expect("right");
    assert_eq!((lab.policy, lab.image.as_str()), (Policy::K8sAnnotations, "flatcar"));
    assert_eq!(read("coreos-0.15", &[], "", "").expect("right").policy, Policy::None);
}
