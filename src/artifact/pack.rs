//! A lab with every byte it uses as one file: a plain tar in which no byte can change unseen.
//!
//! ```text
//! calicolab-pack   `calicolab pack 1`, and the digest of the list
//! list.json        every other member: name, length, digest, and what it is a short form of
//! cache/…          files of the cache under their digests, and the built OS image
//! cloud-config/…   the templates of the lab's installer
//! labs/…           the lab with its lock, images.yaml and the image's recipe
//! ```
//!
//! Headers and padding follow from names and lengths, two empty blocks are the end and nothing comes after: so the
//! same input gives the same bytes, and a reader knows every byte beforehand or hashes it.

mod coding;
mod error;
mod header;
mod list;
mod read;
mod unpack;
mod write;

use std::path::PathBuf;

pub use error::PackError;
pub use list::{Coding, Holds, List, Member, Place};
pub use read::Pack;
pub use unpack::Unpacked;
pub use write::{Existing, write};

use crate::artifact::files::sha256_of;
use crate::event::{Event, Events, Step};
use crate::lab::name::LabName;
use crate::lab::pin::{Arch, Digest};

/// What a pack shall hold.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The lab.
    pub lab: LabName,
    /// The nodes' processor.
    pub arch: Arch,
    /// Everything, in any order.
    pub pieces: Vec<Piece>,
}

/// One thing a pack shall hold.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Where it belongs.
    pub place: Place,
    /// What people call it, where its place does not say.
    pub label: Option<String>,
    /// What it is.
    pub bytes: Bytes,
}

/// The bytes of a piece.
#[derive(Clone, Debug)]
pub enum Bytes {
    /// A text.
    Text(Vec<u8>),
    /// A file, which is hashed while it is packed.
    File {
        /// Where it lies.
        path: PathBuf,
        /// Its digest; of a disk the sum over its blocks that are not zero.
        digest: Digest,
        /// The bytes it takes on this host's disk.
        bytes: u64,
        /// Whether it is a disk, which is mostly holes.
        disk: bool,
    },
}

impl Piece {
    fn bytes(&self) -> u64 {
        match &self.bytes {
            Bytes::Text(text) => text.len() as u64,
            Bytes::File { bytes, .. } => *bytes,
        }
    }

    fn wanted(&self) -> Digest {
        match &self.bytes {
            Bytes::Text(text) => sha256_of(text),
            Bytes::File { digest, .. } => *digest,
        }
    }
}

/// The first member, by which a pack is known.
const GUARD: &str = "calicolab-pack";

/// The second.
const LIST: &str = "list.json";

/// Version of packs; raised when a reader of the old ones could misunderstand.
pub const PACK_SCHEMA: u32 = 1;

/// The first words of the first member.
const MARK: &str = "calicolab pack ";

/// What the first member holds for a list of this digest.
fn guard(list: &Digest) -> String {
    format!("{MARK}{PACK_SCHEMA}\n{list}  {LIST}\n")
}

/// From this length on a member is worth a word of its own.
const WORTH_TELLING: u64 = 1 << 20;

/// Tell how far a pack is come.
fn told(events: &Events, step: Step, doing: &str, label: &str, bytes: u64, done: (u64, u64)) {
    let doing = if bytes < WORTH_TELLING { doing.into() } else { format!("{doing} {label}") };
    events.tell(Event::Progress { step, subject: "the pack".into(), doing, done: Some(done) });
}

#[cfg(test)]
mod tests;
