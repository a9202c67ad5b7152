//! A tiny real guest that waits, saved once and resumed as two; and one that never comes to wait.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::machine::ability::Warm as _;
use crate::machine::qemu::process::labelled;
use crate::machine::qemu::support::{Tiny, eventually};
use crate::machine::{Order, Provider as _, this_boot};

const LIMIT: Duration = Duration::from_secs(30);

fn order(tiny: &Tiny) -> Order<'_> {
    let Tiny { place, plan, leased, image, seeds, .. } = tiny;
    Order { place, plan, leased, image, seeds }
}

fn folder(tiny: &Tiny) -> PathBuf {
    let folder = tiny.place.folder.with_file_name("template");
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("listed");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn one_machine_becomes_many_and_nothing_else_is_left_of_it() {
    let tiny = Tiny::saying(2, "CALICOLAB-WAITS\n");
    let folder = folder(&tiny);
    tiny.qemu.template(&order(&tiny), &Tiny::node(1), &folder, LIMIT).await.expect("made");
    assert_eq!(names(&folder), ["memory.zst", "overlay.qcow2"]);
    assert_eq!(tiny.machines().await, []);
    assert!(labelled(&tiny.place.label).expect("proc").is_empty());

    let folders = tiny.plan.nodes.map(|_, _| folder.clone());
    let mut told = 0;
    tiny.qemu.boot_from(&order(&tiny), &folders, &mut |_, _| told += 1).await.expect("resumed");
    assert_eq!(told, 2);
    for n in 1..=2 {
        let files = tiny.files(n);
        let wrote = || this_boot(&fs::read_to_string(&files.console).expect("a console")).to_owned();
        eventually(|| async { wrote().contains('.').then_some(()).ok_or_else(|| "silent".into()) }).await;
        assert!(!wrote().contains("WAITS"), "it booted instead");
        let seed = tiny.seeds[&Tiny::node(n)].disk().expect("a seed");
        assert!(fs::read(&files.seed).expect("read") == seed, "n{n} has its own seed");
        assert_eq!(fs::metadata(&files.overlay).expect("stat").permissions().mode() & 0o777, 0o600);
    }

    // What cannot be read back is an error, and goes with the cluster.
    tiny.qemu.destroy(&tiny.place).await.expect("gone");
    fs::write(folder.join("memory.zst"), "nothing").expect("damaged");
    tiny.qemu.boot_from(&order(&tiny), &folders, &mut |_, _| {}).await.expect_err("damaged");
    tiny.qemu.destroy(&tiny.place).await.expect("gone");
    assert!(labelled(&tiny.place.label).expect("proc").is_empty());
}

#[tokio::test]
async fn one_that_never_waits_is_ended() {
    let tiny = Tiny::ticking(1);
    let folder = folder(&tiny);
    let short = Duration::from_millis(300);
    let made = tiny.qemu.template(&order(&tiny), &Tiny::node(1), &folder, short).await;
    assert!(made.expect_err("it says something else").to_string().contains("waits for its seed"));
    eventually(|| async {
        let running = labelled(&tiny.place.label).expect("proc");
        if running.is_empty() { Ok(()) } else { Err(format!("{running:?}")) }
    })
    .await;
}
