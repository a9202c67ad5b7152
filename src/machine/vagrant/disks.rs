//! The cluster's pool in libvirt and what is brought into it: kernel and initrd, seeds, artifacts.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::failed;
use super::things;
use super::virsh::{Sort, VIRSH, Whose, names as listed, virsh, whose};
use crate::durable;
use crate::machine::{Names, ProviderError};

/// A file of this host and its name in the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The name there.
    pub name: String,
    /// Where its bytes are.
    pub from: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
}

/// The pool, and which volumes in it were brought in to their last byte.
#[derive(Debug)]
pub struct Disks<'a> {
    names: &'a Names,
    record: PathBuf,
    whole: BTreeSet<String>,
}

impl<'a> Disks<'a> {
    /// Make the pool where it is not there. `folder` is where it is remembered what it holds.
    pub async fn ensure(names: &'a Names, folder: &Path) -> Result<Self, ProviderError> {
        let pool = names.base();
        match whose(Sort::Pool, pool, names.label()).await? {
            Whose::Ours => {}
            Whose::Nobodys => {
                virsh(&["pool-define", "/dev/stdin"], &things::pool(names), "making the pool of disks").await?;
            }
            Whose::Foreign => return Err(ProviderError::Taken { what: format!("a pool with the name {pool}") }),
        }
        if !listed(&["pool-list", "--name"]).await?.iter().any(|active| active == pool) {
            virsh(&["pool-build", pool], "", "making the pool's folder").await?;
            virsh(&["pool-start", pool], "", "opening the pool of disks").await?;
        }
        let record = folder.join("volumes.json");
        let whole = match fs::read(&record) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => return Err(failed("reading", &record)(error)),
        };
        let mut disks = Self { names, record, whole };
        let there: BTreeSet<String> = disks.list().await?.into_iter().collect();
        disks.whole.retain(|name| there.contains(name));
        Ok(disks)
    }

    /// The names of what is in the pool.
    pub async fn list(&self) -> Result<Vec<String>, ProviderError> {
        volumes(self.names.base()).await
    }

    /// Whether it is there to its last byte.
    pub fn has(&self, name: &str) -> bool {
        self.whole.contains(name)
    }

    /// Bring it in, unless it is there. What a killed run left of it is thrown away.
    pub async fn bring(&mut self, volume: &Volume) -> Result<(), ProviderError> {
        let Volume { name, from, bytes } = volume;
        if self.has(name) {
            return Ok(());
        }
        let doing = format!("bringing {name} into the pool of disks");
        self.remove(name).await?;
        let pool = self.names.base();
        let path = from.to_str().ok_or_else(|| {
            let why = format!("its path is not UTF-8, which the arguments of {VIRSH} must be here");
            failed("using", from)(io::Error::new(io::ErrorKind::InvalidInput, why))
        })?;
        virsh(&["vol-create-as", pool, name, &bytes.to_string(), "--format", "raw"], "", &doing).await?;
        virsh(&["vol-upload", "--pool", pool, name, path, "--sparse"], "", &doing).await?;
        self.whole.insert(name.clone());
        self.remember()
    }

    /// Take it away where it is there.
    pub async fn remove(&mut self, name: &str) -> Result<(), ProviderError> {
        if self.whole.remove(name) {
            self.remember()?;
        }
        if self.list().await?.iter().any(|known| known == name) {
            remove(self.names.base(), name).await?;
        }
        Ok(())
    }

    fn remember(&self) -> Result<(), ProviderError> {
        let text = serde_json::to_vec(&self.whole).expect("names are JSON");
        durable::write(&self.record, &text, 0o600).map_err(failed("writing", &self.record))
    }
}

/// The names of what is in a pool, looked at anew.
pub async fn volumes(pool: &str) -> Result<Vec<String>, ProviderError> {
    virsh(&["pool-refresh", pool], "", "looking at the pool of disks").await?;
    listed(&["vol-list", pool]).await
}

/// Take one volume out of a pool.
pub async fn remove(pool: &str, name: &str) -> Result<(), ProviderError> {
    virsh(&["vol-delete", "--pool", pool, name], "", &format!("removing the disk {name}")).await.map(drop)
}
