//! The list of a pack's members: what each is, how long it is, and the digest of its bytes.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{PACK_SCHEMA, PackError};
use crate::artifact::image::FILES;
use crate::lab::name::LabName;
use crate::lab::pin::{Arch, Digest};

/// The list itself as it lies in a pack (`list.json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// [`PACK_SCHEMA`].
    pub schema: u32,
    /// The lab.
    pub lab: LabName,
    /// The nodes' processor.
    pub arch: Arch,
    /// Every other member, in the order they lie in the pack, which is that of their names.
    pub members: Vec<Member>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its name in the tar: see [`Place`].
    pub name: String,
    /// What people call it (`bird 1.6.8-2.1`), where its name does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its length in the pack.
    pub bytes: u64,
    /// The digest of its bytes in the pack.
    pub digest: Digest,
    /// What it is a short form of, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<Holds>,
}

/// What a member is a short form of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holds {
    /// How it was made shorter.
    pub coding: Coding,
    /// The length it comes to.
    pub bytes: u64,
    /// The digest it comes to.
    pub digest: Digest,
}

/// How a member was made shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coding {
    /// One zstd frame.
    Zstd,
    /// A disk without its empty blocks, as one zstd frame: the length, then number and bytes of each block of 1 MiB
    /// that is not all zero; numbers are 8 bytes, the lowest first.
    ZstdBlocks,
}

impl Member {
    /// The length of what it stands for.
    pub fn whole_bytes(&self) -> u64 {
        self.holds.as_ref().map_or(self.bytes, |holds| holds.bytes)
    }

    /// The digest of what it stands for.
    pub fn whole_digest(&self) -> Digest {
        self.holds.as_ref().map_or(self.digest, |holds| holds.digest)
    }

    /// What people call it.
    pub fn label(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.name)
    }

    /// Where it belongs; nothing else than a [`Place`] can be unpacked.
    pub fn place(&self) -> Result<Place, PackError> {
        Place::parse(&self.name).ok_or_else(|| PackError::Name { name: self.name.clone() })
    }
}

/// Where a member belongs on this host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A file of the cache, under its digest.
    Entry(Digest),
    /// A file of a built OS image.
    Image {
        /// The image's folder.
        folder: String,
        /// One of [`FILES`].
        file: &'static str,
    },
    /// A text of a lab or a template, by its path in the layout that `--labs` takes.
    Text(String),
}

/// The longest piece of a hex number in a name: tar's names have no longer words than 100 characters.
const PIECE: usize = 64;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(digest) => {
                let hex = digest.hex();
                let pieces: Vec<&str> = hex.as_bytes().chunks(PIECE).filter_map(|c| str::from_utf8(c).ok()).collect();
                write!(f, "cache/{}/{}", digest.algorithm(), pieces.join("/"))
            }
            Self::Image { folder, file } => write!(f, "cache/images/{folder}/{file}"),
            Self::Text(path) => f.write_str(path),
        }
    }
}

impl Place {
    /// The place that a member's name says, if it says one. Names have one form only, so what parses is written as
    /// it was read; no path leads anywhere else.
    pub fn parse(name: &str) -> Option<Self> {
        let place = match name.split_once('/')? {
            ("cache", rest) => match rest.split_once('/')? {
                ("images", rest) => {
                    let (folder, file) = rest.split_once('/')?;
                    let file = FILES.iter().find(|known| **known == file)?;
                    word(folder).then(|| Self::Image { folder: folder.into(), file })?
                }
                (algorithm, hex) => Self::Entry(format!("{algorithm}:{}", hex.replace('/', "")).parse().ok()?),
            },
            ("labs" | "cloud-config" | "manifests", rest) if rest.split('/').all(word) => Self::Text(name.into()),
            _ => return None,
        };
        (place.to_string() == name).then_some(place)
    }
}

/// A part of a path that is a plain name: no `..`, no hidden file, nothing a shell or a file system reads otherwise.
fn word(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '@');
    !part.is_empty() && part.len() <= 100 && !part.starts_with('.') && part.chars().all(plain)
}

impl List {
    /// Read a list, and refuse what no pack of ours says.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, PackError> {
        let wrong = |why: String| PackError::List { why };
        let list: Self = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        if list.schema != PACK_SCHEMA {
            return Err(PackError::Schema { schema: list.schema });
        }
        if !list.members.iter().map(|member| &member.name).is_sorted_by(|a, b| a < b) {
            return Err(wrong("its members are not in order, or one is there twice".into()));
        }
        let mut folders = BTreeSet::new();
        for member in &list.members {
            match member.place()? {
                Place::Entry(digest) if member.whole_digest() != digest => {
                    return Err(wrong(format!("{} has the digest {}", member.name, member.whole_digest())));
                }
                Place::Image { folder, .. } => {
                    folders.insert(folder);
                }
                Place::Text(_) if member.holds.is_some() => {
                    return Err(wrong(format!("{} is a text and is not plain", member.name)));
                }
                Place::Entry(_) | Place::Text(_) => {}
            }
        }
        let has = |name: String| list.members.iter().any(|member| member.name == name);
        if !has(format!("labs/{}/lab.yaml", list.lab)) {
            return Err(wrong(format!("it has no lab {}", list.lab)));
        }
        for folder in folders {
            if let Some(file) = FILES.iter().find(|file| !has(format!("cache/images/{folder}/{file}"))) {
                return Err(wrong(format!("image {folder} has no {file}")));
            }
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_form_and_leads_nowhere_else() {
        let hex = "0a".repeat(32);
        for good in [
            format!("cache/sha256/{hex}"),
            format!("cache/sha512/{hex}/{hex}"),
            "cache/images/debian-12-0f0123018853/disk.raw".into(),
            "labs/primer/lab.yaml".into(),
            "labs/images/debian-12/rootfs/etc/systemd/system/ssh.service.d/90-lab.conf".into(),
            "cloud-config/parts/network.yaml".into(),
        ] {
            assert_eq!(Place::parse(&good).expect(&good).to_string(), good);
        }
        for bad in [
            "",
            "labs",
            "labs/",
            "/labs/primer/lab.yaml",
            "labs/../../etc/passwd",
            "labs/./primer",
            "labs//primer",
            "labs/.hidden",
            "labs/a b",
            "labs/a\\b",
            "labs/a\nb",
            "src/main.rs",
            "cache/images/../disk.raw",
            "cache/images/a/b/disk.raw",
            "cache/images/a/id_rsa",
            "cache/locks/a",
            &format!("cache/sha256/{}", &hex[1..]),
            &format!("cache/sha256/{}", hex.to_uppercase()),
            &format!("cache/sha256/{}/{}", &hex[..2], &hex[2..]),
            &format!("cache/sha512/{hex}{hex}"),
            &format!("cache/md5/{hex}"),
        ] {
            assert_eq!(Place::parse(bad), None, "{bad}");
        }
    }
}
