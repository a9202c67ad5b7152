//! One file by digest into the store: from the first of its addresses that has it, under its entry's lock.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::FetchError;
use super::files::{self, blocking, failed};
use super::http::{Tell, Transfer};
use super::line::Turn;
use super::mirror::Address;
use super::part::Part;
use super::store::{Reach, Store};
use super::verified::Blob;
use crate::durable;
use crate::event::{Event, Events, Step};
use crate::lab::pin::Digest;

/// The most that is read of a file whose length nobody pinned.
pub(super) const UNSIZED_CAP: u64 = 8 << 30;

/// One file as it is asked for.
#[derive(Clone, Debug)]
pub(super) struct Order {
    /// What people call it; the subject of the events.
    pub label: String,
    /// What its bytes must come to, and its name in the store.
    pub digest: Digest,
    /// Its length where known, which is then the most that is read.
    pub bytes: Option<u64>,
    /// The most that is read where the length is not known.
    pub most: u64,
    /// Where it may be had, in the order that is tried.
    pub addresses: Vec<Address>,
}

impl Order {
    /// The most that is read.
    fn cap(&self) -> u64 {
        self.bytes.unwrap_or(self.most)
    }
}

impl Store {
    /// The file of `order`: from the cache if it is there and whole, else fetched. Takes the lock of
    /// the entry of that digest, which the caller must not hold. Offline and not there: [`FetchError::Offline`].
    pub(super) async fn blob(&self, order: &Order, events: &Events) -> Result<Blob, FetchError> {
        if let Some(blob) = self.there(&order.digest).await? {
            return Ok(blob);
        }
        if self.reach() == Reach::Offline {
            return Err(FetchError::Offline { names: vec![order.label.clone()] });
        }
        let lock = self.cache().lock_file(&order.digest.hex());
        let _lock = files::lock(&lock, &order.label, events).await?;
        if let Some(blob) = self.there(&order.digest).await? {
            return Ok(blob);
        }
        self.room(std::iter::once((order.digest, order.bytes)))?;
        self.fetch(order, events).await
    }

