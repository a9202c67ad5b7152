//! Debian packages out of the host's real archive and out of small signed archives made here.

use std::path::{Path, PathBuf};
use std::process::Command;

use axum::http::{StatusCode, Uri};
use calicolab::artifact::FetchError;
use calicolab::artifact::apt::{Age, Archive, Part, Place};
use calicolab::artifact::cache::Cache;
use calicolab::artifact::payload::{self, PartSource};
use calicolab::artifact::store::{Reach, Store};
use calicolab::artifact::verified::Verified;
use calicolab::cmd::lock::{self, Relocked, When};
use calicolab::event::Events;
use calicolab::lab::file::{Artifact, Lab, On, Taken};
use calicolab::lab::pin::{Arch, Digest, LOCK_SCHEMA, Lock, Pin, Source, Trust};

/// An archive of one suite on a loopback address, signed by a key made for it.
struct Repository {
    folder: tempfile::TempDir,
    base: String,
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{} is needed (sudo apt-get install gpg dpkg): {error}", command.get_program().display())
    });
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn sha256(path: &Path) -> String {
    let sum = run(Command::new("sha256sum").arg(path));
    sum.split_whitespace().next().expect("a sum").to_owned()
}

impl Repository {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("www");
        std::fs::create_dir_all(root.join("pool")).expect("made");
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let base = format!("http://{}/", listener.local_addr().expect("bound"));
        let serve = async move |uri: Uri| {
            std::fs::read(root.join(uri.path().trim_start_matches('/'))).map_err(|_| StatusCode::NOT_FOUND)
        };
        let router = axum::Router::new().fallback(serve);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let repository = Self { folder, base };
        let home = repository.path("gpg");
        std::fs::create_dir(&home).expect("made");
        std::fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("private");
        let key = ["--passphrase", "", "--quick-generate-key", "archive@test.invalid", "ed25519", "sign", "never"];
        repository.gpg(&key);
        repository.gpg(&["--output", &repository.keyring().display().to_string(), "--export"]);
        repository
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn keyring(&self) -> PathBuf {
        self.path("keys.gpg")
    }

    fn gpg(&self, words: &[&str]) {
        run(Command::new("gpg").args(["--batch", "--quiet", "--yes", "--homedir"]).arg(self.path("gpg")).args(words));
    }

    /// Build a package with one program, a link to it, and a file that says its version.
    fn package(&self, name: &str, version: &str) -> Pin {
        let tree = self.path("tree");
        let _ = std::fs::remove_dir_all(&tree);
        for folder in ["DEBIAN", "usr/sbin", "usr/bin", "usr/share"] {
            std::fs::create_dir_all(tree.join(folder)).expect("made");
        }
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: Test <t@test.invalid>\nDescription: test\n"
        );
        std::fs::write(tree.join("DEBIAN/control"), control).expect("written");
        let program = tree.join("usr/sbin/prog");
        std::fs::write(&program, format!("#!/bin/sh\necho {version}\n")).expect("written");
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o750)).expect("runnable");
        std::os::unix::fs::symlink("../sbin/prog", tree.join("usr/bin/prog")).expect("linked");
        std::fs::write(tree.join("usr/share/version"), version).expect("written");
        let file = self.path("www/pool").join(format!("{name}.deb"));
        run(Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&tree).arg(&file));
        let bytes = std::fs::metadata(&file).expect("built").len();
        Pin {
            name: name.into(),
            version: version.into(),
            arch: Arch::Amd64,
            source: Source::Apt { package: name.into(), suite: "test".into() },
            digest: format!("sha256:{}", sha256(&file)).parse().expect("a digest"),
            bytes: Some(bytes),
            trust: Trust::Published,
            found: "here".into(),
        }
    }

    /// Write the index of these packages, and sign it.
    fn publish(&self, pins: &[&Pin]) {
        let stanzas = pins.iter().map(|pin| {
            format!(
                "Package: {0}\nVersion: {1}\nArchitecture: amd64\nFilename: pool/{0}.deb\nSize: {2}\nSHA256: {3}\n\
                 Maintainer: Test <t@test.invalid>\nDescription: test\n\n",
                pin.name,
                pin.version,
                pin.bytes.expect("known"),
                pin.digest.hex()
            )
        });
        let dist = self.path("www/dists/test");
        std::fs::create_dir_all(dist.join("main/binary-amd64")).expect("made");
        let packages = dist.join("main/binary-amd64/Packages");
        std::fs::write(&packages, stanzas.collect::<String>()).expect("written");
        let release = format!(
            "Origin: Test\nSuite: test\nCodename: test\nArchitectures: amd64\nComponents: main\nDate: {}\nSHA256:\n {} {} main/binary-amd64/Packages\n",
            run(Command::new("date").args(["-u", "-R"])).trim(),
            sha256(&packages),
            std::fs::metadata(&packages).expect("there").len()
        );
        std::fs::write(dist.join("Release"), release).expect("written");
        let (signed, plain) = (dist.join("InRelease"), dist.join("Release"));
        self.gpg(&["--clearsign", "--output", &signed.display().to_string(), &plain.display().to_string()]);
    }

    fn archive(&self) -> Archive {
        Archive::at(vec![Place { part: Part::Release, uri: self.base.clone(), keyring: self.keyring() }])
    }

    fn cache(&self) -> Cache {
        Cache::at(self.path("cache"))
    }

    fn store(&self) -> Store {
        Store::new(self.cache(), "primer".parse().expect("a name"), Reach::Online, self.archive())
    }

    async fn ensure(&self, pins: &[Pin]) -> Result<Vec<Verified>, FetchError> {
        let (events, _told) = Events::channel();
        self.store().ensure_all(pins, &events).await
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        // gpg starts an agent for each home.
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.path("gpg")).args(["--kill", "all"]).output();
    }
}

