//! Files for nodes out of real archives: packed by the programs that upstreams use, taken, renamed, packed for nodes.

use std::path::{Path, PathBuf};
use std::process::Command;

use calicolab::artifact::FetchError;
use calicolab::artifact::apt::Archive;
use calicolab::artifact::cache::Cache;
use calicolab::artifact::payload::{self, Part, PartSource, Payload};
use calicolab::artifact::store::{Reach, Store};
use calicolab::artifact::verified::Verified;
use calicolab::event::Events;
use calicolab::lab::file::{On, Taken};
use calicolab::lab::pin::{Arch, Digest, Pin, Source, Trust};

/// Set for the run of this binary in which nothing else takes memory.
const ALONE: &str = "CALICOLAB_TEST_ALONE";

/// A folder with archives, and a cache in which they lie under their digests.
struct Files(tempfile::TempDir);

fn run(folder: &Path, script: &str) -> String {
    let output = Command::new("sh").args(["-euc", script]).current_dir(folder).output().expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} (apt-get install xz-utils bzip2 zstd): {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, script: &str) -> String {
        run(self.0.path(), script)
    }

    fn cache(&self) -> Cache {
        Cache::at(self.path("cache"))
    }

    /// The file `name` as if it had been fetched.
    async fn verified(&self, name: &str) -> Verified {
        let digest: Digest =
            format!("sha256:{}", &self.run(&format!("sha256sum {name}"))[..64]).parse().expect("a sum");
        let at = self.cache().file(&digest);
        std::fs::create_dir_all(at.parent().expect("a folder")).expect("made");
        std::fs::copy(self.path(name), at).expect("copied");
        let pin = Pin {
            name: name.into(),
            version: "1".into(),
            arch: Arch::All,
            source: Source::Url { urls: vec!["https://x.example/file".into()], sums: None },
            digest,
            bytes: None,
            trust: Trust::Published,
            found: "here".into(),
        };
        let store = Store::new(self.cache(), "test".parse().expect("a name"), Reach::Offline, Archive::of_host());
        store.ensure(&pin, &Events::channel().0).await.expect("in the cache")
    }

    async fn pack(&self, name: &str, files: &[Taken]) -> Result<Payload, FetchError> {
        let from = PartSource::Verified(self.verified(name).await);
        let part = Part { from, on: On::All, files: files.to_vec() };
        payload::pack(&self.cache(), vec![part], &Events::channel().0).await
    }

    /// What a node would have of it, after `sha256sum` has checked the list it checks there.
    fn unpacked(&self, payload: &Payload) -> PathBuf {
        let out = tempfile::tempdir_in(self.0.path()).expect("a folder").keep();
        let lines: Vec<String> =
            payload.files().iter().map(|file| format!("{}  {}\n", file.sha256.hex(), file.path)).collect();
        std::fs::write(out.join("sums"), lines.concat()).expect("written");
        let tar = payload.path().display();
        run(&out, &format!("tar -x -f '{tar}' $(cut -c67- sums); sha256sum --check --quiet sums"));
        out
    }
}

fn to(from: Option<&str>, to: &str, mode: Option<u32>) -> Taken {
    Taken { from: from.map(Into::into), to: to.into(), mode }
}

#[tokio::test]
async fn members_come_out_of_every_packing_under_their_new_names() {
    let files = Files::new();
    files.run(
        "mkdir -p tree/release/bin; cd tree; head -c 300000 /dev/urandom >release/bin/tool; chmod 700 release/bin/tool
         echo '# notes' >release/notes; ln -s bin/tool release/link; ln release/bin/tool release/hard
         for z in '' z j J; do tar -c${z}f ../tar$z release; done; tar --zstd -cf ../tarzst .
         tar --format=pax -cf ../tarpax release; tar --format=v7 -cf ../tarv7 release",
    );
    let wanted = [
        to(Some("release/bin/tool"), "usr/local/bin/tool", None),
        to(Some("release/link"), "usr/local/bin/linked", Some(0o644)),
        to(Some("release/hard"), "opt/hard", None),
        to(Some("release/notes"), "opt/notes", Some(0o755)),
    ];
    let tool = std::fs::read(files.path("tree/release/bin/tool")).expect("there");
    for name in ["tar", "tarz", "tarj", "tarJ", "tarzst", "tarpax", "tarv7"] {
        let payload = files.pack(name, &wanted).await.expect(name);
        let out = files.unpacked(&payload);
        for path in ["usr/local/bin/tool", "usr/local/bin/linked", "opt/hard"] {
            assert!(std::fs::read(out.join(path)).expect("there") == tool, "{name} {path}");
        }
        let modes: Vec<_> = payload.files().iter().map(|file| (file.path.as_str(), file.mode)).collect();
        assert_eq!(
            modes,
            [("opt/hard", 0o755), ("opt/notes", 0o755), ("usr/local/bin/linked", 0o644), ("usr/local/bin/tool", 0o755)]
        );
    }
}

