//! One command over a session: both streams drained in turns, input fed, and an end that cannot be mistaken.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ssh2::{Channel, Stream};
use tokio::sync::oneshot;

use super::error::SshError;
use super::wire::{Fault, Wire};
use crate::command::{Ended, Output};
use crate::lab::name::NodeName;

/// The most that is kept of both streams together, in bytes.
pub const OUTPUT_CAP: usize = 64 << 20;
/// How long a call that was to end at the far side may take to say so.
const GRACE: Duration = Duration::from_secs(5);
/// Read from and written to a channel in pieces of this many bytes.
const PIECE: usize = 256 << 10;
/// libssh2's code for a command that the far side will not start: `CHANNEL_REQUEST_DENIED`.
const REFUSED: i32 = -22;

/// What a command gets on its standard input.
pub enum Input {
    /// Nothing: it reads the end at once.
    Empty,
    /// These bytes.
    Bytes(Vec<u8>),
    /// A file of this host, streamed.
    File(PathBuf),
    /// Whatever this gives, streamed; reading must not block for long, for it holds up the session.
    Stream(Box<dyn Read + Send>),
}

/// A command, and where its output is awaited.
pub(super) struct Job {
    /// For the login shell of the far side.
    pub(super) command: String,
    /// The same as people and errors know it.
    pub(super) doing: String,
    pub(super) input: Input,
    /// Counted from the moment its turn comes.
    pub(super) limit: Duration,
    pub(super) reply: oneshot::Sender<Result<Output, SshError>>,
}

/// Why a command has no output to show.
enum Failure {
    Wire(Fault),
    Input(io::Error),
    TooMuch,
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Wire(fault)
    }
}

/// Run a job and answer it; whether the session can take another one.
pub(super) fn execute(wire: &mut Wire, node: &NodeName, job: Job) -> bool {
    if job.reply.is_closed() {
        return true;
    }
    let Job { command, doing, input, limit, reply } = job;
    let source = match input {
        Input::Empty => Ok(Box::new(io::empty()) as Box<dyn Read>),
        Input::Bytes(bytes) => Ok(Box::new(io::Cursor::new(bytes)) as Box<dyn Read>),
        Input::Stream(stream) => Ok(stream as Box<dyn Read>),
        Input::File(path) => {
            File::open(&path).map(|file| Box::new(file) as Box<dyn Read>).map_err(|source| (path, source))
        }
    };
    let source = match source {
        Ok(source) => source,
        Err((path, source)) => {
            let _ = reply.send(Err(SshError::Read { path, source }));
            return true;
        }
    };
    let start = Instant::now();
    let (result, whole) = run(wire, &command, source, start + limit + GRACE, &|| reply.is_closed());
    let answer = match result {
        Ok(output) if cut_short(&output) && start.elapsed() >= limit => {
            Err(SshError::TooLong { node: node.clone(), doing, limit })
        }
        other => other.map_err(|failure| told(failure, node.clone(), doing, limit)),
    };
    let _ = reply.send(answer);
    whole
}

/// Whether `timeout` at the far side may have ended the command: by status 124, or by killing it and itself. Others
/// may end like that too, but not so late.
fn cut_short(output: &Output) -> bool {
    match &output.ended {
        Ended::Exit(status) => matches!(status, 124 | 137),
        Ended::Signal(name) => name == "KILL",
    }
}

fn told(failure: Failure, node: NodeName, doing: String, limit: Duration) -> SshError {
    match failure {
        Failure::TooMuch => SshError::TooMuchOutput { node, doing, cap: OUTPUT_CAP },
        Failure::Input(source) => SshError::Input { node, doing, source },
        Failure::Wire(Fault::TimedOut | Fault::Stuck) => SshError::TooLong { node, doing, limit },
        Failure::Wire(fault) if refused(&fault) => SshError::Refused { node, doing, source: fault.into_source() },
        Failure::Wire(fault) => SshError::Lost { node, doing, source: Some(fault.into_source()) },
    }
}

/// Whether the far side said no, which leaves the session as it was.
fn refused(fault: &Fault) -> bool {
    fault.code() == Some(REFUSED)
}

