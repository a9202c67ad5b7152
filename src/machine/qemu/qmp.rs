//! Speaks QMP over a unix socket: status, power button, quit, standing still, streams of memory; each answer has a limit.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

/// The longest answer read; ours have some hundred bytes.
const LONGEST: u64 = 1 << 20;

/// A negotiated connection to one QEMU. QEMU serves one at a time: drop it soon.
#[derive(Debug)]
pub struct Qmp {
    stream: BufReader<UnixStream>,
    limit: Duration,
}

/// Why QEMU could not be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// Nobody listens on the socket.
    #[error("nobody answers on {path}")]
    Connect {
        /// The socket.
        path: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection broke at `{during}`")]
    Broken {
        /// What was asked.
        during: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// QEMU closed the connection.
    #[error("QEMU hung up at `{during}`")]
    Closed {
        /// What was asked.
        during: &'static str,
    },
    /// No answer in time.
    #[error("no answer to `{during}` within {} ms", limit.as_millis())]
    Silent {
        /// What was asked.
        during: &'static str,
        /// How long was waited.
        limit: Duration,
    },
    /// An answer that is none.
    #[error("the answer to `{during}` is not understood: {line}")]
    Garbled {
        /// What was asked.
        during: &'static str,
        /// What came.
        line: String,
    },
    /// QEMU said no.
    #[error("QEMU refuses `{during}`: {why}")]
    Refused {
        /// What was asked.
        during: &'static str,
        /// Its reason.
        why: String,
    },
}

/// One line of QEMU's; events and greetings have neither field that we ask for.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "return")]
    answer: Option<Value>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    desc: String,
}

/// How a stream of memory stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stream {
    /// There is none, or it has come to its end.
    Ended,
    /// It is being sent, for the so manieth time what was written since the time before.
    Going {
        /// The first time is all of it.
        pass: u64,
    },
    /// All of the memory is sent, the guest stands still, and QEMU waits.
    Waiting,
    /// It broke off.
    Failed {
        /// QEMU's reason.
        why: String,
    },
}

impl Stream {
    fn of(answer: &Value) -> Self {
        match answer.get("status").and_then(Value::as_str) {
            None | Some("none" | "completed") => Self::Ended,
            Some("pre-switchover") => Self::Waiting,
            Some("failed" | "cancelled") => {
                let why = answer.get("error-desc").and_then(Value::as_str).unwrap_or("the stream was broken off");
                Self::Failed { why: why.into() }
            }
            _ => Self::Going { pass: answer.pointer("/ram/dirty-sync-count").and_then(Value::as_u64).unwrap_or(0) },
        }
    }
}

impl Qmp {
    /// Connect and negotiate. QEMU greets only when its machine is made: who is greeted knows that every option was
    /// accepted and every port taken.
    pub async fn connect(path: &Path, limit: Duration) -> Result<Self, QmpError> {
        let failed = |source| QmpError::Connect { path: path.display().to_string(), source };
        let stream = BufReader::new(UnixStream::connect(path).await.map_err(failed)?);
        let mut qmp = Self { stream, limit };
        bounded("greeting", limit, qmp.line("greeting")).await?;
        qmp.ask("qmp_capabilities").await?;
        Ok(qmp)
    }

    /// How the guest stands, in QEMU's words (`running`, `paused`, `shutdown`, …).
    pub async fn status(&mut self) -> Result<String, QmpError> {
        const ASKED: &str = "query-status";
        let answer = self.ask(ASKED).await?;
        let status = answer.get("status").and_then(Value::as_str).map(String::from);
        status.ok_or_else(|| QmpError::Garbled { during: ASKED, line: answer.to_string() })
    }

    /// Press the power button. What the guest makes of it is the guest's affair.
    pub async fn system_powerdown(&mut self) -> Result<(), QmpError> {
        self.ask("system_powerdown").await.map(drop)
    }

