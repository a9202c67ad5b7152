//! Processes of this host: never a bare number, always a number with its start; found by label, ended by descriptor.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getuid, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::lab::name::NodeName;
use crate::wait::{Asked, Patience, until};

/// One process for all time: numbers are used again, but not within the same tick of the same boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its number.
    pub pid: u32,
    /// When it started, in the kernel's ticks since boot (`/proc/PID/stat`, field 22).
    pub start: u64,
    /// The boot of this host (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
}

impl Identity {
    /// The process that has this number now; `None` if there is none that lives.
    pub fn of(pid: u32) -> io::Result<Option<Self>> {
        let text = match fs::read(format!("/proc/{pid}/stat")) {
            Ok(text) => text,
            Err(error) if gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some((state, start)) = parse_stat(&String::from_utf8_lossy(&text)) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat is not understood")));
        };
        if matches!(state, 'Z' | 'X') {
            return Ok(None);
        }
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        Ok(Some(Self { pid, start, boot }))
    }

    /// Whether this very process still lives.
    pub fn lives(&self) -> io::Result<bool> {
        Ok(Self::of(self.pid)?.as_ref() == Some(self))
    }

    /// Take hold of it; `None` if it no longer lives.
    ///
    /// The descriptor is opened first and the identity compared after: from then on the number cannot come to mean
    /// another process unnoticed.
    pub fn hold(&self) -> io::Result<Option<Held>> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(descriptor) => descriptor,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if !self.lives()? {
            return Ok(None);
        }
        Ok(Some(Held { descriptor }))
    }
}

/// A process that was verified and cannot be mistaken for another any more.
#[derive(Debug)]
pub struct Held {
    descriptor: OwnedFd,
}

