//! One walk through a tar: the members that are wanted go to files of their own, and all links are remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use super::Member;
use crate::artifact::error::Refusal;
use crate::artifact::files::Summed;
use crate::artifact::unpack::{Gauge, Limits, Metered};

/// A member may be a link to a member that is a link; more than this many is a circle.
const LINKS: usize = 8;
/// The most that stands between two members: names that are too long for a header.
const BETWEEN: u64 = 1 << 20;
/// More entries than any release has: their links are kept in memory.
const ENTRIES: usize = 1_000_000;

/// Why a walk ended early, and at which entry.
#[derive(Debug)]
pub(super) enum Ended {
    Refused(String, Refusal),
    /// Reading or writing failed.
    Io(io::Error),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What was found in an archive so far.
#[derive(Debug, Default)]
pub(super) struct Tree {
    found: BTreeMap<String, Member>,
    /// Where links lead; nothing where they lead out of the archive.
    links: BTreeMap<String, Result<String, String>>,
    /// The members that are neither file nor link.
    others: BTreeSet<String>,
}

impl Tree {
    /// Walk through a tar; `wanted` members go to `folder`. Links to absolute paths lead within the tree only if the
    /// archive is a `root` of one.
    pub(super) fn walk<R: Read>(
        &mut self,
        tar: Metered<R>,
        wanted: &BTreeSet<String>,
        folder: &Path,
        root: bool,
        limits: Limits,
    ) -> Result<(), Ended> {
        let (gauge, mut seen) = (tar.gauge(), BTreeSet::new());
        each(tar, |number, path, entry| {
            let refused = |why| Ended::Refused(path.to_owned(), why);
            let target = entry.link_name_bytes().map(|target| String::from_utf8_lossy(&target).into_owned());
            match (entry.header().entry_type(), target) {
                (kind, _) if is_file(kind) => {
                    if !wanted.contains(path) {
                        return Ok(());
                    }
                    let at = folder.join(format!("{}-{number}", self.found.len()));
                    let member = kept(entry, at, limits, &gauge)?;
                    let again = !seen.insert(path.to_owned());
                    if again && !self.found.get(path).is_some_and(|first| first.same(&member)) {
                        return Err(refused(Refusal::Twice));
                    }
                    self.found.entry(path.to_owned()).or_insert(member);
                }
                (tar::EntryType::Symlink, Some(target)) => {
                    let from = Path::new(path).parent().unwrap_or(Path::new(""));
                    let to = match target.strip_prefix('/') {
                        Some(target) if root => inside(Path::new(""), Path::new(target)),
                        Some(_) => None,
                        None => inside(from, Path::new(&target)),
                    };
                    self.link(path, &to.ok_or(target)).map_err(refused)?;
                }
                (tar::EntryType::Link, Some(target)) => {
                    let to = inside(Path::new(""), Path::new(&target));
                    let to = to.ok_or_else(|| refused(Refusal::LinkOutside { target }))?;
                    self.link(path, &Ok(to)).map_err(refused)?;
                }
                (tar::EntryType::Directory, _) => {}
                _ => drop(self.others.insert(path.to_owned())),
            }
            Ok(())
        })?;
        let both = wanted.iter().find(|path| self.found.contains_key(*path) && self.links.contains_key(*path));
        both.map_or(Ok(()), |path| Err(Ended::Refused(path.clone(), Refusal::Twice)))
    }

    fn link(&mut self, path: &str, to: &Result<String, String>) -> Result<(), Refusal> {
        let first = self.links.entry(path.to_owned()).or_insert_with(|| to.clone());
        if first == to { Ok(()) } else { Err(Refusal::Twice) }
    }

    /// The member at `path` if it was found.
    pub(super) fn get(&self, path: &str) -> Option<&Member> {
        self.found.get(path)
    }

