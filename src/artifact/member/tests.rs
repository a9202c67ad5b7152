//! Members out of archives that mean harm, or are damaged; archives are made by tar's own format.

use std::io::Write as _;

use super::*;
use crate::artifact::unpack::LIMITS;

const SMALL: Limits = Limits { scanned: 1 << 20, member: 100 << 10, free: 64 << 10, ratio: 20 };

/// Entries of a tar whose names are written as they are.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn entry(mut self, kind: tar::EntryType, name: &str, link: &str, content: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(tar::EntryType::Regular, name, "", content)
    }

    fn symlink(self, name: &str, to: &str) -> Self {
        self.entry(tar::EntryType::Symlink, name, to, b"")
    }

    fn whole(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

fn taken(bytes: &[u8], wanted: &[Option<&str>], limits: Limits) -> Result<Vec<Vec<u8>>, FetchError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("archive");
    std::fs::write(&path, bytes).expect("written");
    let file = Whole { name: "some.tar", path: &path, bytes: bytes.len() as u64 };
    let members = take(file, wanted, folder.path(), limits)?;
    for member in &members {
        assert_eq!(files::sha256(&member.at).expect("there"), (member.sha256, member.bytes));
    }
    Ok(members.iter().map(|member| std::fs::read(&member.at).expect("there")).collect())
}

#[track_caller]
fn refused(bytes: &[u8], wanted: &str, limits: Limits) -> (String, Refusal) {
    let error = taken(bytes, &[Some(wanted)], limits).expect_err("refused");
    let told = error.to_string();
    let FetchError::Refused { archive, entry, why } = error else { panic!("{told}") };
    assert!(told.starts_with(&archive) && told.contains(&entry), "{told}");
    (entry, why)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(bytes).expect("in memory");
    out.finish().expect("in memory")
}

#[test]
fn names_that_lead_out_are_refused_even_where_nobody_wants_them() {
    for name in ["../etc/passwd", "/etc/passwd", "a/../../b"] {
        let tar = Tar::default().file("a", b"fine").file(name, b"x").whole();
        assert_eq!(refused(&tar, "a", LIMITS), (name.to_owned(), Refusal::Outside));
        let tar = Tar::default().entry(tar::EntryType::Link, "b", name, b"").file("a", b"fine").whole();
        assert_eq!(refused(&tar, "a", LIMITS).1, Refusal::LinkOutside { target: name.into() });
    }
}

#[test]
fn links_are_followed_inside_alone() {
    let tar = Tar::default().symlink("bin", "usr/bin").symlink("usr/bin/a", "../lib/b").file("usr/lib/b", b"real");
    let tar = tar.entry(tar::EntryType::Link, "hard", "usr/lib/b", b"");
    let tar = tar.symlink("up", "../../etc/passwd").symlink("root", "/etc/passwd").symlink("round", "round");
    let tar = tar.entry(tar::EntryType::Char, "dev", "", b"").whole();
    let wanted = ["bin/a", "hard", "usr/lib/b"].map(Some);
    assert_eq!(taken(&tar, &wanted, LIMITS).expect("inside"), [b"real", b"real", b"real"]);
    for (name, target) in [("up", "../../etc/passwd"), ("root", "/etc/passwd")] {
        assert_eq!(refused(&tar, name, LIMITS).1, Refusal::LinkOutside { target: target.into() });
    }
    assert_eq!(refused(&tar, "round", LIMITS).1, Refusal::Circle);
    assert_eq!(refused(&tar, "dev", LIMITS).1, Refusal::NoFile);
    for absent in ["usr", "usr/lib/c"] {
        let error = taken(&tar, &[Some(absent)], LIMITS).expect_err("no such file");
        assert_eq!(error.to_string(), format!("some.tar has no file `{absent}`"));
    }
}

