//! The store at work as a program, for benches/store.sh: fetches what standard input lists, or verifies a cache.

use std::io::BufRead as _;

use calicolab::artifact::apt::Archive;
use calicolab::artifact::cache::Cache;
use calicolab::artifact::cache::EntryState;
use calicolab::artifact::store::{Reach, Store};
use calicolab::event::Events;
use calicolab::lab::pin::{Arch, Pin, Source, Trust};
use calicolab::report;

const USAGE: &str = "store fetch CACHE <LIST (a line a file: DIGEST BYTES URL) | store verify CACHE";

/// A line of the list as a pin.
fn pin(line: &str) -> Pin {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [digest, bytes, url] = words[..] else { panic!("{USAGE}") };
    Pin {
        name: url.rsplit('/').next().unwrap_or(url).into(),
        version: "1".into(),
        arch: Arch::All,
        source: Source::Url { urls: vec![url.into()], sums: None },
        digest: digest.parse().expect(USAGE),
        bytes: Some(bytes.parse().expect(USAGE)),
        trust: Trust::Published,
        found: "here".into(),
    }
}

/// The most memory this process ever held, in KiB.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux");
    line.trim().trim_end_matches(" kB").into()
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [verb, cache] = &words[..] else {
        panic!("{USAGE}");
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    runtime.block_on(async {
        let (events, _told) = Events::channel();
        let cache = Cache::at(cache);
        if verb == "verify" {
            let checked = cache.verify(&events).await.expect("a cache");
            assert!(checked.iter().all(|one| matches!(one.state, EntryState::Right)), "{checked:?}");
        } else {
            let pins: Vec<Pin> = std::io::stdin().lock().lines().map(|line| pin(&line.expect("text"))).collect();
            let store = Store::new(cache, "bench".parse().expect("a name"), Reach::Online, Archive::at(Vec::new()));
            store.ensure_all(&pins, &events).await.expect("fetched");
        }
    });
    report::data(&memory());
}
