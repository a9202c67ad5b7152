//! The story of `up` by Vagrant: Debian's packages and libvirt's own daemons, in a list of boxes of its own.
//!
//! This binary plays three parts. Begun as the tests it starts libvirt, unless it answers, and itself again with a home
//! for Vagrant in its environment; that one runs the tests; called as `calicolab` it is the product.

mod bad_luck;
#[path = "../support/contract.rs"]
mod contract;
#[path = "../support/files.rs"]
mod files;
#[path = "../containers/lab.rs"]
mod lab;
mod left;
mod libvirt;
#[path = "../support/product.rs"]
mod product;
mod story;
#[path = "../support/suite.rs"]
mod suite;
#[path = "../support/waiting.rs"]
mod waiting;

use std::process::ExitCode;

use calicolab::machine::qemu::Qemu;
use calicolab::machine::vagrant::Vagrant;
use libtest_mimic::Arguments;

/// Says that libvirt is there; the folder of its process ids and of Vagrant's home.
const FOLDER: &str = "CALICOLAB_TEST_LIBVIRT";

fn main() -> ExitCode {
    if std::env::args().next().is_some_and(|name| name == product::NAME) {
        return calicolab::main_with(&|home, cache| vec![Box::new(Qemu::new(home, cache)), Box::<Vagrant>::default()]);
    }
    let arguments = Arguments::from_args();
    if std::env::var_os(FOLDER).is_none() && !arguments.list {
        return libvirt::beside();
    }
    let themes = [("story", story::ALL), ("bad_luck", bad_luck::ALL)];
    // Emulated machines of several tests at once would not fit the hosts this is for.
    suite::run(&Arguments { test_threads: Some(1), ..arguments }, &themes)
}
