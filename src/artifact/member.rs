//! Named members out of a verified file, each as a file of its own with its sum; nothing is held in memory.
//!
//! The file is a Debian package, a tar (compressed or not), or one single file (compressed or not): its first bytes
//! decide, not its name. Nothing of an archive chooses where it is written, so all that can go wrong with its names
//! is refused rather than mended.

mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use self::tree::{Ended, Tree};
use super::FetchError;
use super::error::Refusal;
use super::files::{self, Summed, failed};
use super::unpack::{self, Limits, Metered};
use crate::command::{Argv, CommandError, Output};
use crate::lab::pin::Digest;

#[cfg(test)]
mod tests;

/// The file that members are taken from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole<'a> {
    /// How people call it.
    pub name: &'a str,
    /// Where it lies.
    pub path: &'a Path,
    /// Its length.
    pub bytes: u64,
}

/// A member that was taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// The file that holds it: in the folder for members, or the whole file itself.
    pub at: PathBuf,
    /// Of its content.
    pub sha256: Digest,
    /// Length of its content.
    pub bytes: u64,
    /// Its own, as 0755 or 0644; 0644 of a whole file.
    pub mode: u32,
}

impl Member {
    fn same(&self, other: &Self) -> bool {
        (self.sha256, self.bytes, self.mode) == (other.sha256, other.bytes, other.mode)
    }
}

/// Take the `wanted` members of `file`, in their order, into files in `folder`. `None` is the whole file: what is in
/// it, if it is one single compressed file that is no tar.
pub(super) fn take(
    file: Whole<'_>,
    wanted: &[Option<&str>],
    folder: &Path,
    limits: Limits,
) -> Result<Vec<Member>, FetchError> {
    let names: BTreeSet<String> = wanted.iter().flatten().map(|name| (*name).to_owned()).collect();
    let found = if names.is_empty() { BTreeMap::new() } else { file.members(&names, folder, limits)? };
    let whole = if wanted.contains(&None) { Some(file.whole(folder, limits)?) } else { None };
    let member = |name: Option<&str>| name.map_or_else(|| whole.clone(), |name| found.get(name).cloned());
    Ok(wanted.iter().map(|name| member(*name).expect("each was taken")).collect())
}

/// The files in a tar that `pick` names, and the content of `small`, which is no longer than a page.
pub(super) fn list(
    file: Whole<'_>,
    small: &str,
    limits: Limits,
    pick: impl Fn(&str) -> bool,
) -> Result<(Vec<String>, Option<Vec<u8>>), FetchError> {
    const SMALL: u64 = 64 << 10;
    let stream = unpack::open(file.path).map_err(failed(&file.doing(), file.path, 0))?;
    let (mut picked, mut content) = (Vec::new(), None);
    let walked = tree::each(Metered::new(stream, file.bytes, limits), |_, path, entry| {
        if path == small {
            content = Some(unpack::beginning(&mut { entry }, SMALL)?);
        } else if tree::is_file(entry.header().entry_type()) && pick(path) {
            picked.push(path.to_owned());
        }
        Ok(())
    });
    walked.map_err(|ended| file.told(ended, file.path))?;
    Ok((picked, content))
}

/// The files in a tar that `pick` names, with their content; of one that is longer than a member may be, its end.
pub(super) fn contents(
    file: Whole<'_>,
    limits: Limits,
    pick: impl Fn(&str) -> bool,
) -> Result<Vec<(String, Vec<u8>)>, FetchError> {
    let stream = unpack::open(file.path).map_err(failed(&file.doing(), file.path, 0))?;
    let mut found = Vec::new();
    let mut held = 0;
    let walked = tree::each(Metered::new(stream, file.bytes, limits), |_, path, mut entry| {
        if !tree::is_file(entry.header().entry_type()) || !pick(path) {
            return Ok(());
        }
        let (size, mut content) = (entry.size(), Vec::new());
        held += size.min(limits.member);
        if held > limits.free {
            return Err(Ended::Refused(path.to_owned(), Refusal::TooLarge { most: limits.free }));
        }
        io::copy(&mut (&mut entry).take(size.saturating_sub(limits.member)), &mut io::sink())?;
        entry.read_to_end(&mut content)?;
        found.push((path.to_owned(), content));
        Ok(())
    });
    walked.map_err(|ended| file.told(ended, file.path))?;
    Ok(found)
}

