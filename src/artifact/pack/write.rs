//! A pack written in one go: members one after another, their list last and yet at the front.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::coding;
use super::header::{BLOCK, header, padding, room};
use super::list::{Coding, Holds, List, Member};
use super::{Bytes, Contents, GUARD, LIST, PACK_SCHEMA, PackError, Piece, guard};
use crate::artifact::error::CANNOT_SERIALISE;
use crate::artifact::files::{Summed, blocking, sha256_of};
use crate::durable;
use crate::event::{Events, Step};
use crate::lab::pin::Digest;

/// Any SHA-256, for the algorithm.
const SHA256: Digest = Digest::Sha256([0; 32]);

/// The end of a tar.
const END: [u8; 1024] = [0; 1024];

/// What happens to a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and nothing is written.
    Keep,
    /// It is replaced, once the new one is whole.
    Replace,
}

/// Write `contents` as one file; gives its length. Nothing is left where that fails or is given up.
pub async fn write(contents: Contents, path: &Path, existing: Existing, events: &Events) -> Result<u64, PackError> {
    let taken = || existing == Existing::Keep && path.symlink_metadata().is_ok();
    if taken() {
        return Err(PackError::Exists { path: path.into() });
    }
    let part = Part::open(path)?;
    let (file, given_up, events, to) = (part.file.try_clone(), part.given_up.clone(), events.clone(), path.to_owned());
    let folder = folder_of(path);
    let needed: u64 = contents.pieces.iter().map(Piece::bytes).sum();
    let failed = PackError::io(format!("writing {}", part.path.display()), &folder, needed);
    let file = file.map_err(&failed)?;
    let bytes = blocking(move || {
        let mut writer = Writer { file: BufWriter::with_capacity(1 << 18, file), given_up, events, to };
        writer.all(contents)
    })
    .await?;
    if taken() {
        return Err(PackError::Exists { path: path.into() });
    }
    part.settle(path).map_err(failed)?;
    Ok(bytes)
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).into()
}

/// `FILE.part`, ours alone, which goes when it is let go of.
struct Part {
    path: PathBuf,
    file: File,
    given_up: Arc<AtomicBool>,
    settled: bool,
}

