//! Packs on the command line: made twice alike, unpacked without a network, refused when a byte is another.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use calicolab::artifact::pack::{self, Bytes, Contents, Existing, Piece, Place};
use calicolab::event::Events;
use calicolab::failure::Exit;
use calicolab::lab::builtin::Library;
use calicolab::lab::pin::Arch;

use super::tiny::{Tiny, cut_off, files};
use super::{Said, User};
use crate::support::plans;
use crate::support::waiting::eventually;

fn packed(tiny: &Tiny, name: &str) -> String {
    let file = tiny.user.path(name);
    tiny.ends(&["pack", "tiny", "-o", &file], Exit::Done);
    file
}

#[test]
fn a_lab_travels_to_a_machine_without_a_network() {
    let (tiny, other) = (Tiny::new(), User::new());
    let file = packed(&tiny, "one.pack");
    let again = packed(&tiny, "two.pack");
    assert_eq!(std::fs::read(&file).expect("read"), std::fs::read(&again).expect("read"), "same input, same bytes");

    let list = other.json(&["unpack", "--list", &file, "-o", "json"]);
    assert_eq!((&list["lab"], &list["arch"]), (&"tiny".into(), &"amd64".into()));
    other.ends(&["unpack", "--dry-run", &file], Exit::Done);
    assert!(!Path::new(&other.path("cache")).exists(), "a look writes nothing");

    let said = Said::by(&mut cut_off(&other.command(&["unpack", &file])), 0);
    let labs = other.path("home/packs/tiny");
    assert_eq!(said.out.lines().last(), Some(format!("next: calicolab --labs {labs} up tiny").as_str()));
    let fetch = other.command(&["--labs", &labs, "--offline", "fetch", "tiny", "-o", "json"]);
    let said = Said::by(&mut cut_off(&fetch), 0);
    let lines: Vec<BTreeMap<String, serde_json::Value>> = serde_json::from_str(&said.out).expect("JSON");
    assert!(lines.len() == 4 && lines.iter().all(|line| line["state"] == "there"), "{lines:#?}");
    let set = ["--set", "network.lab=198.18.7.0/24", "-o", "json"];
    let plan = other.json(&[&["--labs", &labs, "plan", "tiny"], &set[..]].concat());
    assert_eq!(plan, tiny.json(&[&["plan", "tiny"], &set[..]].concat()));
    // Once more is fine, and moves nothing aside.
    let said = other.ends(&["unpack", &file], Exit::Done);
    assert!(said.err.contains("0 files written") && !said.err.contains("before-unpack"), "{}", said.err);
}

#[test]
fn a_pack_that_is_another_by_a_byte_writes_nothing() {
    let (tiny, other) = (Tiny::new(), User::new());
    let file = packed(&tiny, "pack");
    let whole = std::fs::read(&file).expect("read");
    let refused = |bytes: &[u8], exit, words: &[&str]| {
        std::fs::write(&file, bytes).expect("written");
        other.ends(&["unpack", &file], exit).tells(words);
        assert!(!Path::new(&other.path("cache")).exists() && !Path::new(&other.path("home/packs")).exists());
    };
    for at in [0, 600, 5000, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        let exit = if at == 0 { Exit::Usage } else { Exit::Digest };
        refused(&bytes, exit, &["nothing: no byte was written"]);
    }
    refused(&whole[..whole.len() - 1], Exit::Digest, &["pack.truncated", "it ends after"]);
    refused(b"PK\x03\x04", Exit::Usage, &["pack.not-a-pack", "is no pack"]);
    let newer = [&whole[..527], b"9", &whole[528..]].concat();
    refused(&newer, Exit::Usage, &["pack.schema", "reads schema 1"]);
}

#[test]
fn a_file_that_is_there_stays_and_an_interrupt_leaves_nothing() {
    let tiny = Tiny::new();
    let file = packed(&tiny, "pack");
    let before = std::fs::read(&file).expect("read");
    tiny.ends(&["pack", "tiny", "-o", &file], Exit::Conflict).tells(&["is there already", "--force"]);
    tiny.ends(&["pack", "tiny", "-o", &file, "--force"], Exit::Done);
    assert_eq!(std::fs::read(&file).expect("read"), before);
    tiny.ends(&["pack", "tiny", "-o", &tiny.user.path("nowhere/pack")], Exit::Unexpected);
}

