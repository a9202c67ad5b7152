//! Files onto a node: whole, with their final mode and checked there before they take their names.

use std::collections::{HashSet, VecDeque};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use ssh_key::rand_core::{OsRng, RngCore as _};
use tar::EntryType;

use super::error::SshError;
use super::exec::Input;
use super::remote::Remote;
use crate::command::{Argv, Ended, Output, quoted};
use crate::lab::pin::Digest;

/// A file to be put on a node. It will belong to root.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Absolute path on the node; missing folders are made, with mode 0755.
    pub path: String,
    /// Permission bits (`0o600`), set before the first byte is written.
    pub mode: u32,
    /// What it will hold.
    pub content: Content,
}

/// Where a file's bytes come from.
#[derive(Clone)]
pub enum Content {
    /// From memory.
    Bytes(Vec<u8>),
    /// From a file of this host: read twice, once to hash and once to send.
    File(PathBuf),
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // It may be a secret.
            Self::Bytes(bytes) => write!(f, "Bytes({} of them)", bytes.len()),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// Files go in batches of so many: the whole command may have at most 128 KiB.
const BATCH: usize = 100;
/// The script's own status for bytes that are not those that were to be sent.
const ALTERED: i32 = 65;
/// From so many bytes on the system's own program sums them sooner than busybox, which need not be started.
const LONG: u64 = 4 << 20;
/// A tar archive is made of blocks of so many bytes.
const BLOCK: u64 = 512;

/// $1 sums, $2 is the list of sums; the rest are the files' paths while they wait in a folder beside their place. That
/// folder is closed to others and goes away however this ends; each rename happens within one file system.
///
/// Words and options are those that busybox has, too, except for tar, which is the system's.
const PLACE: &str = r#"set -eu
umask 022
sum=$1 list=$2
shift 2
clear() {
  for path; do
    if [ -d "${path%/*}" ]; then rm -rf -- "${path%/*}"; fi
  done
}
trap 'clear "$@"' EXIT
trap 'exit 1' HUP INT TERM
/bin/tar -C / -xpmf - --numeric-owner
said=$(printf '%s' "$list" | "$sum" -c - 2>&1) || { printf '%s\n' "$said" | grep -v ': OK$' >&2; exit 65; }
sync -- "$@" 2>/dev/null || sync
for path; do
  waiting=${path%/*}
  mv -f -- "$path" "${waiting%/*}/"
done
clear "$@"
trap - EXIT HUP INT TERM
echo calicolab-put
"#;
/// What [`PLACE`] says when all files are in their places: what follows belongs to what is run next.
const PUT: &str = "calicolab-put\n";

impl Remote {
    /// Put one file on the node and return its digest, which the node has found as well. The file appears whole, with
    /// its mode, or what was there before stays as it was.
    pub async fn put(&self, upload: Upload, limit: Duration) -> Result<Digest, SshError> {
        self.batch(vec![upload], limit).await.map(|digests| digests[0])
    }

    /// Put several files on the node by few commands, each file as [`put`](Self::put) does. `limit` is for one batch of
    /// at most 100 files; one failure leaves each file of its batch either old or new, never in part.
    pub async fn put_many(&self, uploads: Vec<Upload>, limit: Duration) -> Result<Vec<Digest>, SshError> {
        let mut digests = Vec::with_capacity(uploads.len());
        let mut rest = uploads.into_iter();
        loop {
            let batch: Vec<Upload> = rest.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return Ok(digests);
            }
            digests.extend(self.batch(batch, limit).await?);
        }
    }

    /// The same, and then, once all files are in their places, the shell's text `script` with its `words` as root, by the
    /// same command as the last of them: gives what that said and how it ended. There must be a file.
    pub async fn put_and_run(
        &self,
        mut uploads: Vec<Upload>,
        (script, words): (&str, &[&str]),
        limit: Duration,
    ) -> Result<Output, SshError> {
        let last = uploads.split_off(uploads.len().saturating_sub(1) / BATCH * BATCH);
        self.put_many(uploads, limit).await?;
        let then = format!("set -- {}\n{script}", quoted(words));
        self.sent(last, &then, limit).await.map(|(_, output)| output)
    }

    async fn batch(&self, uploads: Vec<Upload>, limit: Duration) -> Result<Vec<Digest>, SshError> {
        self.sent(uploads, "", limit).await.map(|(digests, _)| digests)
    }

    /// Put files by one command and let it do `then`; the output is what that said, and how it ended.
    async fn sent(&self, uploads: Vec<Upload>, then: &str, limit: Duration) -> Result<(Vec<Digest>, Output), SshError> {
        let what = match uploads.as_slice() {
            [one] => format!("`{}`", one.path),
            all => format!("`{}` and {} more", all[0].path, all.len() - 1),
        };
        let prepared = tokio::task::spawn_blocking(move || prepare(uploads));
        let batch = prepared.await.expect("hashing does not panic")?;
        let script = [PLACE, then].concat();
        let sum = if batch.bytes < LONG { "sha256sum" } else { "/usr/bin/sha256sum" };
        let words = [sum.to_owned(), batch.list].into_iter().chain(batch.waiting);
        let argv = Argv::node_script(&script, words).sudo();
        let called = format!("put {what}{}", if then.is_empty() { "" } else { " and do what follows" });
        let mut output = self.command(&argv, called, Input::Stream(Box::new(batch.tar)), limit).await?;
        // A login shell may have said something before.
        if let Some((_, after)) = output.stdout.split_once(PUT) {
            output.stdout = after.to_owned();
            return Ok((batch.digests, output));
        }
        let node = self.node().clone();
        Err(match output.ended {
            Ended::Exit(ALTERED) => SshError::Altered { node, what, output },
            _ => SshError::Put { node, what, output },
        })
    }
}

/// Files ready to be sent.
struct Batch {
    tar: Parts,
    list: String,
    waiting: Vec<String>,
    digests: Vec<Digest>,
    /// Of all files together.
    bytes: u64,
}

/// Hash everything and lay it out as a tar stream, contents being read only as they are sent.
fn prepare(uploads: Vec<Upload>) -> Result<Batch, SshError> {
    let nonce = OsRng.next_u64();
    let mut batch =
        Batch { tar: Parts::default(), list: String::new(), waiting: Vec::new(), digests: Vec::new(), bytes: 0 };
    let mut made = HashSet::new();
    for upload in uploads {
        let (folder, name) = split(&upload.path)?;
        let stage = format!("{folder}/.calicolab-{nonce:016x}");
        let waiting = format!("{stage}/{name}");
        let (length, digest) = measure(&upload.content)?;
        if made.insert(stage.clone()) {
            batch.tar.add(Cursor::new(header(&stage, EntryType::Directory, 0o700, 0)?));
        }
        batch.tar.add(Cursor::new(header(&waiting, EntryType::Regular, upload.mode, length)?));
        match upload.content {
            Content::Bytes(bytes) => batch.tar.add(Cursor::new(bytes)),
            // A file that grows meanwhile must not spoil the archive; that it changed is found out on the node.
            Content::File(path) => batch.tar.add(open(&path)?.take(length)),
        }
        batch.tar.add(io::repeat(0).take(length.next_multiple_of(BLOCK) - length));
        let _ = writeln!(batch.list, "{}  {waiting}", digest.hex());
        batch.waiting.push(waiting);
        batch.digests.push(digest);
        batch.bytes += length;
    }
    batch.tar.add(io::repeat(0).take(2 * BLOCK));
    Ok(batch)
}

/// Folder (empty for the root) and name of an absolute path that a list of sums, a shell and tar all read alike.
fn split(path: &str) -> Result<(&str, &str), SshError> {
    let bad = |reason| Err(SshError::BadPath { path: path.into(), reason });
    let Some((folder, name)) = path.rsplit_once('/').filter(|_| path.starts_with('/')) else {
        return bad("it is not absolute");
    };
    if path.contains('\\') || path.chars().any(char::is_control) {
        return bad("it has a backslash or a control character");
    }
    if path[1..].split('/').any(|part| matches!(part, "" | "." | "..")) {
        return bad("it has an empty part, `.` or `..`");
    }
    Ok((folder, name))
}

fn open(path: &Path) -> Result<File, SshError> {
    File::open(path).map_err(|source| SshError::Read { path: path.to_path_buf(), source })
}

/// Length in bytes and digest.
fn measure(content: &Content) -> Result<(u64, Digest), SshError> {
    let mut hash = Sha256::new();
    let path = match content {
        Content::Bytes(bytes) => {
            hash.update(bytes);
            return Ok((bytes.len() as u64, Digest::Sha256(hash.finalize().into())));
        }
        Content::File(path) => path,
    };
    let mut file = open(path)?;
    let mut piece = vec![0; 256 << 10];
    let mut length = 0;
    loop {
        match file.read(&mut piece).map_err(|source| SshError::Read { path: path.clone(), source })? {
            0 => return Ok((length, Digest::Sha256(hash.finalize().into()))),
            count => {
                hash.update(&piece[..count]);
                length += count as u64;
            }
        }
    }
}

/// The block that announces a member of root's.
fn header(path: &str, kind: EntryType, mode: u32, length: u64) -> Result<[u8; 512], SshError> {
    let mut header = tar::Header::new_ustar();
    header
        .set_path(&path[1..])
        .map_err(|_| SshError::BadPath { path: path.into(), reason: "it is too long for a tar archive" })?;
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(length);
    header.set_cksum();
    Ok(*header.as_bytes())
}

/// Readers read one after another.
#[derive(Default)]
struct Parts(VecDeque<Box<dyn Read + Send>>);

impl Parts {
    fn add(&mut self, part: impl Read + Send + 'static) {
        self.0.push_back(Box::new(part));
    }
}

impl Read for Parts {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        while let Some(part) = self.0.front_mut() {
            match part.read(room)? {
                0 => drop(self.0.pop_front()),
                count => return Ok(count),
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_absolute_paths_are_taken() {
        assert_eq!(split("/etc/bird/bird.conf").expect("plain"), ("/etc/bird", "bird.conf"));
        assert_eq!(split("/top").expect("plain"), ("", "top"));
        for path in ["", "/", "etc/x", "/etc/", "/etc//x", "/etc/../x", "/a\nb", "/a\\b"] {
            assert!(matches!(split(path), Err(SshError::BadPath { .. })), "{path:?}");
        }
    }

    #[test]
    fn the_stream_is_an_archive_with_modes_and_waiting_names() {
        let upload = |path: &str, mode, bytes: &[u8]| Upload {
            path: path.into(),
            mode,
            content: Content::Bytes(bytes.to_vec()),
        };
        let batch = prepare(vec![
            upload("/etc/a", 0o600, b"secret"),
            upload("/etc/b", 0o755, &[7; 512]),
            upload("/c", 0o644, b""),
        ])
        .expect("plain");
        let mut archive = tar::Archive::new(batch.tar);
        let members: Vec<(String, u32, u64)> = archive
            .entries()
            .expect("an archive")
            .map(|entry| {
                let entry = entry.expect("whole");
                let path = entry.path().expect("a path").display().to_string();
                (path, entry.header().mode().expect("a mode"), entry.size())
            })
            .collect();
        let kinds: Vec<(u32, u64)> = members.iter().map(|(_, mode, size)| (*mode, *size)).collect();
        assert_eq!(kinds, [(0o700, 0), (0o600, 6), (0o755, 512), (0o700, 0), (0o644, 0)]);
        assert!(members.iter().all(|(path, ..)| path.contains(".calicolab-")));
        assert_eq!(batch.waiting.len(), 3);
    }
}
