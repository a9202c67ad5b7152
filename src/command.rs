//! Programs as argument lists, and how they ended; the only place that quotes words for a shell.

use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;

/// A program and its arguments, never a shell string.
///
/// `Display` writes it so that it can be pasted into a shell.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Argv(Vec<String>);

impl Argv {
    /// The program alone.
    pub fn new(program: impl Into<String>) -> Self {
        Self(vec![program.into()])
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, word: impl Into<String>) -> Self {
        self.0.push(word.into());
        self
    }

    /// Several more arguments.
    #[must_use]
    pub fn args<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.0.extend(words.into_iter().map(Into::into));
        self
    }

    /// A POSIX shell running `script`, which is fixed text of ours; what varies goes into `words` ($1, $2, …).
    pub fn script<W: Into<String>>(script: &str, words: impl IntoIterator<Item = W>) -> Self {
        Self::new("sh").args(["-c", script, "sh"]).args(words)
    }

    /// [`script`](Self::script) for a node: by its busybox, where it has one. What `script` calls by a bare name is then
    /// busybox's own, which is no program to start, and under emulation each of those takes a twentieth of a second.
    pub fn node_script<W: Into<String>>(script: &str, words: impl IntoIterator<Item = W>) -> Self {
        const CHOOSE: &str = r#"command -v busybox >/dev/null && exec busybox sh -c "$@"; exec sh -c "$@""#;
        Self::new("sh").args(["-c", CHOOSE, "sh", script, "sh"]).args(words)
    }

    /// The same, run as root by sudo, which never asks for a password.
    #[must_use]
    pub fn sudo(self) -> Self {
        Self::new("sudo").arg("-n").args(self.0)
    }

    /// The same without [`sudo`](Self::sudo), for root.
    #[must_use]
    pub(crate) fn by_root(self) -> Self {
        match self.sudos() {
            Some(inner) => Self(inner.to_vec()),
            None => self,
        }
    }

    /// What runs by `sudo`, if it does.
    fn sudos(&self) -> Option<&[String]> {
        match self.0.as_slice() {
            [sudo, n, inner @ ..] if sudo == "sudo" && n == "-n" && !inner.is_empty() => Some(inner),
            _ => None,
        }
    }

    /// The same, ended by the far side after `limit`, rounded up to whole seconds (status 124, or 137 if it had to be
    /// killed). What runs by [`sudo`](Self::sudo) is bounded inside it: an ordinary user may not signal root's processes.
    #[must_use]
    pub fn bounded(self, limit: Duration) -> Self {
        let inner = self.sudos();
        let bounded = Self::new("timeout").args(["-k", "2"]).arg(limit.as_secs_f64().ceil().to_string());
        let bounded = bounded.args(inner.unwrap_or(&self.0).to_vec());
        if inner.is_some() { bounded.sudo() } else { bounded }
    }

    /// The program's name as given.
    pub fn program(&self) -> &str {
        &self.0[0]
    }

    /// Program and arguments.
    pub fn words(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Argv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quoted(&self.0))
    }
}

/// Words quoted for a POSIX shell and joined by blanks. A NUL, which no argument can carry, is dropped.
pub fn quoted<W: AsRef<str>>(words: &[W]) -> String {
    let clean: Vec<String> = words.iter().map(|w| w.as_ref().replace('\0', "")).collect();
    shlex::try_join(clean.iter().map(String::as_str)).unwrap_or_default()
}

/// How a program ended. A signal cannot look like status 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// It returned this status.
    Exit(i32),
    /// It was killed by this signal (`KILL`, `9`: as the teller names it).
    Signal(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(status) => write!(f, "ended with status {status}"),
            Self::Signal(name) => write!(f, "was killed by signal {name}"),
        }
    }
}

/// What a program said and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// How it ended.
    pub ended: Ended,
    /// Its standard output; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// Its standard error; bytes that are not UTF-8 are replaced.
    pub stderr: String,
}

impl Output {
    /// Whether it ended with status 0.
    pub fn ok(&self) -> bool {
        self.ended == Ended::Exit(0)
    }

