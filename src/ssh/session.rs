//! The thread that owns one ssh2 session: it knows whom it speaks to, logs in, and runs one command after another.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use ssh_key::{HashAlg, PublicKey};
use ssh2::MethodType;
use tokio::sync::oneshot;

use super::error::SshError;
use super::exec::{Job, execute};
use super::wire::{Fault, Wire};
use crate::lab::name::NodeName;

/// libssh2's codes for a refused key: `AUTHENTICATION_FAILED`, `PUBLICKEY_UNVERIFIED`.
const KEY_REFUSED: [i32; 2] = [-18, -19];

/// Whom a session is to, and with what it logs in.
pub(super) struct Peer {
    pub(super) node: NodeName,
    pub(super) addr: SocketAddr,
    pub(super) user: String,
    /// The only host key that will do.
    pub(super) host_key: PublicKey,
    /// The user's private key in OpenSSH's form.
    pub(super) key: String,
    /// When connecting must be over, and how long that was from the beginning.
    pub(super) until: Instant,
    pub(super) limit: Duration,
}

/// The thread's whole life: log in, say so on `ready`, run what comes until nobody can send any more.
pub(super) fn live(
    peer: Peer,
    socket: TcpStream,
    wake: UnixStream,
    ready: oneshot::Sender<Result<(), SshError>>,
    jobs: &Receiver<Job>,
) {
    let opened = open(&peer, socket, wake, &|| ready.is_closed());
    let node = peer.node.clone();
    // The private key is needed no longer.
    drop(peer);
    let wire = match opened {
        Ok(wire) => ready.send(Ok(())).map(|()| wire),
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    // Whoever wanted the connection may have given up meanwhile.
    let Ok(mut wire) = wire else { return };
    while let Ok(job) = jobs.recv() {
        if !execute(&mut wire, &node, job) {
            // What is queued is dropped with `jobs`, which tells each waiter that the connection is lost.
            return;
        }
    }
    wire.goodbye();
}

/// Shake hands, compare the host key, and only then log in.
fn open(peer: &Peer, socket: TcpStream, wake: UnixStream, called_off: &dyn Fn() -> bool) -> Result<Wire, SshError> {
    let connect = |fault| match fault {
        Fault::TimedOut | Fault::Stuck => SshError::TooLong {
            node: peer.node.clone(),
            doing: format!("the SSH handshake at {}", peer.addr),
            limit: peer.limit,
        },
        other => SshError::Connect { node: peer.node.clone(), addr: peer.addr, source: other.into_source() },
    };
    let mut wire = Wire::new(socket, wake).map_err(connect)?;
    let mut session = wire.session();
    session.method_pref(MethodType::HostKey, &host_key_methods(&session, peer)).map_err(|e| connect(e.into()))?;
    wire.drive(peer.until, called_off, || session.handshake()).map_err(connect)?;
    know(peer, session.host_key().map(|(blob, _)| blob))?;
    wire.drive(peer.until, called_off, || session.userauth_pubkey_memory(&peer.user, None, &peer.key, None)).map_err(
        |fault| match fault.code() {
            Some(code) if KEY_REFUSED.contains(&code) => {
                SshError::Auth { node: peer.node.clone(), user: peer.user.clone(), source: fault.into_source() }
            }
            _ => connect(fault),
        },
    )?;
    wire.keep_alive();
    Ok(wire)
}

/// The kind of the key we know comes first. The others follow, so that a stranger who has no such key is told by the
/// fingerprint of what he has, instead of by "no method in common".
fn host_key_methods(session: &ssh2::Session, peer: &Peer) -> String {
    let known = peer.host_key.algorithm();
    let mut methods = vec![known.as_str()];
    if let Ok(all) = session.supported_algs(MethodType::HostKey) {
        methods.extend(all.into_iter().filter(|method| *method != known.as_str()));
    }
    methods.join(",")
}

/// Whether the key that was shown is, byte by byte, the node's.
fn know(peer: &Peer, presented: Option<&[u8]>) -> Result<(), SshError> {
    let expected = peer.host_key.to_bytes();
    match (&expected, presented) {
        (Ok(expected), Some(presented)) if expected.as_slice() == presented => Ok(()),
        _ => Err(SshError::HostKey {
            node: peer.node.clone(),
            addr: peer.addr,
            expected: peer.host_key.fingerprint(HashAlg::Sha256).to_string(),
            presented: presented.map_or_else(|| "none".into(), fingerprint),
        }),
    }
}

/// A key's fingerprint, also of a kind that we cannot read.
fn fingerprint(blob: &[u8]) -> String {
    PublicKey::from_bytes(blob)
        .map_or_else(|_| "of an unknown kind".into(), |key| key.fingerprint(HashAlg::Sha256).to_string())
}
