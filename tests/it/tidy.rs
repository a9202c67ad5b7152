//! The house rules that no compiler keeps: arrows between modules, file lengths, where words may go.

mod arrows;
mod circles;
mod words;

use std::path::Path;
use std::process::Command;

/// A text file of the tree.
struct File {
    path: String,
    text: String,
}

impl File {
    fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|end| end == "rs")
    }

    fn of_tests(&self) -> bool {
        self.path.starts_with("tests/") || self.path.ends_with("/tests.rs")
    }

    /// What is compiled into the product: without the tests at its end. Those of whole files are left out elsewhere.
    fn product(&self) -> &str {
        self.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
    }

    /// Lines with their numbers, comments left out.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.product().lines().enumerate().map(|(at, line)| (at + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// Every text file that is kept in the repository, or is about to be.
fn tree() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .expect("git is needed (sudo apt-get install git)");
    assert!(list.status.success(), "{}", String::from_utf8_lossy(&list.stderr));
    let paths = String::from_utf8(list.stdout).expect("names are text");
    let files: Vec<File> = paths
        .lines()
        .filter_map(|path| Some(File { path: path.into(), text: std::fs::read_to_string(root.join(path)).ok()? }))
        .collect();
    assert!(files.len() > 100, "this is not the whole tree");
    files
}

/// Fails with all that was found.
#[track_caller]
fn none(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

#[test]
fn files_are_short_and_open_with_their_one_job() {
    let mut found = Vec::new();
    for file in tree().iter().filter(|file| file.is_rust()) {
        let lines = file.text.lines().count();
        if lines >= 400 {
            found.push(format!("{}: {lines} lines", file.path));
        }
        let opening: Vec<&str> = file.text.lines().take_while(|line| line.starts_with("//!")).collect();
        let first: Vec<&str> = opening.iter().take_while(|line| line.len() > 3).map(|line| line[3..].trim()).collect();
        let sentence = first.join(" ");
        if !(sentence.ends_with('.') && sentence.len() > 20) {
            found.push(format!("{}: opens with {sentence:?}", file.path));
        }
    }
    none("a file has less than 400 lines and opens with a sentence that names its job", &found);
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = tree().into_iter().find(|file| file.path == "Cargo.toml").expect("a manifest").text;
    let mut found = Vec::new();
    let (mut inside, mut reason) = (false, false);
    for line in manifest.lines() {
        match line.chars().next() {
            Some('[') => (inside, reason) = (line.ends_with("dependencies]"), false),
            Some('#') => reason = line.len() > 20,
            // A reason stands above its group.
            Some(_) if inside && !reason => found.push(line.to_owned()),
            Some(_) => {}
            None => reason = false,
        }
    }
    none("a dependency has a comment above it, or above its group", &found);
}

#[test]
fn every_pin_is_whole() {
    let locks: Vec<File> = tree().into_iter().filter(|file| file.path.ends_with("lock.yaml")).collect();
    assert!(!locks.is_empty());
    let mut found = Vec::new();
    for lock in &locks {
        let pinned = lock.text.split("\nmissing:").next().unwrap_or_default();
        let pins = pinned.lines().filter(|line| line.starts_with("- name:")).count();
        let digests: Vec<&str> = lock.text.lines().filter_map(|line| line.trim().strip_prefix("digest: ")).collect();
        let whole = |digest: &&&str| digest.parse::<calicolab::lab::pin::Digest>().is_err();
        found.extend(digests.iter().filter(whole).map(|digest| format!("{}: {digest}", lock.path)));
        if digests.len() != pins || pins == 0 {
            found.push(format!("{}: {pins} pins and {} digests", lock.path, digests.len()));
        }
    }
    none("a pin has one digest, with all its digits", &found);
}
