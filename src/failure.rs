//! What the user is told at the end of a story that failed: id, exit code, causes, what is left behind, hints.

mod cluster;

use std::error::Error;
use std::fmt;

use serde::{Serialize, Serializer};

/// How a run can end, as its exit code: stable, and the same for every verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Done, and proven where there was something to prove.
    Done = 0,
    /// Nothing that was foreseen.
    Unexpected = 1,
    /// The command line is not understood.
    Usage = 2,
    /// The lab or its lock is invalid.
    LabInvalid = 10,
    /// Somebody else works on it, or has the name or address.
    Conflict = 11,
    /// No such lab, cluster, node or check.
    NoSuch = 12,
    /// The cluster is up and not proven.
    Unproven = 21,
    /// Checks could not be asked.
    Unasked = 22,
    /// The host is not fit.
    HostUnfit = 30,
    /// A download failed.
    Download = 40,
    /// Bytes are not those that were pinned.
    Digest = 41,
    /// Something is missing, and only a network would bring it.
    Offline = 42,
    /// The machine provider failed.
    Provider = 50,
    /// A machine did not boot, or could not be reached by SSH.
    Boot = 60,
    /// A machine presented another host key than its own.
    HostKey = 61,
    /// Installing failed.
    Install = 70,
    /// Something could not be removed.
    Cleanup = 80,
    /// Interrupted by a signal.
    Interrupted = 130,
}

impl Exit {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 18] = [
        Self::Done,
        Self::Unexpected,
        Self::Usage,
        Self::LabInvalid,
        Self::Conflict,
        Self::NoSuch,
        Self::Unproven,
        Self::Unasked,
        Self::HostUnfit,
        Self::Download,
        Self::Digest,
        Self::Offline,
        Self::Provider,
        Self::Boot,
        Self::HostKey,
        Self::Install,
        Self::Cleanup,
        Self::Interrupted,
    ];

    /// The number the process ends with.
    pub fn code(self) -> i32 {
        i32::from(self as u8)
    }

    /// The stable word for programs.
    pub fn id(self) -> &'static str {
        self.words().0
    }

    /// What it means, for `--help`.
    pub fn meaning(self) -> &'static str {
        self.words().1
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Done => ("done", "done and proven"),
            Self::Unexpected => ("unexpected", "unexpected"),
            Self::Usage => ("usage", "usage"),
            Self::LabInvalid => ("lab-invalid", "lab or lock invalid"),
            Self::Conflict => ("conflict", "conflict: locked, name or address taken"),
            Self::NoSuch => ("no-such", "no such lab, cluster, node or check"),
            Self::Unproven => ("unproven", "up, not proven"),
            Self::Unasked => ("unasked", "checks could not be asked"),
            Self::HostUnfit => ("host-unfit", "host not fit"),
            Self::Download => ("download", "download failed"),
            Self::Digest => ("digest", "digest or signature mismatch"),
            Self::Offline => ("offline", "missing while offline"),
            Self::Provider => ("provider", "machine provider failed"),
            Self::Boot => ("boot", "boot or SSH failed"),
            Self::HostKey => ("host-key", "host key mismatch"),
            Self::Install => ("install", "install failed"),
            Self::Cleanup => ("cleanup", "cleanup incomplete"),
            Self::Interrupted => ("interrupted", "interrupted"),
        }
    }

    /// The table for `--help`: code, id and meaning, a line each.
    pub fn table() -> String {
        let line = |exit: &Self| format!("  {:>3}  {:<12} {}\n", exit.code(), exit.id(), exit.meaning());
        Self::ALL.iter().map(line).collect::<Vec<_>>().concat()
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        (exit as u8).into()
    }
}

/// A failure as it is told, once, at the end. `Display` is for people, `Serialize` for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    exit: Exit,
    id: &'static str,
    doing: String,
    because: Vec<String>,
    left: Vec<String>,
    hints: Vec<String>,
}

impl Failure {
    /// What failed: the stable id (`boot.node-died`), and words that fit after "failed to" (`boot the machines`).
    pub fn new(exit: Exit, id: &'static str, doing: impl Into<String>) -> Self {
        Self { exit, id, doing: doing.into(), because: Vec::new(), left: Vec::new(), hints: Vec::new() }
    }

    /// The error that caused it, and its sources down to the last.
    #[must_use]
    pub fn because(mut self, error: &(dyn Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            self = self.because_text(error.to_string());
            cause = error.source();
        }
        self
    }

    /// One cause in words. What an earlier cause says already is not said again.
    #[must_use]
    pub fn because_text(mut self, cause: impl Into<String>) -> Self {
        add(&mut self.because, &cause.into(), |known, new| known.contains(new));
        self
    }

