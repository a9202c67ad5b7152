//! OS images as upstreams publish them, from a real server on loopback: fetched, unpacked, kept, healed, refused.

use std::path::{Path, PathBuf};
use std::process::Command;

use calicolab::artifact::FetchError;
use calicolab::artifact::apt::Archive;
use calicolab::artifact::cache::Cache;
use calicolab::artifact::image::{self, Disk, Ready};
use calicolab::artifact::store::{Reach, Store};
use calicolab::event::{Event, Events};
use calicolab::lab::builtin::Library;
use calicolab::lab::images::{DiskFormat, Origin, OsImage};
use calicolab::lab::pin::{Arch, Digest, Trust};

/// A server of a folder's files, and a cache beside it.
struct Upstream {
    folder: tempfile::TempDir,
    base: String,
}

fn run(folder: &Path, script: &str) {
    let output = Command::new("sh").args(["-euc", script]).current_dir(folder).output().expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} (apt-get install qemu-utils xz-utils bzip2 zstd): {said}");
}

/// The content of a disk as a guest sees it.
fn content(disk: &Disk) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let script = format!("qemu-img convert -f {} -O raw '{}' raw", disk.format, disk.path.display());
    run(folder.path(), &script);
    std::fs::read(folder.path().join("raw")).expect("converted")
}

impl Upstream {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().to_owned();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let base = format!("http://{}/", listener.local_addr().expect("bound"));
        let serve = async move |uri: axum::http::Uri| {
            let path = root.join(uri.path().trim_start_matches('/'));
            std::fs::read(path).map_err(|_| axum::http::StatusCode::NOT_FOUND)
        };
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(serve)).await });
        let upstream = Self { folder, base };
        let mut bytes = vec![0; 3 << 20];
        bytes[..8].copy_from_slice(b"the disk");
        bytes[(2 << 20) + 5] = 7;
        std::fs::write(upstream.path("disk.raw"), bytes).expect("written");
        upstream.run("qemu-img convert -f raw -O qcow2 disk.raw disk.qcow2");
        upstream
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, script: &str) {
        run(self.folder.path(), script);
    }

    /// The image in the file `name`, with the digest it has now.
    fn image(&self, name: &str, format: DiskFormat) -> OsImage {
        let sum = Command::new("sha512sum").arg(self.path(name)).output().expect("sha512sum").stdout;
        let sum = String::from_utf8_lossy(&sum);
        let digest: Digest = format!("sha512:{}", &sum[..128]).parse().expect("a digest");
        OsImage {
            name: "test".into(),
            origin: Origin::Download {
                urls: vec![format!("{}{name}", self.base)],
                sums: None,
                digest,
                bytes: None,
                format,
                trust: Trust::Published,
                found: "here".into(),
            },
            user: "debian".into(),
            arch: Arch::Amd64,
            runs: Vec::new(),
            cgroups: None,
            note: String::new(),
        }
    }

    fn cache(&self) -> Cache {
        Cache::at(self.path("cache"))
    }

    async fn ensure(&self, image: &OsImage, reach: Reach, events: &Events) -> Result<Disk, FetchError> {
        let store = Store::new(self.cache(), "test".parse().expect("a name"), reach, Archive::of_host());
        let library = Library::open(None).expect("the binary's");
        match image::ensure_any(&store, &Archive::of_host(), &library, image, events).await? {
            Ready::Downloaded(disk) => Ok(disk),
            Ready::Built(_) => panic!("it was not built"),
        }
    }

    async fn fails(&self, image: &OsImage) -> FetchError {
        self.ensure(image, Reach::Online, &Events::channel().0).await.expect_err("refused")
    }
}

#[tokio::test]
async fn a_disk_comes_out_of_every_packing() {
    let upstream = Upstream::new().await;
    upstream.run(
        "gzip -k disk.raw; bzip2 -k disk.qcow2; xz -k disk.raw; zstd -q disk.qcow2
         mkdir box; cp disk.qcow2 box/box.img; cd box
         echo '{\"provider\":\"libvirt\",\"format\":\"qcow2\",\"virtual_size\":1}' >metadata.json
         tar -cf ../plain.box ./metadata.json ./box.img; tar -czf ../packed.box box.img metadata.json
         qemu-img convert -f raw -O vmdk -o subformat=streamOptimized ../disk.raw box-disk001.vmdk
         echo '{\"provider\":\"virtualbox\"}' >metadata.json; touch box.ovf
         tar -czf ../virtualbox.box metadata.json box.ovf box-disk001.vmdk",
    );
    let (events, _told) = Events::channel();
    let wanted = std::fs::read(upstream.path("disk.raw")).expect("there");
    let (raw, qcow2) = (DiskFormat::Raw, DiskFormat::Qcow2);
    let all = [
        ("disk.raw", raw),
        ("disk.qcow2", qcow2),
        ("disk.raw.gz", raw),
        ("disk.qcow2.bz2", qcow2),
        ("disk.raw.xz", raw),
        ("disk.qcow2.zst", qcow2),
        ("plain.box", qcow2),
        ("packed.box", qcow2),
        ("virtualbox.box", qcow2),
    ];
    let library = Library::open(None).expect("the binary's");
    for (name, format) in all {
        let image = upstream.image(name, format);
        let cached = || image::cached(&upstream.cache(), &library, &image).expect("asked");
        assert!(!cached(), "{name}");
        let disk = upstream.ensure(&image, Reach::Online, &events).await.expect(name);
        assert_eq!(disk.format, if format == raw { "raw" } else { "qcow2" });
        assert!(content(&disk) == wanted, "{name} is another disk");
        assert!(cached(), "{name}");
        let again = upstream.ensure(&image, Reach::Offline, &events).await.expect("in the cache");
        assert_eq!(again.path, disk.path);
        let folder = disk.path.parent().expect("a folder");
        assert!(!folder.join("unpacked").exists());
    }
}

