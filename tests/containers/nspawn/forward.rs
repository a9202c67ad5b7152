//! Leads a port of loopback to a node's sshd: a process of its own, as a QEMU does it for its guest.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use calicolab::lab::name::NodeName;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::names::{Names, Role};
use super::wire;

/// The word by which this program is told to forward.
pub const WORD: &str = "forward";

/// Where a node's sshd answers, seen from its uplink.
const SSHD: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 0, 2, 15)), 22);

/// Start forwarding from `port`; a port that is taken is told at once, for the socket is bound here and handed on.
pub fn start(names: &Names, node: &NodeName, port: u16) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let ended = Command::new("setsid")
        .arg("--fork")
        .arg(std::env::current_exe()?)
        .args([WORD, &names.mark(Role::Forward, node)])
        .arg(wire::namespace(&names.uplink(node)))
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if ended.success() { Ok(()) } else { Err(io::Error::other(format!("setsid: {ended}"))) }
}

/// Forward what comes to the socket on standard input, until killed.
pub fn serve(words: &[String]) -> io::Result<()> {
    let [_mark, uplink] = words else { return Err(io::Error::other("wants MARK NAMESPACE")) };
    let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    for caller in listener.incoming() {
        let (caller, uplink) = (caller?, PathBuf::from(uplink));
        // A node that cannot be reached closes the caller's connection; that is all there is to tell.
        thread::spawn(move || lead(&caller, &uplink));
    }
    Ok(())
}

/// A namespace is a thread's own; its file is opened for each connection, since it is made anew at each boot.
fn lead(caller: &TcpStream, uplink: &Path) -> io::Result<()> {
    move_into_link_name_space(File::open(uplink)?.as_fd(), Some(LinkNameSpaceType::Network))?;
    let node = TcpStream::connect_timeout(&SSHD, Duration::from_secs(5))?;
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = io::copy(&mut &*caller, &mut &node);
            node.shutdown(Shutdown::Write)
        });
        let _ = io::copy(&mut &node, &mut &*caller);
        caller.shutdown(Shutdown::Both)
    })
}
