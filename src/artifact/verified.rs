//! Files that were hashed in this run: who holds one of these need not ask again.

use std::path::{Path, PathBuf};

use crate::lab::pin::{Digest, Pin};

/// A pinned file whose bytes were hashed in this run and are the pin's.
#[derive(Clone, Debug)]
pub struct Verified {
    pin: Pin,
    path: PathBuf,
    bytes: u64,
}

impl Verified {
    /// Only for who hashed the bytes.
    pub(super) fn new(pin: &Pin, Blob { path, bytes, .. }: Blob) -> Self {
        Self { pin: pin.clone(), path, bytes }
    }

    /// The same file for another pin of the same digest.
    pub(super) fn also(self, pin: &Pin) -> Self {
        Self { pin: pin.clone(), ..self }
    }

    /// What was asked for.
    pub fn pin(&self) -> &Pin {
        &self.pin
    }

    /// Where it lies, read-only.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// A file made here from verified ones by a named recipe, hashed in this run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    path: PathBuf,
    digest: Digest,
    bytes: u64,
    recipe: String,
}

impl Derived {
    pub(super) fn new(path: PathBuf, (digest, bytes): (Digest, u64), recipe: &str) -> Self {
        Self { path, digest, bytes, recipe: recipe.into() }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its own sum; of a disk, the sum over its blocks that are not zero.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The recipe it was made by, with the recipe's digest.
    pub fn recipe(&self) -> &str {
        &self.recipe
    }
}

/// A file of the store whose bytes were hashed in this run and are those of `digest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blob {
    /// Where it lies, read-only.
    pub path: PathBuf,
    /// Its digest.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
}
