//! Packs that are made, changed by a byte, cut, forged and unpacked.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::artifact::cache::Cache;
use crate::artifact::files::{self, BLOCK};
use crate::event::Events;

/// A cache with two files and a built image, and a lab.
struct Sample {
    folder: tempfile::TempDir,
}

const FOLDER: &str = "small-0123456789ab";

impl Sample {
    fn new() -> Self {
        let sample = Self { folder: tempfile::tempdir().expect("a folder") };
        sample.entry(&noise());
        sample.entry("the same again and ".repeat(5000).as_bytes());
        sample.image();
        sample
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn cache(&self) -> Cache {
        Cache::at(self.path("cache"))
    }

    fn entry(&self, bytes: &[u8]) -> Digest {
        let digest = sha256_of(bytes);
        let path = self.cache().file(&digest);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, bytes).expect("written");
        digest
    }

    fn image(&self) {
        let folder = self.path("cache/images").join(FOLDER);
        std::fs::create_dir_all(&folder).expect("made");
        let disk = File::create(folder.join("disk.raw")).expect("made");
        disk.set_len(9 * BLOCK as u64).expect("grown");
        disk.write_all_at(b"a file system", 5 * BLOCK as u64).expect("written");
        for (name, text) in [("initrd", "init"), ("tree.tar", "tree"), ("vmlinuz", "kernel")] {
            std::fs::write(folder.join(name), text).expect("written");
        }
        let sums = |name: &str| {
            let path = folder.join(name);
            let sums = if name == "disk.raw" { files::sparse_sha256(&path) } else { files::sha256(&path) };
            sums.expect("hashed").0
        };
        let list = serde_json::json!({
            "schema": 1, "recipe": sha256_of(b"recipe"), "built": "2026-01-01T00:00:00Z",
            "files": {"disk.raw": sums("disk.raw"), "initrd": sums("initrd"), "tree.tar": sums("tree.tar"), "vmlinuz": sums("vmlinuz")},
        });
        std::fs::write(folder.join("image.json"), list.to_string()).expect("written");
    }

    async fn contents(&self) -> Contents {
        let mut pieces = vec![
            Piece {
                place: Place::Text("labs/tiny/lab.yaml".into()),
                label: None,
                bytes: Bytes::Text(b"schema: 1\n".into()),
            },
            Piece { place: Place::Text("cloud-config/parts/x".into()), label: None, bytes: Bytes::Text(b"x".into()) },
        ];
        for entry in self.cache().entries().await.expect("listed") {
            let (path, digest, bytes) = (entry.path, entry.digest, entry.bytes);
            let bytes = Bytes::File { path, digest, bytes, disk: false };
            pieces.push(Piece { place: Place::Entry(digest), label: Some("a file".into()), bytes });
        }
        for kept in crate::artifact::image::all_kept(&self.cache()).expect("listed") {
            for file in crate::artifact::image::FILES {
                let digest = kept.files[file];
                let bytes = Bytes::File { path: kept.folder.join(file), digest, bytes: 1, disk: file == "disk.raw" };
                pieces.push(Piece { place: Place::Image { folder: kept.name(), file }, label: None, bytes });
            }
        }
        Contents { lab: "tiny".parse().expect("a name"), arch: Arch::Amd64, pieces }
    }

    async fn packed(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        let (events, _told) = Events::channel();
        write(self.contents().await, &path, Existing::Keep, &events).await.expect("packed");
        path
    }
}

/// Bytes that cannot be made shorter.
fn noise() -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(20_000).collect()
}

async fn verify(path: &Path) -> Result<Pack, PackError> {
    let (events, _told) = Events::channel();
    let pack = Pack::open(path).await?;
    pack.verify(&events).await?;
    Ok(pack)
}

#[tokio::test]
async fn the_same_input_gives_the_same_bytes_and_tar_lists_them() {
    let sample = Sample::new();
    let first = sample.packed("first").await;
    let mut turned = sample.contents().await;
    turned.pieces.reverse();
    let second = sample.path("second");
    let (events, _told) = Events::channel();
    let bytes = write(turned, &second, Existing::Keep, &events).await.expect("packed");
    assert_eq!(std::fs::read(&first).expect("read"), std::fs::read(&second).expect("read"));
    assert_eq!(bytes, std::fs::metadata(&second).expect("there").len());
    let listed = std::process::Command::new("tar").arg("-tf").arg(&first).output().expect("tar");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let names: Vec<&str> = listed.lines().collect();
    assert_eq!((names[0], names[1], names.len()), (GUARD, LIST, 11), "{names:?}");
    assert!(!sample.path("first.part").exists());
}

