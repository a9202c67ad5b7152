//! The command line as people and programs meet it: what it says, where, and with which exit code. No machine.

mod cache;
mod diags;
mod gc;
mod lab;
mod lock;
mod mirror;
mod offline;
mod pack;
mod serve;
mod state;
pub mod tiny;

use std::process::{Command, Output, Stdio};

use calicolab::failure::Exit;
use serde_json::Value;

/// A user with a home, a cache and a configuration of their own.
pub struct User {
    folder: tempfile::TempDir,
}

impl User {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    /// `command` in this user's environment.
    fn give(&self, mut command: Command) -> Command {
        for name in
            ["CALICOLAB_CLUSTER", "CALICOLAB_LABS", "CALICOLAB_OFFLINE", "CALICOLAB_MIRRORS", "CI", "XDG_RUNTIME_DIR"]
        {
            command.env_remove(name);
        }
        command
            .env("CALICOLAB_HOME", self.path("home"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .stdin(Stdio::null());
        command
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.give(Command::new(env!("CARGO_BIN_EXE_calicolab")));
        command.args(words);
        command
    }

    #[track_caller]
    fn ends(&self, words: &[&str], exit: Exit) -> Said {
        Said::by(&mut self.command(words), exit.code())
    }

    #[track_caller]
    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.ends(words, Exit::Done).out).expect("JSON on standard output")
    }
}

/// What it said.
pub struct Said {
    out: String,
    err: String,
}

impl Said {
    #[track_caller]
    pub fn by(command: &mut Command, code: i32) -> Self {
        let Output { status, stdout, stderr } = command.output().expect("it starts");
        let (out, err) = (String::from_utf8(stdout).expect("text"), String::from_utf8(stderr).expect("text"));
        assert_eq!(status.code(), Some(code), "{command:?}\n{err}{out}");
        Self { out, err }
    }

    /// Its standard error has each of these.
    #[track_caller]
    pub fn tells(&self, words: &[&str]) {
        for word in words {
            assert!(self.err.contains(word), "`{word}` is not in\n{}", self.err);
        }
    }
}

#[test]
fn help_and_version_are_data() {
    let user = User::new();
    let help = user.ends(&["--help"], Exit::Done);
    for exit in Exit::ALL {
        let line = format!("{:>5}  {}", exit.code(), exit.id());
        assert!(help.out.contains(&line), "`{line}` is not in the table of exit codes");
    }
    assert_eq!(help.err, "");
    let version = user.ends(&["--version"], Exit::Done);
    assert!(
        version.out.starts_with("calicolab ") && version.out.contains(env!("CARGO_PKG_VERSION")),
        "{}",
        version.out
    );
}

#[test]
fn completion_is_there_for_the_usual_shells() {
    let user = User::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(user.ends(&["completion", shell], Exit::Done).out.contains("calicolab"), "{shell}");
    }
}

#[test]
fn what_is_no_word_of_ours_is_usage() {
    let user = User::new();
    for words in [&["up", "--nodes", "1"][..], &["up", "--nodes", "10"], &["rise"], &[], &["plan", "--set"]] {
        user.ends(words, Exit::Usage);
    }
    for name in ["Demo", "a b", "a_b", "-", "a.b", &"a".repeat(64)] {
        user.ends(&["up", &format!("--name={name}")], Exit::Usage).tells(&["usage.name", "is not a cluster name"]);
    }
    user.ends(&["up", "--provider", "clouds"], Exit::Usage).tells(&["there is no provider `clouds`"]);
    user.ends(&["plan", "--set", "bgp.mesh"], Exit::Usage).tells(&["usage.set"]);
}

#[test]
fn an_answer_is_one_of_the_happenings_where_they_own_standard_output() {
    let user = User::new();
    let said = user.ends(&["--json", "ls"], Exit::Done);
    let line: Value = serde_json::from_str(said.out.trim()).expect("one object");
    assert_eq!((&line["event"], &line["answer"]), (&"answer".into(), &serde_json::json!([])), "{line:#}");
    let said = user.ends(&["--json", "plan"], Exit::Done);
    let last: Value = serde_json::from_str(said.out.lines().last().expect("a line")).expect("an object");
    assert_eq!(last["answer"]["lab"], "primer", "{last:#}");
}

#[test]
fn happenings_are_one_object_a_line_and_the_failure_is_the_last() {
    let user = User::new();
    let said = user.ends(&["--json", "up", "primr"], Exit::NoSuch);
    assert_eq!(said.err, "");
    let lines: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert!(lines.iter().all(|line| line["event"].is_string()));
    let error = &lines.last().expect("a line")["failure"]["error"];
    assert_eq!((&error["exit"]["code"], &error["id"]), (&12.into(), &"lab.none".into()), "{error:#}");
    assert_eq!(error["hints"][0], "did you mean `primer`?");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let user = User::new();
    for words in ["labs show primer", "plan -o json", "--help", "completion bash", "--json up nosuch"] {
        let script = format!("\"$1\" {words} | head -c 1 >/dev/null");
        let mut shell = user.give(Command::new("sh"));
        shell.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_calicolab")]);
        let said = Said::by(&mut shell, 0);
        assert!(!said.err.contains("panicked"), "{words}: {}", said.err);
    }
}

/// All programs of this host's PATH but these, as links in one folder.
fn programs_without(user: &User, left_out: &[&str]) -> String {
    let folder = user.path("bin");
    std::fs::create_dir(&folder).expect("made");
    for from in std::env::split_paths(&std::env::var_os("PATH").expect("a PATH")) {
        for entry in std::fs::read_dir(from).into_iter().flatten().filter_map(Result::ok) {
            if !left_out.iter().any(|name| entry.file_name() == *name) {
                // The first of a name is the one that counts.
                let _ = std::os::unix::fs::symlink(entry.path(), format!("{folder}/{}", entry.file_name().display()));
            }
        }
    }
    folder
}

#[test]
fn a_missing_program_is_told_with_the_command_that_brings_it() {
    let user = User::new();
    let path = programs_without(&user, &["qemu-system-x86_64", "mmdebstrap"]);
    let up = Said::by(user.command(&["up"]).env("PATH", &path), Exit::HostUnfit.code());
    up.tells(&[
        "host.unfit",
        "qemu-system-x86_64 not found",
        "apt-get install --no-install-recommends qemu-system-x86",
    ]);
    assert!(!std::path::Path::new(&user.path("home/clusters/primer")).exists(), "nothing was begun");
    let doctor = Said::by(user.command(&["doctor"]).env("PATH", &path), Exit::HostUnfit.code());
    for word in ["qemu-system-x86_64 not found", "the program mmdebstrap", "apt-get install mmdebstrap"] {
        assert!(doctor.out.contains(word), "{word}: {}", doctor.out);
    }
}

#[test]
fn what_the_image_needs_is_told_before_anything_is_made() {
    let user = User::new();
    let path = programs_without(&user, &["mmdebstrap"]);
    let up = |words: &[&str], exit: Exit| Said::by(user.command(words).env("PATH", &path), exit.code());
    up(&["up"], Exit::HostUnfit).tells(&["host.unfit", "the program mmdebstrap", "sudo apt-get install mmdebstrap"]);
    let offline = up(&["up", "--offline"], Exit::Offline);
    offline.tells(&["offline.missing", "image debian-12", "bird", "run once without --offline"]);
    assert!(!std::path::Path::new(&user.path("home/clusters/primer")).exists(), "nothing was begun");
    let plan = user.ends(&["plan"], Exit::Done).out;
    assert!(plan.contains("image debian-12 is built here, once"), "{plan}");
}
