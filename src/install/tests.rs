//! Tests of placing: every file under its name, with its digest, on the nodes that use it.

use std::path::Path;

use super::*;
use crate::artifact::apt::Archive;
use crate::artifact::cache::Cache;
use crate::artifact::payload::{self, Part, PartSource};
use crate::artifact::store::{Reach, Store};
use crate::event::Events;
use crate::lab::example;
use crate::lab::file::Taken;
use crate::lab::pin::{Arch, Digest, Pin, Source, Trust};

/// One pinned file on all nodes under another name and mode, and on the master under a third.
pub(super) async fn packed(folder: &Path) -> Payload {
    use sha2::Digest as _;
    let pin = Pin {
        name: "tool".into(),
        version: "1".into(),
        arch: Arch::All,
        source: Source::Url { urls: Vec::new(), sums: None },
        digest: Digest::Sha256(sha2::Sha256::digest(b"tool\n").into()),
        bytes: None,
        trust: Trust::Published,
        found: "here".into(),
    };
    let (cache, (events, _told)) = (Cache::at(folder.join("cache")), Events::channel());
    let at = cache.file(&pin.digest);
    std::fs::create_dir_all(at.parent().expect("a folder")).expect("made");
    std::fs::write(at, "tool\n").expect("written");
    let store = Store::new(cache.clone(), "test".parse().expect("a name"), Reach::Offline, Archive::of_host());
    let from = PartSource::Verified(store.ensure(&pin, &events).await.expect("in the cache"));
    let part = |on, to: &str| {
        let taken = Taken { from: None, to: to.into(), mode: Some(0o755) };
        Part { from: from.clone(), on, files: vec![taken] }
    };
    let parts = vec![part(On::All, "opt/bin/renamed"), part(On::Master, "opt/master")];
    payload::pack(&cache, parts, &events).await.expect("packed")
}

/// A payload, and what two nodes want of it: the master `one`, and `two`.
async fn wanted(folder: &Path) -> (Payload, [String; 2]) {
    let plan = example::planned(&example::lab(&["one", "two"]), "demo");
    let (pki, payload) = (Pki::ensure(&folder.join("pki"), &plan).expect("keys"), packed(folder).await);
    let told = plan.nodes.map(|_, _| String::new());
    let kit = Kit { plan: &plan, pki: &pki, payload: &payload, manifests: &[], told: &told, add_ons: &[] };
    let sums = ["one", "two"].map(|node| kit.sums(&node.parse().expect("a name")));
    (payload, sums)
}

/// The node's own script up to where it starts units, with `folder` in place of the root.
async fn placed(folder: &Path, payload: &Path) -> crate::command::Output {
    let place = PLACE.replacen("cd /\n", "cd \"$2\"\n", 1).replacen(SUMS, "sums", 1);
    let place = place.replacen("/run/calicolab/unpacked.sha256", "unpacked", 1);
    let argv = Argv::node_script(&place, ["stream", &folder.display().to_string()]);
    let input = std::fs::read(payload).expect("a payload");
    crate::command::run_with_input(&argv, input, LIMIT).await.expect("a shell")
}

#[tokio::test]
async fn what_a_template_unpacked_is_not_unpacked_again_and_what_is_anothers_goes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (payload, sums) = wanted(folder.path()).await;
    let [one, two] = sums;
    let nothing = folder.path().join("nothing");
    std::fs::write(&nothing, "").expect("written");
    let placed_on = async |name: &str, unpacked: &str, tool: &str, there: &Path| {
        let root = folder.path().join(name);
        std::fs::create_dir_all(root.join("opt/bin")).expect("made");
        for (path, text) in
            [("sums", &*two), ("unpacked", unpacked), ("opt/bin/renamed", tool), ("opt/master", "tool\n")]
        {
            std::fs::write(root.join(path), text).expect("written");
        }
        let output = placed(&root, there).await;
        (output, ["opt/bin/renamed", "opt/master", "unpacked"].map(|file| root.join(file).exists()))
    };
    // All that the second needs is there by its digest, and what the first alone gets beside it.
    let (output, there) = placed_on("whole", &one, "tool\n", &nothing).await;
    assert!(output.ok() && there == [true, false, false], "{there:?} {}", output.stderr);
    // Unpacked from other bytes: taken from the payload again.
    let other = one.replace(&one[..64], &"0".repeat(64));
    let (output, there) = placed_on("other", &other, "other\n", payload.path()).await;
    assert!(output.ok() && there == [true, false, false], "{there:?} {}", output.stderr);
    assert_eq!(std::fs::read(folder.path().join("other/opt/bin/renamed")).expect("there"), b"tool\n");
}

#[tokio::test]
async fn a_node_checks_every_file_under_the_name_it_has_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let (payload, sums) = wanted(folder.path()).await;
    let files = [("one", &["opt/bin/renamed", "opt/master"][..]), ("two", &["opt/bin/renamed"])];
    for ((node, files), sums) in files.into_iter().zip(sums) {
        let root = folder.path().join(node);
        std::fs::create_dir(&root).expect("made");
        assert_eq!(sums.lines().map(|line| &line[66..]).collect::<Vec<_>>(), files);
        std::fs::write(root.join("sums"), sums).expect("written");
        let output = placed(&root, payload.path()).await;
        assert!(output.ok(), "{}", output.stderr);
        assert!(files.iter().all(|file| std::fs::read(root.join(file)).expect("there") == b"tool\n"));
        // Other bytes under the name, and nothing to mend them with.
        let altered = folder.path().join("altered");
        let bytes = std::fs::read(payload.path()).expect("there");
        std::fs::write(&altered, bytes.iter().map(|b| if *b == b'\n' { b'x' } else { *b }).collect::<Vec<_>>())
            .expect("written");
        std::fs::write(root.join("opt/bin/renamed"), "x").expect("written");
        let output = placed(&root, &altered).await;
        assert_eq!(output.ended, Ended::Exit(ALTERED), "{}", output.stderr);
        assert!(output.stderr.contains("opt/bin/renamed: FAILED"), "{}", output.stderr);
    }
}
