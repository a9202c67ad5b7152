//! A file in the making: what is written is hashed on the way, and its length is the truth about what is there.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::path::Path;

use tokio::sync::mpsc::Receiver;

use super::files::{Sum, feed};
use crate::lab::pin::Digest;

/// A file in the making, with the digest of what it holds.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    like: Digest,
    sum: Sum,
    have: u64,
    found: bool,
}

impl Part {
    /// Open or make the file at `path`. What an earlier run left there is read once, for its digest, unless it is
    /// longer than `most` bytes: then it is no beginning of what is wanted.
    pub(super) fn open(path: &Path, like: Digest, most: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        let mut part = Self { file, like, sum: Sum::like(&like), have: 0, found: false };
        let there = part.file.metadata()?.len();
        if there > most {
            part.restart()?;
        } else if there > 0 {
            part.have = feed(&mut part.file, |block| part.sum.update(block))?;
            part.found = true;
        }
        Ok(part)
    }

    /// How many bytes it holds.
    pub(super) fn have(&self) -> u64 {
        self.have
    }

    /// Whether its beginning is of another run's or another server's making.
    pub(super) fn is_inherited(&self) -> bool {
        self.found
    }

    /// The digest of what it holds.
    pub(super) fn digest(&self) -> Digest {
        self.sum.clone().digest()
    }

    /// Forget all it holds.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        (self.sum, self.have, self.found) = (Sum::like(&self.like), 0, false);
        Ok(())
    }

    /// Write and hash pieces as they come until nobody sends any more, at once and in order, so that a killed run
    /// loses only what had not come here. A disk that takes no more ends it.
    pub(super) fn drink<B: AsRef<[u8]>>(mut self, mut pieces: Receiver<B>) -> (Self, io::Result<()>) {
        while let Some(piece) = pieces.blocking_recv() {
            if let Err(error) = self.append(piece.as_ref()) {
                return (self, Err(error));
            }
        }
        (self, Ok(()))
    }

    fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                // A full disk takes a part of a piece first: that part is there, and hashed.
                Ok(n) => {
                    self.sum.update(&bytes[..n]);
                    self.have += n as u64;
                    bytes = &bytes[n..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::files::sha256_of;

    #[test]
    fn what_is_there_is_gone_on_from_unless_it_is_too_long() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("part");
        let like = Digest::Sha256([0; 32]);
        let (send, receive) = tokio::sync::mpsc::channel(4);
        send.blocking_send("one ").expect("sent");
        send.blocking_send("two ").expect("sent");
        drop(send);
        let (part, written) = Part::open(&path, like, 100).expect("made").drink(receive);
        written.expect("written");
        assert_eq!((part.have(), part.digest(), part.is_inherited()), (8, sha256_of(b"one two "), false));

        let mut part = Part::open(&path, like, 100).expect("opened");
        assert_eq!((part.have(), part.digest(), part.is_inherited()), (8, sha256_of(b"one two "), true));
        part.append(b"three").expect("appended");
        assert_eq!(part.digest(), sha256_of(b"one two three"));
        assert_eq!(std::fs::read(&path).expect("there"), b"one two three");

        let part = Part::open(&path, like, 12).expect("opened");
        assert_eq!((part.have(), part.digest()), (0, sha256_of(b"")));
        assert!(std::fs::read(&path).expect("there").is_empty());
    }
}
