//! Files that other runs may read: hashed in blocks, locked by entry, never written again.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest as _, Sha256, Sha512};

use super::FetchError;
use crate::event::{Events, Step};
use crate::lab::pin::Digest;
use crate::wait::{Asked, Patience, until};

/// What is read at one time, and what a disk is cut into.
pub(super) const BLOCK: usize = 1 << 20;

/// Another run may be building an image on a slow machine.
const LOCK_PATIENCE: Patience = Patience { limit: Duration::from_secs(3600), pause: Duration::from_millis(50) };

/// Run what blocks (hashing, packing) off the async threads.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is being torn down cancels, and then nobody waits here.
            Err(cancelled) => unreachable!("{cancelled}"),
        },
    }
}

/// What `work` makes of each of `items`, in their order, on as many threads as there are processors; the first items
/// are begun first. `seen` hears of each as it is done.
pub(crate) async fn in_parallel<T, R>(items: Vec<T>, work: fn(T) -> R, mut seen: impl FnMut(&R)) -> Vec<R>
where
    T: Send + 'static,
    R: Send + 'static,
{
    use futures::StreamExt as _;
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let numbered = items.into_iter().enumerate();
    let all = numbered.map(|(number, item)| async move { (number, blocking(move || work(item)).await) });
    let all = futures::stream::iter(all).buffer_unordered(threads).inspect(|(_, done)| seen(done));
    let mut all: Vec<(usize, R)> = all.collect().await;
    all.sort_by_key(|(number, _)| *number);
    all.into_iter().map(|(_, done)| done).collect()
}

/// An [`io::Error`] with what was being done; a full disk becomes its own kind, with `needed` bytes in `folder`.
pub(super) fn failed(doing: &str, folder: &Path, needed: u64) -> impl Fn(io::Error) -> FetchError + use<> {
    let (doing, folder) = (doing.to_owned(), folder.to_owned());
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            FetchError::DiskFull { free: free_bytes(&folder), path: folder.clone(), needed }
        }
        _ => FetchError::Io { doing: doing.clone(), source },
    }
}

/// A digest in the making.
#[derive(Clone, Debug)]
pub(super) enum Sum {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-512.
    Sha512(Sha512),
}

impl Sum {
    /// Of nothing yet, in the algorithm of `digest`.
    pub(super) fn like(digest: &Digest) -> Self {
        match digest {
            Digest::Sha256(_) => Self::Sha256(Sha256::new()),
            Digest::Sha512(_) => Self::Sha512(Sha512::new()),
        }
    }

    /// And of these bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of all bytes so far.
    pub(super) fn digest(self) -> Digest {
        match self {
            Self::Sha256(hasher) => Digest::Sha256(hasher.finalize().into()),
            Self::Sha512(hasher) => Digest::Sha512(hasher.finalize().into()),
        }
    }
}

/// The digest of a whole file, in the algorithm of `like`, and its length.
pub(super) fn hash(path: &Path, like: &Digest) -> io::Result<(Digest, u64)> {
    let mut sum = Sum::like(like);
    let bytes = feed(&mut File::open(path)?, |block| sum.update(block))?;
    Ok((sum.digest(), bytes))
}

/// SHA-256 of bytes in memory.
pub(super) fn sha256_of(bytes: &[u8]) -> Digest {
    Digest::Sha256(Sha256::digest(bytes).into())
}

/// SHA-256 of a whole file, and its length.
pub(super) fn sha256(path: &Path) -> io::Result<(Digest, u64)> {
    hash(path, &Digest::Sha256([0; 32]))
}

/// Hand all of `file`, from where it stands, to `take`; its number of bytes.
pub(super) fn feed(file: &mut File, mut take: impl FnMut(&[u8])) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    let mut bytes = 0;
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok(bytes),
            Ok(n) => {
                take(&block[..n]);
                bytes += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A writer, or a reader, that sums what goes through it.
#[derive(Debug)]
pub(super) struct Summed<W> {
    inner: W,
    sum: Sum,
    bytes: u64,
}

impl<W> Summed<W> {
    /// By SHA-256.
    pub(super) fn new(inner: W) -> Self {
        Self { inner, sum: Sum::Sha256(Sha256::new()), bytes: 0 }
    }

    /// In the algorithm of `digest`.
    pub(super) fn like(digest: &Digest, inner: W) -> Self {
        Self { inner, sum: Sum::like(digest), bytes: 0 }
    }

    /// Digest and number of the bytes so far.
    pub(super) fn sums(&self) -> (Digest, u64) {
        (self.sum.clone().digest(), self.bytes)
    }

    pub(super) fn get_ref(&self) -> &W {
        &self.inner
    }

    /// What it stands around, with digest and number of all bytes.
    pub(super) fn into_parts(self) -> (W, (Digest, u64)) {
        (self.inner, (self.sum.digest(), self.bytes))
    }
}

impl<R: io::Read> io::Read for Summed<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(bytes)?;
        self.sum.update(&bytes[..n]);
        self.bytes += n as u64;
        Ok(n)
    }
}

