//! The async handle on a node: connect, run, be called off.

use std::future::Future;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ssh_key::PublicKey;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::error::SshError;
use super::exec::{Input, Job};
use super::session::{self, Peer};
use crate::command::{Argv, Output};
use crate::guest::Target;
use crate::lab::name::NodeName;

/// A node one is logged in to. Cheap to clone; the connection ends with the last clone.
///
/// Commands given at the same time run one after another. Dropping a future calls its command off: its channel is
/// closed, and what runs at the far side is ended there by its own bound. Once the connection is lost every command,
/// the queued ones too, fails with [`SshError::Lost`]; connect again then.
#[derive(Clone, Debug)]
pub struct Remote(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    node: NodeName,
    user: String,
    jobs: mpsc::Sender<Job>,
    wake: Arc<UnixStream>,
}

impl Remote {
    /// One patient connection: `limit` covers everything from the first packet to the login, and nothing is tried
    /// twice. The host key is compared before any credential is sent. `key` is the private key's file.
    pub async fn connect(target: &Target, node: &NodeName, key: &Path, limit: Duration) -> Result<Self, SshError> {
        let until = Instant::now() + limit;
        let addr = target.addr;
        let host_key = PublicKey::from_openssh(&target.host_key)
            .map_err(|source| SshError::BadKey { what: format!("the host key on record for {node}"), source })?;
        let key = tokio::fs::read_to_string(key)
            .await
            .map_err(|source| SshError::Read { path: key.to_path_buf(), source })?;
        let connect = |source| SshError::Connect { node: node.clone(), addr, source };
        let socket = tokio::time::timeout_at(until.into(), TcpStream::connect(addr))
            .await
            .map_err(|_| SshError::TooLong { node: node.clone(), doing: format!("connecting to {addr}"), limit })?
            .and_then(TcpStream::into_std)
            .map_err(connect)?;
        let (wake, woken) = UnixStream::pair().map_err(connect)?;
        wake.set_nonblocking(true).map_err(connect)?;
        let (jobs, queue) = mpsc::channel();
        let (ready, opened) = oneshot::channel();
        let peer = Peer { node: node.clone(), addr, user: target.user.clone(), host_key, key, until, limit };
        std::thread::Builder::new()
            .name(format!("ssh {node}"))
            .spawn(move || session::live(peer, socket, woken, ready, &queue))
            .map_err(connect)?;
        let inner = Inner { node: node.clone(), user: target.user.clone(), jobs, wake: Arc::new(wake) };
        let waiting = Waiting { reply: opened, wake: Arc::clone(&inner.wake) };
        waiting.await.unwrap_or_else(|()| Err(inner.lost(&format!("the SSH handshake at {addr}"))))?;
        Ok(Self(Arc::new(inner)))
    }

    /// The node this leads to.
    pub fn node(&self) -> &NodeName {
        &self.0.node
    }

    /// Run a command with nothing on its standard input. It is ended after `limit`, at the far side and here.
    ///
    /// Any status, and an end by a signal, is an [`Output`]; an error means that nobody knows how the command ended.
    pub async fn run(&self, argv: &Argv, limit: Duration) -> Result<Output, SshError> {
        self.run_with_input(argv, Input::Empty, limit).await
    }

    /// Run a command with `input` on its standard input.
    pub async fn run_with_input(&self, argv: &Argv, input: Input, limit: Duration) -> Result<Output, SshError> {
        self.command(argv, argv.to_string(), input, limit).await
    }

    /// The same, known to people and errors as `doing`.
    pub(super) async fn command(
        &self,
        argv: &Argv,
        doing: String,
        input: Input,
        limit: Duration,
    ) -> Result<Output, SshError> {
        // Without `exec` some login shells stay in between and turn the end by a signal into a status.
        let argv = argv.clone().bounded(limit);
        let command = format!("exec {}", if self.0.user == "root" { argv.by_root() } else { argv });
        let (reply, answer) = oneshot::channel();
        let job = Job { command, doing: doing.clone(), input, limit, reply };
        if self.0.jobs.send(job).is_err() {
            return Err(self.0.lost(&doing));
        }
        let waiting = Waiting { reply: answer, wake: Arc::clone(&self.0.wake) };
        waiting.await.unwrap_or_else(|()| Err(self.0.lost(&doing)))
    }
}

impl Inner {
    fn lost(&self, doing: &str) -> SshError {
        SshError::Lost { node: self.node.clone(), doing: doing.into(), source: None }
    }
}

/// An answer that is waited for; dropping it calls the question off and wakes the thread to see that.
struct Waiting<T> {
    reply: oneshot::Receiver<T>,
    wake: Arc<UnixStream>,
}

impl<T> Future for Waiting<T> {
    /// Nothing if the thread ended without an answer.
    type Output = Result<T, ()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.reply).poll(cx).map_err(drop)
    }
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        use std::io::Write as _;
        self.reply.close();
        // A full pipe wakes just as well.
        let _ = (&*self.wake).write(&[0]);
    }
}
