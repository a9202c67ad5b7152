//! A compressed file, recognised by its first bytes, as a stream; and how much may come out of a file at most.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::rc::Rc;

use super::error::Refusal;

/// Memory that unpacking xz may take, in KiB: `xz -9` needs 65 MiB.
const XZ_KIB: u32 = 128 << 10;
/// The same for zstd as the logarithm of its window: what its own program reads without being asked.
const ZSTD_WINDOW: u32 = 27;

/// How much may come out of one file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes in all.
    pub scanned: u64,
    /// Bytes of one member.
    pub member: u64,
    /// Bytes that may come out of a file however small it is.
    pub free: u64,
    /// Beyond them, bytes that may come out for each of the file's own.
    pub ratio: u64,
}

/// Of files that go to nodes.
pub(super) const LIMITS: Limits = Limits { scanned: 16 << 30, member: 8 << 30, free: 1 << 30, ratio: 200 };

impl Limits {
    /// For a file of `bytes`.
    fn most(&self, bytes: u64) -> u64 {
        self.scanned.min(self.free.max(bytes.saturating_mul(self.ratio)))
    }
}

/// The ways in which a file may be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

impl Packing {
    /// What the first bytes of a file say; the name says nothing.
    pub(super) fn of(path: &Path) -> io::Result<Option<Self>> {
        let begin = beginning(&mut File::open(path)?, 6)?;
        let all: [(&[u8], Self); 4] = [
            (b"\x1f\x8b\x08", Self::Gzip),
            (b"BZh", Self::Bzip2),
            (b"\xfd7zXZ\0", Self::Xz),
            (b"\x28\xb5\x2f\xfd", Self::Zstd),
        ];
        Ok(all.into_iter().find(|(magic, _)| begin.starts_with(magic)).map(|(_, packing)| packing))
    }
}

/// The first bytes of a stream: `most`, or all there are.
pub(super) fn beginning(stream: &mut impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut begin = Vec::new();
    stream.take(most).read_to_end(&mut begin)?;
    Ok(begin)
}

/// Whether a stream that begins so is a tar.
pub(super) fn is_tar(begin: &[u8]) -> bool {
    begin.get(257..262) == Some(b"ustar")
}

/// Whether the file is a Debian package.
pub(super) fn is_package(path: &Path) -> io::Result<bool> {
    const MAGIC: &[u8] = b"!<arch>\ndebian-binary";
    let mut begin = [0; MAGIC.len()];
    Ok(File::open(path)?.read_at(&mut begin, 0)? == MAGIC.len() && begin == MAGIC)
}

/// What is in the file, unpacked if it is compressed. Takes as much memory as the packing's own window.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    let packing = Packing::of(path)?;
    let file = BufReader::with_capacity(1 << 17, File::open(path)?);
    Ok(match packing {
        None => Box::new(file),
        Some(Packing::Gzip) => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        Some(Packing::Bzip2) => Box::new(bzip2::bufread::MultiBzDecoder::new(file)),
        Some(Packing::Xz) => Box::new(lzma_rust2::XzReader::new_mem_limit(file, true, XZ_KIB)),
        Some(Packing::Zstd) => {
            let mut stream = zstd::stream::read::Decoder::with_buffer(file)?;
            stream.window_log_max(ZSTD_WINDOW)?;
            Box::new(stream)
        }
    })
}

/// A stream that ends in an error where more comes out of it than may. The error's reason is in its [`Gauge`], since
/// readers above wrap errors as they like.
pub(super) struct Metered<R> {
    inner: R,
    gauge: Rc<Gauge>,
}

/// How far a [`Metered`] stream was read, how far it may be, and why not further.
pub(super) struct Gauge {
    at: Cell<u64>,
    stop: Cell<u64>,
    most: u64,
    refused: Cell<Option<Refusal>>,
}

impl<R: Read> Metered<R> {
    /// A stream that comes out of a file of `bytes`.
    pub(super) fn new(inner: R, bytes: u64, limits: Limits) -> Self {
        let most = limits.most(bytes);
        Self {
            inner,
            gauge: Rc::new(Gauge { at: Cell::new(0), stop: Cell::new(most), most, refused: Cell::default() }),
        }
    }

    pub(super) fn gauge(&self) -> Rc<Gauge> {
        Rc::clone(&self.gauge)
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        let at = self.gauge.at.get() + n as u64;
        self.gauge.at.set(at);
        if at <= self.gauge.stop.get() {
            return Ok(n);
        }
        let bomb = at > self.gauge.most;
        Err(self.gauge.refuse(if bomb { Refusal::Bomb { most: self.gauge.most } } else { Refusal::LongName }))
    }
}

impl Gauge {
    /// Bytes read so far.
    pub(super) fn at(&self) -> u64 {
        self.at.get()
    }

    /// Let it be read up to `stop`, but never further than the file's own limit.
    pub(super) fn allow(&self, stop: u64) {
        self.stop.set(stop.min(self.most));
    }

    /// An error whose reason can be had by [`refused`](Self::refused).
    pub(super) fn refuse(&self, why: Refusal) -> io::Error {
        self.refused.set(Some(why));
        io::ErrorKind::InvalidData.into()
    }

    /// Why it was refused to go on, if it was.
    pub(super) fn refused(&self) -> Option<Refusal> {
        self.refused.take()
    }
}