impl<W: io::Write> io::Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.sum.update(&bytes[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// SHA-256 over length, and number and bytes of each block that is not all zero; and the length.
///
/// A disk is mostly holes: this reads only what the file system has stored, and gives the same answer for a copy
/// that lost its holes.
pub(crate) fn sparse_sha256(path: &Path) -> io::Result<(Digest, u64)> {
    let mut hasher = Sha256::new();
    let bytes = disk_stream(&File::open(path)?, |piece| {
        hasher.update(piece);
        Ok(())
    })?;
    Ok((Digest::Sha256(hasher.finalize().into()), bytes))
}

/// A disk without its holes, piece by piece: its length, then number and bytes of each block of [`BLOCK`] that is not
/// all zero; numbers are 8 bytes, the lowest first. Gives the length of the disk.
pub(super) fn disk_stream(file: &File, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<u64> {
    let bytes = file.metadata()?.len();
    take(&bytes.to_le_bytes())?;
    let mut block = vec![0; BLOCK];
    let mut at = 0;
    while at < bytes {
        at = match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
            Ok(data) => data / BLOCK as u64 * BLOCK as u64,
            Err(rustix::io::Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let want = usize::try_from((bytes - at).min(BLOCK as u64)).expect("a block fits");
        file.read_exact_at(&mut block[..want], at)?;
        if block[..want].iter().any(|byte| *byte != 0) {
            take(&(at / BLOCK as u64).to_le_bytes())?;
            take(&block[..want])?;
        }
        at += want as u64;
    }
    Ok(bytes)
}

/// Bytes an ordinary user may still write to the file system of `path` or of its nearest folder that exists; 0 if
/// that cannot be told.
pub(super) fn free_bytes(path: &Path) -> u64 {
    path.ancestors()
        .find(|folder| folder.exists())
        .and_then(|folder| rustix::fs::statvfs(folder).ok())
        .map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Take away write permission: nothing may change a file that was hashed.
pub(super) fn read_only(path: &Path) -> io::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o444))
}

/// A lock between runs and tasks, which dies with its holder.
#[derive(Debug)]
pub(super) struct EntryLock {
    _file: File,
}

/// Take the lock at `path`; tells who holds it while waiting. The file stays for good: removing it would let two in.
pub(super) async fn lock(path: &Path, subject: &str, events: &Events) -> Result<EntryLock, FetchError> {
    let doing = format!("locking {}", path.display());
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder).map_err(failed(&doing, folder, 0))?;
    let open = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path);
    let mut file = open.map_err(failed(&doing, folder, 0))?;
    let mut told = String::new();
    let taken = until(LOCK_PATIENCE, || {
        let answer = match file.try_lock() {
            Ok(()) => Asked::Yes(Ok(())),
            Err(TryLockError::Error(source)) => Asked::Yes(Err(source)),
            Err(TryLockError::WouldBlock) => {
                let why = format!("waiting for {}, which is at it", holder(&file));
                if why != told {
                    events.progress(Step::Fetch, subject, why.clone());
                    told.clone_from(&why);
                }
                Asked::NotYet(why)
            }
        };
        std::future::ready(answer)
    });
    taken.await.map_err(|source| FetchError::Waited { source })?.map_err(failed(&doing, folder, 0))?;
    // Only for the words of those who wait: the lock itself is the kernel's.
    let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| write!(file, "{}", std::process::id()));
    Ok(EntryLock { _file: file })
}

/// The lock at `path` if nobody holds it; nothing where somebody does. Waits for nobody.
pub(super) fn try_lock(path: &Path) -> io::Result<Option<EntryLock>> {
    std::fs::create_dir_all(path.parent().unwrap_or(path))?;
    let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(EntryLock { _file: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn holder(file: &File) -> String {
    let mut text = [0; 16];
    let n = file.read_at(&mut text, 0).unwrap_or(0);
    match std::str::from_utf8(&text[..n]).map(str::parse::<u32>) {
        Ok(Ok(pid)) if pid == std::process::id() => "another task of this run".into(),
        Ok(Ok(pid)) => format!("process {pid}"),
        _ => "another run".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_do_not_change_the_sum_of_a_disk_but_places_do() {
        let folder = tempfile::tempdir().expect("a folder");
        let make = |name: &str, at: usize, holes: bool| {
            let path = folder.path().join(name);
            let file = File::create(&path).expect("a file");
            let mut content = vec![0; 5 * BLOCK + 17];
            content[at] = 7;
            if holes {
                file.set_len(content.len() as u64).expect("grown");
                file.write_all_at(&[7], at as u64).expect("written");
            } else {
                file.write_all_at(&content, 0).expect("written");
            }
            sparse_sha256(&path).expect("hashed")
        };
        let whole = make("whole", 3 * BLOCK + 5, false);
        assert_eq!(whole, make("holes", 3 * BLOCK + 5, true));
        assert_ne!(whole, make("moved", 2 * BLOCK + 5, true));
        assert_eq!(whole.1, 5 * BLOCK as u64 + 17);
    }

    #[tokio::test]
    async fn who_waits_for_a_lock_says_for_whom() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("locks/entry");
        let (events, mut told) = Events::channel();
        let held = lock(&path, "image", &events).await.expect("free");
        let second = lock(&path, "image", &events);
        let first = async {
            let waiting = told.recv().await.expect("told");
            drop(held);
            waiting
        };
        let (second, waiting) = tokio::join!(second, first);
        second.expect("free again");
        assert!(matches!(waiting.event, crate::event::Event::Progress { doing, .. } if doing.contains("waiting for")));
    }
}
