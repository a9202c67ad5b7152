//! A long-running program followed line by line, and asked to end when nobody waits for it any more.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use crate::command::{Argv, CommandError, Output, ended};

/// How many of its last lines an error carries.
const LAST: usize = 40;

/// Passes on, to the whole group, that this run was killed: the kernel tells only the first process. The program's
/// standard input is given by number, since a shell gives what it starts beside itself an empty one.
const GUARD: &str = r#"trap 'trap "" TERM; kill -TERM 0' TERM
exec 3<&0
"$@" <&3 3<&- &
wait $!
"#;

/// Run `argv` with `input`, its standard output in `output`, and every line of its standard error told to `line`.
pub(super) async fn follow(
    argv: &Argv,
    input: &[u8],
    output: Stdio,
    limit: Duration,
    mut line: impl FnMut(&str),
) -> Result<(), CommandError> {
    let guarded = Argv::new("setpriv").args(["--pdeathsig", "TERM"]);
    let guarded = guarded.args(Argv::script(GUARD, argv.words().iter().cloned()).words().iter().cloned());
    let mut child = tokio::process::Command::new(guarded.program())
        .args(&guarded.words()[1..])
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(output)
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|source| CommandError::Start { argv: argv.clone(), source })?;
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let mut last: Vec<String> = Vec::new();
    let lines = async {
        let mut lines = BufReader::new(stderr.expect("its error stream is piped")).split(b'\n');
        while let Some(bytes) = lines.next_segment().await? {
            let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            line(&text);
            if last.len() == LAST {
                last.remove(0);
            }
            last.push(text);
        }
        Ok::<_, std::io::Error>(())
    };
    let feed = async {
        if let Some(mut pipe) = stdin {
            // A program may end without reading its input; its own status tells whether that is a failure.
            let _ = pipe.write_all(input).await;
        }
    };
    let all = async {
        let ((), read) = tokio::join!(feed, lines);
        read?;
        child.wait().await
    };
    let follow = |source| CommandError::Follow { argv: argv.clone(), source };
    let status = match tokio::time::timeout(limit, all).await {
        Err(_) => return Err(CommandError::TooLong { argv: argv.clone(), limit }),
        Ok(status) => status.map_err(follow)?,
    };
    group.0 = None;
    if status.success() {
        return Ok(());
    }
    let output = Output { ended: ended(status), stdout: String::new(), stderr: last.join("\n") };
    Err(CommandError::Failed { argv: argv.clone(), output })
}

/// The program and its children, asked to end when this is dropped. Not killed: it clears away what it made, which
/// this user may have no right to do.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended meanwhile.
            let _ = rustix::process::kill_process_group(group, Signal::TERM);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_carries_the_last_lines() {
        let argv = Argv::script("cat >&2; exit 3", [""; 0]);
        let mut heard = Vec::new();
        let ended =
            follow(&argv, b"one\ntwo\n", Stdio::null(), Duration::from_secs(30), |line| heard.push(line.to_owned()));
        let error = ended.await.expect_err("status 3").to_string();
        assert_eq!(heard, ["one", "two"]);
        assert!(error.contains("status 3") && error.contains("two"), "{error}");
    }

    #[tokio::test]
    async fn the_program_may_clear_up_when_nobody_waits() {
        let folder = tempfile::tempdir().expect("a folder");
        let mark = folder.path().join("cleared");
        // Waits for a child beside it: while it starts one in the foreground, dash loses signals.
        let script = "trap 'echo x >\"$1\"; exit 1' TERM; sleep 60 & echo ready >&2; wait";
        let argv = Argv::script(script, [mark.display().to_string()]);
        let ready = tokio::sync::Notify::new();
        tokio::select! {
            ended = follow(&argv, b"", Stdio::null(), Duration::from_secs(30), |_| ready.notify_one()) => {
                panic!("it ended by itself: {ended:?}")
            }
            () = ready.notified() => {}
        }
        let patience = crate::wait::Patience { limit: Duration::from_secs(30), pause: Duration::from_millis(20) };
        let cleared = crate::wait::until(patience, || {
            let there = mark.exists();
            async move { if there { crate::wait::Asked::Yes(()) } else { crate::wait::Asked::NotYet("no mark".into()) } }
        });
        cleared.await.expect("it heard that nobody waits");
    }
}
