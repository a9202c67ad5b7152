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
        Some("temp") => temp(&words[2..]),
        _ => ExitCode::SUCCESS,
    }
}

#[tokio::main]
async fn temp(words: &[String]) -> ExitCode {
    use calicolab::cmd::{cx::{Cx, Interrupt}, up, down, power};
    use calicolab::cluster::{home::Home, lease::Leases};
    use calicolab::cluster::state::Wish;
    let (events, mut rx) = calicolab::event::Events::channel();
    std::thread::spawn(move || while let Some(e) = rx.blocking_recv() { if !matches!(e.event, calicolab::event::Event::Progress{..}) { println!("{}", serde_json::to_string(&e).unwrap()); }});
    let cx = Cx {
        events, home: Home::from_env("up").unwrap(), cache: calicolab::artifact::store::Cache::from_env().unwrap(),
        leases: Leases::open(Leases::default_path()), library: calicolab::lab::builtin::Library::open(None).unwrap(),
        own_locks: "/nonexistent".into(), providers: &[&nspawn::Nspawn], offline: false, interrupt: Interrupt::listen().unwrap(),
    };
    let name = "primer".parse().unwrap();
    let limit = std::time::Duration::from_secs(60);
    match words[0].as_str() {
        "up" => match up::up(&cx, &up::Want { lab: "primer".into(), cluster: name, wish: Wish::default(), provider: None, recreate: false, down_on_failure: false, boot_limit: limit}).await {
            Ok(p) => println!("ok {}", p.findings.len()), Err(e) => println!("{e:?}") },
        "down" => println!("{:?}", down::down(&cx, &name).await),
        "stop" => println!("{:?}", power::stop(&cx, &name).await),
        "start" => println!("{:?}", power::start(&cx, &name, limit).await.map(|p| p.findings.len())),
        _ => {}
    }
    ExitCode::SUCCESS
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