    /// What is left on the host.
    #[must_use]
    pub fn left(mut self, what: impl Into<String>) -> Self {
        add(&mut self.left, &what.into(), |known, new| known == new);
        self
    }

    /// What can be done: a command, where there is one.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        add(&mut self.hints, &hint.into(), |known, new| known == new);
        self
    }

    /// How the process ends.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// The stable id.
    pub fn id(&self) -> &'static str {
        self.id
    }
}

/// Add a text that is not empty and that no earlier one covers; what guests and programs wrote loses the control
/// characters that would move a terminal's cursor or colour it.
fn add(texts: &mut Vec<String>, text: &str, covers: fn(&str, &str) -> bool) {
    let plain = plain(text);
    if !plain.is_empty() && !texts.iter().any(|known| covers(known, &plain)) {
        texts.push(plain);
    }
}

fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.trim().chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' && chars.next_if_eq(&'[').is_some() {
            // A control sequence ends with its first character from `@` on.
            while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
        } else if c == '\n' || c == '\t' || !c.is_control() {
            plain.push(c);
        }
    }
    plain
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: failed to {}", self.id, self.doing)?;
        for cause in &self.because {
            write!(f, "\n  because: {}", cause.replace('\n', "\n    "))?;
        }
        for what in &self.left {
            write!(f, "\nleft: {}", what.replace('\n', "\n  "))?;
        }
        for hint in &self.hints {
            write!(f, "\nhint: {}", hint.replace('\n', "\n  "))?;
        }
        Ok(())
    }
}

impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let exit = self.exit;
        serde_json::json!({
            "error": {
                "id": self.id,
                "exit": { "code": exit.code(), "id": exit.id() },
                "message": format!("failed to {}", self.doing),
                "because": self.because,
                "left": self.left,
                "hints": self.hints,
            }
        })
        .serialize(serializer)
    }
}

/// An error with its sources in one line.
pub fn in_one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Cause {
        text: &'static str,
        source: Option<Box<Cause>>,
    }

    fn chain(texts: &[&'static str]) -> Cause {
        let (first, rest) = texts.split_first().expect("at least one");
        Cause { text: first, source: (!rest.is_empty()).then(|| Box::new(chain(rest))) }
    }

    fn sample() -> Failure {
        Failure::new(Exit::Boot, "boot.node-died", "boot the machines")
            .because(&chain(&[
                "calico-02 did not come up",
                "qemu-system-x86_64 ended with status 1: could not set up host forwarding",
            ]))
            .left("two machines are still running")
            .hint("calicolab down demo")
    }

    #[test]
    fn it_is_told_from_the_step_to_the_cause() {
        insta::assert_snapshot!(sample(), @r"
        error[boot.node-died]: failed to boot the machines
          because: calico-02 did not come up
          because: qemu-system-x86_64 ended with status 1: could not set up host forwarding
        left: two machines are still running
        hint: calicolab down demo
        ");
    }

    #[test]
    fn programs_get_the_same() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&sample()).expect("it is JSON"), @r#"
        {
          "error": {
            "because": [
              "calico-02 did not come up",
              "qemu-system-x86_64 ended with status 1: could not set up host forwarding"
            ],
            "exit": {
              "code": 60,
              "id": "boot"
            },
            "hints": [
              "calicolab down demo"
            ],
            "id": "boot.node-died",
            "left": [
              "two machines are still running"
            ],
            "message": "failed to boot the machines"
          }
        }
        "#);
    }

    #[test]
    fn nothing_is_said_twice_and_nothing_moves_the_cursor() {
        let failure = Failure::new(Exit::Boot, "boot.silent", "reach calico-01")
            .because(&chain(&[
                "no ready mark: timed out",
                "timed out",
                "",
                "its console ends:\n\u{1b}[1;31mpanic\u{1b}[0m\r\nhalted\u{7}",
            ]))
            .hint("calicolab logs calico-01 --console")
            .hint("calicolab logs calico-01 --console")
            .hint("calicolab down demo");
        insta::assert_snapshot!(failure, @r"
        error[boot.silent]: failed to reach calico-01
          because: no ready mark: timed out
          because: its console ends:
            panic
            halted
        hint: calicolab logs calico-01 --console
        hint: calicolab down demo
        ");
    }

    #[test]
    fn codes_and_ids_are_distinct_and_in_order() {
        assert!(Exit::ALL.is_sorted());
        let codes: Vec<i32> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 10, 11, 12, 21, 22, 30, 40, 41, 42, 50, 60, 61, 70, 80, 130]);
        let ids: std::collections::HashSet<_> = Exit::ALL.iter().map(|exit| exit.id()).collect();
        assert_eq!(ids.len(), codes.len());
        insta::assert_snapshot!(Exit::table().lines().nth(13).unwrap_or_default(), @"   60  boot         boot or SSH failed");
    }
}