#[tokio::test]
async fn packages_come_out_verified_and_their_files_in_one_tar() {
    let repository = Repository::new().await;
    let (one, two) = (repository.package("one", "1:1.0~rc1+b2"), repository.package("two", "2.0"));
    repository.publish(&[&one, &two]);
    let files = repository.ensure(&[two.clone(), one.clone()]).await.expect("both");
    assert_eq!(files.iter().map(|file| file.pin().name.as_str()).collect::<Vec<_>>(), ["two", "one"]);
    let part = |package: &Verified, on, members: &[&str]| payload::Part {
        from: PartSource::Verified(package.clone()),
        on,
        files: members.iter().map(|path| Taken::same(*path)).collect(),
    };
    let parts = vec![
        part(&files[0], On::Master, &["usr/share/version"]),
        part(&files[1], On::All, &["usr/sbin/prog", "usr/bin/prog"]),
    ];
    let (events, _told) = Events::channel();
    let cache = repository.cache();
    let first = payload::pack(&cache, parts.clone(), &events).await.expect("packed");
    let bytes = std::fs::read(first.path()).expect("there");
    assert_eq!(bytes.len() % 512, 0);
    let short: Vec<_> = first.files().iter().map(|file| (file.path.as_str(), file.mode, file.on)).collect();
    assert_eq!(
        short,
        [("usr/bin/prog", 0o755, On::All), ("usr/sbin/prog", 0o755, On::All), ("usr/share/version", 0o644, On::Master)]
    );
    let out = repository.path("out");
    std::fs::create_dir(&out).expect("made");
    run(Command::new("tar").arg("-C").arg(&out).arg("-xf").arg(first.path()));
    for file in first.files() {
        assert_eq!(format!("sha256:{}", sha256(&out.join(&file.path))), file.sha256.to_string());
    }
    assert_eq!(std::fs::read_to_string(out.join("usr/share/version")).expect("there"), "2.0");

    let again = payload::pack(&cache, parts.clone(), &events).await.expect("used again");
    assert_eq!(again.tar(), first.tar());
    let elsewhere = Cache::at(repository.path("elsewhere"));
    let turned = parts.iter().rev().cloned().collect();
    let other = payload::pack(&elsewhere, turned, &events).await.expect("packed elsewhere");
    assert_eq!(std::fs::read(other.path()).expect("there"), bytes, "the same bytes on another day");
    std::fs::write(first.path(), b"damaged").expect("damaged");
    let healed = payload::pack(&cache, parts, &events).await.expect("packed again");
    assert_eq!(std::fs::read(healed.path()).expect("there"), bytes);

    let absent = vec![part(&files[1], On::All, &["usr/sbin/absent"])];
    let error = payload::pack(&cache, absent, &events).await.expect_err("no such file");
    assert!(matches!(error, FetchError::NoMember { path, .. } if path == "usr/sbin/absent"));
}

#[tokio::test]
async fn a_version_that_left_the_archive_is_named_with_the_command() {
    let repository = Repository::new().await;
    let old = repository.package("one", "1.0");
    repository.publish(&[&old]);
    // An index that knows the old version is there; the archive has moved on.
    let (events, _told) = Events::channel();
    let names = ["one".to_owned()];
    let seen = repository.archive().records(&repository.cache(), "test", &names, Age::Any, &events).await;
    assert_eq!(seen.expect("one")[0].version, "1.0");
    let new = repository.package("one", "1.1");
    repository.publish(&[&new]);
    let error = repository.ensure(std::slice::from_ref(&old)).await.expect_err("gone");
    assert_eq!(error.id(), "apt.gone");
    assert_eq!(error.to_string(), "the archive no longer has one 1.0 (it has 1.1)");
    assert_eq!(error.remedy().as_deref(), Some("calicolab lock primer --apt-only --if-gone"));
    repository.ensure(&[new]).await.expect("the new one is there");
}

