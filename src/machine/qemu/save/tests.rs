//! Tiny real guests held still, kept, brought back; and what goes wrong with that.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::name::{NodeName, PerNode};
use crate::machine::ability::{Pause as _, Role, Save as _, Saved, Slot};
use crate::machine::qemu::RUNNING;
use crate::machine::qemu::qmp::Qmp;
use crate::machine::qemu::support::{SAID, Tiny, eventually};
use crate::machine::{Machine, Order, Provider as _, ProviderError, this_boot};

/// Where a point of a tiny cluster lies.
struct Points {
    own: PathBuf,
    shared: PathBuf,
}

impl Points {
    fn of(tiny: &Tiny, name: &str) -> Self {
        let points = tiny.place.folder.join("points");
        let (own, shared) = (points.join(name), points.join(".disks"));
        for folder in [&own, &shared] {
            fs::create_dir_all(folder).expect("a folder");
        }
        Self { own, shared }
    }

    fn slot<'a>(&'a self, id: &'a str) -> Slot<'a> {
        Slot { id, folder: &self.own, shared: &self.shared }
    }

    fn disks(&self) -> usize {
        fs::read_dir(&self.shared).expect("listed").count()
    }
}

async fn save(tiny: &Tiny, slot: &Slot<'_>) -> Result<Saved, ProviderError> {
    let nodes: Vec<NodeName> = tiny.plan.nodes.names().cloned().collect();
    tiny.qemu.save(&tiny.place, &nodes, slot).await
}

async fn restore(tiny: &Tiny, saved: &Saved, slot: &Slot<'_>) -> Result<PerNode<Machine>, ProviderError> {
    let Tiny { qemu, place, plan, leased, image, seeds, .. } = tiny;
    let order = Order { place, plan, leased, image, seeds };
    qemu.restore(&order, saved, slot, &mut |_, _| {}).await
}

async fn status(tiny: &Tiny, n: usize) -> String {
    let limit = std::time::Duration::from_secs(20);
    let mut qmp = Qmp::connect(&tiny.files(n).qmp, limit).await.expect("a greeting");
    qmp.status().await.expect("a status")
}

/// What the guest wrote since its last start.
fn wrote(tiny: &Tiny, n: usize) -> String {
    this_boot(&fs::read_to_string(tiny.files(n).console).expect("a console")).to_owned()
}

/// Wait until the guest writes on.
async fn ticks(tiny: &Tiny, n: usize) {
    let before = wrote(tiny, n).len();
    let more = || async { (wrote(tiny, n).len() > before).then_some(()).ok_or_else(|| "silent".into()) };
    eventually(more).await;
}

#[tokio::test]
async fn machines_run_on_when_saved_and_come_back_as_often_as_wanted() {
    let tiny = Tiny::ticking(2);
    tiny.booted().await;
    for n in 1..=2 {
        tiny.speaks(n).await;
    }
    let first = Points::of(&tiny, "first");
    let slot = first.slot("id-1");
    let saved = save(&tiny, &slot).await.expect("saved");
    assert!(saved.spread <= saved.paused, "{saved:?}");
    let roles: Vec<Role> = saved.parts.iter().map(|part| part.role).collect();
    assert_eq!(roles, [Role::Memory, Role::Disk, Role::Memory, Role::Disk]);
    for n in 1..=2 {
        ticks(&tiny, n).await;
    }

    let before = [1, 2].map(|n| tiny.process(n));
    for _ in 0..2 {
        restore(&tiny, &saved, &slot).await.expect("brought back");
        for n in 1..=2 {
            ticks(&tiny, n).await;
            assert!(!wrote(&tiny, n).contains(SAID), "it booted instead: {}", wrote(&tiny, n));
        }
    }
    assert!(before.iter().all(|process| !process.lives().expect("proc")));

    // A second point stands on the first one's disks, as a third beside it does; what nobody stands on goes.
    let second = Points::of(&tiny, "second");
    let later = save(&tiny, &second.slot("id-2")).await.expect("saved");
    assert_eq!(later.parts.iter().filter(|part| part.role == Role::Disk).count(), 4);
    assert_eq!(first.disks(), 4);
    tiny.qemu.tidy(&tiny.place, &first.shared, std::slice::from_ref(&later)).await.expect("tidy");
    assert_eq!(first.disks(), 4, "the first one's disks are stood on");
    restore(&tiny, &saved, &slot).await.expect("brought back");
    tiny.qemu.tidy(&tiny.place, &first.shared, &[]).await.expect("tidy");
    assert_eq!(first.disks(), 2, "the machines stand on the first one's disks");
    tiny.qemu.destroy(&tiny.place).await.expect("gone");
    tiny.qemu.tidy(&tiny.place, &first.shared, &[]).await.expect("tidy");
    assert_eq!(first.disks(), 0);
}

