//! The lab's OS image, built for real by whoever runs the tests, and the errors of a host that cannot.

use std::path::{Path, PathBuf};
use std::process::Command;

use calicolab::artifact::FetchError;
use calicolab::artifact::apt::Archive;
use calicolab::artifact::cache::Cache;
use calicolab::artifact::image::{self, Recipe, RecipeFile};
use calicolab::artifact::store::{Reach, Store};
use calicolab::event::Events;
use calicolab::lab::pin::{Arch, Digest, Pin, Source, Trust};

/// Set for the run of this binary inside the small file system.
const SMALL: &str = "CALICOLAB_TEST_SMALL_DISK";

fn files(folder: &Path, below: &Path, all: &mut Vec<RecipeFile>) {
    for entry in std::fs::read_dir(folder).expect("the recipe's folder") {
        let path = entry.expect("listed").path();
        if path.is_dir() {
            files(&path, below, all);
        } else {
            let name = path.strip_prefix(below).expect("below").display().to_string();
            all.push(RecipeFile { path: name, content: std::fs::read(&path).expect("read"), executable: false });
        }
    }
}

fn recipe() -> Recipe {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("labs/images/debian-12");
    let mut all = Vec::new();
    files(&folder, &folder, &mut all);
    Recipe { name: "debian-12".into(), suite: "bookworm".into(), disk_mib: 3072, files: all }
}

#[tokio::test]
async fn the_labs_image_is_built_once_and_hashed_on_use() {
    let (events, _told) = Events::channel();
    // The user's own cache: the stories in machines boot the same image.
    let cache = Cache::from_env().expect("a cache");
    let archive = Archive::of_host();
    let lacks = image::lacks(&cache).await;
    assert!(lacks.is_empty(), "this host cannot build images: {lacks:?}");
    let built = image::ensure(&cache, &archive, &recipe(), Reach::Online, &events).await.expect("built");
    let tree = built.tree().await.expect("its tree");

    let listed = Command::new("tar").arg("--numeric-owner").arg("-tvf").arg(tree.path()).output().expect("tar");
    let listed = String::from_utf8_lossy(&listed.stdout);
    let line = |path: &str| {
        let ending = format!(" ./{path}");
        let line = listed.lines().find(|line| line.ends_with(&ending));
        line.unwrap_or_else(|| panic!("no {path} in the tree")).to_owned()
    };
    assert!(line("usr/bin/sudo").starts_with("-rwsr-xr-x 0/0"), "{}", line("usr/bin/sudo"));
    assert!(line("etc/shadow").starts_with("-rw-r----- 0/42"), "{}", line("etc/shadow"));
    assert!(line("etc/machine-id").contains(" 0 "), "empty, so that each machine gets its own");
    assert!(!listed.contains("ssh_host_"), "host keys come with the seed");
    assert!(!listed.contains("apt.conf.d/99mmdebstrap"), "this host's proxies");

    let check = Command::new("/usr/sbin/e2fsck").args(["-f", "-n"]).arg(built.disk.path()).output().expect("e2fsck");
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));

    // Nothing is built or fetched any more; a damaged disk is not used.
    image::ensure(&cache, &archive, &recipe(), Reach::Offline, &events).await.expect("there");
    let damaged = tempfile::tempdir().expect("a folder");
    let name = built.disk.path().parent().and_then(Path::file_name).expect("a folder's name");
    let copy = damaged.path().join("images").join(name);
    std::fs::create_dir_all(&copy).expect("made");
    for file in ["image.json", "vmlinuz", "initrd"] {
        std::fs::copy(built.disk.path().with_file_name(file), copy.join(file)).expect("copied");
    }
    std::fs::write(copy.join("disk.raw"), b"not the disk").expect("written");
    let other = Cache::at(damaged.path());
    let error = image::ensure(&other, &archive, &recipe(), Reach::Offline, &events).await.expect_err("damaged");
    assert!(matches!(error, FetchError::Offline { .. }), "{error}");
}

/// Runs itself again in a mount namespace of its own, where a file system of 16 MiB is the cache.
#[tokio::test]
async fn a_full_disk_is_named_with_its_numbers_and_left_clean() {
    if let Some(folder) = std::env::var_os(SMALL) {
        return on_a_small_disk(&PathBuf::from(folder)).await;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let script = "mount -t tmpfs -o size=16m small \"$1\" && exec \"$2\" --exact --nocapture \"$3\"";
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(folder.path())
        .arg(std::env::current_exe().expect("this binary"))
        .arg("image::a_full_disk_is_named_with_its_numbers_and_left_clean")
        .env(SMALL, folder.path())
        .output()
        .expect("unshare is needed: sudo apt-get install util-linux");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{said}");
}

async fn on_a_small_disk(folder: &Path) {
    let (events, _told) = Events::channel();
    let cache = Cache::at(folder);
    let left = || {
        let listed = Command::new("find").arg(folder).args(["-type", "f", "-size", "+0"]).output().expect("find");
        String::from_utf8_lossy(&listed.stdout).lines().filter(|line| !line.contains("/locks/")).count()
    };
    let building = image::ensure(&cache, &Archive::of_host(), &recipe(), Reach::Online, &events).await;
    let error = building.expect_err("no room for an image");
    assert!(
        matches!(&error, FetchError::DiskFull { path, free, .. } if path == folder && *free <= 16 << 20),
        "{error}"
    );
    assert_eq!(left(), 0);

    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    let router = axum::Router::new().fallback(async || vec![1u8; 40 << 20]);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let pin = Pin {
        name: "large".into(),
        version: "1".into(),
        arch: Arch::All,
        source: Source::Url { urls: vec![url], sums: None },
        digest: Digest::Sha256([1; 32]),
        bytes: Some(40 << 20),
        trust: Trust::Published,
        found: "here".into(),
    };
    let store = Store::new(cache, "test".parse().expect("a name"), Reach::Online, Archive::of_host());
    let error = store.ensure(&pin, &events).await.expect_err("no room for the file");
    assert!(matches!(error, FetchError::DiskFull { needed, .. } if needed == 40 << 20), "{error}");
    assert_eq!(left(), 0);
    // Where the pin does not say how long it is, the disk fills up first.
    let error = store.ensure(&Pin { bytes: None, ..pin }, &events).await.expect_err("no room for the file");
    assert!(matches!(error, FetchError::DiskFull { needed, .. } if needed == 40 << 20), "{error}");
    assert_eq!(left(), 0);
}
