//! Whether hardware acceleration really works here: found out by running a guest, not by looking at a device node.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::time::Duration;

use crate::command::{self, Argv, CommandError, Ended};

/// The program.
pub const QEMU: &str = "qemu-system-x86_64";

/// What runs a guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// The host's processor, by the kernel's KVM.
    Kvm,
    /// QEMU's own translator, in software.
    Tcg,
}

impl Accel {
    /// The processor that guests see, so that two hosts can be compared: what was saved with one runs on no other.
    pub fn processor(self) -> String {
        match self {
            Self::Tcg => "qemu64 in software".into(),
            Self::Kvm => host_processor(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
        }
    }
}

/// Name and features of the host's first processor, the features as a short sum.
fn host_processor(cpuinfo: &str) -> String {
    use sha2::Digest as _;
    let value = |key: &str| {
        let line = cpuinfo.lines().find(|line| line.split(':').next().is_some_and(|word| word.trim() == key));
        line.and_then(|line| line.split_once(':')).map_or("unknown", |(_, value)| value.trim())
    };
    let sum = crate::lab::pin::hex(&sha2::Sha256::digest(value("flags"))[..4]);
    format!("{} (features {sum})", value("model name"))
}

/// What machines will run on, and the reason in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accelerator {
    /// What.
    pub accel: Accel,
    /// Why.
    pub why: String,
}

/// The most the test guest may take; a working one takes a tenth of a second.
const LIMIT: Duration = Duration::from_secs(2);

/// The status with which QEMU ends when the test guest writes 0x10 to its exit port: `(0x10 << 1) | 1`.
const PROVEN: i32 = 33;

const DEVICE: &str = "/dev/kvm";

/// Find out, within `LIMIT`. Cheap questions first; the guest's run is the judge.
pub async fn probe() -> Accelerator {
    if let Some(why) = closed(OpenOptions::new().read(true).write(true).open(DEVICE).map(drop)) {
        return Accelerator { accel: Accel::Tcg, why };
    }
    match guest(Accel::Kvm, LIMIT).await {
        Ok(()) => Accelerator { accel: Accel::Kvm, why: "a 64-bit test guest ran on it".into() },
        Err(why) => Accelerator { accel: Accel::Tcg, why: format!("{DEVICE} opens but a guest does not run ({why})") },
    }
}

/// Why the device cannot even be opened, in one line.
fn closed(opened: io::Result<()>) -> Option<String> {
    match opened {
        Ok(()) => None,
        Err(error) => Some(match error.kind() {
            io::ErrorKind::NotFound => format!("there is no {DEVICE}"),
            io::ErrorKind::PermissionDenied => format!("{DEVICE} may not be opened by this user"),
            _ => format!("{DEVICE} does not open ({error})"),
        }),
    }
}

/// Run the test guest for `limit` at most. It enters 64-bit mode with paging: half-working hypervisors run real mode
/// and hang there.
pub async fn guest(accel: Accel, limit: Duration) -> Result<(), String> {
    // A file of memory, seen by QEMU through our own /proc entry: nothing is left behind, however this ends.
    let sector = sector_file().map_err(|error| format!("the test guest could not be written: {error}"))?;
    let file = format!("/proc/{}/fd/{}", std::process::id(), sector.as_raw_fd());
    match command::run(&argv(accel, Path::new(&file)), limit).await {
        Ok(output) if output.ended == Ended::Exit(PROVEN) => Ok(()),
        Ok(output) => {
            let last = output.tail(1);
            Err(if last.is_empty() {
                format!("QEMU {}", output.ended)
            } else {
                format!("QEMU {}: {last}", output.ended)
            })
        }
        Err(CommandError::TooLong { limit, .. }) => Err(format!("hung for {} s", limit.as_secs())),
        Err(error) => Err(error.to_string()),
    }
}

