//! Files onto a node: whole, checked, with their mode, or not at all.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use calicolab::command::{Argv, Ended};
use calicolab::lab::pin::Digest;
use calicolab::ssh::{Content, Remote, SshError, Upload};

use crate::support::sshd::Sshd;
use crate::support::waiting::eventually;

/// More than any upload here needs on a busy host.
const LIMIT: Duration = Duration::from_secs(60);

async fn connect(sshd: &Sshd) -> Remote {
    Remote::connect(&sshd.target(), sshd.node(), &sshd.keys().key_file(), LIMIT).await.expect("let in")
}

fn upload(path: &Path, mode: u32, bytes: &[u8]) -> Upload {
    Upload { path: path.to_str().expect("plain").into(), mode, content: Content::Bytes(bytes.to_vec()) }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The digest of `abc`, from the standard's own example.
fn digest_of_abc() -> Digest {
    "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".parse().expect("64 digits")
}

#[tokio::test]
async fn a_file_arrives_with_content_mode_and_digest() {
    let sshd = Sshd::start();
    let remote = connect(&sshd).await;
    let folder = sshd.folder().join("new/deep folder");
    let path = folder.join(".hidden key");
    let digest = remote.put(upload(&path, 0o640, b"abc"), LIMIT).await.expect("put");
    assert_eq!(digest, digest_of_abc());
    assert_eq!(std::fs::read(&path).expect("it is there"), b"abc");
    assert_eq!(mode(&path), 0o640);
    assert_eq!(mode(&folder), 0o755, "folders made on the way are open");
    assert_eq!(names(&folder), [".hidden key"], "nothing else stays");
}

#[tokio::test]
async fn a_file_that_is_there_is_replaced_at_once() {
    let sshd = Sshd::start();
    let remote = connect(&sshd).await;
    let path = sshd.folder().join("unit");
    std::fs::write(&path, "old and longer").expect("written");
    // Who holds the old one keeps it whole: it was not written over but replaced.
    let mut old = std::fs::File::open(&path).expect("it is there");
    let inode = old.metadata().expect("open").ino();
    remote.put(upload(&path, 0o600, b"new"), LIMIT).await.expect("put");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut old, &mut text).expect("read");
    assert_eq!(text, "old and longer");
    assert_eq!(std::fs::read(&path).expect("it is there"), b"new");
    assert_ne!(std::fs::metadata(&path).expect("it is there").ino(), inode);
    assert_eq!(mode(&path), 0o600);
}

#[tokio::test]
async fn many_files_in_several_folders_arrive_together() {
    let sshd = Sshd::start();
    let remote = connect(&sshd).await;
    let root = sshd.folder().join("root");
    let large = sshd.folder().join("large");
    std::fs::write(&large, vec![5; 3 << 20]).expect("written");
    let mut uploads: Vec<Upload> = (0..130)
        .map(|i| upload(&root.join(format!("{}/{i}", i % 3)), 0o600 + i % 8, format!("file {i}").as_bytes()))
        .collect();
    let target = root.join("bin/large");
    let path = target.to_str().expect("plain").to_string();
    uploads.push(Upload { path, mode: 0o755, content: Content::File(large.clone()) });
    let digests = remote.put_many(uploads, LIMIT).await.expect("put");
    assert_eq!(digests.len(), 131);
    for i in 0..130 {
        let path = root.join(format!("{}/{i}", i % 3));
        assert_eq!(std::fs::read_to_string(&path).expect("it is there"), format!("file {i}"));
        assert_eq!(mode(&path), 0o600 + i % 8);
    }
    assert_eq!(std::fs::read(target).expect("it is there"), std::fs::read(large).expect("it is there"));
    assert_eq!(names(&root.join("bin")), ["large"]);
}

#[tokio::test]
async fn what_follows_files_runs_when_all_are_there_and_not_without_them() {
    let sshd = Sshd::start();
    let remote = connect(&sshd).await;
    let folder = sshd.folder().join("files");
    let uploads = |last: &str| -> Vec<Upload> {
        let names = (0..100).map(|i| i.to_string()).chain([last.to_owned()]);
        names.map(|name| upload(&folder.join(&name), 0o600, name.as_bytes())).collect()
    };
    let (ran, here) = (folder.join("it ran"), folder.to_str().expect("plain"));
    let script = r#"cat "$1/0" "$1/last"; ls -A "$1" | wc -l; : >"$1/it ran"; echo why >&2; exit 7"#;
    let output = remote.put_and_run(uploads("last"), (script, &[here]), LIMIT).await.expect("put");
    assert_eq!(output.stdout.trim(), "0last101", "the first, the last, and how many");
    assert_eq!((output.ended, output.stderr.as_str()), (Ended::Exit(7), "why\n"));
    std::fs::remove_file(&ran).expect("it ran");
    std::fs::create_dir(folder.join("taken")).expect("made");
    let error = remote.put_and_run(uploads("taken"), (script, &[here]), LIMIT).await.expect_err("a folder");
    assert!(matches!(error, SshError::Put { .. }), "{error:?}");
    assert!(!ran.exists());
}

