//! The whole story of `up` in seconds: the product with containers for machines. `make test`.
//!
//! This binary plays several parts, each told by its first word. Without one it is the tests, which start it again
//! as `calicolab` with the provider of the tests in it (so the product needs no hook for them); that in turn starts
//! it as what leads a port to a node, and as what becomes a container. A harness of our own is the price: the usual
//! one owns `main`.

mod nspawn;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    match words.get(1).map(String::as_str) {
        Some(nspawn::forward::WORD) => told(nspawn::forward::serve(&words[2..])),
        Some(nspawn::start::WORD) => told(nspawn::start::become_container(&words[2..])),
        _ => ExitCode::SUCCESS,
    }
}

#[expect(clippy::print_stderr, reason = "these parts have no other way to tell")]
fn told<T, E: std::fmt::Display>(result: Result<T, E>) -> ExitCode {
    match result {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
