//! argv in, exit code out.

use std::process::ExitCode;

use calicolab::machine::incus::Incus;
use calicolab::machine::qemu::Qemu;
use calicolab::machine::vagrant::Vagrant;

fn main() -> ExitCode {
    calicolab::main_with(&|home, cache| {
        vec![Box::new(Qemu::new(home, cache)), Box::new(Incus), Box::<Vagrant>::default()]
    })
}
