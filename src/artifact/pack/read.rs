//! A pack that was verified: its form, every digest, and what its members come to, before anything of it is used.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::coding;
use super::header::{BLOCK, header, length, padding, room};
use super::list::{List, Member, Place};
use super::{GUARD, LIST, MARK, PACK_SCHEMA, PackError, guard};
use crate::artifact::files::{Summed, blocking, sha256_of};
use crate::event::{Events, Step};
use crate::lab::pin::Digest;

/// No list is longer than this: some ten thousand members.
const LONGEST_LIST: u64 = 16 << 20;

/// No text is longer than this.
const LONGEST_TEXT: u64 = 4 << 20;

/// A pack whose every byte was read and found right in this run.
#[derive(Clone, Debug)]
pub struct Pack {
    path: PathBuf,
    bytes: u64,
    list: List,
    /// Where each member's bytes begin.
    places: Vec<u64>,
}

impl Pack {
    /// Read the list of the pack at `path`, guarded by its digest. No member is read: see [`Self::verify`].
    pub async fn open(path: &Path) -> Result<Self, PackError> {
        let path = path.to_owned();
        blocking(move || opened(path)).await
    }

    /// Read every byte: each member has the list's digest and comes to what the list says, and nothing lies between
    /// or behind them.
    pub async fn verify(&self, events: &Events) -> Result<(), PackError> {
        let (pack, events) = (self.clone(), events.clone());
        blocking(move || pack.verified(&events)).await
    }

    /// Its list.
    pub fn list(&self) -> &List {
        &self.list
    }

    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its labs' and templates' texts: path in the layout that `--labs` takes, and content.
    pub async fn texts(&self) -> Result<Vec<(String, Vec<u8>)>, PackError> {
        let pack = self.clone();
        blocking(move || {
            let mut reader = pack.reader()?;
            let mut texts = Vec::new();
            for (member, at) in pack.list.members.iter().zip(&pack.places) {
                if let Place::Text(path) = member.place()? {
                    let mut text = Vec::new();
                    pack.give(&mut reader, member, *at, &mut text)?;
                    texts.push((path, text));
                }
            }
            Ok(texts)
        })
        .await
    }

    /// Write what a member stands for to `out`; its bytes are hashed once more on the way.
    pub(super) fn pour(&self, member: &Member, out: &mut dyn io::Write) -> Result<(), PackError> {
        let at = self.list.members.iter().position(|one| one.name == member.name).map(|at| self.places[at]);
        let at = at.ok_or_else(|| PackError::List { why: format!("it has no {}", member.name) })?;
        self.give(&mut self.reader()?, member, at, out)
    }

    fn reader(&self) -> Result<BufReader<File>, PackError> {
        let file = File::open(&self.path).map_err(self.reading())?;
        Ok(BufReader::with_capacity(1 << 18, file))
    }

    fn reading(&self) -> impl Fn(io::Error) -> PackError + use<> {
        PackError::io(format!("reading {}", self.path.display()), &self.path, 0)
    }

    fn verified(&self, events: &Events) -> Result<(), PackError> {
        let mut reader = self.reader()?;
        for (member, at) in self.list.members.iter().zip(&self.places) {
            super::told(events, Step::Check, "checking", member.label(), member.bytes, (*at, self.bytes));
            let damaged = || PackError::Damaged { member: member.name.clone() };
            let mut found = [0; 512];
            reader.seek(SeekFrom::Start(at - BLOCK)).map_err(self.reading())?;
            reader.read_exact(&mut found).map_err(self.reading())?;
            if found != header(&member.name, member.bytes)? {
                return Err(damaged());
            }
            self.give(&mut reader, member, *at, &mut io::sink())?;
            reader.seek(SeekFrom::Start(at + member.bytes)).map_err(self.reading())?;
            if !zeros(&mut reader, padding(member.bytes)).map_err(self.reading())? {
                return Err(damaged());
            }
        }
        reader.seek(SeekFrom::Start(self.bytes - 2 * BLOCK)).map_err(self.reading())?;
        if !zeros(&mut reader, 2 * BLOCK).map_err(self.reading())? {
            return Err(PackError::Damaged { member: "its end".into() });
        }
        Ok(())
    }

    /// Hand over what a member stands for, judged by both digests. Wrong bytes may have been handed over by then.
    fn give(
        &self,
        reader: &mut BufReader<File>,
        member: &Member,
        at: u64,
        out: &mut dyn io::Write,
    ) -> Result<(), PackError> {
        reader.seek(SeekFrom::Start(at)).map_err(self.reading())?;
        let mut stored = Summed::like(&member.digest, reader.take(member.bytes));
        let whole_digest = member.whole_digest();
        let mut whole = Summed::like(&whole_digest, Careful { out, failed: None });
        let coding = member.holds.as_ref().map(|holds| holds.coding);
        let decoded = coding::decode(&mut stored, coding, member.whole_bytes(), &mut whole);
        // What the decoder left over counts too, before it is judged what went wrong.
        io::copy(&mut stored, &mut io::sink()).map_err(self.reading())?;
        let (careful, (digest, bytes)) = whole.into_parts();
        if let Some(error) = careful.failed {
            return Err(PackError::io(format!("writing what {} holds", member.label()), &self.path, 0)(error));
        }
        if stored.sums() != (member.digest, member.bytes) {
            return Err(PackError::Damaged { member: member.name.clone() });
        }
        let lies = |why: String| PackError::Lies { member: member.name.clone(), why };
        decoded.map_err(|error| lies(error.to_string()))?;
        if (bytes, digest) != (member.whole_bytes(), whole_digest) {
            return Err(lies(format!("it comes to {digest}, or to more or less than {} bytes", member.whole_bytes())));
        }
        Ok(())
    }
}

