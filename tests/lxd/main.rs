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
mod far;
mod host;
#[path = "../containers/lab.rs"]
mod lab;
mod left;
#[path = "../support/product.rs"]
mod product;
mod servers;
mod story;
#[path = "../support/waiting.rs"]
mod waiting;

use std::process::ExitCode;

use calicolab::machine::incus::Incus;
use calicolab::machine::qemu::Qemu;
use libtest_mimic::{Arguments, Trial};

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
    let mut trials = Vec::new();
    for (theme, all) in [
        ("story", story::ALL),
        ("abilities", abilities::ALL),
        ("bad_luck", bad_luck::ALL),
        ("host", host::ALL),
        ("far", far::ALL),
    ] {
        trials.extend(all.iter().map(|&(name, test)| {
            Trial::test(format!("{theme}::{name}"), move || {
                test();
                Ok(())
            })
        }));
    }
    // One daemon serves all, and some of them end it.
    libtest_mimic::run(&Arguments { test_threads: Some(1), ..arguments }, trials).exit_code()
}
