//! The whole story of `up` in seconds: the product with containers for machines.
//!
//! This binary plays several parts. Called as `calicolab` it is the product with the provider of the tests in it, so
//! that the product needs no hook for them; that one in turn starts it as what becomes a container, and as what leads
//! a port to a node. Otherwise it is the tests. The price is a harness other than the usual one, which owns `main`.

mod bad_luck;
mod bundle;
#[path = "../support/contract.rs"]
mod contract;
mod crash;
mod damage;
mod faults;
#[path = "../support/files.rs"]
mod files;
mod flaps;
mod lab;
mod left;
mod nspawn;
#[path = "../support/product.rs"]
mod product;
mod story;
#[path = "../support/stranger.rs"]
mod stranger;
#[path = "../support/suite.rs"]
mod suite;
#[path = "../support/faults.rs"]
mod trial;
#[path = "../support/waiting.rs"]
mod waiting;

use std::fmt::Display;
use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if words[0] == product::NAME {
        return calicolab::main_with(&|_, _| vec![Box::new(nspawn::Nspawn)]);
    }
    match words.get(1).map(String::as_str) {
        Some(nspawn::forward::WORD) => told(nspawn::forward::serve(&words[2..])),
        Some(nspawn::start::WORD) => told(nspawn::start::become_container(&words[2..])),
        _ => tests(),
    }
}

fn tests() -> ExitCode {
    let themes = [
        ("story", story::ALL),
        ("bad_luck", bad_luck::ALL),
        ("damage", damage::ALL),
        ("faults", faults::ALL),
        ("flaps", flaps::ALL),
        ("bundle", bundle::ALL),
        ("crash", crash::ALL),
    ];
    suite::run(&Arguments::from_args(), &themes)
}

#[expect(clippy::print_stderr, reason = "these parts have no other way to tell")]
fn told<T, E: Display>(result: Result<T, E>) -> ExitCode {
    match result {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