#[tokio::test]
async fn it_is_unpacked_whole_and_twice_is_once() {
    let (sample, other) = (Sample::new(), tempfile::tempdir().expect("a folder"));
    let pack = verify(&sample.packed("pack").await).await.expect("whole");
    let coded = |pack: &Pack| pack.list().members.iter().filter(|member| member.holds.is_some()).count();
    assert_eq!(coded(&pack), 2, "the disk and what repeats itself: {:#?}", pack.list());
    let (events, _told) = Events::channel();
    let cache = Cache::at(other.path());
    assert_eq!(pack.unpack(&cache, &events).await.expect("unpacked"), Unpacked { written: 7, there: 0 });
    for entry in sample.cache().entries().await.expect("listed") {
        assert_eq!(std::fs::read(cache.file(&entry.digest)).expect("there"), std::fs::read(entry.path).expect("there"));
    }
    assert!(crate::artifact::image::is_whole(&other.path().join("images").join(FOLDER)).await.expect("read"));
    assert_eq!(pack.unpack(&cache, &events).await.expect("unpacked"), Unpacked { written: 0, there: 7 });

    // What is damaged there is replaced.
    let entry = &sample.cache().entries().await.expect("listed")[0];
    for path in [cache.file(&entry.digest), other.path().join("images").join(FOLDER).join("vmlinuz")] {
        std::fs::remove_file(&path).expect("removed");
        std::fs::write(&path, "damaged").expect("written");
    }
    assert_eq!(pack.unpack(&cache, &events).await.expect("unpacked"), Unpacked { written: 6, there: 1 });
    let texts = pack.texts().await.expect("read");
    assert_eq!(texts[1], ("labs/tiny/lab.yaml".to_owned(), b"schema: 1\n".to_vec()));
}

#[tokio::test]
async fn no_byte_can_change_be_missing_or_follow() {
    let sample = Sample::new();
    let path = sample.packed("pack").await;
    let whole = std::fs::read(&path).expect("read");
    let file = File::options().write(true).open(&path).expect("opened");
    let sample_of = (0..whole.len()).filter(|at| at % 61 == 0 || at % 512 < 3 || *at + 3 > whole.len());
    for at in sample_of {
        file.write_all_at(&[whole[at] ^ 1], at as u64).expect("written");
        let error = verify(&path).await.expect_err("a byte is another");
        assert!(!matches!(error, PackError::Io { .. }), "{at}: {error:?}");
        file.write_all_at(&whole[at..=at], at as u64).expect("written");
    }
    verify(&path).await.expect("as it was");
    for length in [0, 1, 13, 100, 512, 1023, 1024, 1500, 1536, 5000, whole.len() - 1024, whole.len() - 1] {
        file.set_len(length as u64).expect("cut");
        let error = verify(&path).await.expect_err("it is cut");
        let fits = matches!(error, PackError::Truncated { .. } | PackError::NotAPack { .. });
        assert!(fits, "{length}: {error:?}");
        std::fs::write(&path, &whole).expect("written");
    }
    for more in [1_usize, 512] {
        file.set_len((whole.len() + more) as u64).expect("grown");
        assert!(matches!(verify(&path).await, Err(PackError::Damaged { .. })), "{more} more");
    }
}

