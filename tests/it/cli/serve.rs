//! `mirror serve` asked by curl and by `fetch`: files by digest, ranges of them, and nothing else.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use calicolab::failure::Exit;

use super::tiny::{Tiny, files};

/// A mirror at work, which is ended with its test.
struct Mirror {
    child: Child,
    url: String,
}

impl Mirror {
    fn of(tiny: &Tiny, listen: &str) -> Self {
        let mut command = tiny.command(&["mirror", "serve", "--listen", listen]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        out.read_line(&mut line).expect("its address");
        Self { child, url: line.trim().to_owned() }
    }

    /// Ctrl-C, and what it had said.
    fn end(mut self) -> String {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("told");
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.child.stderr.take().expect("piped"), &mut said).expect("read");
        assert_eq!(self.child.wait().expect("it ends").code(), Some(0), "{said}");
        said
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        // Ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Status, headers and body.
fn curl(words: &[&str], url: &str) -> (u16, String, Vec<u8>) {
    let folder = tempfile::tempdir().expect("a folder");
    let (head, body) = (folder.path().join("head"), folder.path().join("body"));
    let mut command = Command::new("curl");
    command.args(["--silent", "--noproxy", "*", "--path-as-is", "--write-out", "%{http_code}", "--dump-header"]);
    command.arg(&head).arg("--output").arg(&body).args(words).arg(url);
    let ended = command.output().expect("curl is needed (sudo apt-get install curl)");
    let status = String::from_utf8_lossy(&ended.stdout).parse().expect("a status");
    let head = std::fs::read_to_string(head).expect("headers").to_lowercase();
    (status, head, std::fs::read(body).unwrap_or_default())
}

#[test]
fn files_are_served_by_digest_whole_and_in_part_and_nothing_else_is() {
    let tiny = Tiny::new();
    let mirror = Mirror::of(&tiny, "127.0.0.1:0");
    for (name, digest, bytes) in files() {
        let url = format!("{}/{}/{}", mirror.url, digest.algorithm(), digest.hex());
        let (status, head, body) = curl(&[], &url);
        assert_eq!((status, body == bytes), (200, true), "{name}");
        assert!(head.contains(&format!("content-length: {}", bytes.len())), "{head}");
    }
    let (_, alpha, bytes) = &files()[0];
    let url = format!("{}/sha256/{}", mirror.url, alpha.hex());
    let (status, head, body) = curl(&["--range", "5-14"], &url);
    assert_eq!((status, body.as_slice()), (206, &bytes[5..15]));
    assert!(head.contains(&format!("content-range: bytes 5-14/{}", bytes.len())), "{head}");
    assert_eq!(curl(&["--range", "299990-"], &url).2, bytes[299_990..]);
    assert_eq!(curl(&["--range", "300000-"], &url).0, 416);
    let (status, head, _) = curl(&["--head"], &url);
    assert!(status == 200 && head.contains("content-length: 300000"), "{head}");
    for method in ["PUT", "POST", "DELETE"] {
        assert_eq!(curl(&["--request", method], &url).0, 405, "{method}");
    }

    std::fs::write(tiny.cache().root().join("secret"), "secret").expect("written");
    let hex = alpha.hex();
    for path in [
        "secret",
        "sha256",
        "sha256/",
        "sha256/../secret",
        "sha256/..%2fsecret",
        "sha256/%2e%2e/secret",
        "../../../etc/passwd",
        "locks/x",
        "images/small/disk.raw",
        &format!("sha256/{}/{hex}", &hex[..2]),
        &format!("sha256/{}", hex.to_uppercase()),
        &format!("sha512/{hex}"),
        &format!("sha256/{}", "0".repeat(64)),
    ] {
        let (status, _, body) = curl(&[], &format!("{}/{path}", mirror.url));
        assert_eq!(status, 404, "{path}: {}", String::from_utf8_lossy(&body));
    }
    let (status, _, body) = curl(&[], &format!("{}/", mirror.url));
    let told = String::from_utf8_lossy(&body).into_owned();
    assert!(status == 200 && told.contains(&format!("calicolab --mirror '*={}' fetch LAB", mirror.url)), "{told}");
    let said = mirror.end();
    for word in ["calicolab --mirror '*=http://127.0.0.1:", "--listen 0.0.0.0:", &format!("GET sha256:{}", &hex[..12])]
    {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn another_machine_fetches_from_it() {
    let (tiny, other) = (Tiny::new(), Tiny::without_bytes());
    other.put_image();
    let mirror = Mirror::of(&tiny, "127.0.0.1:0");
    let words = format!("*={}", mirror.url);
    let dry = other.ends(&["fetch", "tiny", "--dry-run"], Exit::Done).out;
    assert!(dry.contains("to fetch") && dry.contains("to bring in: 3 files, "), "{dry}");
    other.ends(&["--mirror", &words, "fetch", "tiny"], Exit::Done);
    for (name, digest, bytes) in files() {
        assert_eq!(std::fs::read(other.cache().file(&digest)).expect(name), bytes, "{name}");
    }
    mirror.end();
    other.ends(&["--offline", "fetch", "tiny"], Exit::Done);
}

#[test]
fn who_listens_for_a_network_is_warned_and_a_taken_port_is_told() {
    let tiny = Tiny::new();
    let mirror = Mirror::of(&tiny, "0.0.0.0:0");
    let port = mirror.url.rsplit(':').next().expect("a port").to_owned();
    tiny.ends(&["mirror", "serve", "--listen", &format!("0.0.0.0:{port}")], Exit::Conflict)
        .tells(&["mirror.listen", "--listen ADDRESS:PORT"]);
    tiny.ends(&["mirror", "serve", "--listen", "everywhere"], Exit::Usage);
    assert!(mirror.end().contains("anyone on this network can read"));
}
