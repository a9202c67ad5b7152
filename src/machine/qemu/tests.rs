//! The provider with tiny real guests: booted, kept, died, killed half-way, stopped, gone.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::support::{Tiny, eventually};
use super::*;

#[tokio::test]
async fn machines_come_stay_and_go() {
    let tiny = Tiny::new(3);
    assert_eq!(tiny.machines().await, []);
    let lock = fs::File::create(tiny.place.folder.with_extension("lock")).expect("a file");
    lock.lock().expect("a lock");

    let (booted, told) = tiny.boot().await;
    let booted = booted.expect("machines (apt-get install qemu-system-x86 qemu-utils)");
    assert_eq!(told.len(), 3);
    for (node, machine) in &told {
        assert_eq!(&booted[node], machine);
        assert_eq!(machine.target.addr.port(), tiny.leased.ssh_ports[node]);
    }
    let running = |power| ["n1", "n2", "n3"].map(|node| (node.to_owned(), power)).to_vec();
    assert_eq!(tiny.machines().await, running(Power::Running));
    for n in 1..=3 {
        tiny.speaks(n).await;
        assert_eq!(tiny.qemu.obituary(&tiny.place, &Tiny::node(n)).await, None);
        let files = tiny.files(n);
        for secret in [&files.seed, &files.overlay, &files.console, &files.log, &files.record] {
            let mode = fs::metadata(secret).expect("stat").permissions().mode();
            assert_eq!(mode & 0o077, 0, "{} is open to others", secret.display());
        }
    }

    // Nothing of ours is held open by a machine, and our terminal's signals are not for it.
    let process = tiny.process(1);
    let locked = lock.metadata().expect("stat").ino();
    for open in fs::read_dir(format!("/proc/{}/fd", process.pid)).expect("proc").flatten() {
        assert_ne!(fs::metadata(open.path()).map_or(0, |open| open.ino()), locked, "the lock is inherited");
    }
    let pid = i32::try_from(process.pid).ok().and_then(rustix::process::Pid::from_raw);
    assert_eq!(rustix::process::getpgid(pid).expect("a group"), pid.expect("a number"));

    // The second time nothing is made, and everything is told again.
    let (again, told) = tiny.boot().await;
    assert_eq!(again.expect("machines"), booted);
    assert_eq!(told.len(), 3);

    tiny.qemu.destroy(&tiny.place).await.expect("gone");
    assert_eq!(tiny.machines().await, []);
    assert!(!tiny.place.sockets.exists() && !tiny.place.folder.join("vm").exists());
    assert!(!process.lives().expect("proc"));
    tiny.qemu.destroy(&tiny.place).await.expect("nothing to do");
}

/// The end of a runtime is as near to the end of the program as a test can come.
#[test]
fn machines_live_on_after_the_program() {
    let runtime = || tokio::runtime::Runtime::new().expect("a runtime");
    let mut tiny = Tiny::new(1);
    let first = runtime();
    first.block_on(tiny.booted());
    drop(first);
    let process = tiny.process(1);
    tiny.later();
    runtime().block_on(async {
        tiny.speaks(1).await;
        assert!(process.lives().expect("proc"));
        tiny.qemu.destroy(&tiny.place).await.expect("gone");
        assert!(!process.lives().expect("proc"));
    });
}

#[tokio::test]
async fn a_taken_port_is_told_with_the_last_words_and_booting_again_mends_it() {
    let tiny = Tiny::new(2);
    let second = Tiny::node(2);
    let taken = std::net::TcpListener::bind(("127.0.0.1", tiny.leased.ssh_ports[&second])).expect("the port");
    let error = tiny.boot().await.0.expect_err("the port is taken");
    let ProviderError::Died { node, how, last_words } = error else { panic!("{error}") };
    assert_eq!(node, second);
    assert!(how.contains("status 1"), "{how}");
    assert!(last_words.contains("host forwarding"), "{last_words}");
    let obituary = tiny.qemu.obituary(&tiny.place, &second).await.expect("it died");
    assert!(obituary.contains("host forwarding"), "{obituary}");
    drop(taken);
    tiny.booted().await;
    assert_eq!(tiny.qemu.obituary(&tiny.place, &second).await, None);
    tiny.qemu.destroy(&tiny.place).await.expect("gone");
}

