//! The archive of an image, taken by those who are to take it: containerd, docker, and skopeo in docker's and OCI's way.

use std::path::Path;
use std::process::{Command, Output};

use calicolab::artifact::verified::Derived;
use calicolab::lab::kubernetes::Runtime;
use calicolab::node::image;
use serde_json::Value;

use super::engine::Engine;
use super::*;
use crate::support::registry::PROGRAMS;

/// An image in both families, pushed, fetched and packed.
async fn packed(home: &Home, family: Family, reference: &str) -> (Image, Derived) {
    let registry = Registry::open().await;
    // The same layer twice, as builders of images make them.
    let base: (&str, &[u8]) = ("base", b"base");
    let image = Image::of(family, "amd64", &[base, ("usr/bin/probe", &noise(300_000, 5)), base]);
    registry.push("lab/packed", &image).await;
    let fetched = pin(format!("{}/lab/packed:v1", registry.host()), Arch::Amd64, image.digest());
    home.get(&fetched).await.expect("fetched");
    // Under the name of a registry that no test can ask; the bytes are there.
    let verified = home.get(&pin(reference.into(), Arch::Amd64, image.digest())).await.expect("there");
    let archive = oci::archive(&home.cache(), &verified, &home.events).await.expect("packed");
    (image, archive)
}

fn skopeo(words: &[&str]) -> Output {
    let program = Path::new(PROGRAMS).join("usr/bin/skopeo");
    assert!(program.exists(), "{} is missing: run scripts/test-programs.sh", program.display());
    let libraries = ["usr/lib", "lib"].map(|folder| format!("{PROGRAMS}/{folder}/x86_64-linux-gnu")).join(":");
    let command = Command::new(program).env("LD_LIBRARY_PATH", libraries).args(words).output();
    let output = command.expect("skopeo runs");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn inspected(place: &str) -> Value {
    serde_json::from_slice(&skopeo(&["inspect", place]).stdout).expect("JSON")
}

#[tokio::test]
async fn docker_and_oci_read_the_same_image_out_of_it() {
    let home = Home::new();
    for family in [Family::Docker, Family::Oci] {
        let (image, archive) = packed(&home, family, "docker.io/calico/probe:v3").await;
        let tar = archive.path().display().to_string();
        assert_eq!(sha256(&std::fs::read(archive.path()).expect("there")), *archive.digest());

        // It is asked for by the name that docker knows it by.
        let docker = inspected(&format!("docker-archive:{tar}:calico/probe:v3"));
        assert_eq!((&docker["Architecture"], &docker["Os"]), (&"amd64".into(), &"linux".into()));
        let oci = inspected(&format!("oci-archive:{tar}"));
        assert_eq!(oci["Digest"], image.digest().to_string());
        assert_eq!(oci["Layers"].as_array().map(Vec::len), Some(3));

        // Not only its tables: every layer is unpacked and its sum compared with the configuration's.
        for (from, to) in [("docker-archive", "docker"), ("oci-archive", "oci")] {
            let copy = home.folder.path().join(format!("{to}-{family:?}"));
            skopeo(&["--insecure-policy", "copy", &format!("{from}:{tar}"), &format!("dir:{}", copy.display())]);
            assert_eq!(std::fs::read(copy.join(sha256(&image.config).hex())).expect("copied"), image.config);
        }
    }
}

#[tokio::test]
async fn the_same_image_gives_the_same_bytes_and_a_damaged_one_is_made_anew() {
    let (home, other) = (Home::new(), Home::new());
    let name = "quay.example/lab/probe:v1";
    let ((_, one), (_, two)) = (packed(&home, Family::Oci, name).await, packed(&other, Family::Oci, name).await);
    assert_ne!(one.path(), two.path());
    assert_eq!(std::fs::read(one.path()).expect("there"), std::fs::read(two.path()).expect("there"));
    assert_eq!(one.recipe(), two.recipe());

    std::fs::remove_file(one.path()).expect("removed");
    std::fs::write(one.path(), b"damaged").expect("damaged");
    let (_, again) = packed(&home, Family::Oci, name).await;
    assert_eq!((again.path(), again.digest()), (one.path(), two.digest()));
}

#[tokio::test]
async fn containerd_imports_and_unpacks_it() {
    let home = Home::new();
    let containerd = Engine::containerd().await;
    let hex = "11".repeat(32);
    let by_digest = format!("quay.example/lab/probe@sha256:{hex}");
    for (family, name, shown) in [
        (Family::Docker, "busybox:1.28", "docker.io/library/busybox:1.28"),
        (Family::Oci, "quay.example/lab/probe:v1", "quay.example/lab/probe:v1"),
        (Family::Oci, &by_digest, &by_digest),
    ] {
        let (image, archive) = packed(&home, family, name).await;
        let tar = archive.path().display().to_string();
        containerd.asked(&["images", "import", "--snapshotter", "native", &tar]);
        let listed = containerd.asked(&["images", "ls"]);
        let line = listed.lines().find(|line| line.starts_with(shown)).unwrap_or_else(|| panic!("{shown}:\n{listed}"));
        assert!(line.contains(&image.digest().to_string()), "{line}");
        let checked = containerd.asked(&["images", "check", "--snapshotter", "native"]);
        let line = checked.lines().find(|line| line.starts_with(shown)).expect("listed");
        assert!(line.contains("complete") && line.trim_end().ends_with("true"), "{line}");
    }
}

/// What `load` runs on a node, by whichever of the two a lab has; what they answer is the same on all nodes then.
#[tokio::test]
async fn each_runtime_takes_an_image_of_the_users_own_from_standard_input() {
    let home = Home::new();
    let (image, archive) = packed(&home, Family::Docker, "busybox:1.28").await;
    let (there, gone) = ("docker.io/library/busybox:1.28", "docker.io/library/nobody:1");
    let configuration = sha256(&image.config).to_string();
    let containerd = (Engine::containerd().await, Runtime::Containerd, image.digest().to_string());
    for (engine, runtime, digest) in [containerd, (Engine::docker().await, Runtime::Docker, configuration)] {
        for _ in 0..2 {
            let said = engine.runs(&image::take(runtime, [there, gone]), archive.path());
            assert_eq!(image::taken(&said), [(there.to_owned(), digest.clone())], "{runtime}");
        }
    }
}

#[tokio::test]
async fn docker_loads_it_under_its_name() {
    let (home, docker) = (Home::new(), Engine::docker().await);
    for (family, name) in [(Family::Docker, "busybox:1.28"), (Family::Oci, "quay.example/lab/probe:v1")] {
        let (image, archive) = packed(&home, family, name).await;
        let said = docker.asked(&["load", "--input", &archive.path().display().to_string()]);
        assert!(said.contains(&format!("Loaded image: {name}")), "{said}");
        // Docker's own name for it is the sum of its configuration.
        let listed = docker.asked(&["image", "inspect", "--format", "{{.Id}} {{len .RootFS.Layers}}", name]);
        assert_eq!(listed.trim(), format!("{} 3", sha256(&image.config)));
    }
}
