//! Members in their short forms: zstd frames, and disks without their empty blocks.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;

use super::list::Coding;
use crate::artifact::files::{BLOCK, Summed, disk_stream};
use crate::lab::pin::Digest;

/// Deterministic: the same level of the same library on one thread gives the same bytes.
const LEVEL: i32 = 3;

/// The beginning of a file by which is judged whether it pays to make it shorter.
const SAMPLE: u64 = 1 << 20;

/// The largest window a frame may ask for, as a power of two: what the level above uses, and some.
const WINDOW: u32 = 23;

/// Disks lose holes as small as this.
const HOLE: usize = 4096;

/// Shorter files stay as they are, so that people can read them where they lie.
const SMALL: usize = 64 << 10;

/// Whether making a file shorter saves an eighth at least, judged by its beginning.
pub(super) fn pays(file: &mut File) -> io::Result<bool> {
    let mut sample = Vec::new();
    (&mut *file).take(SAMPLE).read_to_end(&mut sample)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(sample.len() >= SMALL && zstd::bulk::compress(&sample, LEVEL)?.len() < sample.len() / 8 * 7)
}

/// Write `file` to `out` in the form of `coding`; gives digest, like `like`, and length of what the form holds.
pub(super) fn encode(
    file: &mut File,
    coding: Option<Coding>,
    like: &Digest,
    out: &mut dyn Write,
) -> io::Result<(Digest, u64)> {
    match coding {
        None => {
            let mut whole = Summed::like(like, out);
            pour(file, &mut whole)?;
            Ok(whole.sums())
        }
        Some(coding) => {
            let mut whole = Summed::like(like, zstd::Encoder::new(out, LEVEL)?);
            match coding {
                Coding::Zstd => pour(file, &mut whole)?,
                Coding::ZstdBlocks => {
                    disk_stream(file, |piece| whole.write_all(piece))?;
                }
            }
            let (frame, sums) = whole.into_parts();
            frame.finish()?;
            Ok(sums)
        }
    }
}

/// The way back: what `stored` holds, given to `out` and no further than `most` bytes.
///
/// The end of the frame must be the end of `stored`.
pub(super) fn decode(stored: &mut dyn Read, coding: Option<Coding>, most: u64, out: &mut dyn Write) -> io::Result<()> {
    let Some(_) = coding else { return pour(stored, out) };
    let mut decoder = zstd::Decoder::new(stored)?.single_frame();
    decoder.window_log_max(WINDOW)?;
    pour(&mut decoder.by_ref().take(most.saturating_add(1)), out)?;
    let mut rest = decoder.finish();
    match rest.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "more than one frame")),
    }
}