    /// The file of this digest if it is there and whole.
    pub(super) async fn there(&self, digest: &Digest) -> Result<Option<Blob>, FetchError> {
        let (path, digest) = (self.cache().file(digest), *digest);
        let file = path.clone();
        match blocking(move || files::hash(&file, &digest)).await {
            Ok((got, bytes)) if got == digest => Ok(Some(Blob { path, digest, bytes })),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FetchError::Io { doing: format!("reading {}", path.display()), source }),
        }
    }

    /// Fetch what is missing or damaged. Only for who holds the entry's lock.
    pub(super) async fn fetch(&self, order: &Order, events: &Events) -> Result<Blob, FetchError> {
        self.discard_damaged(order, events)?;
        let part = self.part(&order.digest)?;
        let addresses = &order.addresses;
        let mut last = FetchError::NoWay { name: order.label.clone(), what: "no address at all" };
        for (at, address) in addresses.iter().enumerate() {
            if address.is_mirror() && self.line().absent().contains(&address.host()) {
                continue;
            }
            match self.fetch_from(address, order, &part, events).await {
                Ok(blob) => return Ok(blob),
                Err(error @ FetchError::DiskFull { .. }) => return Err(error),
                Err(error) => {
                    let absent = address.is_mirror() && error.is_unreachable();
                    let news = !absent || self.line().absent().insert(address.host());
                    if news && at + 1 < addresses.len() {
                        told_of_next(&order.label, address.is_mirror(), &error, events);
                    }
                    last = error;
                }
            }
        }
        Err(last)
    }

    async fn fetch_from(
        &self,
        address: &Address,
        order: &Order,
        path: &Path,
        events: &Events,
    ) -> Result<Blob, FetchError> {
        let turn = self.line().turn(address).await;
        let writing = failed(&format!("writing {}", path.display()), path.parent().unwrap_or(path), 0);
        let (file, like, cap) = (path.to_owned(), order.digest, order.cap());
        let mut part = blocking(move || Part::open(&file, like, cap)).await.map_err(&writing)?;
        loop {
            part = self.transfer(address, order, path, part, &turn, events).await?;
            let got = part.digest();
            if got == order.digest {
                return self.adopt(order, path, part.have(), events).await;
            }
            let inherited = part.is_inherited();
            part.restart().map_err(&writing)?;
            // Only a whole transfer speaks for the server.
            if !inherited {
                let _ = std::fs::remove_file(path);
                return Err(FetchError::mismatch(order.label.clone(), &address.to_string(), order.digest, got));
            }
        }
    }

    /// Bring `part`, the file at `path`, to its end from one address. Only for who has a turn.
    pub(super) async fn transfer(
        &self,
        address: &Address,
        order: &Order,
        path: &Path,
        part: Part,
        _turn: &Turn,
        events: &Events,
    ) -> Result<Part, FetchError> {
        let client = self.line().client();
        let (manner, wanted, cap) = (self.manner(), order.bytes, order.cap());
        let transfer = Transfer { client, manner, address, into: path, wanted, cap };
        let (part, ended) = transfer.run(part, &mut Teller { order, events, told: None }).await;
        if matches!(ended, Err(FetchError::DiskFull { .. })) {
            // A disk that filled up needs what is there.
            let _ = std::fs::remove_file(path);
        }
        ended.map(|()| part)
    }

    /// Whether the disk has room for what is not there yet of these files, as far as their lengths are known; asked
    /// before the first byte, so that what earlier runs left is kept.
    pub(super) fn room(&self, wanted: impl Iterator<Item = (Digest, Option<u64>)>) -> Result<(), FetchError> {
        let left = wanted.map(|(digest, bytes)| {
            let there = self.cache().file(&digest).with_extension("part").metadata().map_or(0, |meta| meta.len());
            bytes.unwrap_or(0).saturating_sub(there)
        });
        let (needed, path) = (left.fold(0, u64::saturating_add), self.cache().root());
        let free = files::free_bytes(path);
        if free < needed { Err(FetchError::DiskFull { path: path.into(), needed, free }) } else { Ok(()) }
    }

    fn discard_damaged(&self, order: &Order, events: &Events) -> Result<(), FetchError> {
        let path = self.cache().file(&order.digest);
        match std::fs::remove_file(&path) {
            Ok(()) => {
                events.warn(format!("{} was damaged in the cache; it is removed and fetched again", order.label));
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(FetchError::Io { doing: format!("removing damaged {}", path.display()), source }),
        }
    }

    /// The place where the entry's bytes are gathered. The holder of the entry's lock owns it: what a killed run
    /// left there is gone on from or written over.
    pub(super) fn part(&self, digest: &Digest) -> Result<PathBuf, FetchError> {
        let path = self.cache().file(digest);
        let folder = path.parent().expect("an entry lies in a folder");
        std::fs::create_dir_all(folder).map_err(failed(&format!("making {}", folder.display()), folder, 0))?;
        Ok(path.with_extension("part"))
    }

    /// Hash a file that another program gathered and, if it is the order's, give it its name.
    pub(super) async fn adopt_unread(
        &self,
        order: &Order,
        part: &Path,
        from: &str,
        events: &Events,
    ) -> Result<Blob, FetchError> {
        let reading = failed(&format!("reading {}", part.display()), part, 0);
        let (file, like) = (part.to_owned(), order.digest);
        let (got, bytes) = blocking(move || files::hash(&file, &like)).await.map_err(&reading)?;
        if got != order.digest {
            std::fs::remove_file(part).map_err(&reading)?;
            return Err(FetchError::mismatch(order.label.clone(), from, order.digest, got));
        }
        self.adopt(order, part, bytes, events).await
    }

    /// Give a gathered file, whose bytes are those of the order, its name.
    pub(super) async fn adopt(
        &self,
        order: &Order,
        part: &Path,
        bytes: u64,
        events: &Events,
    ) -> Result<Blob, FetchError> {
        let path = self.cache().file(&order.digest);
        let (from, to) = (part.to_owned(), path.clone());
        let settled = blocking(move || files::read_only(&from).and_then(|()| durable::settle(&from, &to))).await;
        settled.map_err(failed(&format!("keeping {}", path.display()), &path, bytes))?;
        let outcome = format!("{} KiB, digest as pinned", bytes.div_ceil(1024));
        events.subject_done(Step::Fetch, order.label.as_str(), outcome);
        Ok(Blob { path, digest: order.digest, bytes })
    }
}

/// What a mirror does not have is no news; whatever else made an address useless is.
pub(super) fn told_of_next(label: &str, mirror: bool, error: &FetchError, events: &Events) {
    let text = format!("{error}; the next address is tried");
    match error {
        FetchError::Status { status: 404 | 410, .. } if mirror => events.progress(Step::Fetch, label, text),
        _ => events.warn(format!("{label}: {text}")),
    }
}

/// Tells of a transfer some times a second, not at every piece.
struct Teller<'a> {
    order: &'a Order,
    events: &'a Events,
    told: Option<Instant>,
}

impl Tell for Teller<'_> {
    fn moved(&mut self, have: u64, total: Option<u64>) {
        if self.told.is_none_or(|at| at.elapsed() > Duration::from_millis(250)) {
            self.told = Some(Instant::now());
            let done = total.or(self.order.bytes).map(|total| (have, total));
            let (subject, doing) = (self.order.label.clone(), "downloading".into());
            self.events.tell(Event::Progress { step: Step::Fetch, subject, doing, done });
        }
    }

    fn waits(&mut self, why: String) {
        self.told = None;
        self.events.progress(Step::Fetch, self.order.label.as_str(), why);
    }
}

#[cfg(test)]
mod tests;