#[tokio::test]
async fn a_lock_follows_the_archive_only_when_a_version_is_gone() {
    let repository = Repository::new().await;
    let first = repository.package("one", "1.0");
    repository.publish(&[&first]);
    let (events, _told) = Events::channel();
    let (cache, archive, lab) = (repository.cache(), repository.archive(), lab("one"));
    let empty = Lock { schema: LOCK_SCHEMA, pins: Vec::new(), missing: Vec::new() };
    let made = lock::apt_only(&cache, &archive, &lab, &empty, When::Always, &events).await.expect("asked");
    assert_eq!((made.lock.pins[0].digest, made.lock.pins[0].bytes), (first.digest, first.bytes));
    let same = lock::apt_only(&cache, &archive, &lab, &made.lock, When::IfGone, &events).await.expect("asked");
    assert_eq!(same, Relocked { lock: made.lock.clone(), changes: Vec::new() });

    let second = repository.package("one", "1.1");
    repository.publish(&[&second]);
    repository.ensure(&made.lock.pins).await.expect_err("gone, and so the list is refreshed");
    let moved = lock::apt_only(&cache, &archive, &lab, &made.lock, When::IfGone, &events).await.expect("asked");
    let [change] = &moved.changes[..] else { panic!("one change: {:?}", moved.changes) };
    let versions = [&change.old, &change.new].map(|side| side.as_ref().map(|side| side.version.as_str()));
    assert_eq!((&*change.name, versions), ("one", [Some("1.0"), Some("1.1")]));
    repository.ensure(&moved.lock.pins).await.expect("the new pins work");

    repository.publish(&[]);
    let kept = lock::apt_only(&cache, &archive, &lab, &moved.lock, When::IfGone, &events).await.expect("asked");
    assert!(kept.changes.is_empty(), "the file is in the cache, so nothing is lost");
}

fn lab(package: &str) -> Lab {
    let source = Source::Apt { package: package.into(), suite: "test".into() };
    let artifact = Artifact {
        name: package.into(),
        version: None,
        source,
        on: On::All,
        files: vec![Taken::same("usr/sbin/prog")],
    };
    Lab { artifacts: vec![artifact], ..crate::support::plans::lab(2) }
}

#[tokio::test]
async fn other_bytes_under_a_pinned_version_are_refused() {
    let repository = Repository::new().await;
    let real = repository.package("one", "1.0");
    repository.publish(&[&real]);
    let mut pin = real.clone();
    pin.digest = Digest::Sha256([9; 32]);
    let error = repository.ensure(&[pin]).await.expect_err("the lock means other bytes");
    assert_eq!(error.id(), "digest.mismatch");
    // The index is right and the file is not: apt refuses it.
    std::fs::write(repository.path("www/pool/one.deb"), b"changed on the way").expect("changed");
    let error = repository.ensure(&[real]).await.expect_err("not what was signed");
    assert!(matches!(error, FetchError::Command { .. }), "{error}");
}

#[tokio::test]
async fn an_unsigned_or_wrongly_signed_archive_is_refused() {
    let repository = Repository::new().await;
    let pin = repository.package("one", "1.0");
    repository.publish(&[&pin]);
    let stranger = Repository::new().await;
    std::fs::copy(stranger.keyring(), repository.keyring()).expect("other keys");
    let error = repository.ensure(std::slice::from_ref(&pin)).await.expect_err("signed by a stranger");
    assert!(matches!(error, FetchError::Command { .. }), "{error}");
    std::fs::remove_file(repository.path("www/dists/test/InRelease")).expect("unsigned");
    let error = repository.ensure(&[pin]).await.expect_err("unsigned");
    assert!(matches!(error, FetchError::Command { .. }), "{error}");
}

#[tokio::test]
async fn the_hosts_own_archive_serves_a_package() {
    let folder = tempfile::tempdir().expect("a folder");
    let (cache, archive) = (Cache::at(folder.path()), Archive::of_host());
    let (events, _told) = Events::channel();
    let places = archive.places().await.expect("the host is a Debian");
    assert!(places.iter().any(|place| place.part == Part::Security), "{places:?}");
    let name = "busybox-static".to_owned();
    let names = std::slice::from_ref(&name);
    let records = archive.records(&cache, "bookworm", names, Age::Hours, &events).await.expect("asked");
    let record = records.first().expect("it is in every Debian");
    let pin = Pin {
        name: name.clone(),
        version: record.version.clone(),
        arch: Arch::Amd64,
        source: Source::Apt { package: name, suite: "bookworm".into() },
        digest: record.digest,
        bytes: Some(record.bytes),
        trust: Trust::Published,
        found: "here".into(),
    };
    let store = Store::new(cache, "primer".parse().expect("a name"), Reach::Online, archive);
    let file = store.ensure(&pin, &events).await.expect("downloaded");
    assert_eq!(file.bytes(), record.bytes);
}