fn pour(from: &mut (impl Read + ?Sized), to: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    loop {
        match from.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(n) => to.write_all(&block[..n])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A disk put together again from its blocks, with holes where it has nothing.
pub(super) struct Disk<'a> {
    file: &'a File,
    length: Option<u64>,
    /// The number of the block at hand and how much of it came, or the beginning of a number.
    block: Option<(u64, usize)>,
    number: Vec<u8>,
    least: u64,
    held: Vec<u8>,
}

impl<'a> Disk<'a> {
    pub(super) fn new(file: &'a File) -> Self {
        Self { file, length: None, block: None, number: Vec::new(), least: 0, held: Vec::new() }
    }

    /// Nothing may be left over.
    pub(super) fn end(self) -> io::Result<()> {
        match self.length {
            Some(_) if self.block.is_none() && self.number.is_empty() => Ok(()),
            _ => Err(wrong("it ends in the middle of a block")),
        }
    }

    /// The length of the block of this number.
    fn size(&self, number: u64) -> usize {
        let left = self.length.unwrap_or(0).saturating_sub(number.saturating_mul(BLOCK as u64));
        usize::try_from(left).unwrap_or(usize::MAX).min(BLOCK)
    }

    fn take_number(&mut self, number: u64) -> io::Result<()> {
        if self.length.is_none() {
            self.file.set_len(number)?;
            self.length = Some(number);
        } else if number < self.least || self.size(number) == 0 {
            return Err(wrong("its blocks are not in order"));
        } else {
            self.least = number + 1;
            self.block = Some((number, self.size(number)));
        }
        Ok(())
    }

    fn put(&mut self, number: u64) -> io::Result<()> {
        let mut at = number * BLOCK as u64;
        for piece in self.held.chunks(HOLE) {
            if piece.iter().any(|byte| *byte != 0) {
                self.file.write_all_at(piece, at)?;
            }
            at += piece.len() as u64;
        }
        self.held.clear();
        self.block = None;
        Ok(())
    }
}

fn wrong(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl Write for Disk<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some((number, size)) = self.block else {
            let n = bytes.len().min(8 - self.number.len());
            self.number.extend_from_slice(&bytes[..n]);
            if let Ok(number) = <[u8; 8]>::try_from(self.number.as_slice()) {
                self.number.clear();
                self.take_number(u64::from_le_bytes(number))?;
            }
            return Ok(n);
        };
        let n = bytes.len().min(size - self.held.len());
        self.held.extend_from_slice(&bytes[..n]);
        if self.held.len() == size {
            self.put(number)?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::files;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_disk_comes_back_with_its_holes_and_its_sum() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let mut disk = File::options().create_new(true).read(true).write(true).open(&from).expect("made");
        disk.set_len(70 * BLOCK as u64 + 17).expect("grown");
        for (at, byte) in [(5, 1), (3 * BLOCK + 9000, 2), (70 * BLOCK + 16, 3)] {
            disk.write_all_at(&[byte], at as u64).expect("written");
        }
        let (sum, length) = files::sparse_sha256(&from).expect("hashed");
        let mut stored = Vec::new();
        let (digest, bytes) = encode(&mut disk, Some(Coding::ZstdBlocks), &sum, &mut stored).expect("encoded");
        assert_eq!(digest, sum, "the disk's own sum is that of the stream");
        let back = File::create_new(&to).expect("made");
        let mut writer = Disk::new(&back);
        decode(&mut stored.as_slice(), Some(Coding::ZstdBlocks), bytes, &mut writer).expect("decoded");
        writer.end().expect("whole");
        assert_eq!(files::sparse_sha256(&to).expect("hashed"), (sum, length));
        assert!(back.metadata().expect("there").blocks() * 512 < 64 << 10, "holes stay holes");
    }

    #[test]
    fn blocks_out_of_order_or_out_of_the_disk_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let number = |n: u64| n.to_le_bytes().to_vec();
        let (length, block) = (number(2 * BLOCK as u64), vec![7; BLOCK]);
        for (title, stream) in [
            ("beyond the end", [length.clone(), number(2), block.clone()].concat()),
            ("far beyond", [length.clone(), number(u64::MAX), block.clone()].concat()),
            ("backwards", [length.clone(), number(1), block.clone(), number(0), block.clone()].concat()),
            ("twice", [length.clone(), number(0), block.clone(), number(0), block].concat()),
            ("cut", [length, number(0), vec![7; 9]].concat()),
            ("nothing", Vec::new()),
        ] {
            let file = File::create(folder.path().join("disk")).expect("made");
            let mut disk = Disk::new(&file);
            let ended = disk.write_all(&stream).and_then(|()| disk.end());
            assert!(ended.is_err(), "{title}");
        }
    }

    #[test]
    fn a_frame_gives_no_more_than_is_expected_and_is_the_only_one() {
        let zeros = zstd::bulk::compress(&vec![0; 64 << 20], LEVEL).expect("compressed");
        let mut out = Summed::new(io::sink());
        // One byte more than was said is enough to know, and no more is handed over; who judges counts them.
        let _ = decode(&mut zeros.as_slice(), Some(Coding::Zstd), 1000, &mut out);
        assert!((1000..=1001).contains(&out.sums().1), "{} bytes", out.sums().1);
        let small = zstd::bulk::compress(b"small", LEVEL).expect("compressed");
        for extra in [b"x".to_vec(), small.clone()] {
            let both = [small.clone(), extra].concat();
            assert!(decode(&mut both.as_slice(), Some(Coding::Zstd), 5, &mut io::sink()).is_err());
        }
    }
}