    /// Standard output if it ended well, else an error that carries argv and what was said.
    pub fn success(self, argv: &Argv) -> Result<String, CommandError> {
        if self.ok() { Ok(self.stdout) } else { Err(CommandError::Failed { argv: argv.clone(), output: self }) }
    }

    /// The last `lines` lines of what it said, standard error preferred.
    pub fn tail(&self, lines: usize) -> String {
        let text = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        let all: Vec<&str> = text.trim_end().lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

/// Why a program of this host gave no good answer.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started.
    #[error("`{}` could not be started", argv.program())]
    Start {
        /// What was tried.
        argv: Argv,
        /// The system's reason.
        source: std::io::Error,
    },
    /// It could not be spoken to or waited for.
    #[error("`{}` could not be followed to its end", argv.program())]
    Follow {
        /// What ran.
        argv: Argv,
        /// The system's reason.
        source: std::io::Error,
    },
    /// It ended otherwise than with status 0.
    #[error("`{argv}` {}: {}", output.ended, output.tail(12))]
    Failed {
        /// What ran.
        argv: Argv,
        /// What it said.
        output: Output,
    },
    /// It did not end in time and was killed.
    #[error("`{argv}` did not end within {} s", limit.as_secs())]
    TooLong {
        /// What ran.
        argv: Argv,
        /// The limit.
        limit: Duration,
    },
}

/// Run a program of this host with nothing on its standard input; killed when the future is dropped or `limit` passes.
pub async fn run(argv: &Argv, limit: Duration) -> Result<Output, CommandError> {
    run_with_input(argv, Vec::new(), limit).await
}

/// Run a program of this host with `input` on its standard input.
pub async fn run_with_input(argv: &Argv, input: Vec<u8>, limit: Duration) -> Result<Output, CommandError> {
    let mut child = tokio::process::Command::new(argv.program())
        .args(&argv.words()[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| CommandError::Start { argv: argv.clone(), source })?;
    let stdin = child.stdin.take();
    let feed = async move {
        if let Some(mut pipe) = stdin {
            // A program may end without reading its input; its own status tells whether that is a failure.
            let _ = pipe.write_all(&input).await;
        }
    };
    let both = async { tokio::join!(feed, child.wait_with_output()).1 };
    match tokio::time::timeout(limit, both).await {
        Err(_) => Err(CommandError::TooLong { argv: argv.clone(), limit }),
        Ok(Err(source)) => Err(CommandError::Follow { argv: argv.clone(), source }),
        Ok(Ok(out)) => Ok(Output {
            ended: ended(out.status),
            stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        }),
    }
}

/// A local exit status as our own value.
pub fn ended(status: std::process::ExitStatus) -> Ended {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Exit(code),
        (None, Some(signal)) => Ended::Signal(signal.to_string()),
        (None, None) => Ended::Signal("unknown".into()),
    }
}

/// Where `program` is found on this host's PATH, if anywhere. The folders of administrators' programs are looked
/// through last: an ordinary user's PATH may lack them, and some programs there need no rights.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_survives_a_shell() {
        let argv = Argv::new("printf").args(["%s|", "a b", "it's", "$HOME", ""]);
        let out = std::process::Command::new("sh").args(["-c", &argv.to_string()]).output().expect("sh runs");
        assert_eq!(String::from_utf8_lossy(&out.stdout), "a b|it's|$HOME||");
    }

    #[test]
    fn the_bound_stands_inside_sudo() {
        let argv = Argv::new("birdc").arg("show").sudo().bounded(Duration::from_millis(1500));
        assert_eq!(argv.to_string(), "sudo -n timeout -k 2 2 birdc show");
        assert_eq!(argv.by_root().to_string(), "timeout -k 2 2 birdc show");
    }

    #[tokio::test]
    async fn a_signal_is_not_success() {
        let out = run(&Argv::script("kill -9 $$", [""; 0]), Duration::from_secs(20)).await.expect("sh runs");
        assert_eq!(out.ended, Ended::Signal("9".into()));
        assert!(!out.ok());
    }

    #[tokio::test]
    async fn a_program_that_is_too_slow_is_ended() {
        let error = run(&Argv::new("sleep").arg("30"), Duration::from_millis(50)).await.expect_err("must not wait");
        assert!(matches!(error, CommandError::TooLong { .. }));
    }
}