impl Part {
    fn open(path: &Path) -> Result<Self, PackError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".part");
        let part = PathBuf::from(name);
        let failed = PackError::io(format!("writing {}", part.display()), &folder_of(path), 0);
        let open = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&part);
        let file = open.map_err(&failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(PackError::Busy { path: path.into() }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let part = Self { path: part, file, given_up: Arc::default(), settled: false };
        part.file.set_len(0).map_err(failed)?;
        Ok(part)
    }

    fn settle(mut self, path: &Path) -> io::Result<()> {
        durable::settle(&self.path, path)?;
        self.settled = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.given_up.store(true, Ordering::Relaxed);
        if !self.settled {
            // What is left now is written over by the next run.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

struct Writer {
    file: BufWriter<File>,
    given_up: Arc<AtomicBool>,
    events: Events,
    to: PathBuf,
}

impl Writer {
    fn all(&mut self, mut contents: Contents) -> Result<u64, PackError> {
        contents.pieces.sort_by_cached_key(|piece| piece.place.to_string());
        let needed: u64 = contents.pieces.iter().map(Piece::bytes).sum();
        let folder = folder_of(&self.to);
        let writing = PackError::io(format!("writing {}", self.to.display()), &folder, needed);
        let mut list = List { schema: PACK_SCHEMA, lab: contents.lab, arch: contents.arch, members: Vec::new() };
        for piece in &contents.pieces {
            list.members.push(planned(piece)?);
        }
        // Lengths are not known yet, and no number is written longer than this.
        let reserved = text(&list).len() as u64;
        let front = room(guard(&SHA256).len() as u64).zip(room(reserved)).and_then(|(a, b)| a.checked_add(b));
        let mut at = front.expect("a list fits");
        let (mut done, total) = (0, needed);
        for (piece, member) in contents.pieces.iter().zip(&mut list.members) {
            super::told(&self.events, Step::Pack, "packing", member.label(), piece.bytes(), (done, total));
            self.file.seek(SeekFrom::Start(at + BLOCK)).map_err(&writing)?;
            self.member(piece, member, &writing)?;
            let end = at + BLOCK + member.bytes;
            let zeros = usize::try_from(padding(member.bytes)).unwrap_or(0);
            self.file.write_all(&[0; 512][..zeros]).and_then(|()| self.file.flush()).map_err(&writing)?;
            self.file.get_ref().write_all_at(&header(&member.name, member.bytes)?, at).map_err(&writing)?;
            at = end + padding(member.bytes);
            done += piece.bytes();
        }
        self.file.get_ref().write_all_at(&END, at).map_err(&writing)?;
        self.front(&list, reserved).map_err(&writing)?;
        Ok(at + END.len() as u64)
    }

    fn member(
        &mut self,
        piece: &Piece,
        member: &mut Member,
        writing: &impl Fn(io::Error) -> PackError,
    ) -> Result<(), PackError> {
        let path = match &piece.bytes {
            Bytes::Text(text) => {
                self.file.write_all(text).map_err(writing)?;
                (member.bytes, member.digest) = (text.len() as u64, sha256_of(text));
                return Ok(());
            }
            Bytes::File { path, .. } => path,
        };
        let reading = PackError::io(format!("reading {}", path.display()), path, 0);
        let mut file = File::open(path).map_err(reading)?;
        let coding = member.holds.as_ref().map(|holds| holds.coding);
        let wanted = piece.wanted();
        let mut stored = if coding.is_some() { Summed::new(&mut *self) } else { Summed::like(&wanted, &mut *self) };
        let whole = coding::encode(&mut file, coding, &wanted, &mut stored).map_err(writing)?;
        (member.digest, member.bytes) = stored.sums();
        if let Some(holds) = &mut member.holds {
            (holds.digest, holds.bytes) = whole;
        }
        if whole.0 != wanted {
            let (wanted, got) = (Box::new(wanted), Box::new(whole.0));
            return Err(PackError::Altered { label: member.label().into(), path: path.clone(), wanted, got });
        }
        Ok(())
    }

    /// The list, whose room was kept free, and what guards it.
    fn front(&self, list: &List, reserved: u64) -> io::Result<()> {
        let mut bytes = text(list);
        bytes.resize(usize::try_from(reserved).expect("it was in memory"), b'\n');
        let guard = guard(&sha256_of(&bytes));
        let mut front = Vec::new();
        for (name, content) in [(GUARD, guard.as_bytes()), (LIST, &bytes)] {
            front.extend(header(name, content.len() as u64).map_err(io::Error::other)?);
            front.extend_from_slice(content);
            front.resize(front.len().next_multiple_of(512), 0);
        }
        self.file.get_ref().write_all_at(&front, 0)
    }
}

/// Writing through here is where a pack that nobody waits for any more ends.
impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.given_up.load(Ordering::Relaxed) {
            return Err(io::Error::other("given up"));
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn text(list: &List) -> Vec<u8> {
    serde_json::to_vec_pretty(list).expect(CANNOT_SERIALISE)
}

/// A member as the list will have it, with the longest numbers there are.
fn planned(piece: &Piece) -> Result<Member, PackError> {
    let coding = match &piece.bytes {
        Bytes::Text(_) => None,
        Bytes::File { disk: true, .. } => Some(Coding::ZstdBlocks),
        Bytes::File { path, .. } => {
            let reading = PackError::io(format!("reading {}", path.display()), path, 0);
            let pays = File::open(path).and_then(|mut file| coding::pays(&mut file)).map_err(reading)?;
            pays.then_some(Coding::Zstd)
        }
    };
    let wanted = piece.wanted();
    Ok(Member {
        name: piece.place.to_string(),
        label: piece.label.clone(),
        bytes: u64::MAX,
        digest: if coding.is_some() { SHA256 } else { wanted },
        holds: coding.map(|coding| Holds { coding, bytes: u64::MAX, digest: wanted }),
    })
}
