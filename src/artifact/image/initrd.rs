//! The initrd: a static busybox, a handful of modules and an init, as an uncompressed newc archive.

use std::collections::BTreeMap;
use std::io::Read;

use super::recipe::{Initrd, Recipe};
use crate::artifact::FetchError;
use crate::artifact::files::failed;

/// Names under which the init calls busybox.
const APPLETS: [&str; 4] = ["insmod", "mount", "sh", "switch_root"];

/// What direct boot takes out of a tree.
pub(super) struct FromTree {
    /// The kernel.
    pub kernel: Vec<u8>,
    busybox: Vec<u8>,
    modules: BTreeMap<String, Vec<u8>>,
}

impl FromTree {
    /// Read the tree, a tar, once.
    pub(super) fn read(recipe: &Recipe, initrd: &Initrd, tree: impl Read) -> Result<Self, FetchError> {
        let reading = failed("reading the image's tree", std::path::Path::new(""), 0);
        let (mut kernel, mut busybox, mut modules) = (None, None, BTreeMap::new());
        let mut tar = tar::Archive::new(tree);
        for entry in tar.entries().map_err(&reading)? {
            let mut entry = entry.map_err(&reading)?;
            if entry.header().entry_type() != tar::EntryType::Regular {
                continue;
            }
            let path = entry.path().map_err(&reading)?.to_string_lossy().trim_start_matches("./").to_owned();
            let name = path.rsplit('/').next().unwrap_or_default();
            let module = name.strip_suffix(".ko").filter(|module| initrd.modules.iter().any(|wanted| wanted == module));
            let mut content = || {
                let mut content = Vec::new();
                entry.read_to_end(&mut content).map(|_| content).map_err(&reading)
            };
            if path.starts_with("boot/vmlinuz-") {
                kernel = Some(content()?);
            } else if path == "usr/bin/busybox" || path == "bin/busybox" {
                busybox = Some(content()?);
            } else if let Some(module) = module.filter(|_| path.contains("lib/modules/")) {
                modules.insert(module.to_owned(), content()?);
            }
        }
        if let Some(lacking) = initrd.modules.iter().find(|module| !modules.contains_key(*module)) {
            return Err(recipe.wrong(format!("its kernel has no module {lacking}")));
        }
        Ok(Self {
            kernel: kernel.ok_or_else(|| recipe.wrong("no package of it brings a kernel".into()))?,
            busybox: busybox.ok_or_else(|| recipe.wrong("no package of it brings busybox".into()))?,
            modules,
        })
    }

    /// The archive.
    pub(super) fn initrd(&self, initrd: &Initrd) -> Vec<u8> {
        let mut archive = Newc::default();
        for folder in ["bin", "dev", "modules", "proc", "root", "sys"] {
            archive.add(folder, 0o040_755, b"");
        }
        archive.add("init", 0o100_755, &initrd.init);
        archive.add("bin/busybox", 0o100_755, &self.busybox);
        for applet in APPLETS {
            archive.add(&format!("bin/{applet}"), 0o120_777, b"busybox");
        }
        let files: Vec<String> = initrd.modules.iter().map(|module| format!("{module}.ko")).collect();
        for (module, content) in &self.modules {
            archive.add(&format!("modules/{module}.ko"), 0o100_644, content);
        }
        archive.add("modules/list", 0o100_644, (files.join("\n") + "\n").as_bytes());
        archive.finish()
    }
}

/// A cpio archive in the "newc" form that the kernel unpacks; all of root's, all of the first second of 1970.
#[derive(Default)]
struct Newc {
    bytes: Vec<u8>,
    entries: u32,
}

impl Newc {
    fn add(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let size = u32::try_from(content.len()).expect("a member of an initrd is small");
        let name = u32::try_from(path.len() + 1).expect("a path is short");
        // magic, inode, mode, uid, gid, links, mtime, size, device (2), its own device (2), length of name, check
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, b"");
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        Recipe { name: "test".into(), suite: "bookworm".into(), disk_mib: 64, files: Vec::new() }
    }

    fn tree(files: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, content.as_bytes()).expect("a member");
        }
        tar.into_inner().expect("a tar")
    }

    const TREE: [(&str, &str); 4] = [
        ("./boot/vmlinuz-6.1", "kernel"),
        ("./usr/bin/busybox", "busybox"),
        ("./usr/lib/modules/6.1/kernel/drivers/virtio/virtio.ko", "module one"),
        ("./usr/lib/modules/6.1/kernel/drivers/block/virtio_blk.ko", "module two"),
    ];

    #[test]
    fn another_reader_finds_all_in_the_archive() {
        let wanted = Initrd { init: b"#!/bin/sh\n".to_vec(), modules: vec!["virtio_blk".into(), "virtio".into()] };
        let from = FromTree::read(&recipe(), &wanted, tree(&TREE).as_slice()).expect("a whole tree");
        assert_eq!(from.kernel, b"kernel");
        let bytes = from.initrd(&wanted);
        assert_eq!(bytes, from.initrd(&wanted), "the same bytes each time");
        let mut found = BTreeMap::new();
        let mut rest = bytes.as_slice();
        loop {
            let mut reader = cpio::NewcReader::new(rest).expect("an entry");
            if reader.entry().is_trailer() {
                break;
            }
            let mut content = String::new();
            reader.read_to_string(&mut content).expect("text");
            found.insert(reader.entry().name().to_owned(), (reader.entry().mode(), content));
            rest = reader.finish().expect("a next entry");
        }
        let entry = |mode: u32, content: &str| Some((mode, content.to_owned()));
        assert_eq!(found.remove("modules/list"), entry(0o100_644, "virtio_blk.ko\nvirtio.ko\n"));
        assert_eq!(found.remove("modules/virtio.ko"), entry(0o100_644, "module one"));
        assert_eq!(found.remove("bin/sh"), entry(0o120_777, "busybox"));
        assert_eq!(found.remove("init"), entry(0o100_755, "#!/bin/sh\n"));
        assert_eq!(found.remove("dev"), entry(0o040_755, ""));
    }

    #[test]
    fn what_a_tree_lacks_is_named() {
        let wanted = Initrd { init: Vec::new(), modules: vec!["virtio".into(), "nvme".into()] };
        let error = FromTree::read(&recipe(), &wanted, tree(&TREE).as_slice()).err().expect("lacking");
        assert!(error.to_string().contains("nvme"), "{error}");
        let wanted = Initrd { init: Vec::new(), modules: Vec::new() };
        let error = FromTree::read(&recipe(), &wanted, tree(&TREE[1..]).as_slice()).err().expect("lacking");
        assert!(error.to_string().contains("kernel"), "{error}");
    }
}
