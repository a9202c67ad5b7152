//! A lab of a few small files with an image that was never built: what the verbs about bytes are tried with.

use std::fs::{File, create_dir_all, write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use calicolab::artifact::cache::Cache;
use calicolab::artifact::image;
use calicolab::failure::Exit;
use calicolab::lab::builtin::Library;
use calicolab::lab::pin::{Digest, Pin, Source};
use sha2::{Digest as _, Sha256, Sha512};

use super::{Said, User};

const MIB: usize = 1 << 20;

/// A user with the lab `tiny` in a folder for `--labs`, and every byte of it in the cache.
pub struct Tiny {
    /// The user.
    pub user: User,
}

/// The lab's files: what they are called, and what is in them.
pub fn files() -> [(&'static str, Digest, Vec<u8>); 3] {
    let sum = |bytes: &[u8]| Digest::Sha256(Sha256::digest(bytes).into());
    let (alpha, beta) = (b"alpha and ".repeat(30_000), b"beta".to_vec());
    let gamma = (0..5000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>();
    let long = Digest::Sha512(Sha512::digest(&gamma).into());
    [("alpha", sum(&alpha), alpha), ("beta", sum(&beta), beta), ("gamma", long, gamma)]
}

impl Tiny {
    /// All of it there.
    pub fn new() -> Self {
        let tiny = Self::without_bytes();
        for (_, digest, bytes) in files() {
            tiny.put(&digest, &bytes);
        }
        tiny.put_image();
        tiny
    }

    /// All of it there but its first file, which `pin` is now.
    pub fn wanting(pin: &Pin) -> Self {
        let tiny = Self::new();
        let (_, digest, bytes) = &files()[0];
        let Source::Url { urls, .. } = &pin.source else { panic!("a file of a server") };
        for file in ["lab.yaml", "lock.yaml"] {
            let path = Path::new(&tiny.labs()).join("labs/tiny").join(file);
            let text = std::fs::read_to_string(&path).expect("written");
            let text = text
                .replace("http://127.0.0.1:1/alpha", &urls[0])
                .replace(&digest.to_string(), &pin.digest.to_string())
                .replace(&format!("bytes: {}\n", bytes.len()), &format!("bytes: {}\n", pin.bytes.expect("known")));
            write(path, text).expect("written");
        }
        tiny
    }

    /// The lab alone.
    pub fn without_bytes() -> Self {
        let tiny = Self { user: User::new() };
        let labs = tiny.labs();
        tiny.user.ends(&["labs", "export", &labs], Exit::Done);
        let file = |path: &str| Path::new(&labs).join("labs").join(path);
        let primer = std::fs::read_to_string(file("primer/lab.yaml")).expect("exported");
        let (head, tail) =
            (primer.split("\nartifacts:").next().expect("a head"), primer.split("\nproof:").nth(1).expect("a tail"));
        let (mut artifacts, mut pins) = (Vec::new(), Vec::new());
        for (name, digest, bytes) in files() {
            // Nobody listens there.
            let source = format!("url: {{urls: ['http://127.0.0.1:1/{name}']}}");
            artifacts
                .push(format!("  - name: {name}\n    version: '1'\n    {source}\n    files: [{{to: usr/{name}}}]\n"));
            pins.push(format!(
                "- name: {name}\n  version: '1'\n  arch: amd64\n  source: {{{source}}}\n  digest: {digest}\n  bytes: {}\n  found: here\n",
                bytes.len()
            ));
        }
        let head = head.replace("image: debian-12 ", "image: small ");
        create_dir_all(file("tiny")).expect("made");
        write(file("tiny/lab.yaml"), format!("{head}\nartifacts:\n{}\nproof:{tail}", artifacts.concat()))
            .expect("written");
        write(file("tiny/lock.yaml"), format!("schema: 1\npins:\n{}", pins.concat())).expect("written");
        create_dir_all(file("images/small/initrd")).expect("made");
        for name in ["packages.txt", "dpkg.cfg", "customize.sh", "initrd/init", "initrd/modules.txt"] {
            write(file("images/small").join(name), name).expect("written");
        }
        let images = std::fs::read_to_string(file("images.yaml")).expect("exported");
        let small = "  - name: small\n    build: {suite: bookworm, recipe: labs/images/small}\n    user: debian\n    arch: amd64\n    runs: [primer]\n    note: small\n";
        write(file("images.yaml"), format!("{}\n{small}", images.trim_end())).expect("written");
        tiny
    }

    /// What `--labs` takes.
    pub fn labs(&self) -> String {
        self.user.path("labs")
    }

    /// The cache.
    pub fn cache(&self) -> Cache {
        Cache::at(self.user.path("cache/calicolab"))
    }

    /// Put a file under a digest, its own or not.
    pub fn put(&self, digest: &Digest, bytes: &[u8]) -> PathBuf {
        let path = self.cache().file(digest);
        create_dir_all(path.parent().expect("a folder")).expect("made");
        write(&path, bytes).expect("written");
        path
    }

    /// The folder of the image, as it would have been built.
    pub fn put_image(&self) -> PathBuf {
        let library = Library::open(Some(self.labs().into())).expect("labs");
        let images = library.images().expect("images");
        let recipe = image::recipe(&library, images.get("small").expect("small")).expect("a recipe");
        let name = format!("small-{}", &recipe.digest().hex()[..12]);
        let folder = self.cache().root().join("images").join(name);
        create_dir_all(&folder).expect("made");
        let disk = File::create(folder.join("disk.raw")).expect("made");
        disk.set_len(3 * MIB as u64).expect("grown");
        disk.write_all_at(b"a file system", MIB as u64).expect("written");
        let mut block = b"a file system".to_vec();
        block.resize(MIB, 0);
        let sum = |bytes: &[u8]| Digest::Sha256(Sha256::digest(bytes).into()).to_string();
        let stream = [&(3 * MIB as u64).to_le_bytes()[..], &1_u64.to_le_bytes(), &block].concat();
        let mut sums = serde_json::json!({ "disk.raw": sum(&stream) });
        for name in ["vmlinuz", "initrd", "tree.tar"] {
            write(folder.join(name), name).expect("written");
            sums[name] = sum(name.as_bytes()).into();
        }
        let list =
            serde_json::json!({"schema": 1, "recipe": recipe.digest(), "built": "2026-01-01T00:00:00Z", "files": sums});
        write(folder.join("image.json"), list.to_string()).expect("written");
        folder
    }

    /// The program with this user's labs.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = self.user.command(words);
        command.env("CALICOLAB_LABS", self.labs());
        command
    }

    /// The same, to its end.
    #[track_caller]
    pub fn ends(&self, words: &[&str], exit: Exit) -> Said {
        Said::by(&mut self.command(words), exit.code())
    }

    /// What it says as JSON.
    #[track_caller]
    pub fn json(&self, words: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.ends(words, Exit::Done).out).expect("JSON on standard output")
    }
}

/// `command` where there is no network at all, not even loopback.
pub fn cut_off(command: &Command) -> Command {
    let mut alone = Command::new("unshare");
    alone.args(["--user", "--map-root-user", "--net"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => alone.env(name, value),
            None => alone.env_remove(name),
        };
    }
    alone
}