fn argv(accel: Accel, sector: &Path) -> Argv {
    // Should this program be killed meanwhile, the kernel ends a hanging test guest with it.
    let bound = match command::find("setpriv") {
        Some(_) => Argv::new("setpriv").args(["--pdeathsig", "KILL", "--", QEMU]),
        None => Argv::new(QEMU),
    };
    let (accel, cpu) = match accel {
        Accel::Kvm => ("kvm", "host"),
        Accel::Tcg => ("tcg", "qemu64"),
    };
    bound
        .args(["-M", "pc", "-accel", accel, "-cpu", cpu, "-m", "16", "-nodefaults", "-no-user-config"])
        .args(["-display", "none", "-no-reboot", "-boot", "a", "-drive"])
        .arg(format!("file={},format=raw,if=floppy,readonly=on", sector.display()))
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=1"])
}

fn sector_file() -> io::Result<std::fs::File> {
    let memory = rustix::fs::memfd_create("calicolab-test-guest", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(memory);
    file.write_all(&sector())?;
    Ok(file)
}

/// The boot sector: code, zeroes, signature.
fn sector() -> [u8; 512] {
    let mut sector = [0; 512];
    sector[..CODE.len()].copy_from_slice(&CODE);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// Loaded at 0x7c00. Zero segments; identity-mapped page tables at 0x1000-0x3fff; PAE, EFER.LME and PG; a far jump
/// into 64-bit code, which counts to 100 000 and writes 0x10 to port 0xf4. The descriptor table is at its end.
#[rustfmt::skip]
const CODE: [u8; 174] = [
    0xea, 0x05, 0x7c, 0x00, 0x00, 0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00,
    0x7c, 0xbf, 0x00, 0x10, 0x66, 0x31, 0xc0, 0xb9, 0x00, 0x0c, 0xfc, 0x66, 0xf3, 0xab, 0x66, 0xc7,
    0x06, 0x00, 0x10, 0x03, 0x20, 0x00, 0x00, 0x66, 0xc7, 0x06, 0x00, 0x20, 0x03, 0x30, 0x00, 0x00,
    0x66, 0xc7, 0x06, 0x00, 0x30, 0x83, 0x00, 0x00, 0x00, 0x66, 0xb8, 0x00, 0x10, 0x00, 0x00, 0x0f,
    0x22, 0xd8, 0x0f, 0x20, 0xe0, 0x66, 0x83, 0xc8, 0x20, 0x0f, 0x22, 0xe0, 0x66, 0xb9, 0x80, 0x00,
    0x00, 0xc0, 0x0f, 0x32, 0x66, 0x0d, 0x00, 0x01, 0x00, 0x00, 0x0f, 0x30, 0x0f, 0x01, 0x16, 0xa8,
    0x7c, 0x0f, 0x20, 0xc0, 0x66, 0x0d, 0x01, 0x00, 0x00, 0x80, 0x0f, 0x22, 0xc0, 0xea, 0x72, 0x7c,
    0x08, 0x00, 0x66, 0xb8, 0x10, 0x00, 0x8e, 0xd0, 0x8e, 0xd8, 0xb9, 0xa0, 0x86, 0x01, 0x00, 0xff,
    0xc9, 0x75, 0xfc, 0xb0, 0x10, 0x66, 0xba, 0xf4, 0x00, 0xee, 0xf4, 0xeb, 0xfd, 0x0f, 0x1f, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x9a, 0x20, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x92, 0x00, 0x00, 0x17, 0x00, 0x90, 0x7c, 0x00, 0x00,
];

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn the_sector_is_right_by_the_control_run() {
        let patient = Duration::from_secs(30);
        guest(Accel::Tcg, patient).await.expect("64-bit code in software (apt-get install qemu-system-x86)");
    }

    /// What the answer is depends on the host; that there is one, in time and with a reason, does not.
    #[tokio::test]
    async fn an_answer_comes_in_time_and_with_a_reason() {
        let start = Instant::now();
        let found = probe().await;
        assert!(start.elapsed() < Duration::from_secs(20), "took {:?}", start.elapsed());
        assert!(!found.why.is_empty() && !found.why.contains('\n'), "{found:?}");
    }

    #[test]
    fn a_device_that_does_not_open_needs_no_guest() {
        assert_eq!(closed(Ok(())), None);
        for (kind, part) in [(io::ErrorKind::NotFound, "there is no"), (io::ErrorKind::PermissionDenied, "this user")] {
            assert!(closed(Err(kind.into())).expect("closed").contains(part));
        }
    }
}
