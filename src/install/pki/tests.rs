//! Tests of the certificates, read by openssl.

use std::collections::BTreeSet;
use std::process::Command;

use super::*;
use crate::lab::artifact::On;
use crate::lab::example;
use crate::lab::file::Installer;
use crate::lab::kubernetes as release;

fn members(on: On) -> release::Kubernetes {
    let etcd = Some(release::Etcd { on, tls: true });
    release::Kubernetes { version: "1.20.2".parse().expect("a release"), etcd, network: None }
}

fn kubernetes() -> Plan {
    with(Installer::Binaries)
}

fn with(installer: Installer) -> Plan {
    let mut lab = example::lab(&["one", "two"]);
    lab.installer = installer;
    if installer == Installer::Binaries {
        lab.kubernetes = Some(members(On::Master));
    }
    example::planned(&lab, "demo")
}

fn kubernetes_of(pki: &Pki) -> Option<&Kubernetes> {
    match &pki.made {
        Made::Here(issued) => issued.kubernetes.as_ref(),
        Made::There(_) => None,
    }
}

fn list(folder: &Path) -> Vec<String> {
    let all = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        all.map(|file| file.expect("an entry").file_name().into_string().expect("text")).collect();
    names.sort_unstable();
    names
}

/// What openssl says of a certificate.
fn openssl(folder: &Path, words: &[&str]) -> String {
    let out = Command::new("openssl").args(words).current_dir(folder).output().expect("openssl is installed");
    assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("text")
}

#[test]
fn every_certificate_of_kubernetes_names_whom_it_should() {
    let home = tempfile::tempdir().expect("a folder");
    let (folder, plan) = (home.path().join("pki"), kubernetes());
    let pki = Pki::ensure(&folder, &plan).expect("made");
    let subject = |file: &str| {
        openssl(&folder, &["verify", "-CAfile", "ca.crt", file]);
        openssl(&folder, &["x509", "-noout", "-subject", "-nameopt", "sep_comma_plus,sname", "-in", file])
    };
    for (file, wanted) in [
        ("admin.crt", ["CN=kubernetes-admin", "O=system:masters"]),
        ("kubelet-client.crt", ["CN=kube-apiserver-kubelet-client", "O=system:masters"]),
        ("kube-controller-manager.crt", ["CN=system:kube-controller-manager", ""]),
        ("kube-scheduler.crt", ["CN=system:kube-scheduler", ""]),
        ("kube-proxy.crt", ["CN=system:kube-proxy", ""]),
        ("node.one.crt", ["CN=system:node:one", "O=system:nodes"]),
        ("node.two.crt", ["CN=system:node:two", "O=system:nodes"]),
    ] {
        let said = subject(file);
        let words: BTreeSet<&str> = said.trim().trim_start_matches("subject=").split(',').map(str::trim).collect();
        assert_eq!(words, wanted.into_iter().filter(|word| !word.is_empty()).collect(), "{file}");
    }
    let names = openssl(&folder, &["x509", "-noout", "-ext", "subjectAltName", "-in", "kube-apiserver.crt"]);
    let master = plan.master_node().address.to_string();
    for name in ["DNS:kubernetes.default.svc.cluster.local", "DNS:one", "IP Address:10.96.0.1", &master, "127.0.0.1"] {
        assert!(names.contains(name), "{name}: {names}");
    }
    assert_eq!(kubernetes_of(&pki).map(|own| own.master.len()), Some(5));
    assert!(Pki::good_until(&folder).is_some_and(|day| day > today()));
}

/// Every member is reached by its own address, and whoever may ask is named as the members are told.
#[test]
fn each_member_of_etcd_has_its_own_and_so_has_each_client() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("pki");
    let carried = example::planned(&example::carried_lab("calico-3.21-etcd", &[]), "demo");
    let pki = Pki::ensure(&folder, &carried).expect("made");
    assert_eq!(pki.members.iter().filter(|(_, pair)| pair.is_some()).count(), 3);
    let names = |file: &str| {
        openssl(&folder, &["verify", "-CAfile", "ca.crt", file]);
        openssl(&folder, &["x509", "-noout", "-ext", "subjectAltName", "-in", file])
    };
    let third = carried.nodes.iter().nth(2).expect("a node");
    for name in [&format!("DNS:{}", third.0), &format!("IP Address:{}", third.1.address), "127.0.0.1"] {
        assert!(names(&format!("etcd.{}.crt", third.0)).contains(name), "{name}");
    }
    for client in ["etcd-client.crt", "etcd-calico.crt"] {
        assert!(names(client).contains("DNS:kube-apiserver-etcd-client"), "{client}");
    }
    assert!(pki.calico().is_some() && pki.join().is_some());
    // With kubeadm's own etcd there is nothing of it.
    let pki = Pki::ensure(&home.path().join("other"), &with(Installer::Kubeadm)).expect("made");
    assert!(pki.clients.is_none() && pki.members.iter().all(|(_, pair)| pair.is_none()));
}