impl Held {
    /// End it without asking. No error if it has ended already.
    pub fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(&self.descriptor, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether it ended within `limit`.
    pub async fn gone_within(&self, limit: Duration) -> io::Result<bool> {
        // Short questions instead of tokio's readiness, which is to be had for raw descriptors by unsafe code alone.
        let waited = until(Patience { limit, pause: Duration::from_millis(20) }, || async {
            match self.gone() {
                Ok(false) => Asked::NotYet(String::new()),
                answer => Asked::Yes(answer),
            }
        });
        waited.await.unwrap_or(Ok(false))
    }

    /// Whether it has ended: its descriptor is readable then, whether or not anybody has waited for it.
    fn gone(&self) -> io::Result<bool> {
        let mut asked = [PollFd::new(&self.descriptor, PollFlags::IN)];
        Ok(poll(&mut asked, Some(&Timespec::default()))? > 0)
    }
}

/// The QEMUs of this user that carry exactly `label`, by node. Not by memory: by what runs.
pub fn labelled(label: &str) -> io::Result<Vec<(NodeName, Identity)>> {
    let mut found = Vec::new();
    for pid in pids()? {
        // Before and after the label is read: between the two, the number must not have changed hands.
        let Some(identity) = Identity::of(pid)? else { continue };
        let Some(node) = ours(pid).and_then(|name| node_of(&name, label)) else { continue };
        if identity.lives()? {
            found.push((node, identity));
        }
    }
    Ok(found)
}

/// The names (`LABEL/NODE`) of all QEMUs of this user.
pub fn names() -> io::Result<Vec<String>> {
    Ok(pids()?.into_iter().filter_map(ours).collect())
}

fn pids() -> io::Result<Vec<u32>> {
    let entries = fs::read_dir("/proc")?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// The guest name of the process, if it is a QEMU of this user. What cannot be read is not ours.
fn ours(pid: u32) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    if parse_uid(&status)? != getuid().as_raw() {
        return None;
    }
    guest_name(&fs::read(format!("/proc/{pid}/cmdline")).ok()?)
}

/// State letter and start time out of `/proc/PID/stat`. The program's name may hold anything, blanks and `)` too,
/// so fields are counted after the last one.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// The real user out of `/proc/PID/status`.
fn parse_uid(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_ascii_whitespace().next()?.parse().ok()
}

/// The value of `-name guest=` in a QEMU's command line.
fn guest_name(cmdline: &[u8]) -> Option<String> {
    let words: Vec<&str> = cmdline.split(|byte| *byte == 0).map(std::str::from_utf8).collect::<Result<_, _>>().ok()?;
    let program = words.first()?.rsplit('/').next()?;
    if !program.starts_with("qemu-system-") {
        return None;
    }
    let value = words.windows(2).find(|pair| pair[0] == "-name")?[1].strip_prefix("guest=")?;
    Some(value.replace(",,", ","))
}

/// The node in `LABEL/NODE`, if the label is exactly this one.
fn node_of(name: &str, label: &str) -> Option<NodeName> {
    name.strip_prefix(label)?.strip_prefix('/')?.parse().ok()
}

fn gone(error: &io::Error) -> bool {
    // A process that ends while its entry is being read answers ESRCH instead of "not found".
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    /// A process of the test's own, ended with it.
    struct Own(Child);

    impl Drop for Own {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn sleeper() -> Own {
        Own(Command::new("sleep").arg("600").spawn().expect("sleep runs"))
    }

    #[tokio::test]
    async fn a_process_is_known_again_and_ended() {
        let own = sleeper();
        let identity = Identity::of(own.0.id()).expect("proc").expect("lives");
        assert!(identity.lives().expect("proc"));
        let held = identity.hold().expect("pidfd").expect("lives");
        assert!(!held.gone_within(Duration::from_millis(10)).await.expect("poll"));
        held.kill().expect("kill");
        assert!(held.gone_within(Duration::from_secs(20)).await.expect("poll"));
        // Not reaped yet, and no longer alive all the same.
        assert!(!identity.lives().expect("proc"));
        held.kill().expect("a second kill is no error");
    }

    #[tokio::test]
    async fn the_same_number_with_another_start_is_refused() {
        let own = sleeper();
        let identity = Identity::of(own.0.id()).expect("proc").expect("lives");
        let earlier = Identity { start: identity.start - 1, ..identity.clone() };
        let other_boot = Identity { boot: "another".into(), ..identity.clone() };
        for wrong in [earlier, other_boot] {
            assert!(!wrong.lives().expect("proc"));
            assert!(wrong.hold().expect("pidfd").is_none());
        }
        assert!(identity.lives().expect("proc"));
    }

    #[test]
    fn fields_are_counted_after_the_last_bracket() {
        let fields: Vec<String> = (4..=52).map(|n: u32| n.to_string()).collect();
        let stat = format!("4711 (a) R 9) (b) S {}", fields.join(" "));
        assert_eq!(parse_stat(&stat), Some(('S', 22)));
        assert_eq!(parse_stat("4711 (sh) S 1"), None);
    }

    #[test]
    fn only_exactly_our_label_is_ours() {
        let line = |words: &[&str]| words.join("\0").into_bytes();
        let name = |words: &[&str]| guest_name(&line(words));
        let qemu = "/usr/bin/qemu-system-x86_64";
        assert_eq!(name(&[qemu, "-name", "guest=a,,b/n1", "-m", "1"]).as_deref(), Some("a,b/n1"));
        assert_eq!(name(&["strace", qemu, "-name", "guest=a/n1"]), None);
        assert_eq!(name(&[qemu, "-name", "a/n1"]), None);
        assert_eq!(name(&[qemu, "-m", "1"]), None);
        let node = |name| node_of(name, "calicolab/h/demo").map(String::from);
        assert_eq!(node("calicolab/h/demo/n1").as_deref(), Some("n1"));
        for foreign in ["calicolab/h/demo2/n1", "calicolab/h/demo", "calicolab/h/demo/x/n1", "x/calicolab/h/demo/n1"] {
            assert_eq!(node(foreign), None, "{foreign}");
        }
    }
}
