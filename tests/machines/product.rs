//! The product as an ordinary user has it: the binary, with QEMU for its provider.

use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

/// The product, about to be started.
pub fn command() -> Command {
    let uid = std::fs::metadata("/proc/self").expect("procfs").uid();
    assert_ne!(uid, 0, "what claims to need no root is tried as an ordinary user: run `make e2e`");
    let mut command = Command::new(env!("CARGO_BIN_EXE_calicolab"));
    // Where a daemon of containers answers it would be chosen before emulation.
    command.env("CALICOLAB_UP_PROVIDER", "qemu");
    command
}
