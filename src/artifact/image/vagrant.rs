//! The disk in a Vagrant box: a tar with `metadata.json`, whose disk is libvirt's or VirtualBox's.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::artifact::FetchError;
use crate::artifact::error::Refusal;
use crate::artifact::member::{self, Whole};
use crate::artifact::unpack::Limits;

const METADATA: &str = "metadata.json";
/// libvirt's disk where the box has one and does not name it.
const LIBVIRT: &str = "box.img";

/// What a box says of itself; only newer ones of libvirt name their disks.
#[derive(Debug, Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    provider: String,
    #[serde(default)]
    disks: Vec<Named>,
}

#[derive(Debug, Deserialize)]
struct Named {
    path: String,
}

/// Take the disk of a box into the folder `into`, which is empty.
pub(super) fn disk(file: Whole<'_>, into: &Path, limits: Limits) -> Result<PathBuf, FetchError> {
    let vmdk = |name: &str| Path::new(name).extension().is_some_and(|end| end == "vmdk");
    let (disks, text) = member::list(file, METADATA, limits, |name| name == LIBVIRT || vmdk(name))?;
    let refused = |why: String| FetchError::Refused {
        archive: file.name.into(),
        entry: METADATA.into(),
        why: Refusal::Disk(why),
    };
    let text = text.ok_or_else(|| refused("there is none: this tar is no Vagrant box".into()))?;
    let metadata: Metadata =
        serde_json::from_slice(&text).map_err(|error| refused(format!("it cannot be read: {error}")))?;
    let named = metadata.disks.into_iter().map(|disk| disk.path).chain(disks);
    let all: Vec<String> = named.collect::<std::collections::BTreeSet<_>>().into_iter().collect();
    let [name] = all.as_slice() else {
        let provider = metadata.provider;
        let why = if all.is_empty() {
            format!("a box for `{provider}` without a disk of libvirt or VirtualBox cannot be used")
        } else {
            format!("the box has {} disks ({}), one is what can be used", all.len(), all.join(", "))
        };
        return Err(refused(why));
    };
    let mut taken = member::take(file, &[Some(name)], into, limits)?;
    Ok(taken.pop().expect("one was wanted").at)
}