    /// Where `path` really lies: links are followed, those of folders on the way too, within the archive.
    pub(super) fn resolved(&self, path: &str) -> Result<String, Refusal> {
        let mut at = path.to_owned();
        for _ in 0..=LINKS {
            if self.others.contains(&at) {
                return Err(Refusal::NoFile);
            }
            let ends = at.match_indices('/').map(|(end, _)| end).chain([at.len()]);
            let link =
                ends.filter(|_| !self.found.contains_key(&at)).find_map(|end| Some((end, self.links.get(&at[..end])?)));
            match link {
                None => return Ok(at),
                Some((_, Err(target))) => return Err(Refusal::LinkOutside { target: target.clone() }),
                Some((end, Ok(target))) => at = format!("{target}{}", &at[end..]),
            }
        }
        Err(Refusal::Circle)
    }
}

/// Visit each entry of a tar with its number and its path from the root; to the end, since a writer whose reader
/// leaves dies of it, and sums stand at the end.
pub(super) fn each<R: Read>(
    tar: Metered<R>,
    mut visit: impl FnMut(usize, &str, tar::Entry<'_, Metered<R>>) -> Result<(), Ended>,
) -> Result<(), Ended> {
    let gauge = tar.gauge();
    let mut last = String::new();
    // The stream's own refusal is the reason, whatever the reader above it made of that.
    let why = |entry: &str, ended: Ended| match (gauge.refused(), ended) {
        (Some(refusal), Ended::Io(_)) => Ended::Refused(entry.into(), refusal),
        (_, ended) => ended,
    };
    let mut tar = tar::Archive::new(tar);
    let (mut end, mut entries) = (0_u64, tar.entries()?);
    for number in 0.. {
        gauge.allow(end.saturating_add(BETWEEN));
        let entry = match entries.next() {
            None => break,
            Some(Err(error)) => return Err(why(&last, error.into())),
            Some(Ok(entry)) => entry,
        };
        last = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if number >= ENTRIES {
            return Err(Ended::Refused(last, Refusal::Bomb { most: ENTRIES as u64 }));
        }
        let sparse = entry.header().entry_type().is_gnu_sparse();
        let stored = if sparse { entry.header().entry_size()? } else { entry.size() };
        end = gauge.at().saturating_add(stored).saturating_add(511) / 512 * 512;
        gauge.allow(end);
        match inside(Path::new(""), Path::new(&last)) {
            Some(path) => visit(number, &path, entry).map_err(|ended| why(&last, ended))?,
            None => return Err(Ended::Refused(last, Refusal::Outside)),
        }
    }
    gauge.allow(u64::MAX);
    io::copy(&mut tar.into_inner(), &mut io::sink()).map_err(|error| why(&last, error.into()))?;
    Ok(())
}

/// Whether an entry has content of its own.
pub(super) fn is_file(kind: tar::EntryType) -> bool {
    matches!(kind, tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse)
}

/// The member in a file of its own.
fn kept<R: Read>(mut entry: tar::Entry<'_, R>, at: PathBuf, limits: Limits, gauge: &Gauge) -> io::Result<Member> {
    let size = entry.size();
    if size > limits.member {
        return Err(gauge.refuse(Refusal::TooLarge { most: limits.member }));
    }
    let mode = if entry.header().mode()? & 0o111 == 0 { 0o644 } else { 0o755 };
    let mut out = Summed::new(File::create(&at)?);
    if io::copy(&mut entry, &mut out)? != size {
        return Err(gauge.refuse(Refusal::Short));
    }
    out.flush()?;
    let (sha256, bytes) = out.sums();
    Ok(Member { at, sha256, bytes, mode })
}

/// `path`, seen from `folder`, as a path from the root without `.` and `..`; nothing if it leads out.
fn inside(folder: &Path, path: &Path) -> Option<String> {
    let mut words: Vec<String> = Vec::new();
    for component in folder.components().chain(path.components()) {
        match component {
            Component::Normal(word) => words.push(word.to_str()?.to_owned()),
            Component::ParentDir => drop(words.pop()?),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(words.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside_or_are_none() {
        let seen = |folder: &str, path: &str| inside(Path::new(folder), Path::new(path));
        assert_eq!(seen("usr/bin", "../sbin/prog").as_deref(), Some("usr/sbin/prog"));
        assert_eq!(seen("", "./usr/./bin/").as_deref(), Some("usr/bin"));
        assert_eq!(seen("usr/bin", "/lib/prog"), None);
        assert_eq!(seen("usr", "../../etc/x"), None);
        assert_eq!(seen("", "usr/../../etc/x"), None);
    }

    #[test]
    fn links_are_followed_as_often_as_is_sane() {
        let links = |pairs: &[(&str, &str)]| Tree {
            links: pairs.iter().map(|(from, to)| ((*from).to_owned(), Ok((*to).to_owned()))).collect(),
            ..Tree::default()
        };
        let tree = links(&[("bin", "usr/bin"), ("usr/bin/a", "usr/bin/b"), ("x", "y"), ("y", "x")]);
        assert_eq!(tree.resolved("bin/a"), Ok("usr/bin/b".into()));
        assert_eq!(tree.resolved("x"), Err(Refusal::Circle));
        assert_eq!(tree.resolved("plain"), Ok("plain".into()));
    }
}
