//! Homes on real disks: races, half-made clusters, names that must fit.

use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::*;
use crate::cluster::example;

struct Temp {
    folder: tempfile::TempDir,
    home: Home,
}

fn temp() -> Temp {
    let folder = tempfile::Builder::new().prefix("t").rand_bytes(6).tempdir_in("/tmp").expect("a temporary folder");
    let home = Home::at(&folder.path().join("home"), folder.path(), "up").expect("a home");
    Temp { folder, home }
}

fn name(text: &str) -> ClusterName {
    text.parse().expect("a name")
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).expect("there").permissions().mode() & 0o7777
}

#[test]
fn a_cluster_is_on_disk_and_locked_before_anything_else_of_it() {
    let Temp { home, folder: _folder } = temp();
    let locked = home.create(example::state("demo")).expect("begun");
    assert_eq!(mode(&locked.folder()), 0o700);
    assert_eq!(mode(&locked.folder().join(STATE)), 0o600);
    assert_eq!(home.read(&name("demo")).expect("readable while locked"), *locked.state());

    let error = home.lock(&name("demo")).expect_err("it is locked").to_string();
    let start = format!("cluster `demo` is in use by `calicolab up` (pid {} on ", std::process::id());
    assert!(error.starts_with(&start), "{error}");
    assert!(matches!(home.create(example::state("demo")), Err(StateError::Held { by: Some(_), .. })));
    drop(locked);
    assert!(matches!(home.create(example::state("demo")), Err(StateError::Exists { .. })));
    home.lock(&name("demo")).expect("it is free again");
}

#[test]
fn of_threads_that_create_one_name_one_wins() {
    let Temp { home, folder: _folder } = temp();
    let wins = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| home.create(example::state("demo")))).collect();
        // Kept until all have tried, or the winner's lock would be gone.
        let all: Vec<_> = all.into_iter().map(|one| one.join().expect("no panic")).collect();
        all.iter().filter(|one| one.is_ok()).count()
    });
    assert_eq!(wins, 1);
}

#[test]
fn what_is_recorded_is_read() {
    let Temp { home, folder: _folder } = temp();
    let mut locked = home.create(example::state("demo")).expect("begun");
    locked.record(|state| state.phase = Phase::Stopped).expect("written");
    let read = home.read(&name("demo")).expect("read");
    assert_eq!(read.phase, Phase::Stopped);
    assert!(read.changed >= read.created);
    assert_eq!(locked.owner().id, read.id);
}

#[test]
fn a_reader_never_sees_half_a_state() {
    let Temp { home, folder: _folder } = temp();
    let mut locked = home.create(example::state("demo")).expect("begun");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = 0;
                    while !done.load(Ordering::Relaxed) {
                        home.read(&name("demo")).expect("always whole");
                        seen += 1;
                    }
                    seen
                })
            })
            .collect();
        for round in 0..150 {
            let message = "x".repeat(round * 400);
            locked.record(|state| state.phase = Phase::Failed { message }).expect("written");
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().expect("no panic") > 0);
        }
    });
}

#[test]
fn removing_leaves_nothing_and_is_repeated_safely() {
    let Temp { folder, home } = temp();
    let locked = home.create(example::state("demo")).expect("begun");
    std::fs::create_dir_all(locked.folder().join("vm/calico-01")).expect("made");
    std::fs::write(locked.folder().join("vm/calico-01/disk"), "x").expect("written");
    let sockets = home.sockets(&name("demo")).expect("made");
    std::fs::write(sockets.join("calico-01.qmp"), "").expect("written");
    locked.remove().expect("removed");
    assert!(!sockets.exists());
    assert!(matches!(home.lock_to_undo(&name("demo")), Err(StateError::NoSuch { .. })));
    assert_eq!(std::fs::read_dir(home.root().join("clusters")).expect("listed").count(), 0);
    assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 1, "only the home itself");
    home.create(example::state("demo")).expect("the name is free");
}

#[test]
fn a_link_out_of_the_folder_is_removed_and_not_followed() {
    let Temp { folder, home } = temp();
    let outside = folder.path().join("outside");
    std::fs::create_dir(&outside).expect("made");
    std::fs::write(outside.join("precious"), "x").expect("written");
    let locked = home.create(example::state("demo")).expect("begun");
    std::os::unix::fs::symlink(&outside, locked.folder().join("vm")).expect("linked");
    locked.remove().expect("removed");
    assert!(outside.join("precious").exists());
}

