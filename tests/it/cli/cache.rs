//! The cache on the command line: who wants what, what is damaged, and what can go.

use std::fs::File;
use std::path::Path;

use calicolab::cluster::home::Home;
use calicolab::cluster::state::{ClusterState, Wish};
use calicolab::failure::Exit;
use calicolab::lab::pin::Digest;
use calicolab::machine::Kind;
use serde_json::Value;

use super::tiny::{Tiny, files};
use crate::support::plans;

fn names(value: &Value) -> Vec<String> {
    let things = value["things"].as_array().expect("things");
    things.iter().map(|thing| thing["called"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn what_is_there_is_listed_with_who_wants_it() {
    let tiny = Tiny::new();
    tiny.put(&Digest::Sha256([1; 32]), b"nobody's");
    let list = tiny.json(&["cache", "ls", "-o", "json"]);
    let of = |called: &str| {
        let things = list["things"].as_array().expect("things");
        things
            .iter()
            .find(|thing| thing["called"] == called)
            .unwrap_or_else(|| panic!("no {called} in {list:#}"))
            .clone()
    };
    for (name, digest, _) in files() {
        let thing = of(&format!("{name} 1"));
        assert_eq!((&thing["wanted_by"][0], &thing["digest"]), (&"tiny".into(), &digest.to_string().into()));
    }
    let image = names(&list).into_iter().find(|name| name.starts_with("images/small-")).expect("the image");
    assert_eq!((&of(&image)["kind"], &of(&image)["wanted_by"][0]), (&"image".into(), &"tiny".into()));
    assert_eq!(of(&format!("sha256/01/{}", "01".repeat(32)))["wanted_by"], serde_json::json!([]));
    let table = tiny.ends(&["cache", "ls"], Exit::Done).out;
    assert!(table.contains("WANTED BY") && table.contains("5 things, "), "{table}");
    let empty = Tiny::without_bytes();
    assert_eq!(empty.json(&["cache", "ls", "-o", "json"])["bytes"], 0);
}

#[test]
fn damage_is_found_named_and_removed() {
    let tiny = Tiny::new();
    tiny.ends(&["cache", "verify"], Exit::Done);
    tiny.put(&files()[1].1, b"BETA");
    let image = tiny.put_image();
    std::fs::write(image.join("vmlinuz"), "VMLINUZ").expect("written");
    let said = tiny.ends(&["cache", "verify"], Exit::Digest);
    said.tells(&["cache.damaged", "beta 1 is damaged", "images/small-", "--remove-damaged"]);
    let found = tiny.json(&["cache", "verify", "--remove-damaged", "-o", "json"]);
    assert_eq!((&found["right"], found["removed"].as_array().map(Vec::len)), (&2.into(), Some(2)), "{found:#}");
    assert!(!tiny.cache().file(&files()[1].1).exists() && !image.exists());
    tiny.ends(&["cache", "verify"], Exit::Done);
}

#[test]
fn nothing_goes_but_what_nobody_wants_and_only_when_told() {
    let tiny = Tiny::new();
    let nobodys = tiny.put(&Digest::Sha256([1; 32]), b"nobody's");
    let wanted = tiny.cache().file(&files()[0].1);
    let (part, held) = (wanted.with_extension("part"), tiny.put(&Digest::Sha256([2; 32]), b"at work"));
    let root = tiny.cache().root().to_owned();
    let old = root.join("images/small-0123456789ab");
    let (derived, killed) =
        (root.join("payload/payload-0123456789abcdef.tar"), root.join("images/.small-0123456789ac.part"));
    for folder in [&old, &killed, &root.join("payload"), &root.join("locks")] {
        std::fs::create_dir_all(folder).expect("made");
    }
    for file in [&part, &derived, &old.join("disk.raw"), &killed.join("disk.raw")] {
        std::fs::write(file, "x").expect("written");
    }
    let lock = File::create(root.join("locks").join("02".repeat(32))).expect("made");
    lock.lock().expect("nobody else is at it");

    let gone = [&nobodys, &part, &old, &killed, &derived];
    let dry = tiny.ends(&["cache", "prune"], Exit::Done).out;
    for word in
        ["images/small-0123456789ab", "payload-0123456789abcdef.tar", ".part", "6 things, ", "--yes removes these"]
    {
        assert!(dry.contains(word), "{word}: {dry}");
    }
    assert!(gone.iter().all(|path| path.exists()) && held.exists(), "a look removes nothing");
    let young = tiny.json(&["cache", "prune", "--older-than", "1", "-o", "json"]);
    assert_eq!(names(&young), [""; 0], "all of it is of today");
    let said = tiny.ends(&["cache", "prune", "--yes"], Exit::Done);
    said.tells(&["1 thing stay", "another run is at"]);
    assert!(gone.iter().all(|path| !path.exists()), "{}", said.out);
    assert!(held.exists() && wanted.exists());
    tiny.ends(&["--offline", "fetch", "tiny"], Exit::Done);
    drop(lock);
    tiny.ends(&["cache", "prune", "--yes"], Exit::Done);
    assert!(!held.exists());
    tiny.ends(&["cache", "prune", "--all", "--yes"], Exit::Done);
    assert_eq!(names(&tiny.json(&["cache", "ls", "-o", "json"])), [""; 0]);
}

#[test]
fn what_a_cluster_is_made_from_stays() {
    let tiny = Tiny::new();
    let plan = plans::primer("demo", 3);
    let home = Home::at(Path::new(&tiny.user.path("home")), std::env::temp_dir(), "up").expect("a home");
    let locked = home.create(ClusterState::begun(&plan, Kind::Qemu, Wish::default(), None)).expect("begun");
    let of_plan: Vec<_> = plan.artifacts.iter().map(|placed| tiny.put(&placed.pin.digest, b"x")).collect();
    let image = tiny.cache().root().join("images/debian-12-0123456789ab");
    let payload = tiny.cache().root().join("payload/payload-0123456789abcdef.tar");
    for folder in [&image, &tiny.cache().root().join("payload")] {
        std::fs::create_dir_all(folder).expect("made");
    }
    std::fs::write(&payload, "x").expect("written");
    // A cluster whose plan cannot be read could want anything.
    tiny.ends(&["cache", "prune", "--yes"], Exit::Conflict).tells(&["cluster demo cannot be read", "calicolab down"]);
    std::fs::write(locked.folder().join("plan.json"), serde_json::to_vec(&plan).expect("JSON")).expect("written");
    tiny.ends(&["cache", "prune", "--all", "--yes"], Exit::Done);
    assert!(of_plan.iter().chain([&image, &payload]).all(|path| path.exists()));
    assert!(files().iter().all(|(_, digest, _)| !tiny.cache().file(digest).exists()), "labs' files went");
}

/// A point of a cluster that is gone, standing on this file of the cache.
fn keep_point(tiny: &Tiny, cluster: &str, on: &Path, schema: u32) -> std::path::PathBuf {
    let kept = Path::new(&tiny.user.path("home")).join("kept").join(cluster);
    let folder = kept.join("points/good");
    std::fs::create_dir_all(&folder).expect("made");
    let point = serde_json::json!({
        "schema": schema, "name": "good", "at": "2026-01-01T00:00:00Z", "calicolab": "0.1.0", "cluster": "00ab",
        "lab": "primer", "provider": "qemu", "parent": null, "proven": null, "fit": {},
        "saved": {"id": "x", "paused": {"secs": 0, "nanos": 0}, "spread": {"secs": 0, "nanos": 0}, "parts": [], "lost": []},
        "files": [{"of": "cache", "file": on, "digest": format!("sha256:{}", "01".repeat(32)), "bytes": 1}],
    });
    for (file, text) in [("point.json", point.to_string()), ("n1.memory", "memory".into())] {
        std::fs::write(folder.join(file), text).expect("written");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(folder.join(file), private).expect("closed");
    }
    kept
}

#[test]
fn points_are_listed_and_what_they_stand_on_stays_until_they_go() {
    let tiny = Tiny::new();
    let image = tiny.cache().root().join("images/debian-12-0123456789ab");
    std::fs::create_dir_all(&image).expect("made");
    std::fs::write(image.join("disk.raw"), "x").expect("written");
    let kept = keep_point(&tiny, "old", &image.join("disk.raw"), 1);
    let listed = tiny.json(&["cache", "ls", "-o", "json"]);
    let point = &listed["points"][0];
    assert_eq!(
        (&point["point"], &point["cluster"], &point["mode"], &point["cluster_is_there"]),
        (&"good".into(), &"old".into(), &"0600".into(), &false.into()),
        "{listed:#}"
    );
    let table = tiny.ends(&["cache", "ls"], Exit::Done).out;
    assert!(
        table.contains("point good of old") && table.contains("1 point, ") && table.contains("hold keys"),
        "{table}"
    );
    tiny.ends(&["cache", "prune", "--all", "--yes"], Exit::Done);
    assert!(image.exists() && kept.exists(), "the point stands on it");
    // What stands on nobody knows what keeps everything.
    let other = keep_point(&tiny, "other", &image, 7);
    tiny.ends(&["cache", "prune", "--yes"], Exit::Conflict).tells(&["point good of other cannot be read"]);
    tiny.ends(&["down", "other"], Exit::Done).tells(&["1 point of an earlier `other` is removed"]);
    assert!(!other.exists());
    let would = tiny.ends(&["cache", "prune", "--points"], Exit::Done).out;
    assert!(would.contains("old (gone)") && would.contains("images/debian-12-") && kept.exists(), "{would}");
    tiny.ends(&["cache", "prune", "--points", "--yes"], Exit::Done);
    assert!(!image.exists() && !kept.exists());
}

#[test]
fn down_of_all_leaves_no_point_unless_told() {
    let tiny = Tiny::new();
    let kept = keep_point(&tiny, "old", Path::new("/nowhere"), 1);
    tiny.ends(&["down", "--all", "--keep-points"], Exit::Done);
    assert!(kept.exists());
    tiny.ends(&["down", "--all"], Exit::Done);
    assert!(!kept.exists());
}