    /// Stop the guest's processors. Its disks are quiet when this returns.
    pub async fn stop(&mut self) -> Result<(), QmpError> {
        self.ask("stop").await.map(drop)
    }

    /// Let the guest's processors run on, after a stream of its memory was sent too: what it had given away for that
    /// (its disks) is taken back.
    pub async fn cont(&mut self) -> Result<(), QmpError> {
        self.ask("cont").await.map(drop)
    }

    /// From here on write what the guest changes of `drive` to `overlay`, a qcow2 file that is there and empty; what
    /// was written to so far is only read.
    pub async fn overlay(&mut self, drive: &str, overlay: &str) -> Result<(), QmpError> {
        let how = json!({ "device": drive, "snapshot-file": overlay, "format": "qcow2", "mode": "existing" });
        self.ask_with("blockdev-snapshot-sync", how).await.map(drop)
    }

    /// Begin to send memory to who listens on the unix socket `to`, as fast as that reads: all of it, then what the
    /// guest wrote meanwhile, and so on. When nothing is left, which is when the guest stands still, QEMU waits for
    /// [`finish`](Self::finish).
    pub async fn send(&mut self, to: &str) -> Result<(), QmpError> {
        /// QEMU's own default is 128 MiB a second.
        const NO_LIMIT: u64 = 1 << 40;
        // It shall not stop the guest by itself because little is left: all guests are to stop at once.
        let how = json!({ "max-bandwidth": NO_LIMIT, "downtime-limit": 0 });
        self.ask_with("migrate-set-parameters", how).await?;
        let waits = json!({ "capabilities": [{ "capability": "pause-before-switchover", "state": true }] });
        self.ask_with("migrate-set-capabilities", waits).await?;
        self.ask_with("migrate", json!({ "uri": format!("unix:{to}") })).await.map(drop)
    }

    /// Send the state of the devices, too, and end the stream. The disks are given away with it.
    pub async fn finish(&mut self) -> Result<(), QmpError> {
        self.ask_with("migrate-continue", json!({ "state": "pre-switchover" })).await.map(drop)
    }

    /// Break the stream off.
    pub async fn cancel(&mut self) -> Result<(), QmpError> {
        self.ask("migrate_cancel").await.map(drop)
    }

    /// How the stream stands.
    pub async fn stream(&mut self) -> Result<Stream, QmpError> {
        self.ask("query-migrate").await.map(|answer| Stream::of(&answer))
    }

    /// Listen on the unix socket `from` for a stream of memory and devices (QEMU was started to wait for one).
    pub async fn receive(&mut self, from: &str) -> Result<(), QmpError> {
        self.ask_with("migrate-incoming", json!({ "uri": format!("unix:{from}") })).await.map(drop)
    }