impl Whole<'_> {
    fn doing(&self) -> String {
        format!("unpacking {}", self.name)
    }

    fn refused(&self, entry: String, why: Refusal) -> FetchError {
        FetchError::Refused { archive: self.name.into(), entry, why }
    }

    fn told(&self, ended: Ended, folder: &Path) -> FetchError {
        match ended {
            Ended::Refused(entry, why) => self.refused(entry, why),
            Ended::Io(error) => failed(&self.doing(), folder, self.bytes)(error),
        }
    }

    /// The file itself, or what is compressed in it.
    fn whole(&self, folder: &Path, limits: Limits) -> Result<Member, FetchError> {
        if let Some(member) = self.unpacked(folder, limits)? {
            return Ok(member);
        }
        let (sha256, bytes) = files::sha256(self.path).map_err(failed(&self.doing(), folder, 0))?;
        Ok(Member { at: self.path.into(), sha256, bytes, mode: 0o644 })
    }

    /// What is compressed in the file, if that is one single file.
    fn unpacked(&self, folder: &Path, limits: Limits) -> Result<Option<Member>, FetchError> {
        let reading = failed(&self.doing(), folder, self.bytes);
        if unpack::Packing::of(self.path).map_err(&reading)?.is_none() {
            return Ok(None);
        }
        let limits = Limits { scanned: limits.scanned.min(limits.member), ..limits };
        let mut stream = Metered::new(unpack::open(self.path).map_err(&reading)?, self.bytes, limits);
        let gauge = stream.gauge();
        let why = |error| match gauge.refused() {
            Some(why) => self.refused(String::new(), why),
            None => reading(error),
        };
        let begin = unpack::beginning(&mut stream, 512).map_err(why)?;
        if unpack::is_tar(&begin) {
            return Ok(None);
        }
        let at = folder.join("whole");
        let copy = |mut stream: Metered<_>| {
            let mut out = Summed::new(File::create(&at)?);
            out.write_all(&begin)?;
            io::copy(&mut stream, &mut out)?;
            out.flush()?;
            Ok(out.sums())
        };
        let (sha256, bytes) = copy(stream).map_err(why)?;
        Ok(Some(Member { at, sha256, bytes, mode: 0o644 }))
    }

    /// Members by the names they are wanted by.
    fn members(
        &self,
        names: &BTreeSet<String>,
        folder: &Path,
        limits: Limits,
    ) -> Result<BTreeMap<String, Member>, FetchError> {
        let package = unpack::is_package(self.path).map_err(failed(&self.doing(), folder, 0))?;
        let mut tree = Tree::default();
        self.walk(&mut tree, package, names, folder, limits)?;
        let mut real = BTreeMap::new();
        for name in names {
            let at = tree.resolved(name).map_err(|why| self.refused(name.clone(), why))?;
            real.insert(name, at);
        }
        // Where a link leads may stand before it.
        let missing: BTreeSet<String> = real.values().filter(|at| tree.get(at).is_none()).cloned().collect();
        if real.iter().any(|(name, at)| *name != at && missing.contains(at)) {
            self.walk(&mut tree, package, &missing, folder, limits)?;
        }
        let found = real.into_iter().map(|(name, at)| match tree.get(&at) {
            Some(member) => Ok((name.clone(), member.clone())),
            None => Err(FetchError::NoMember { package: self.name.into(), path: name.clone() }),
        });
        found.collect()
    }

    fn walk(
        &self,
        tree: &mut Tree,
        package: bool,
        names: &BTreeSet<String>,
        folder: &Path,
        limits: Limits,
    ) -> Result<(), FetchError> {
        let ended = if package {
            self.through_dpkg(|stream| {
                tree.walk(Metered::new(stream, self.bytes, limits), names, folder, true, limits)
            })?
        } else {
            let stream = unpack::open(self.path).map_err(failed(&self.doing(), folder, 0))?;
            tree.walk(Metered::new(stream, self.bytes, limits), names, folder, false, limits)
        };
        ended.map_err(|ended| self.told(ended, folder))
    }

    /// `read` the tree of a Debian package. The program's own failure is the reason for whatever else went wrong,
    /// unless its reader left first.
    fn through_dpkg(
        &self,
        read: impl FnOnce(BufReader<std::process::ChildStdout>) -> Result<(), Ended>,
    ) -> Result<Result<(), Ended>, FetchError> {
        let argv = Argv::new("dpkg-deb").arg("--fsys-tarfile").arg(self.path.display().to_string());
        let failed = |source| FetchError::Command { doing: self.doing(), source };
        let mut child = Command::new(argv.program())
            .args(&argv.words()[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| failed(CommandError::Start { argv: argv.clone(), source }))?;
        let stdout = child.stdout.take().expect("its output is piped");
        let read = read(BufReader::with_capacity(1 << 16, stdout));
        // What it says on its error stream fits into a pipe: one line on a damaged package.
        let follow = |source| failed(CommandError::Follow { argv: argv.clone(), source });
        let ended = child.wait_with_output().map_err(follow)?;
        if ended.status.success() || matches!(read, Err(Ended::Refused(..))) {
            return Ok(read);
        }
        let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
        let output = Output { ended: crate::command::ended(ended.status), stdout: String::new(), stderr };
        Err(failed(CommandError::Failed { argv, output }))
    }
}
