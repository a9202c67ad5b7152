//! Points on a real disk: whole or not at all, damaged, of another schema.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::*;
use crate::guest::Kind;
use crate::machine::ability::Saved;

pub(in crate::point) fn example() -> Point {
    let saved = Saved {
        id: "id-1".into(),
        paused: Duration::from_millis(480),
        spread: Duration::from_millis(2),
        parts: Vec::new(),
        lost: Vec::new(),
    };
    Point {
        schema: SCHEMA,
        name: name("one"),
        at: jiff::Timestamp::UNIX_EPOCH,
        calicolab: "0.1.0".into(),
        cluster: "00112233445566778".into(),
        lab: "primer".parse().expect("a name"),
        provider: Kind::Qemu,
        parent: None,
        proven: None,
        fit: [("QEMU".into(), "7.2.22".into())].into(),
        saved,
        files: Vec::new(),
    }
}

fn name(word: &str) -> PointName {
    word.parse().expect("a name")
}

/// A point with a file of its own, one that others stand on, and one of the cache.
async fn saved(points: &Points, cache: &Path) -> Point {
    let part = points.begin(&name("one")).expect("begun");
    fs::create_dir(part.folder().join("lab")).expect("a folder");
    fs::write(part.folder().join("lab/plan.json"), "{}").expect("written");
    fs::write(part.folder().join("n1.memory"), "memory").expect("written");
    fs::write(points.shared().join("n1.qcow2"), "disk").expect("written");
    fs::write(cache, "image").expect("written");
    let sums = part.sums(&points.shared(), vec!["n1.qcow2".into()], vec![cache.into()]).await.expect("hashed");
    let point = Point { files: sums, ..example() };
    assert_eq!(points.names().expect("listed"), []);
    part.finish(&point).expect("finished");
    point
}

#[tokio::test]
async fn a_point_is_there_when_it_is_whole_and_gone_at_once() {
    let folder = tempfile::tempdir().expect("a temp folder");
    let points = Points::of(folder.path());
    assert_eq!(points.names().expect("listed"), []);
    let point = saved(&points, &folder.path().join("image")).await;
    assert_eq!(point.files.len(), 4);
    assert_eq!(points.read(&name("one")).expect("read"), point);
    points.check(&point).await.expect("whole");
    for file in [points.folder(&name("one")), points.folder(&name("one")).join(POINT)] {
        assert_eq!(fs::metadata(file).expect("stat").permissions().mode() & 0o077, 0);
    }
    assert!(matches!(points.begin(&name("one")), Err(PointError::Exists { .. })));

    // What is not finished leaves nothing, and what a killed run left is begun anew.
    let part = points.begin(&name("two")).expect("begun");
    fs::write(part.folder().join("half"), "half").expect("written");
    std::mem::forget(part);
    let part = points.begin(&name("two")).expect("begun");
    assert_eq!(fs::read_dir(part.folder()).expect("listed").count(), 0);
    let left = part.folder().to_owned();
    drop(part);
    assert!(!left.exists());

    points.set_here(&name("one")).expect("noted");
    assert_eq!((points.here(), points.returning()), (Some(name("one")), None));
    points.set_returning(&name("one")).expect("noted");
    assert_eq!(points.returning(), Some(name("one")));
    points.returned().expect("noted");
    points.returned().expect("nothing to do");
    assert_eq!(points.returning(), None);

    points.remove(&name("one")).expect("removed");
    let error = points.remove(&name("one")).expect_err("gone").to_string();
    assert_eq!(error, "there is no point `one`");
}

#[tokio::test]
async fn whichever_file_is_damaged_is_named() {
    let folder = tempfile::tempdir().expect("a temp folder");
    let points = Points::of(folder.path());
    let image = folder.path().join("image");
    let point = saved(&points, &image).await;
    let own = points.folder(&name("one"));
    for path in [own.join("n1.memory"), own.join("lab/plan.json"), points.shared().join("n1.qcow2"), image] {
        let whole = fs::read(&path).expect("read");
        fs::write(&path, "other").expect("damaged");
        let error = points.check(&point).await.expect_err("damaged");
        assert!(matches!(&error, PointError::Damaged { path: named, .. } if *named == path), "{error}");
        fs::remove_file(&path).expect("removed");
        let error = points.check(&point).await.expect_err("missing");
        assert!(matches!(&error, PointError::Io { path: named, .. } if *named == path), "{error}");
        fs::write(&path, whole).expect("whole again");
        points.check(&point).await.expect("whole");
    }
}

#[tokio::test]
async fn another_schema_and_garbage_are_told_apart() {
    let folder = tempfile::tempdir().expect("a temp folder");
    let points = Points::of(folder.path());
    saved(&points, &folder.path().join("image")).await;
    let file = points.folder(&name("one")).join(POINT);
    fs::write(&file, r#"{"schema":7,"worlds":[]}"#).expect("written");
    assert!(matches!(points.read(&name("one")), Err(PointError::Schema { found: 7, .. })));
    fs::write(&file, "\0").expect("written");
    assert!(matches!(points.read(&name("one")), Err(PointError::Broken { .. })));
    assert_eq!(points.readable().expect("listed"), []);
    assert_eq!(points.names().expect("listed"), [name("one")]);
}

#[tokio::test]
async fn what_killed_runs_left_goes_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a temp folder");
    let points = Points::of(folder.path());
    points.clear_left().expect("nothing is there");
    let point = saved(&points, &folder.path().join("image")).await;
    points.set_here(&point.name).expect("noted");
    for left in [".killed.part", ".one.gone"] {
        let left = points.shared().with_file_name(left);
        fs::create_dir(&left).expect("a folder");
        fs::write(left.join("n1.memory"), "half").expect("written");
    }
    points.clear_left().expect("cleared");
    let left = fs::read_dir(points.shared().with_file_name("")).expect("listed").count();
    assert_eq!((left, points.here()), (3, Some(name("one"))), "the point, the disks, and the note");
    points.check(&point).await.expect("whole");
}