/// Keeps an error of writing apart from those of reading.
struct Careful<'a> {
    out: &'a mut dyn io::Write,
    failed: Option<io::Error>,
}

impl io::Write for Careful<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes).map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted && kind != io::ErrorKind::InvalidData {
                self.failed = Some(error);
                return kind.into();
            }
            error
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn zeros(reader: &mut impl io::Read, count: u64) -> io::Result<bool> {
    let mut bytes = Vec::new();
    reader.take(count).read_to_end(&mut bytes)?;
    Ok(bytes.len() as u64 == count && bytes.iter().all(|byte| *byte == 0))
}

fn opened(path: PathBuf) -> Result<Pack, PackError> {
    let failed = PackError::io(format!("reading {}", path.display()), &path, 0);
    let mut file = File::open(&path).map_err(&failed)?;
    let bytes = file.metadata().map_err(&failed)?.len();
    let not_a_pack = || PackError::NotAPack { path: path.clone() };
    let mut front = Vec::new();
    (&mut file).take(3 * BLOCK).read_to_end(&mut front).map_err(&failed)?;
    let damaged = |member: &str| PackError::Damaged { member: member.into() };
    if !front.starts_with(GUARD.as_bytes()) {
        return Err(not_a_pack());
    }
    let Some((first, rest)) = front.split_at_checked(2 * 512) else {
        return Err(PackError::Truncated { got: bytes, wanted: 5 * BLOCK });
    };
    let said = String::from_utf8_lossy(&first[512..]);
    let said = said.trim_end_matches('\0');
    let schema = said.strip_prefix(MARK).and_then(|rest| rest.lines().next()).and_then(|word| word.parse().ok());
    match schema {
        Some(PACK_SCHEMA) => {}
        Some(schema) => return Err(PackError::Schema { schema }),
        None => return Err(damaged(GUARD)),
    }
    let digest = said.lines().nth(1).and_then(|line| line.split(' ').next()).and_then(|word| word.parse().ok());
    let digest: Digest = digest.ok_or_else(|| damaged(GUARD))?;
    if first != block(GUARD, guard(&digest).as_bytes())? {
        return Err(damaged(GUARD));
    }
    let Ok(second) = <&[u8; 512]>::try_from(rest) else {
        return Err(PackError::Truncated { got: bytes, wanted: 5 * BLOCK });
    };
    let reserved = length(second).filter(|length| *length <= LONGEST_LIST).ok_or_else(|| damaged(LIST))?;
    let mut text = Vec::new();
    (&mut file).take(reserved).read_to_end(&mut text).map_err(&failed)?;
    if *second != header(LIST, reserved)? {
        return Err(damaged(LIST));
    }
    if (text.len() as u64) < reserved {
        return Err(PackError::Truncated { got: bytes, wanted: 3 * BLOCK + reserved });
    }
    if sha256_of(&text) != digest || !zeros(&mut file, padding(reserved)).map_err(&failed)? {
        return Err(damaged(LIST));
    }
    let list = List::read(&text)?;
    let (places, wanted) = laid_out(&list, 2 * BLOCK + room(reserved).unwrap_or(0))?;
    match bytes.cmp(&wanted) {
        std::cmp::Ordering::Less => Err(PackError::Truncated { got: bytes, wanted }),
        std::cmp::Ordering::Greater => Err(damaged("its end, which more bytes follow")),
        std::cmp::Ordering::Equal => Ok(Pack { path, bytes, list, places }),
    }
}

/// Header and content, padded.
fn block(name: &str, content: &[u8]) -> Result<Vec<u8>, PackError> {
    let mut all = header(name, content.len() as u64)?.to_vec();
    all.extend_from_slice(content);
    all.resize(all.len().next_multiple_of(512), 0);
    Ok(all)
}

/// Where the members' bytes begin, and the length of the whole.
fn laid_out(list: &List, front: u64) -> Result<(Vec<u64>, u64), PackError> {
    let too_long = |member: &Member| PackError::List { why: format!("{} is too long", member.name) };
    let mut at = front;
    let mut places = Vec::new();
    for member in &list.members {
        if matches!(member.place()?, Place::Text(_)) && member.bytes > LONGEST_TEXT {
            return Err(too_long(member));
        }
        places.push(at + BLOCK);
        let room = room(member.bytes).and_then(|room| at.checked_add(room));
        at = room.filter(|at| *at < i64::MAX as u64).ok_or_else(|| too_long(member))?;
    }
    Ok((places, at + 2 * BLOCK))
}
