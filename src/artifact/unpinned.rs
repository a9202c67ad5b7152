//! What no pin names, read for `lock` alone: an upstream's lists and tags, and files whose first sum becomes their pin's.

use std::path::PathBuf;

use super::FetchError;
use super::fetch::Order;
use super::files::{self, EntryLock, blocking, failed, sha256_of};
use super::mirror::Address;
use super::part::Part;
use super::store::{Reach, Store};
use crate::event::Events;
use crate::lab::pin::Digest;

/// The most that is read of a file nobody published a sum of, in bytes.
const FILE_CAP: u64 = 8 << 30;

/// A file that came whole, and under whose name nobody else gathers one meanwhile.
struct Whole {
    part: PathBuf,
    digest: Digest,
    bytes: u64,
    _lock: EntryLock,
}

impl Store {
    /// What is at `address`, at most `most` bytes.
    pub(super) async fn read(&self, address: Address, most: u64, events: &Events) -> Result<Vec<u8>, FetchError> {
        let whole = self.whole(&address, most, events).await?;
        let reading = failed(&format!("reading {}", whole.part.display()), &whole.part, 0);
        let read = tokio::fs::read(&whole.part).await.map_err(reading);
        // It is read, and may go; what stays is written over.
        let _ = std::fs::remove_file(&whole.part);
        read
    }

    /// Keep the file that the first of `urls` gives: its digest, its length, and the address that gave it. Nobody vouches
    /// for these bytes; they are only the same from here on.
    pub async fn first_use(&self, urls: &[String], events: &Events) -> Result<(Digest, u64, String), FetchError> {
        let mut last = FetchError::NoWay { name: "the file".into(), what: "no address at all" };
        for url in urls {
            match self.whole(&Address::upstream(url), FILE_CAP, events).await {
                Ok(whole) => {
                    let order = order(&Address::upstream(url), whole.digest, FILE_CAP);
                    // Beside where it will lie, under the name that it is looked for in a run that is cut off here.
                    let lock = self.cache().lock_file(&whole.digest.hex());
                    let _lock = files::lock(&lock, &order.label, events).await?;
                    let part = self.part(&whole.digest)?;
                    let keeping = failed(&format!("keeping {}", part.display()), &part, 0);
                    std::fs::rename(&whole.part, &part).map_err(keeping)?;
                    let blob = self.adopt(&order, &part, whole.bytes, events).await?;
                    return Ok((blob.digest, blob.bytes, url.clone()));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Mirrors are not asked: what has no digest yet would have to be believed of them. What an earlier run left is not
    /// gone on from either, since nothing would tell that the file is another by now.
    async fn whole(&self, address: &Address, most: u64, events: &Events) -> Result<Whole, FetchError> {
        if self.reach() == Reach::Offline {
            return Err(FetchError::Offline { names: vec![address.to_string()] });
        }
        let name = sha256_of(address.to_string().as_bytes());
        let order = order(address, name, most);
        let path = self.cache().root().join("unpinned").join(format!("{}.part", name.hex()));
        let lock =
            files::lock(&self.cache().lock_file(&format!("unpinned-{}", name.hex())), &order.label, events).await?;
        let turn = self.line().turn(address).await;
        let folder = path.parent().unwrap_or(&path).to_owned();
        let doing = format!("writing {}", path.display());
        std::fs::create_dir_all(&folder).map_err(failed(&doing, &folder, 0))?;
        let file = path.clone();
        let part = blocking(move || Part::open(&file, name, 0)).await.map_err(failed(&doing, &folder, 0))?;
        let part = self.transfer(address, &order, &path, part, &turn, events).await?;
        Ok(Whole { part: path, digest: part.digest(), bytes: part.have(), _lock: lock })
    }
}

/// The address alone is its label: what has no pin has no other name.
fn order(address: &Address, digest: Digest, most: u64) -> Order {
    Order { label: address.to_string(), digest, bytes: None, most, addresses: Vec::new() }
}