#[tokio::test]
async fn all_stand_still_or_none() {
    let mut tiny = Tiny::ticking(2);
    tiny.booted().await;
    for _ in 0..2 {
        tiny.qemu.pause(&tiny.place).await.expect("held");
        assert_eq!([status(&tiny, 1).await, status(&tiny, 2).await], ["paused", "paused"]);
    }
    // Also by a run that knows nothing of the one that was killed.
    tiny.later();
    for _ in 0..2 {
        tiny.qemu.resume(&tiny.place).await.expect("running");
        assert_eq!([status(&tiny, 1).await, status(&tiny, 2).await], [RUNNING, RUNNING]);
    }
    tiny.process(2).hold().expect("pidfd").expect("lives").kill().expect("kill");
    let gone = || async { (tiny.machines().await.len() == 2).then_some(()).ok_or_else(|| "listed".into()) };
    eventually(gone).await;
    let alone = || async {
        let error = tiny.qemu.pause(&tiny.place).await.err().map(|error| error.to_string()).unwrap_or_default();
        if error.contains("n2") && error.contains("does not run") { Ok(()) } else { Err(error) }
    };
    eventually(alone).await;
    let points = Points::of(&tiny, "none");
    let error = save(&tiny, &points.slot("id-1")).await.expect_err("one is dead").to_string();
    assert!(error.contains("n2") && error.contains("does not run"), "{error}");
    assert_eq!(points.disks(), 0);
    assert_eq!(status(&tiny, 1).await, RUNNING);
    tiny.qemu.destroy(&tiny.place).await.expect("gone");
}

#[tokio::test]
async fn memory_that_is_cut_short_is_named_and_the_whole_one_still_works() {
    let tiny = Tiny::ticking(1);
    tiny.booted().await;
    tiny.speaks(1).await;
    let points = Points::of(&tiny, "one");
    let slot = points.slot("id-1");
    let saved = save(&tiny, &slot).await.expect("saved");
    let memory = points.own.join(&saved.parts[0].file);
    let whole = fs::read(&memory).expect("memory");
    fs::write(&memory, &whole[..whole.len() / 2]).expect("cut");
    let error = restore(&tiny, &saved, &slot).await.expect_err("half a memory").to_string();
    assert!(error.contains("n1") || error.contains("n1.memory"), "{error}");
    fs::write(&memory, &whole).expect("whole again");
    restore(&tiny, &saved, &slot).await.expect("brought back");
    ticks(&tiny, 1).await;
    tiny.qemu.destroy(&tiny.place).await.expect("gone");
}

/// Names the small disk for the same test inside a mount namespace of its own.
const SMALL: &str = "CALICOLAB_TEST_SMALL_DISK";

#[test]
fn a_disk_that_fills_while_saving_costs_the_point_and_not_the_lab() {
    if let Some(small) = std::env::var_os(SMALL) {
        return tokio::runtime::Runtime::new().expect("a runtime").block_on(filled(Path::new(&small)));
    }
    let folder = tempfile::tempdir().expect("a temp folder");
    let (_, module) = module_path!().split_once("::").expect("a crate");
    let inside = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
        .arg(r#"mount -t tmpfs -o size=64k none "$1" && exec "$2" --exact "$3" --nocapture"#)
        .arg("sh")
        .args([folder.path(), &std::env::current_exe().expect("this program")])
        .arg(format!("{module}::a_disk_that_fills_while_saving_costs_the_point_and_not_the_lab"))
        .env(SMALL, folder.path())
        .output()
        .expect("unshare starts (apt-get install util-linux)");
    let told = String::from_utf8_lossy(&inside.stdout);
    assert!(inside.status.success() && told.contains("1 passed"), "{told}{}", String::from_utf8_lossy(&inside.stderr));
}

async fn filled(small: &Path) {
    let tiny = Tiny::ticking(2);
    tiny.booted().await;
    for n in 1..=2 {
        tiny.speaks(n).await;
    }
    let points = Points::of(&tiny, "one");
    let slot = Slot { id: "id-1", folder: small, shared: &points.shared };
    let error = save(&tiny, &slot).await.expect_err("no room");
    assert!(format!("{error:?}").contains("StorageFull"), "{error:?}");
    for n in 1..=2 {
        ticks(&tiny, n).await;
        assert_eq!(status(&tiny, n).await, RUNNING);
    }
    // With room the next one is saved, and is as good as any.
    let slot = Slot { id: "id-2", folder: &points.own, ..slot };
    let saved = save(&tiny, &slot).await.expect("saved");
    restore(&tiny, &saved, &slot).await.expect("brought back");
    ticks(&tiny, 1).await;
    tiny.qemu.destroy(&tiny.place).await.expect("gone");
}