#[test]
fn one_that_ran_out_is_of_the_same_authority_and_key() {
    let home = tempfile::tempdir().expect("a folder");
    let (folder, plan) = (home.path().join("pki"), crate::proof::samples::plan(2));
    Pki::ensure(&folder, &plan).expect("made");
    std::fs::write(folder.join("old.crt"), expired_etcd(&folder, &plan).expect("made")).expect("written");
    openssl(&folder, &["verify", "-no_check_time", "-CAfile", "ca.crt", "old.crt"]);
    let public = |file: &str| openssl(&folder, &["x509", "-pubkey", "-noout", "-in", file]);
    assert_eq!(public("old.crt"), public("etcd.crt"));
    let mut ended = Command::new("openssl");
    ended.args(["x509", "-checkend", "0", "-noout", "-in", "old.crt"]).current_dir(&folder);
    assert_eq!(ended.status().expect("openssl is installed").code(), Some(1));
}

#[test]
fn they_are_made_once_and_closed_to_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().expect("a folder");
    let (folder, plan) = (home.path().join("pki"), kubernetes());
    let (first, again) = (Pki::ensure(&folder, &plan).expect("made"), Pki::ensure(&folder, &plan).expect("read"));
    let keys = |pki: &Pki| kubernetes_of(pki).map(|own| own.service_accounts.key.clone());
    assert_eq!(first.authority, again.authority);
    assert_eq!(keys(&first), keys(&again));
    for file in std::fs::read_dir(&folder).expect("a folder") {
        let file = file.expect("an entry");
        assert_eq!(file.metadata().expect("there").permissions().mode() & 0o777, 0o600, "{}", file.path().display());
    }
}

#[test]
fn nodes_join_by_a_token_and_by_the_authoritys_own_sum() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("pki");
    let made = |folder: &Path| {
        Pki::ensure(folder, &with(Installer::Kubeadm)).expect("made").join().expect("asked for").clone()
    };
    let (join, again, other) = (made(&folder), made(&folder), made(&home.path().join("other")));
    openssl(&folder, &["x509", "-in", "ca.crt", "-pubkey", "-noout", "-out", "public"]);
    openssl(&folder, &["pkey", "-pubin", "-in", "public", "-outform", "der", "-out", "der"]);
    let said = openssl(&folder, &["dgst", "-sha256", "-r", "der"]);
    assert_eq!(said.split(' ').next(), Some(join.authority.as_str()));
    let token = &join.token;
    let of_kubeadm = |part: &str| part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let (id, secret) = token.split_once('.').expect("two parts");
    assert!((id.len(), secret.len()) == (6, 16) && of_kubeadm(id) && of_kubeadm(secret), "{token}");
    assert!(*token == again.token && *token != other.token);
    // kubeadm issues every certificate itself: none of ours would be used.
    assert_eq!(list(&folder), ["ca.crt", "ca.key", "der", "public", "token", "until"]);
    assert!(Pki::ensure(&home.path().join("units"), &kubernetes()).expect("made").join().is_none());
}

#[test]
fn from_the_day_on_that_openssl_calls_their_end_they_have_ended() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("pki");
    let long_ago = jiff::civil::date(2019, 2, 28);
    let plan = example::planned(&example::lab(&["one", "two"]), "demo");
    make(&folder, &plan, long_ago).expect("made");
    let end = jiff::civil::date(2021, 2, 28);
    let ended = Ended { of: ["ca", "etcd", "one", "two"].map(String::from).into(), day: end };
    for name in &ended.of {
        let said = openssl(&folder, &["x509", "-noout", "-enddate", "-in", &format!("{name}.crt")]);
        assert_eq!(said, "notAfter=Feb 28 00:00:00 2021 GMT\n", "{name}");
    }
    assert_eq!(Pki::ended(&folder, end.yesterday().expect("a day")), None);
    assert_eq!(Pki::ended(&folder, end), Some(ended.clone()));
    assert_eq!(Pki::ended(&folder, today()), Some(ended));
}

#[test]
fn without_kubernetes_there_is_nothing_of_it() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("pki");
    let pki = Pki::ensure(&folder, &example::planned(&example::lab(&["one", "two"]), "demo")).expect("made");
    assert!(kubernetes_of(&pki).is_none());
    assert!(!folder.join("admin.crt").exists() && !folder.join("service-accounts.key").exists());
}