#[tokio::test]
async fn an_upload_that_is_broken_off_leaves_nothing() {
    let sshd = Sshd::start();
    let remote = connect(&sshd).await;
    let folder = sshd.folder().join("into");
    std::fs::create_dir(&folder).expect("made");
    let path = folder.join("payload");
    std::fs::write(&path, "old").expect("written");
    let large = sshd.folder().join("large");
    let file = std::fs::File::create(&large).expect("made");
    file.set_len(128 << 20).expect("sparse");
    let put = remote
        .put(Upload { path: path.to_str().expect("plain").into(), mode: 0o600, content: Content::File(large) }, LIMIT);
    let begun = eventually("the upload begins", || (names(&folder).len() > 1).then_some(()));
    tokio::select! {
        done = put => panic!("it went too fast: {done:?}"),
        () = begun => {}
    }
    // The node notices the end of its input in its own time.
    eventually("the part of a file goes away", || (names(&folder).len() == 1).then_some(())).await;
    assert_eq!(std::fs::read_to_string(&path).expect("it is there"), "old");
    assert!(remote.run(&Argv::new("true"), LIMIT).await.expect("the session goes on").ok());
}

#[tokio::test]
async fn a_lost_connection_leaves_no_part_of_a_file() {
    let sshd = Sshd::start();
    let remote = connect(&sshd).await;
    let folder = sshd.folder().join("into");
    std::fs::create_dir(&folder).expect("made");
    let large = sshd.folder().join("large");
    std::fs::File::create(&large).and_then(|file| file.set_len(128 << 20)).expect("sparse");
    let path = folder.join("payload").to_str().expect("plain").to_string();
    let put = remote.put(Upload { path, mode: 0o600, content: Content::File(large) }, LIMIT);
    let (result, ()) = tokio::join!(put, async {
        eventually("the upload begins", || (!names(&folder).is_empty()).then_some(())).await;
        sshd.kill_connections();
    });
    assert!(matches!(result, Err(SshError::Lost { .. })), "{result:?}");
    eventually("the part of a file goes away", || names(&folder).is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_told() {
    let sshd = Sshd::start();
    let remote = connect(&sshd).await;
    let taken = sshd.folder().join("taken");
    std::fs::create_dir_all(taken.join("inside")).expect("made");
    let error = remote.put(upload(&taken, 0o600, b"abc"), LIMIT).await.expect_err("a folder bears the name");
    assert!(matches!(&error, SshError::Put { output, .. } if !output.stderr.is_empty()), "{error:?}");
    assert!(names(sshd.folder()).iter().all(|name| !name.starts_with(".calicolab")), "the waiting folder is gone");
    let error = remote.put(upload(Path::new("relative"), 0o600, b"abc"), LIMIT).await.expect_err("not absolute");
    assert!(matches!(error, SshError::BadPath { .. }), "{error:?}");
}

#[tokio::test]
async fn a_file_that_changes_on_its_way_is_not_put_in_place() {
    let sshd = Sshd::start();
    let remote = connect(&sshd).await;
    let source = sshd.folder().join("source");
    std::fs::write(&source, vec![1; 64 << 20]).expect("written");
    let path = sshd.folder().join("target");
    let folder = sshd.folder().to_path_buf();
    let put = remote.put(
        Upload { path: path.to_str().expect("plain").into(), mode: 0o600, content: Content::File(source.clone()) },
        LIMIT,
    );
    let change = async {
        let begun = || names(&folder).iter().any(|name| name.starts_with(".calicolab")).then_some(());
        eventually("the upload begins", begun).await;
        let file = std::fs::OpenOptions::new().write(true).open(&source).expect("it is there");
        std::os::unix::fs::FileExt::write_at(&file, &[2], (64 << 20) - 1).expect("written");
    };
    let (result, ()) = tokio::join!(put, change);
    assert!(matches!(result, Err(SshError::Altered { .. })), "{result:?}");
    assert!(!path.exists());
}

#[tokio::test]
async fn a_secret_is_in_no_argument_list() {
    let sshd = Sshd::start();
    let remote = connect(&sshd).await;
    let secret = b"a-very-secret-word".repeat(1 << 20);
    let put = remote.put(upload(&sshd.folder().join("secret"), 0o600, &secret), LIMIT);
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let looking = std::thread::spawn(move || {
        let mut seen_script = false;
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
                let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line);
                assert!(!line.contains("a-very-secret-word"), "{line}");
                seen_script |= line.contains("calicolab-put") && line.contains("/secret");
            }
        }
        seen_script
    });
    put.await.expect("put");
    drop(stop);
    assert!(looking.join().expect("no secret was seen"), "the script itself was seen at work");
}
