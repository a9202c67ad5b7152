//! Streams of a machine's memory: taken into a file, made shorter there, and given back.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is read or written at one time.
const BLOCK: usize = 1 << 20;

/// How long QEMU may take to send or to take the next piece.
const STALL: Duration = Duration::from_secs(60);

/// The quickest: a third is left of a machine's memory by it, and hardly less by slower ones.
const LEVEL: i32 = 1;

/// How the name of a file ends that is one zstd frame.
pub const SHORT: &str = "zst";

/// Write to `into` what comes out of `stream`, to its end; the number of bytes.
pub fn take(stream: &UnixStream, into: &mut impl Write) -> io::Result<u64> {
    stream.set_read_timeout(Some(STALL))?;
    pour(&mut &*stream, into)
}

/// A file for a machine's memory: for this user alone, and not there before.
pub fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Replace a file by one zstd frame of it, with another name, where that saves an eighth at least; gives what stays.
pub fn shorten(plain: &Path) -> io::Result<PathBuf> {
    let mut name = plain.as_os_str().to_owned();
    name.push(".");
    name.push(SHORT);
    let short = PathBuf::from(name);
    let mut frame = zstd::Encoder::new(create(&short)?, LEVEL)?;
    let bytes = pour(&mut File::open(plain)?, &mut frame)?;
    let shorter = frame.finish()?.metadata()?.len() < bytes / 8 * 7;
    let (stays, goes) = if shorter { (short, plain) } else { (plain.to_owned(), short.as_path()) };
    fs::remove_file(goes)?;
    Ok(stays)
}

/// Write what `file` holds, or is a short form of, to `stream`.
pub fn give(file: &Path, stream: &UnixStream) -> io::Result<()> {
    stream.set_write_timeout(Some(STALL))?;
    let stored = BufReader::with_capacity(BLOCK, File::open(file)?);
    let mut to = BufWriter::with_capacity(BLOCK, stream);
    if file.extension().is_some_and(|end| end == SHORT) {
        pour(&mut zstd::Decoder::with_buffer(stored)?, &mut to)?;
    } else {
        pour(&mut stored.into_inner(), &mut to)?;
    }
    to.flush()
}

fn pour(from: &mut impl Read, to: &mut impl Write) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    let mut bytes = 0;
    loop {
        match from.read(&mut block) {
            Ok(0) => return Ok(bytes),
            Ok(n) => {
                to.write_all(&block[..n])?;
                bytes += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out at the far end of a stream that `file` is given to.
    fn given(file: &Path) -> Vec<u8> {
        let (near, far) = UnixStream::pair().expect("a pair");
        let file = file.to_owned();
        let giving = std::thread::spawn(move || give(&file, &near));
        let mut got = Vec::new();
        take(&far, &mut got).expect("taken");
        giving.join().expect("no panic").expect("given");
        got
    }

    #[test]
    fn memory_comes_back_as_it_went_whether_or_not_it_could_be_made_shorter() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let even = b"page after page of the same ".repeat(100_000);
        let mut noise = vec![0; 1 << 20];
        getrandom::fill(&mut noise).expect("random bytes");
        for (name, bytes, stays) in
            [("even", &even, "even.zst"), ("noise", &noise, "noise"), ("none", &Vec::new(), "none")]
        {
            let path = folder.path().join(name);
            fs::write(&path, bytes).expect("written");
            let kept = shorten(&path).expect("room");
            assert_eq!(kept, folder.path().join(stays));
            assert_eq!(&given(&kept), bytes, "{name}");
        }
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 3, "nothing is left beside");
    }

    #[test]
    fn a_disk_that_is_full_ends_the_stream() {
        let (near, far) = UnixStream::pair().expect("a pair");
        let sending = std::thread::spawn(move || (&near).write_all(&vec![1; 8 << 20]));
        let mut full = OpenOptions::new().write(true).open("/dev/full").expect("a full device");
        let error = take(&far, &mut full).expect_err("no room");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        drop(far);
        sending.join().expect("no panic").expect_err("nobody reads any more");
    }
}