#[tokio::test]
async fn an_interrupted_pack_and_a_killed_unpack_leave_nothing_half() {
    let (tiny, other) = (Tiny::new(), Tiny::without_bytes());
    let (file, part) = (tiny.user.path("pack"), tiny.user.path("pack.part"));
    let mut packing = tiny.command(&["pack", "tiny", "-o", &file]).stderr(Stdio::null()).spawn().expect("it starts");
    eventually("it packs", || (Path::new(&part).exists() || Path::new(&file).exists()).then_some(())).await;
    let pid = rustix::process::Pid::from_child(&packing);
    // It may have been quicker.
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
    let code = packing.wait().expect("it ends").code();
    assert!(code == Some(130) || code == Some(0), "{code:?}");
    assert!(!Path::new(&part).exists());
    assert_eq!(Path::new(&file).exists(), code == Some(0));

    let file = packed(&tiny, "whole.pack");
    let mut unpacking =
        other.command(&["unpack", &file]).stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("it starts");
    let (_, digest, _) = &files()[0];
    eventually("it unpacks", || other.cache().file(digest).exists().then_some(())).await;
    unpacking.kill().expect("killed");
    unpacking.wait().expect("it ends");
    other.ends(&["cache", "verify"], Exit::Done);
    other.ends(&["unpack", &file], Exit::Done);
    other.ends(&["cache", "verify"], Exit::Done);
    other.ends(&["--offline", "fetch", "tiny"], Exit::Done);
}

#[test]
fn a_disk_that_is_too_small_or_full_is_told_and_what_is_there_is_whole() {
    let (tiny, other) = (Tiny::new(), User::new());
    let file = packed(&tiny, "pack");
    std::fs::create_dir(other.path("cache")).expect("made");
    // The second user has room by the numbers, and no more places for files.
    for (options, words) in [
        ("size=64k", &["disk.full", "no room in", "left: what was written to"][..]),
        ("size=64m,nr_inodes=7", &["disk.full", "left: what was written to", "each file whole"]),
    ] {
        let script = "mount -t tmpfs -o \"$1\" none \"$XDG_CACHE_HOME\" && shift && \"$1\" unpack \"$2\"; code=$?; \
                      find \"$XDG_CACHE_HOME\" -name '*.part' | grep . && exit 99; \"$1\" cache verify >&2 || exit 98; exit $code";
        let mut command = other.give(std::process::Command::new("unshare"));
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", options]);
        command.arg(env!("CARGO_BIN_EXE_calicolab")).arg(&file);
        Said::by(&mut command, Exit::HostUnfit.code()).tells(words);
    }
}

/// A pack of the binary's own lab `primer` without any of its bytes, with this lock.
async fn of_primer(path: &str, lock: &str) {
    let library = Library::open(None).expect("labs");
    let mut parts = library.parts(&plans::lab(3), &library.images().expect("images")).expect("parts");
    parts.insert("labs/primer/lock.yaml".into(), lock.into());
    let piece =
        |(path, text): (String, Vec<u8>)| Piece { place: Place::Text(path), label: None, bytes: Bytes::Text(text) };
    let pieces = parts.into_iter().map(piece).collect();
    let contents = Contents { lab: "primer".parse().expect("a name"), arch: Arch::Amd64, pieces };
    let (events, _told) = Events::channel();
    pack::write(contents, Path::new(path), Existing::Replace, &events).await.expect("packed");
}

#[tokio::test]
async fn a_lock_that_differs_becomes_the_users_own_and_theirs_is_kept() {
    let user = User::new();
    let (file, own) = (user.path("pack"), user.path("config/calicolab/labs/primer/lock.yaml"));
    let name = "primer".parse().expect("a name");
    let carried = Library::open(None).expect("labs").lock_text(&name, None).expect("read").expect("a lock").text;
    of_primer(&file, &carried).await;
    let said = user.ends(&["unpack", &file], Exit::Done);
    assert_eq!(said.out.trim(), "next: calicolab up primer");
    assert!(!Path::new(&own).exists(), "the binary's own lab needs nothing else");

    let other = format!("{carried}# another\n");
    of_primer(&file, &other).await;
    user.ends(&["unpack", &file], Exit::Done).tells(&["is now yours"]);
    assert_eq!(std::fs::read_to_string(&own).expect("written"), other);
    let said = user.ends(&["unpack", &file], Exit::Done);
    assert!(!said.err.contains("before-unpack"), "{}", said.err);

    of_primer(&file, &carried).await;
    user.ends(&["unpack", &file], Exit::Done).tells(&["is kept as", "lock.yaml.before-unpack"]);
    assert!(!Path::new(&own).exists(), "the lock in effect is the pack's, which is the binary's");
    assert_eq!(std::fs::read_to_string(format!("{own}.before-unpack")).expect("kept"), other);
}

#[test]
fn a_lab_whose_lock_lacks_something_is_not_packed_and_the_rest_is_fetched() {
    let tiny = Tiny::new();
    let lock = format!("{}/labs/tiny/lock.yaml", tiny.labs());
    let text = std::fs::read_to_string(&lock).expect("read");
    let gamma = text.find("- name: gamma").expect("gamma");
    std::fs::write(&lock, &text[..gamma]).expect("written");
    let file = tiny.user.path("pack");
    tiny.ends(&["pack", "tiny", "-o", &file], Exit::LabInvalid).tells(&["no digest for gamma", "calicolab lock tiny"]);
    assert!(!Path::new(&file).exists());
    tiny.ends(&["fetch", "tiny"], Exit::LabInvalid).tells(&[
        "lock.incomplete",
        "no digest for gamma",
        "everything that is pinned, in the cache",
    ]);
}
