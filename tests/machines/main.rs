//! The story of `up` in real virtual machines, as an ordinary user lives it. Slow: `make e2e`.

mod cloud_init;
#[path = "../support/contract.rs"]
mod contract;
mod faults;
#[path = "../support/files.rs"]
mod files;
#[expect(dead_code, reason = "tests in containers use more of it")]
#[path = "../containers/lab.rs"]
mod lab;
#[path = "../containers/left.rs"]
mod left;
mod pack;
mod points;
mod product;
mod story;
#[path = "../support/stranger.rs"]
mod stranger;
#[path = "../support/suite.rs"]
mod suite;
mod template;
#[path = "../support/faults.rs"]
mod trial;
#[path = "../support/waiting.rs"]
mod waiting;
mod warm;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let themes = [
        ("story", story::ALL),
        ("template", template::ALL),
        ("pack", pack::ALL),
        ("points", points::ALL),
        ("faults", faults::ALL),
        ("warm", warm::ALL),
        ("cloud_init", cloud_init::ALL),
    ];
    // Emulated machines of several tests at once would not fit the hosts this is for.
    suite::run(&Arguments { test_threads: Some(1), ..Arguments::from_args() }, &themes)
}