#[test]
fn half_made_and_damaged_clusters_are_listed_and_can_be_undone() {
    let Temp { home, folder: _folder } = temp();
    let begun = home.create(example::state("good")).expect("begun");
    for (cluster, text) in
        [("cut", r#"{"schema":1,"name":"cut","id":"ab","provider":"qe"#), ("newer", r#"{"schema":9}"#)]
    {
        std::fs::create_dir_all(home.folder(&name(cluster))).expect("made");
        std::fs::write(home.folder(&name(cluster)).join(STATE), text).expect("written");
    }
    std::fs::create_dir(home.folder(&name("empty"))).expect("made");

    let found = home.list().expect("listed");
    let told: Vec<String> = found
        .iter()
        .map(|found| {
            let state = match &found.state {
                Ok(state) => state.phase.word(),
                Err(StateError::Broken { .. }) => "broken",
                Err(StateError::Schema { .. }) => "newer",
                Err(_) => "missing",
            };
            format!("{} {state} {}", found.name, found.holder.is_some())
        })
        .collect();
    assert_eq!(told, ["cut broken false", "empty missing false", "good raising true", "newer newer false"]);

    assert!(matches!(home.lock(&name("newer")), Err(StateError::Schema { found: 9, .. })));
    assert!(matches!(home.lock(&name("empty")), Err(StateError::NoSuch { .. })));
    let cut = home.lock_to_undo(&name("cut")).expect("locked");
    assert_eq!(cut.state().id.as_deref(), Some("ab"));
    cut.record_destroying().expect("nothing to record in");
    cut.remove().expect("removed");
    home.lock_to_undo(&name("newer")).expect("locked").remove().expect("removed");
    home.create(example::state("empty")).expect("what died before it began can be begun");

    drop(begun);
    let good = home.lock_to_undo(&name("good")).expect("locked");
    good.record_destroying().expect("recorded");
    assert_eq!(home.read(&name("good")).expect("read").phase, Phase::Destroying);
}

#[test]
fn no_home_and_no_cluster_are_told_apart_from_failure() {
    let Temp { home, folder: _folder } = temp();
    assert!(home.list().expect("an empty list").is_empty());
    assert!(matches!(home.read(&name("demo")), Err(StateError::NoSuch { .. })));
    assert!(matches!(home.lock(&name("demo")), Err(StateError::NoSuch { .. })));
    assert!(!home.root().exists(), "looking makes nothing");
}

#[test]
fn the_label_is_the_same_before_and_after_and_through_a_link() {
    let Temp { folder, home } = temp();
    let label = home.label(&name("demo"));
    assert!(label.starts_with("calicolab/") && label.ends_with("/demo") && label.len() == 10 + 8 + 5, "{label}");
    home.create(example::state("demo")).expect("begun");
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(home.root(), &link).expect("linked");
    for path in [home.root().to_path_buf(), link, home.root().join("../home/")] {
        assert_eq!(Home::at(&path, "/tmp", "ls").expect("a home").label(&name("demo")), label);
    }
    let other = Home::at(&folder.path().join("other"), "/tmp", "ls").expect("a home");
    assert_ne!(other.label(&name("demo")), label);
    // On another host the same path is another home.
    let on = |host: &str| labels(home.root(), host.as_bytes());
    assert!(on("one") == on("one") && on("one") != on("other"));
}

#[test]
fn sockets_stay_where_the_maker_put_them() {
    let Temp { folder, home } = temp();
    home.create(example::state("demo")).expect("begun");
    let first = home.sockets(&name("demo")).expect("made");
    assert_eq!(mode(&first), 0o700);
    std::fs::set_permissions(&first, std::fs::Permissions::from_mode(0o755)).expect("opened");
    let elsewhere = Home::at(home.root(), folder.path().join("other"), "down").expect("a home");
    assert_eq!(elsewhere.sockets(&name("demo")).expect("there"), first);
    assert_eq!(mode(&first), 0o700);
}

#[test]
fn a_folder_of_sockets_that_is_not_ours_is_refused() {
    let Temp { folder, home } = temp();
    let path = home.socket_path(&name("demo"));
    std::fs::write(&path, "").expect("written");
    assert!(matches!(home.sockets(&name("demo")), Err(StateError::Foreign { .. })));
    std::fs::remove_file(&path).expect("removed");
    let trap = folder.path().join("trap");
    std::fs::create_dir(&trap).expect("made");
    std::os::unix::fs::symlink(&trap, &path).expect("linked");
    assert!(matches!(home.sockets(&name("demo")), Err(StateError::Foreign { .. })), "a link is followed by nobody");
    let long = Home::at(home.root(), folder.path().join("x".repeat(40)), "up").expect("a home");
    assert!(matches!(long.sockets(&name("demo")), Err(StateError::Long { .. })));
}

#[test]
fn another_users_folder_of_sockets_is_refused() {
    let Temp { folder, home } = temp();
    let foreign = if uid() == 0 {
        let path = folder.path().join("foreign");
        std::fs::create_dir(&path).expect("made");
        std::os::unix::fs::chown(&path, Some(65534), None).expect("given away");
        path
    } else {
        "/usr".into()
    };
    let locked = home.create(example::state("demo")).expect("begun");
    std::fs::remove_file(locked.folder().join(SOCKETS)).expect("removed");
    std::os::unix::fs::symlink(&foreign, locked.folder().join(SOCKETS)).expect("linked");
    let error = home.sockets(&name("demo")).expect_err("it is another user's").to_string();
    assert!(error.contains("belongs to the user with id"), "{error}");
    locked.remove().expect("removed");
    assert!(foreign.exists(), "and it is not removed either");
}

#[test]
fn the_environment_gives_a_home_whose_sockets_fit() {
    let home = Home::from_env("ls").expect("a home");
    assert!(home.root().is_absolute());
    assert!(fits(&home.socket_path(&name(&"x".repeat(40)))));
}

proptest! {
    #[test]
    fn every_socket_fits_and_every_label_tells_clusters_apart(
        cluster in "[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?",
        other in "[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?",
        root in "/[a-z/]{1,200}",
        base in "/[a-z0-9/]{1,22}",
    ) {
        let home = Home { root: root.into(), sockets: base.into(), verb: "up".into() };
        let path = home.socket_path(&name(&cluster)).join(format!("{}.qmp", "n".repeat(63)));
        prop_assert!(path.as_os_str().len() <= SOCKET_PATH, "{}", path.display());
        prop_assert!(home.label(&name(&cluster)).len() <= 10 + 9 + 40);
        if cluster != other {
            prop_assert_ne!(home.label(&name(&cluster)), home.label(&name(&other)));
            prop_assert_ne!(home.socket_path(&name(&cluster)), home.socket_path(&name(&other)));
        }
    }
}