#[tokio::test]
async fn a_single_file_comes_whole_and_unpacked() {
    let files = Files::new();
    files.run("head -c 200000 /dev/urandom >tool; gzip -k tool; bzip2 -k tool; xz -k tool; zstd -q tool");
    files.run("cat tool.zst tool.zst >twice.zst; cat tool tool >twice");
    let wanted = [to(None, "usr/local/bin/tool", Some(0o755)), to(None, "usr/share/tool", None)];
    for (name, inside) in [
        ("tool", "tool"),
        ("tool.gz", "tool"),
        ("tool.bz2", "tool"),
        ("tool.xz", "tool"),
        ("tool.zst", "tool"),
        ("twice.zst", "twice"),
    ] {
        let payload = files.pack(name, &wanted).await.expect(name);
        let modes: Vec<u32> = payload.files().iter().map(|file| file.mode).collect();
        assert_eq!(modes, [0o755, 0o644]);
        let out = files.unpacked(&payload);
        let inside = std::fs::read(files.path(inside)).expect("there");
        assert!(std::fs::read(out.join("usr/share/tool")).expect("there") == inside, "{name}");
    }
}

#[tokio::test]
async fn a_derived_file_goes_to_nodes_as_it_is() {
    let files = Files::new();
    files.run("echo a >a; tar -cf one.tar a; echo b >b");
    let first = files.pack("one.tar", &[to(Some("a"), "a", None)]).await.expect("packed");
    let from = PartSource::Verified(files.verified("b").await);
    let parts = vec![
        Part::whole(first.tar().clone(), On::Master, "var/lib/images/one.tar"),
        Part { from, on: On::All, files: vec![to(None, "b", None)] },
        Part { from: PartSource::Derived(first.tar().clone()), on: On::All, files: Vec::new() },
    ];
    let (events, _told) = Events::channel();
    let payload = payload::pack(&files.cache(), parts.clone(), &events).await.expect("packed");
    let out = files.unpacked(&payload);
    let bytes = std::fs::read(first.path()).expect("there");
    assert!(std::fs::read(out.join("var/lib/images/one.tar")).expect("there") == bytes);
    let twice = [parts.clone(), parts].concat();
    let error = payload::pack(&files.cache(), twice, &events).await.expect_err("one path, two contents");
    assert!(matches!(error, FetchError::Twice { .. }), "{error}");
    let left: Vec<_> = std::fs::read_dir(files.path("cache/payload")).expect("there").flatten().collect();
    assert!(
        left.iter().all(|entry| entry.path().extension().is_some_and(|end| end == "tar" || end == "json")),
        "{left:?}"
    );
}

#[tokio::test]
async fn archives_that_mean_harm_are_refused_by_name_entry_and_reason() {
    let files = Files::new();
    files.run(
        "echo x >a
         tar -cPf up.tar --transform='s,^b$,../../b,' a $(echo b >b; echo b)
         tar -cPzf root.tgz a $PWD/b
         ln -s ../../../etc/passwd out; tar -cf link.tar a out
         ln -s /etc/passwd abs; tar -cJf abs.txz a abs
         tar -cPf hard.tar --transform='flags=h;s,^a$,../a,' a $(ln a hard; echo hard)
         head -c 1100M /dev/zero >zeros; tar -cf - a zeros | zstd -q -o bomb.tar.zst; rm zeros
         tar -cf cut.tar a b; head -c 700 cut.tar >cut; head -c 2000 /dev/urandom >noise",
    );
    let cases = [
        ("up.tar", Some("a"), "up.tar, `../../b`: its name leads out of the archive"),
        ("root.tgz", Some("a"), "its name leads out of the archive"),
        ("link.tar", Some("out"), "link.tar, `out`: it is a link to `../../../etc/passwd`, out of the archive"),
        ("abs.txz", Some("abs"), "abs.txz, `abs`: it is a link to `/etc/passwd`, out of the archive"),
        ("hard.tar", Some("a"), "hard.tar, `hard`: it is a link to `../a`, out of the archive"),
        ("bomb.tar.zst", Some("a"), "bomb.tar.zst, `zeros`: more than 1073741824 bytes"),
    ];
    for (name, from, why) in cases {
        let error = files.pack(name, &[to(from, "x", None)]).await.expect_err(name);
        assert_eq!(error.id(), "archive.refused", "{name}: {error}");
        assert!(error.to_string().contains(why), "{name}: {error}");
    }
    for name in ["cut", "noise"] {
        files.pack(name, &[to(Some("a"), "x", None), to(Some("b"), "y", None)]).await.expect_err(name);
    }
    let left = std::fs::read_dir(files.path("cache/payload")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "nothing half-made stays");
}

/// Runs itself again, alone, since memory is counted for the whole process.
#[tokio::test]
async fn packing_takes_little_memory_whatever_the_size() {
    if std::env::var_os(ALONE).is_none() {
        let output = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "--nocapture", "member::packing_takes_little_memory_whatever_the_size"])
            .env(ALONE, "1")
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let files = Files::new();
    files.run("head -c 100M /dev/zero >large; tar -czf large.tgz large; gzip -1 -k large");
    files.pack("large.tgz", &[to(Some("large"), "large", None)]).await.expect("packed");
    files.pack("large.gz", &[to(None, "large", None)]).await.expect("packed");
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the most it ever had");
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(kib < 60 << 10, "{kib} KiB");
}