#[test]
fn one_name_has_one_content() {
    let twice = |second: &[u8]| Tar::default().file("a", b"one").file("./a", second).whole();
    assert_eq!(taken(&twice(b"one"), &[Some("a")], LIMITS).expect("the same"), [b"one"]);
    assert_eq!(refused(&twice(b"two"), "a", LIMITS).1, Refusal::Twice);
    let both = Tar::default().file("a", b"one").symlink("a", "b").whole();
    assert_eq!(refused(&both, "a", LIMITS).1, Refusal::Twice);
    let links = Tar::default().symlink("a", "b").symlink("a", "c").file("b", b"").file("c", b"").whole();
    assert_eq!(refused(&links, "a", LIMITS).1, Refusal::Twice);
}

#[test]
fn no_more_comes_out_than_may() {
    let large = Tar::default().file("a", &vec![7; 110 << 10]).whole();
    let roomy = Limits { free: 1 << 20, ..SMALL };
    assert_eq!(refused(&large, "a", roomy).1, Refusal::TooLarge { most: SMALL.member });
    // Not wanted, and a bomb all the same.
    let bomb = gzip(&Tar::default().file("a", b"x").file("zeros", &vec![0; 300 << 10]).whole());
    assert!(matches!(refused(&bomb, "a", SMALL).1, Refusal::Bomb { most } if most < 300 << 10));
    let zeros = gzip(&vec![0; 300 << 10]);
    let error = taken(&zeros, &[None], SMALL).expect_err("a bomb");
    assert!(matches!(error, FetchError::Refused { why: Refusal::Bomb { .. }, .. }), "{error}");
    let modest = gzip(&vec![0; 60 << 10]);
    assert_eq!(taken(&modest, &[None], SMALL).expect("few bytes are free")[0].len(), 60 << 10);
    // A name of 3 MiB would have to be held in memory.
    let name = Tar::default().entry(tar::EntryType::GNULongName, "././@LongLink", "", &vec![b'n'; 3 << 20]);
    assert_eq!(refused(&name.file("a", b"").whole(), "a", LIMITS).1, Refusal::LongName);
}

#[test]
fn what_is_cut_short_or_damaged_is_no_member() {
    let tar = Tar::default().file("a", &[7; 2000]).whole();
    assert_eq!(refused(&tar[..1500], "a", LIMITS).1, Refusal::Short);
    let mut packed = gzip(&tar);
    let end = packed.len();
    packed[end - 6] ^= 1;
    let error = taken(&packed, &[Some("a")], LIMITS).expect_err("its sum is wrong");
    assert!(matches!(error, FetchError::Io { .. }), "{error}");
    taken(b"neither tar nor package, and long enough", &[Some("a")], LIMITS).expect_err("no archive");
}

#[test]
fn a_whole_file_is_unpacked_only_if_it_is_one_file() {
    let tar = Tar::default().file("a", b"content").whole();
    for (bytes, inside) in [(gzip(b"one file"), b"one file".to_vec()), (tar.clone(), tar.clone())] {
        assert_eq!(taken(&bytes, &[None], LIMITS).expect("whole"), [inside]);
    }
    let packed = gzip(&tar);
    assert_eq!(taken(&packed, &[None], LIMITS).expect("whole"), std::slice::from_ref(&packed));
    let both = taken(&packed, &[Some("a"), None], LIMITS).expect("both");
    assert_eq!(both, [b"content".to_vec(), packed]);
    assert_eq!(taken(b"", &[None], LIMITS).expect("empty"), [b""]);
}

#[test]
fn a_list_names_what_is_picked() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("archive");
    let tar = gzip(&Tar::default().file("./box.img", b"disk").file("metadata.json", b"{}").file("x", b"").whole());
    std::fs::write(&path, &tar).expect("written");
    let file = Whole { name: "box", path: &path, bytes: tar.len() as u64 };
    let (names, small) = list(file, "metadata.json", LIMITS, |name| name.contains("img")).expect("listed");
    assert_eq!((names, small), (vec!["box.img".to_owned()], Some(b"{}".to_vec())));
}