/// Open a channel, run, close; and whether the session is whole afterwards.
fn run(
    wire: &mut Wire,
    command: &str,
    source: Box<dyn Read>,
    until: Instant,
    called_off: &dyn Fn() -> bool,
) -> (Result<Output, Failure>, bool) {
    wire.listen();
    let session = wire.session();
    // A half-open channel cannot be given up without the session, so nobody is asked until it is open. Nor is a session
    // of use that opens none: sshd counts ten commands on one, those that were called off and still run among them.
    let mut channel = match wire.drive(until, &|| false, || session.channel_session()) {
        Ok(channel) => channel,
        Err(fault) => return (Err(fault.into()), false),
    };
    let result = match wire.drive(until, &|| false, || channel.exec(command)) {
        Ok(()) => pump(wire, &mut channel, source, until, called_off),
        Err(fault) if refused(&fault) => Err(fault.into()),
        Err(fault) => return (Err(fault.into()), false),
    };
    let whole = match &result {
        Ok(_) | Err(Failure::Input(_) | Failure::TooMuch | Failure::Wire(Fault::TimedOut | Fault::CalledOff)) => true,
        Err(Failure::Wire(fault)) => refused(fault),
    };
    // Closing sends our end; the far side's own may come when it likes.
    let closed = whole && wire.attempt(Instant::now() + GRACE, || channel.close()).is_ok();
    (result, closed)
}

/// Move bytes in turns until the far side has closed the channel, then ask how the command ended.
///
/// The order matters: after a lost connection or a signal libssh2 gives the status as 0, so the end of both streams and
/// a clean close must have been seen, and the signal is asked for first.
fn pump(
    wire: &mut Wire,
    channel: &mut Channel,
    source: Box<dyn Read>,
    until: Instant,
    called_off: &dyn Fn() -> bool,
) -> Result<Output, Failure> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let (mut stdout, mut stderr) = (channel.stream(0), channel.stderr());
    let mut feed = Feed { source, piece: vec![0; PIECE], from: 0, to: 0, done: false };
    let mut room = vec![0; PIECE];
    while !channel.eof() {
        if called_off() {
            return Err(Fault::CalledOff.into());
        }
        let mut moved = drain(wire, &mut stdout, &mut room, &mut out, until)?;
        moved |= drain(wire, &mut stderr, &mut room, &mut err, until)?;
        if out.len() + err.len() > OUTPUT_CAP {
            return Err(Failure::TooMuch);
        }
        moved |= feed.turn(wire, channel, until)?;
        if !moved && !channel.eof() {
            wire.wait(until, false, called_off)?;
        } else if Instant::now() > until {
            return Err(Fault::TimedOut.into());
        }
    }
    wire.drive(until, called_off, || channel.wait_close())?;
    let signal = channel.exit_signal().map_err(Fault::from)?.exit_signal;
    let ended = match signal {
        Some(signal) => Ended::Signal(signal),
        None => Ended::Exit(channel.exit_status().map_err(Fault::from)?),
    };
    Ok(Output { ended, stdout: text(out), stderr: text(err) })
}

/// Take what a stream has, at most a piece; whether it had anything.
fn drain(
    wire: &mut Wire,
    stream: &mut Stream,
    room: &mut [u8],
    kept: &mut Vec<u8>,
    until: Instant,
) -> Result<bool, Fault> {
    let count = wire.attempt(until, || stream.read(room))?.unwrap_or(0);
    kept.extend_from_slice(&room[..count]);
    Ok(count > 0)
}

/// Input on its way to a command.
struct Feed {
    source: Box<dyn Read>,
    piece: Vec<u8>,
    from: usize,
    to: usize,
    done: bool,
}

impl Feed {
    /// Send at most a piece, and the end once there is no more; whether anything was sent.
    fn turn(&mut self, wire: &mut Wire, channel: &mut Channel, until: Instant) -> Result<bool, Failure> {
        if self.done {
            return Ok(false);
        }
        if self.from == self.to {
            self.from = 0;
            self.to = self.source.read(&mut self.piece).map_err(Failure::Input)?;
            if self.to == 0 {
                self.done = wire.attempt(until, || channel.send_eof())?.is_some();
                return Ok(self.done);
            }
        }
        let mut moved = false;
        while self.from < self.to {
            match wire.attempt(until, || channel.write(&self.piece[self.from..self.to]))? {
                Some(count @ 1..) => self.from += count,
                _ => break,
            }
            moved = true;
        }
        Ok(moved)
    }
}

/// Bytes as text; what is not UTF-8 is replaced.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
