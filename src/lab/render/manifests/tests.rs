//! Our own manifests for the eras' labs: in API versions that each serves, with images that it brings.

use super::*;
use crate::lab::example::carried;

#[test]
fn what_1_7_is_given() {
    let library = Library::open(None).expect("own");
    let plan = carried("calico-2.4-etcd", &[]);
    let texts: Vec<String> = manifests(&plan, &library).expect("rendered").into_iter().map(|(_, text)| text).collect();
    let images = crate::lab::calico::images(&plan);
    let hosts = images.iter().filter_map(|image| image.split_once('/')).map(|(host, _)| host);
    insta::assert_snapshot!(hosts.fold(texts.join("---\n"), |text, host| text.replace(host, "registry.example")));
}

#[test]
fn every_lab_gets_what_its_own_kubernetes_serves() {
    let library = Library::open(None).expect("own");
    for (lab, dns, apps, rbac) in [
        ("calico-2.4-etcd", true, "extensions/v1beta1", "rbac.authorization.k8s.io/v1beta1"),
        ("calico-3.0-etcd", true, "apps/v1", "rbac.authorization.k8s.io/v1"),
        ("calico-3.14-kubeadm", false, "apps/v1", ""),
        ("calico-3.21-kdd", false, "apps/v1", ""),
        ("calico-3.21-etcd", false, "apps/v1", ""),
        ("calico-3.32", false, "apps/v1", ""),
    ] {
        let plan = carried(lab, &[]);
        let made = manifests(&plan, &library).expect(lab);
        assert_eq!(made.iter().any(|(add_on, _)| *add_on == AddOn::Dns), dns, "{lab}");
        let policies = [AddOn::Deny, AddOn::Allow].map(|policy| manifest(&plan, policy, &library).expect(lab));
        let texts: Vec<String> = made.into_iter().map(|(_, text)| text).chain(policies).collect();
        let versions: Vec<&str> =
            texts.iter().flat_map(|text| text.lines()).filter_map(|line| line.strip_prefix("apiVersion: ")).collect();
        for version in versions {
            assert!(["v1", "networking.k8s.io/v1", apps, rbac].contains(&version), "{lab}: {version}");
        }
        assert!(texts.iter().all(|text| !text.contains("image:") || text.contains("imagePullPolicy: Never")), "{lab}");
    }
}

#[test]
fn an_image_that_the_lab_does_not_bring_is_an_error_with_its_place() {
    let library = Library::open(None).expect("own");
    let mut plan = carried("calico-3.0-etcd", &[]);
    plan.artifacts.retain(|placed| placed.pin.name != "coredns");
    let error = manifest(&plan, AddOn::Dns, &library).expect_err("no image").to_string();
    assert!(error.starts_with("manifests/dns.yaml:") && error.contains("undefined value"), "{error}");
}