#[tokio::test]
async fn a_damaged_disk_is_unpacked_again_and_that_is_said() {
    let upstream = Upstream::new().await;
    upstream.run("gzip -k disk.raw");
    let image = upstream.image("disk.raw.gz", DiskFormat::Raw);
    let (events, mut told) = Events::channel();
    let disk = upstream.ensure(&image, Reach::Online, &events).await.expect("there");
    let wanted = content(&disk);
    upstream.run(&format!("chmod u+w '{0}'; printf x | dd of='{0}' conv=notrunc status=none", disk.path.display()));
    // The download is still there and right, so no network is needed.
    let healed = upstream.ensure(&image, Reach::Offline, &events).await.expect("healed");
    assert!(content(&healed) == wanted);
    let mut warned = Vec::new();
    while let Ok(happened) = told.try_recv() {
        if let Event::Warning { text } = happened.event {
            warned.push(text);
        }
    }
    assert!(warned.iter().any(|text| text.contains("image test") && text.contains("damaged")), "{warned:?}");
}

#[tokio::test]
async fn other_bytes_than_the_pinned_are_refused() {
    let upstream = Upstream::new().await;
    upstream.run("xz -k disk.raw");
    let image = upstream.image("disk.raw.xz", DiskFormat::Raw);
    upstream.run("printf x | dd of=disk.raw.xz bs=1 seek=100 conv=notrunc status=none");
    assert_eq!(upstream.fails(&image).await.id(), "digest.mismatch");
    assert!(!upstream.path("cache/images").exists(), "nothing of it was unpacked");
    let offline = upstream.ensure(&image, Reach::Offline, &Events::channel().0).await.expect_err("not there");
    assert!(offline.to_string().contains("image test "), "{offline}");
}

#[tokio::test]
async fn what_is_not_the_disk_it_should_be_is_refused_with_the_reason() {
    let upstream = Upstream::new().await;
    upstream.run(
        "qemu-img create -q -f qcow2 -F raw -b /etc/hostname over.qcow2
         qemu-img create -q -f qcow2 -o data_file=data.raw,data_file_raw=on outside.qcow2 1M; gzip -k outside.qcow2
         gzip -k disk.qcow2; echo '{\"provider\":\"hyperv\"}' >metadata.json; echo x >disk.vhdx
         tar -czf hyperv.box metadata.json disk.vhdx; tar -czf none.box disk.vhdx
         cp disk.qcow2 a.vmdk; cp disk.qcow2 b.vmdk; tar -czf two.box metadata.json a.vmdk b.vmdk
         qemu-img create -q -f vmdk -o subformat=monolithicFlat flat.vmdk 1M
         tar -czPf up.box --transform='s,^disk.vhdx$,../../box.img,' metadata.json disk.vhdx
         tar -czf flat.box metadata.json flat.vmdk",
    );
    let cases = [
        ("over.qcow2", DiskFormat::Qcow2, "its qcow2 lies over another file"),
        ("outside.qcow2.gz", DiskFormat::Qcow2, "its qcow2 lies over another file"),
        ("disk.qcow2", DiskFormat::Raw, "it is said to be raw, and is qcow2"),
        ("disk.raw", DiskFormat::Qcow2, "it is said to be qcow2, and is not qcow2"),
        ("disk.qcow2.gz", DiskFormat::Raw, "its disk is qcow2, not raw as said"),
        ("hyperv.box", DiskFormat::Qcow2, "a box for `hyperv` without a disk of libvirt or VirtualBox"),
        ("none.box", DiskFormat::Qcow2, "this tar is no Vagrant box"),
        ("two.box", DiskFormat::Qcow2, "the box has 2 disks (a.vmdk, b.vmdk)"),
        ("up.box", DiskFormat::Qcow2, "its name leads out of the archive"),
        ("flat.box", DiskFormat::Qcow2, "its disk is raw, not qcow2 as said"),
    ];
    for (name, format, why) in cases {
        let error = upstream.fails(&upstream.image(name, format)).await;
        assert_eq!(error.id(), "archive.refused", "{name}: {error}");
        let told = error.to_string();
        assert!(told.starts_with("image test") && told.contains(why), "{name}: {told}");
    }
    let left = std::fs::read_dir(upstream.path("cache/images")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "nothing half-made stays");
}