    /// End QEMU. Its process is gone some moments later.
    pub async fn quit(mut self) -> Result<(), QmpError> {
        match self.ask("quit").await {
            // It may be gone before its answer is out.
            Ok(_) | Err(QmpError::Closed { .. } | QmpError::Broken { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn ask(&mut self, command: &'static str) -> Result<Value, QmpError> {
        self.ask_with(command, json!({})).await
    }

    async fn ask_with(&mut self, command: &'static str, how: Value) -> Result<Value, QmpError> {
        let limit = self.limit;
        bounded(command, limit, self.exchange(command, &how)).await
    }

    async fn exchange(&mut self, command: &'static str, how: &Value) -> Result<Value, QmpError> {
        let request = format!("{}\n", json!({ "execute": command, "arguments": how }));
        let sent = self.stream.get_mut().write_all(request.as_bytes()).await;
        sent.map_err(|source| QmpError::Broken { during: command, source })?;
        loop {
            let line = self.line(command).await?;
            if let Some(refusal) = line.error {
                return Err(QmpError::Refused { during: command, why: refusal.desc });
            }
            if let Some(answer) = line.answer {
                return Ok(answer);
            }
        }
    }

    async fn line(&mut self, during: &'static str) -> Result<Line, QmpError> {
        let mut line = Vec::new();
        let read = (&mut self.stream).take(LONGEST).read_until(b'\n', &mut line).await;
        if read.map_err(|source| QmpError::Broken { during, source })? == 0 {
            return Err(QmpError::Closed { during });
        }
        serde_json::from_slice(&line)
            .map_err(|_| QmpError::Garbled { during, line: String::from_utf8_lossy(&line).into_owned() })
    }
}

async fn bounded<T>(
    during: &'static str,
    limit: Duration,
    answer: impl Future<Output = Result<T, QmpError>>,
) -> Result<T, QmpError> {
    tokio::time::timeout(limit, answer).await.unwrap_or(Err(QmpError::Silent { during, limit }))
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;
    use crate::machine::qemu::accel::QEMU;
    use crate::wait::{Asked, Patience, until};

    const LIMIT: Duration = Duration::from_secs(20);

    /// A QEMU without a machine, ended with the test.
    fn empty_qemu(socket: &Path) -> tokio::process::Child {
        tokio::process::Command::new(QEMU)
            .args(["-machine", "none", "-S", "-nodefaults", "-no-user-config", "-display", "none", "-qmp"])
            .arg(format!("unix:{},server=on,wait=off", socket.display()))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("QEMU starts (apt-get install --no-install-recommends qemu-system-x86)")
    }

    async fn greeted(socket: &Path) -> Qmp {
        let patience = Patience { limit: Duration::from_secs(20), pause: Duration::from_millis(10) };
        until(patience, || async {
            match Qmp::connect(socket, LIMIT).await {
                Ok(qmp) => Asked::Yes(qmp),
                Err(error) => Asked::NotYet(error.to_string()),
            }
        })
        .await
        .expect("a greeting")
    }

    #[tokio::test]
    async fn a_real_qemu_answers_and_quits() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let socket = folder.path().join("qmp");
        let mut qemu = empty_qemu(&socket);
        let mut qmp = greeted(&socket).await;
        assert_eq!(qmp.status().await.expect("a status"), "prelaunch");
        let refused = qmp.ask("no-such-thing").await.expect_err("unknown");
        assert!(matches!(refused, QmpError::Refused { .. }), "{refused}");
        qmp.quit().await.expect("quits");
        let ended = tokio::time::timeout(LIMIT, qemu.wait()).await.expect("in time").expect("waited for");
        assert!(ended.success(), "{ended}");
    }

    #[test]
    fn a_stream_goes_waits_ends_or_fails() {
        let of = |text: &str| Stream::of(&serde_json::from_str(text).expect("JSON"));
        assert_eq!(of("{}"), Stream::Ended);
        assert_eq!(of(r#"{"status":"completed"}"#), Stream::Ended);
        assert_eq!(of(r#"{"status":"setup"}"#), Stream::Going { pass: 0 });
        let active = r#"{"status":"active","ram":{"remaining":4096,"dirty-sync-count":2}}"#;
        assert_eq!(of(active), Stream::Going { pass: 2 });
        assert_eq!(of(r#"{"status":"pre-switchover"}"#), Stream::Waiting);
        let failed = r#"{"status":"failed","error-desc":"Unable to write to socket: Broken pipe"}"#;
        assert_eq!(of(failed), Stream::Failed { why: "Unable to write to socket: Broken pipe".into() });
    }

    #[tokio::test]
    async fn silence_has_a_limit() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let socket = folder.path().join("qmp");
        let _listener = tokio::net::UnixListener::bind(&socket).expect("a socket");
        let error = Qmp::connect(&socket, Duration::from_millis(50)).await.expect_err("nobody speaks");
        assert!(matches!(error, QmpError::Silent { during: "greeting", .. }), "{error}");
        let error = Qmp::connect(&folder.path().join("none"), LIMIT).await.expect_err("nobody is there");
        assert!(matches!(error, QmpError::Connect { .. }), "{error}");
    }
}
