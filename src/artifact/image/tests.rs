//! A downloaded image is what machines really start from.

use super::*;
use crate::artifact::store::Store;
use crate::command::{Argv, run};
use crate::lab::builtin::Library;
use crate::lab::images::{DiskFormat, Origin, OsImage};
use crate::lab::pin::{Arch, Trust};
use crate::machine::Provider as _;
use crate::machine::qemu::support::Tiny;

#[tokio::test]
async fn a_downloaded_disk_boots_by_its_own_boot_loader() {
    for (format, make) in [
        (DiskFormat::Raw, "xz -c \"$1\" >\"$2\""),
        (DiskFormat::Qcow2, "qemu-img convert -f raw -O qcow2 \"$1\" \"$2\""),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut tiny = Tiny::new(1);
        let published = folder.path().join("published");
        let paths = [&tiny.image.disk, &published].map(|path| path.display().to_string());
        let argv = Argv::script(make, paths);
        let made = run(&argv, std::time::Duration::from_secs(60)).await.expect("a shell");
        made.success(&argv).expect("apt-get install qemu-utils xz-utils");
        std::fs::remove_file(&tiny.image.disk).expect("removed");

        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("bound"));
        let bytes = std::fs::read(&published).expect("there");
        let router = axum::Router::new().fallback(async move || bytes);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let digest = files::sha256(&published).expect("hashed").0;
        let image = OsImage {
            name: "tiny".into(),
            origin: Origin::Download {
                urls: vec![url],
                sums: None,
                digest,
                bytes: None,
                format,
                trust: Trust::Published,
                found: "here".into(),
            },
            user: "lab".into(),
            arch: Arch::Amd64,
            runs: Vec::new(),
            cgroups: None,
            note: String::new(),
        };
        let (events, _told) = Events::channel();
        let (cache, lab) = (Cache::at(folder.path().join("cache")), "test".parse().expect("a name"));
        let store = Store::new(cache, lab, Reach::Online, Archive::of_host());
        let library = Library::open(None).expect("the binary's");
        let ready = ensure_any(&store, &Archive::of_host(), &library, &image, &events).await.expect("fetched");
        let Ready::Downloaded(Disk { path, format }) = ready else { panic!("it was not built") };
        (tiny.image.disk, tiny.image.format) = (path, format);
        tiny.booted().await;
        tiny.speaks(1).await;
        tiny.qemu.destroy(&tiny.place).await.expect("gone");
    }
}
