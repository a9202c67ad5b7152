//! One ssh2 session over one socket, driven without blocking: every call has a deadline and can be called off.

use std::io::{self, Read as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::{BlockDirections, DisconnectCode, ErrorCode, Session};

/// A sign of life is asked for after this many seconds of a running command.
const KEEPALIVE_S: u32 = 15;
/// A node that stays silent for so long while asked for signs of life is gone.
const SILENCE: Duration = Duration::from_secs(90);
/// libssh2's code for "would block", `LIBSSH2_ERROR_EAGAIN`.
const WOULD_BLOCK: i32 = -37;

/// Why a call over the wire did not come to its end.
#[derive(Debug)]
pub(super) enum Fault {
    /// The deadline passed between two packets: the session is whole.
    TimedOut,
    /// The deadline passed while half a packet was out: nothing can follow it.
    Stuck,
    /// Whoever asked is gone.
    CalledOff,
    /// Nothing was heard for [`SILENCE`].
    Silent,
    /// libssh2 says so.
    Ssh(ssh2::Error),
    /// The system says so.
    Io(io::Error),
}

impl Fault {
    /// libssh2's code, where it is libssh2 that speaks.
    pub(super) fn code(&self) -> Option<i32> {
        match self {
            Self::Ssh(error) => match error.code() {
                ErrorCode::Session(code) => Some(code),
                ErrorCode::SFTP(_) => None,
            },
            _ => None,
        }
    }

    /// The reason as a source for the error that is told.
    pub(super) fn into_source(self) -> io::Error {
        match self {
            Self::TimedOut | Self::Stuck => io::ErrorKind::TimedOut.into(),
            Self::CalledOff => io::ErrorKind::Interrupted.into(),
            Self::Silent => {
                io::Error::new(io::ErrorKind::TimedOut, format!("it was silent for {} s", SILENCE.as_secs()))
            }
            Self::Ssh(error) => error.into(),
            Self::Io(error) => error,
        }
    }
}

impl From<ssh2::Error> for Fault {
    fn from(error: ssh2::Error) -> Self {
        Self::Ssh(error)
    }
}

/// Errors that can say "not now".
pub(super) trait WouldBlock: Into<Fault> {
    fn would_block(&self) -> bool;
}

impl WouldBlock for ssh2::Error {
    fn would_block(&self) -> bool {
        self.code() == ErrorCode::Session(WOULD_BLOCK)
    }
}

impl WouldBlock for io::Error {
    fn would_block(&self) -> bool {
        self.kind() == io::ErrorKind::WouldBlock
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A session, its socket, and the other end of what wakes its thread.
pub(super) struct Wire {
    session: Session,
    socket: TcpStream,
    wake: UnixStream,
    heard: Instant,
    keeps_alive: bool,
}

impl Wire {
    /// A session over `socket`; nothing has been sent yet.
    pub(super) fn new(socket: TcpStream, wake: UnixStream) -> Result<Self, Fault> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        wake.set_nonblocking(true)?;
        let mut session = Session::new()?;
        session.set_blocking(false);
        session.set_tcp_stream(socket.try_clone()?);
        Ok(Self { session, socket, wake, heard: Instant::now(), keeps_alive: false })
    }

    /// The session. Its calls may say "would block": [`drive`](Self::drive) and [`attempt`](Self::attempt) know.
    pub(super) fn session(&self) -> Session {
        self.session.clone()
    }

    /// From here on ask for signs of life while waiting; a server takes them only after the login.
    pub(super) fn keep_alive(&mut self) {
        self.session.set_keepalive(true, KEEPALIVE_S);
        self.keeps_alive = true;
    }

    /// Silence before this moment does not count: nobody listened.
    pub(super) fn listen(&mut self) {
        self.heard = Instant::now();
    }

    /// Call `op` until it is through.
    pub(super) fn drive<T, E: WouldBlock>(
        &mut self,
        until: Instant,
        called_off: &dyn Fn() -> bool,
        mut op: impl FnMut() -> Result<T, E>,
    ) -> Result<T, Fault> {
        loop {
            if let Some(value) = self.attempt(until, &mut op)? {
                return Ok(value);
            }
            self.wait(until, false, called_off)?;
        }
    }

    /// Call `op` once; `None` if the far side has to speak first.
    ///
    /// While half a packet is out libssh2 must be called with that packet again and with nothing else, so this waits
    /// until it is whole, and a deadline in the middle of it ends the session.
    pub(super) fn attempt<T, E: WouldBlock>(
        &mut self,
        until: Instant,
        mut op: impl FnMut() -> Result<T, E>,
    ) -> Result<Option<T>, Fault> {
        loop {
            match op() {
                Ok(value) => return Ok(Some(value)),
                Err(error) if !error.would_block() => return Err(error.into()),
                Err(_) => {}
            }
            match self.session.block_directions() {
                BlockDirections::Outbound | BlockDirections::Both => {
                    self.wait(until, true, &|| false).map_err(|fault| match fault {
                        Fault::TimedOut => Fault::Stuck,
                        other => other,
                    })?;
                }
                BlockDirections::Inbound | BlockDirections::None => return Ok(None),
            }
        }
    }

    /// Wait until the socket has something, can take something (`half_out`), or somebody wakes us.
    pub(super) fn wait(&mut self, until: Instant, half_out: bool, called_off: &dyn Fn() -> bool) -> Result<(), Fault> {
        if called_off() {
            return Err(Fault::CalledOff);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Fault::TimedOut);
        }
        let pause = left.min(Duration::from_secs(u64::from(KEEPALIVE_S)));
        let timeout = Timespec::try_from(pause).expect("at most the keepalive's seconds");
        let wanted = if half_out { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut fds = [PollFd::new(&self.socket, wanted), PollFd::new(&self.wake, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Fault::Io(errno.into())),
        }
        let (socket, woken) = (fds[0].revents(), fds[1].revents());
        if !woken.is_empty() {
            // Several wakes may lie there; one look at what they are about is enough.
            while matches!(self.wake.read(&mut [0; 64]), Ok(1..)) {}
        }
        if !socket.is_empty() && socket != PollFlags::OUT {
            self.heard = Instant::now();
        }
        if self.keeps_alive && !half_out {
            self.sign_of_life()?;
        }
        Ok(())
    }

    /// Ask for a sign of life when it is time, and give up on a node that has long given none.
    fn sign_of_life(&self) -> Result<(), Fault> {
        if self.heard.elapsed() > SILENCE {
            return Err(Fault::Silent);
        }
        // libssh2 cannot finish a sign of life of which it sent a half, so it is asked only when there is room.
        let mut room = [PollFd::new(&self.socket, PollFlags::OUT)];
        if poll(&mut room, Some(&Timespec::default())).is_ok_and(|ready| ready > 0) {
            self.session.keepalive_send()?;
        }
        Ok(())
    }

    /// Tell the far side that this is the end, if that is possible at once.
    pub(super) fn goodbye(self) {
        let _ = self.session.disconnect(Some(DisconnectCode::ByApplication), "done", None);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // With the socket shut, freeing the session can neither send nor wait.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}
