//! What each lab changes in manifests of the shape that its upstream has.

use super::*;
use crate::install::manifest::Pristine;
use crate::lab::example::carried;

fn sample(name: &str, text: &str) -> Vec<Pristine> {
    vec![Pristine { name: name.into(), text: text.into() }]
}

fn diff(lab: &str, sets: &[&str], files: &[Pristine]) -> String {
    let plan = carried(lab, sets);
    let client = EtcdClient { ca: "CA", cert: "CERT", key: "KEY" };
    let client = wants_client(&plan).then_some(client);
    let made = as_applied(&plan, files, client.as_ref()).unwrap_or_else(|error| panic!("{lab}: {error}"));
    unnamed(text(&made), &plan)
}

/// Which registries a lab's images come from is the lab's own business.
fn unnamed(text: String, plan: &Plan) -> String {
    let images = crate::lab::calico::images(plan);
    let hosts = images.iter().filter_map(|image| image.split_once('/')).map(|(host, _)| host);
    hosts.fold(text, |text, host| text.replace(host, "registry.example"))
}

macro_rules! sample {
    ($name:literal) => {
        sample($name, include_str!(concat!("../../../install/manifest/samples/", $name)))
    };
}

#[test]
fn calico_2_4() {
    insta::assert_snapshot!(diff("calico-2.4-etcd", &[], &sample!("calico-2.4.yaml")));
}

#[test]
fn calico_3_0() {
    insta::assert_snapshot!(diff("calico-3.0-etcd", &[], &sample!("calico-3.0.yaml")));
}

#[test]
fn calico_3_14() {
    insta::assert_snapshot!(diff("calico-3.14-kubeadm", &[], &sample!("calico-3.14.yaml")));
}

#[test]
fn calico_3_21() {
    insta::assert_snapshot!(diff("calico-3.21-kdd", &[], &sample!("calico-3.21.yaml")));
}

#[test]
fn calico_3_21_in_etcd() {
    insta::assert_snapshot!(diff("calico-3.21-etcd", &[], &sample!("calico-3.21-etcd.yaml")));
}

#[test]
fn calico_3_32() {
    insta::assert_snapshot!(diff("calico-3.32", &[], &sample!("calico-3.32.yaml")));
}

#[test]
fn calico_3_32_by_its_operator() {
    let sets = ["calico.install=operator", "calico.encapsulation=vxlan", "network.pods=10.244.0.0/16"];
    insta::assert_snapshot!(diff("calico-3.32", &sets, &sample!("operator-3.32.yaml")));
}

#[test]
fn other_ways_of_wrapping_change_the_variables_and_the_packets_alone() {
    let changed = |lab: &str, set: &str, files: &[Pristine]| {
        let (with, without) = (diff(lab, &[set], files), diff(lab, &[], files));
        let lines: Vec<&str> =
            with.lines().filter(|line| line.starts_with('+') && !without.contains(line)).map(str::trim).collect();
        format!("{lab} {set}\n{}\n", lines.join("\n"))
    };
    let told = [
        changed("calico-2.4-etcd", "calico.encapsulation=none", &sample!("calico-2.4.yaml")),
        changed("calico-3.0-etcd", "calico.encapsulation=ipip-cross-subnet", &sample!("calico-3.0.yaml")),
        changed("calico-3.21-kdd", "calico.encapsulation=vxlan", &sample!("calico-3.21.yaml")),
        changed("calico-3.32", "calico.encapsulation=none", &sample!("calico-3.32.yaml")),
        changed("calico-3.32", "calico.detection=interface", &sample!("calico-3.32.yaml")),
    ];
    insta::assert_snapshot!(told.concat());
}

/// The lab says which 24 objects the file has; a file of others is told by what is missing and what is too much.
#[test]
fn objects_that_the_lab_does_not_accept_are_named() {
    let plan = carried("calico-3.14-kubeadm", &[]);
    let files = sample!("calico-3.14.yaml");
    let made = as_applied(&plan, &files, None).expect("the accepted ones");
    assert_eq!(made.iter().map(|file| file.objects.len()).sum::<usize>(), 24);
    let refused = |text: &str| {
        let error = as_applied(&plan, &sample("calico.yaml", text), None).expect_err("others");
        assert_eq!(not_edited(&error, &plan).exit(), Exit::LabInvalid);
        error.to_string()
    };
    let renamed = files[0].text.replace("name: ippools.crd", "name: pools.crd");
    let object = "CustomResourceDefinition/ippools.crd.projectcalico.org";
    assert_eq!(
        refused(&renamed),
        format!(
            "`calico.yaml` and the lab's `accept.objects` are not the same 24: missing is {object}; \
             too much is {}",
            object.replace("ippools", "pools")
        )
    );
    let more = format!("{}---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: more\n", files[0].text);
    assert!(refused(&more).ends_with("too much is Secret/more"), "{}", refused(&more));
    let (less, _) = files[0].text.rsplit_once("---\n").expect("documents");
    assert!(refused(less).ends_with("missing is ServiceAccount/calico-kube-controllers"), "{}", refused(less));
}

/// A release whose manifest has another shape than the lab knows is not applied half.
#[test]
fn what_the_upstream_renamed_is_named() {
    for (from, to, told) in [
        ("name: CALICO_IPV4POOL_IPIP", "name: CALICO_POOL_IPIP", "env[CALICO_IPV4POOL_IPIP]"),
        ("veth_mtu: \"0\"", "mtu: \"0\"", "no `data.veth_mtu` there"),
        ("name: calico-config", "name: config", "there is no ConfigMap/calico-config"),
        ("cni:v3.21.2", "cni:v3.21.3", "wants the image `upstream.example/calico/cni:v3.21.3`"),
    ] {
        let files = sample!("calico-3.21.yaml");
        let files = sample("calico.yaml", &files[0].text.replace(from, to));
        let error = as_applied(&carried("calico-3.21-kdd", &[]), &files, None).expect_err(from);
        assert!(error.to_string().contains(told), "{error}");
        assert_eq!(not_edited(&error, &carried("calico-3.21-kdd", &[])).exit(), Exit::LabInvalid);
    }
}