/// A pack by someone who knows its form: these members, and a list that says what they want.
fn forged(path: &Path, list: &serde_json::Value, members: &[(&[u8; 512], &[u8])]) {
    let mut bytes = Vec::new();
    let list = serde_json::to_vec(list).expect("JSON");
    let guard = guard(&sha256_of(&list));
    let fronts = [
        (header::header(GUARD, guard.len() as u64), guard.as_bytes()),
        (header::header(LIST, list.len() as u64), &list),
    ];
    let fronts = fronts.map(|(header, content)| (header.expect("a header"), content));
    for (header, content) in fronts.iter().map(|(header, content)| (header, *content)).chain(members.iter().copied()) {
        bytes.extend_from_slice(header);
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    std::fs::write(path, bytes).expect("written");
}

fn lab() -> (serde_json::Value, [u8; 512]) {
    let member = serde_json::json!({"name": "labs/tiny/lab.yaml", "bytes": 3, "digest": sha256_of(b"lab")});
    (member, header::header("labs/tiny/lab.yaml", 3).expect("a header"))
}

#[tokio::test]
async fn a_forged_pack_leads_nowhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pack");
    let (lab, lab_header) = lab();
    let lab_member: (&[u8; 512], &[u8]) = (&lab_header, b"lab");
    let list = |members: &[&serde_json::Value]| serde_json::json!({"schema": 1, "lab": "tiny", "arch": "amd64", "members": members});
    forged(&path, &list(&[&lab]), &[lab_member]);
    verify(&path).await.expect("that is how one is made");

    for name in ["../x", "/etc/x", "cache/sha256/../../x", "cloud-config/../../x", "cache/images/x/../../x", "src/x"] {
        let evil = serde_json::json!({"name": name, "bytes": 1, "digest": sha256_of(b"x")});
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        forged(&path, &list(&[&evil, &lab]), &[(header.as_bytes(), b"x"), lab_member]);
        let error = verify(&path).await.expect_err(name);
        assert!(matches!(error, PackError::Name { .. } | PackError::List { .. }), "{name}: {error:?}");
    }

    // A link in the place of a file, a header that is not ours, another member between.
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Directory] {
        let mut header = tar::Header::from_byte_slice(&lab_header).clone();
        header.set_entry_type(kind);
        header.set_link_name("/etc/passwd").expect("set");
        header.set_cksum();
        forged(&path, &list(&[&lab]), &[(header.as_bytes(), b"lab")]);
        assert!(matches!(verify(&path).await, Err(PackError::Damaged { .. })), "{kind:?}");
    }
    forged(&path, &list(&[&lab]), &[(&header::header("x", 1).expect("a header"), b"x"), lab_member]);
    assert!(verify(&path).await.is_err(), "a member that the list does not have");

    for (title, wrong) in [
        ("twice", list(&[&lab, &lab])),
        ("no lab", list(&[])),
        ("newer", serde_json::json!({"schema": 2, "lab": "tiny", "arch": "amd64", "members": [lab]})),
        ("unknown key", serde_json::json!({"schema": 1, "lab": "tiny", "arch": "amd64", "members": [lab], "run": "x"})),
        (
            "long",
            list(&[&serde_json::json!({"name": "labs/tiny/lab.yaml", "bytes": u64::MAX, "digest": sha256_of(b"lab")})]),
        ),
    ] {
        forged(&path, &wrong, &[lab_member]);
        let error = verify(&path).await.expect_err(title);
        assert!(matches!(error, PackError::List { .. } | PackError::Schema { .. }), "{title}: {error:?}");
    }
}

#[tokio::test]
async fn a_member_that_comes_to_more_than_was_said_is_refused_unread() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pack");
    let (lab, lab_header) = lab();
    let bomb = zstd::bulk::compress(&vec![0; 256 << 20], 3).expect("compressed");
    let wanted = sha256_of(b"what it says");
    let name = Place::Entry(wanted).to_string();
    let header = header::header(&name, bomb.len() as u64).expect("a header");
    for said in [10, 1 << 20] {
        let evil = serde_json::json!({
            "name": name, "bytes": bomb.len(), "digest": sha256_of(&bomb),
            "holds": {"coding": "zstd", "bytes": said, "digest": wanted},
        });
        let list = serde_json::json!({"schema": 1, "lab": "tiny", "arch": "amd64", "members": [evil, lab]});
        forged(&path, &list, &[(&header, &bomb), (&lab_header, b"lab")]);
        assert!(matches!(verify(&path).await, Err(PackError::Lies { .. })), "{said}");
    }
}

#[tokio::test]
async fn a_newer_pack_and_another_file_are_told_apart() {
    let sample = Sample::new();
    let path = sample.packed("pack").await;
    let mut bytes = std::fs::read(&path).expect("read");
    bytes[512 + MARK.len()] = b'7';
    std::fs::write(&path, &bytes).expect("written");
    assert!(matches!(Pack::open(&path).await, Err(PackError::Schema { schema: 7 })));
    for other in [&b""[..], b"PK\x03\x04", b"calicolab"] {
        std::fs::write(&path, other).expect("written");
        assert!(matches!(Pack::open(&path).await, Err(PackError::NotAPack { .. })));
    }
}

#[tokio::test]
async fn nothing_is_overwritten_and_nothing_is_left_of_what_failed() {
    let sample = Sample::new();
    let (events, _told) = Events::channel();
    let path = sample.packed("pack").await;
    let again = write(sample.contents().await, &path, Existing::Keep, &events).await;
    assert!(matches!(again, Err(PackError::Exists { .. })));
    let before = std::fs::read(&path).expect("there");
    let entry = sample.cache().entries().await.expect("listed").remove(0);
    std::fs::write(&entry.path, "damaged").expect("written");
    let altered = write(sample.contents().await, &path, Existing::Replace, &events).await;
    assert!(matches!(altered, Err(PackError::Altered { .. })), "{altered:?}");
    assert_eq!(std::fs::read(&path).expect("there"), before);
    // A pack that nobody waits for any more.
    let given_up = sample.path("given-up");
    let writing = write(sample.contents().await, &given_up, Existing::Keep, &events);
    drop(futures::future::select(Box::pin(writing), std::future::ready(())).await);
    let mut names: Vec<_> =
        std::fs::read_dir(sample.folder.path()).expect("listed").flatten().map(|e| e.file_name()).collect();
    names.sort();
    assert_eq!(names, ["cache", "pack"]);
}