#[tokio::test]
async fn a_killed_machine_is_mourned_and_alone_is_started_again() {
    let mut tiny = Tiny::new(2);
    let before = tiny.booted().await;
    tiny.speaks(1).await;
    tiny.speaks(2).await;
    let overlay = |tiny: &Tiny| fs::metadata(tiny.files(2).overlay).expect("stat").ino();
    let disk = overlay(&tiny);
    let held = tiny.process(2).hold().expect("pidfd").expect("lives");
    held.kill().expect("kill");
    let (provider, place) = (&tiny.qemu, &tiny.place);
    let node = Tiny::node(2);
    let told = eventually(|| async { provider.obituary(place, &node).await.ok_or_else(|| "alive".into()) }).await;
    assert!(told.contains("killed by signal 9"), "{told}");

    // A later run has no status, and knows all the same.
    tiny.later();
    let told = tiny.qemu.obituary(&tiny.place, &Tiny::node(2)).await.expect("dead");
    assert!(told.contains("no longer runs"), "{told}");
    assert_eq!(tiny.qemu.obituary(&tiny.place, &Tiny::node(1)).await, None);
    assert_eq!(tiny.machines().await, [("n1".to_owned(), Power::Running), ("n2".to_owned(), Power::Off)]);

    let after = tiny.booted().await;
    assert_eq!(after[&Tiny::node(1)], before[&Tiny::node(1)]);
    assert_ne!(after[&Tiny::node(2)].handle, before[&Tiny::node(2)].handle);
    assert_eq!(overlay(&tiny), disk, "what the guest wrote is kept");
    tiny.speaks(2).await;
    tiny.qemu.destroy(&tiny.place).await.expect("gone");
}

/// What a program killed between two effects leaves: a half-made disk, an intent without a process, or a process
/// without a record. Beside it, another's machines of the same names.
#[tokio::test]
async fn whatever_was_left_half_way_is_carried_on_and_removed() {
    let mut tiny = Tiny::new(2);
    let foreign = Tiny::new(1);
    let mut near = Tiny::new(1);
    near.place.label = format!("{}2", tiny.place.label);
    foreign.booted().await;
    near.booted().await;

    let files = tiny.files(1);
    fs::create_dir_all(&files.folder).expect("a folder");
    fs::write(files.overlay.with_extension("part"), "half a disk").expect("write");
    assert_eq!(tiny.machines().await, [("n1".to_owned(), Power::Off)]);
    tiny.booted().await;
    let process = tiny.process(1);
    fs::remove_file(&files.record).expect("remove");
    fs::remove_file(tiny.files(2).record).expect("remove");
    tiny.later();
    assert_eq!(tiny.qemu.obituary(&tiny.place, &Tiny::node(1)).await, None);
    tiny.qemu.destroy(&tiny.place).await.expect("gone");
    assert!(!process.lives().expect("proc"));
    assert!(near.process(1).lives().expect("proc"), "a longer label is not ours");
    assert!(foreign.process(1).lives().expect("proc"), "a foreign machine is not ours");
}

#[tokio::test]
async fn a_machine_that_does_not_power_off_is_ended_and_starts_again() {
    let tiny = Tiny::new(2);
    tiny.booted().await;
    let (first, second) = (tiny.process(1), tiny.process(2));
    // The first ignores its power button; the second does not even answer on its socket.
    let pid = i32::try_from(second.pid).ok().and_then(rustix::process::Pid::from_raw).expect("a number");
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("stopped");
    tiny.qemu.stop(&tiny.place).await.expect("stopped");
    assert!(!first.lives().expect("proc") && !second.lives().expect("proc"));
    assert_eq!(tiny.machines().await, ["n1", "n2"].map(|node| (node.to_owned(), Power::Off)));
    tiny.qemu.stop(&tiny.place).await.expect("nothing to do");
    tiny.booted().await;
    tiny.speaks(1).await;
    let console = fs::read_to_string(tiny.files(1).console).expect("a console");
    assert_eq!(console.matches("calicolab starts this machine").count(), 2);
    tiny.qemu.destroy(&tiny.place).await.expect("gone");
}

#[tokio::test]
async fn the_disk_is_as_large_as_planned_and_never_smaller_than_the_image() {
    async fn size(tiny: &Tiny) -> String {
        let argv = Argv::new("qemu-img").args(["info", "-U", "--output=json"]);
        let argv = argv.arg(tiny.files(1).overlay.to_str().expect("UTF-8"));
        command::run(&argv, Duration::from_secs(10)).await.expect("runs").success(&argv).expect("an answer")
    }
    let tiny = Tiny::new(1);
    tiny.booted().await;
    assert!(size(&tiny).await.contains(&format!("\"virtual-size\": {},", 8 << 20)));
    tiny.qemu.destroy(&tiny.place).await.expect("gone");
    let large = fs::File::options().write(true).open(&tiny.image.disk).expect("the image");
    large.set_len(64 << 20).expect("sparse");
    tiny.booted().await;
    assert!(size(&tiny).await.contains(&format!("\"virtual-size\": {},", 64 << 20)));
    tiny.qemu.destroy(&tiny.place).await.expect("gone");
}

#[tokio::test]
async fn it_says_how_machines_run_here() {
    let tiny = Tiny::new(1);
    let line = tiny.qemu.describe(None).await;
    assert!(line.starts_with("QEMU ") && line.contains(": ") && !line.contains('\n'), "{line}");
    assert!(tiny.qemu.estimate(&tiny.plan).await.is_some_and(|estimate| estimate.seconds > 0));
    let hard: Vec<_> = tiny.qemu.lacks(&tiny.plan).await.into_iter().filter(|lack| !lack.bearable).collect();
    assert_eq!(hard, [], "this host is fit for one small machine");
}
