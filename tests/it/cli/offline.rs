//! `--offline`: no connection, and whatever is missing told by name before anything is hashed.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use calicolab::failure::Exit;

use super::Said;
use super::tiny::{Tiny, cut_off, files};

#[test]
fn what_is_missing_is_told_within_a_second_where_there_is_no_network() {
    let tiny = Tiny::without_bytes();
    // It is there by name; hashing it would take longer than there is time.
    let large = tiny.put(&files()[0].1, b"");
    std::fs::File::options().write(true).open(large).and_then(|file| file.set_len(64 << 30)).expect("grown");
    let file = tiny.user.path("pack");
    for words in [&["fetch", "tiny"][..], &["up", "tiny"], &["pack", "tiny", "-o", &file]] {
        let words = [&["--offline"], words].concat();
        let mut least = Duration::MAX;
        for _ in 0..10 {
            let began = Instant::now();
            let said = Said::by(&mut cut_off(&tiny.command(&words)), Exit::Offline.code());
            least = least.min(began.elapsed());
            said.tells(&["offline.missing", "beta 1, gamma 1, image small", "run once without --offline"]);
            assert!(!said.err.contains("alpha 1"), "{}", said.err);
            // Other tests are at work beside: the quickest counts.
            if least < Duration::from_secs(1) {
                break;
            }
        }
        assert!(least < Duration::from_secs(1), "{words:?} took {least:?}");
    }
    assert!(!std::path::Path::new(&tiny.user.path("home/clusters/tiny")).exists(), "nothing was begun");
}

#[test]
fn nobody_is_called_not_even_a_proxy() {
    let tiny = Tiny::without_bytes();
    let proxy = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    proxy.set_nonblocking(true).expect("set");
    let url = format!("http://{}", proxy.local_addr().expect("bound"));
    let (file, mirror) = (tiny.user.path("pack"), format!("*={url}"));
    for (words, exit) in [
        (&["fetch", "tiny"][..], Exit::Offline),
        (&["fetch", "tiny", "--dry-run"], Exit::Done),
        (&["up", "tiny"], Exit::Offline),
        (&["pack", "tiny", "-o", &file], Exit::Offline),
        (&["lock", "primer", "--apt-only"], Exit::Offline),
        (&["plan", "tiny"], Exit::Done),
        (&["cache", "ls"], Exit::Done),
        (&["cache", "verify"], Exit::Done),
        (&["labs"], Exit::Done),
        (&["ls"], Exit::Done),
    ] {
        let mut command = tiny.command(&[&["--offline", "--mirror", &mirror], words].concat());
        for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env(name, &url);
        }
        Said::by(&mut command, exit.code());
    }
    let called = proxy.accept().map(|_| ()).map_err(|error| error.kind());
    assert_eq!(called, Err(std::io::ErrorKind::WouldBlock), "somebody called the proxy or the mirror");
}
