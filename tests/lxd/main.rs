//! The story of `up` in containers of a real LXD: Debian's packages, a daemon of its own, kept in a folder of its own.
//!
//! This binary plays three parts. Begun as the tests it starts a daemon and itself again with the way to that daemon
//! in its environment; that one runs the tests; called as `calicolab` it is the product.

mod abilities;
mod bad_luck;
#[path = "../support/contract.rs"]
mod contract;
mod daemon;
mod doors;
mod edge;
mod far;
#[path = "../support/files.rs"]
mod files;
mod host;
mod kubernetes;
#[path = "../containers/lab.rs"]
mod lab;
mod left;
#[path = "../support/product.rs"]
mod product;
mod servers;
mod story;
#[path = "../support/suite.rs"]
mod suite;
#[path = "../support/waiting.rs"]
mod waiting;

use std::process::ExitCode;

use calicolab::machine::incus::Incus;
use calicolab::machine::qemu::Qemu;
use libtest_mimic::Arguments;

/// Says that the daemon is there; its folder.
const FOLDER: &str = "CALICOLAB_TEST_LXD";

fn main() -> ExitCode {
    if std::env::args().next().is_some_and(|name| name == product::NAME) {
        return calicolab::main_with(&|home, cache| vec![Box::new(Qemu::new(home, cache)), Box::new(Incus)]);
    }
    let arguments = Arguments::from_args();
    if std::env::var_os(FOLDER).is_none() && !arguments.list {
        return daemon::beside();
    }
    let themes = [
        ("story", story::ALL),
        ("abilities", abilities::ALL),
        ("bad_luck", bad_luck::ALL),
        ("host", host::ALL),
        ("far", far::ALL),
        ("kubernetes", kubernetes::ALL),
    ];
    // One daemon serves all, and some of them end it.
    suite::run(&Arguments { test_threads: Some(1), ..arguments }, &themes)
}
