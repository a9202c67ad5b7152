//! Pins to verified files: what is there is hashed, what is missing or damaged is fetched, whatever its source.

use std::path::PathBuf;

use futures::StreamExt as _;
use futures::future::try_join_all;
use futures::stream::FuturesUnordered;

use super::FetchError;
use super::fetch::{Order, UNSIZED_CAP, told_of_next};
use super::files::{self, EntryLock};
use super::mirror::Address;
use super::store::{Reach, Store};
use super::verified::Verified;
use crate::event::{Event, Events, Step};
use crate::lab::pin::{Pin, Source};

impl Store {
    /// One file; see [`ensure_all`](Self::ensure_all).
    pub async fn ensure(&self, pin: &Pin, events: &Events) -> Result<Verified, FetchError> {
        let mut all = self.ensure_all(std::slice::from_ref(pin), events).await?;
        Ok(all.pop().expect("one pin gives one file"))
    }

    /// All `pins`, in their order, hashed in this run. What is there and whole is used; what is damaged is removed,
    /// told of and fetched again; what is missing is fetched, all Debian packages by one run of apt. Two runs that
    /// want the same file fetch it once.
    pub async fn ensure_all(&self, pins: &[Pin], events: &Events) -> Result<Vec<Verified>, FetchError> {
        let found = try_join_all(pins.iter().map(|pin| self.look(pin))).await?;
        let wanted: Vec<&Pin> =
            pins.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(pin, _)| pin).collect();
        if wanted.is_empty() {
            return Ok(found.into_iter().flatten().collect());
        }
        if self.reach() == Reach::Offline {
            return Err(FetchError::Offline { names: wanted.iter().map(|pin| pin.label()).collect() });
        }
        let fetched = self.fetch_all(wanted, events).await?;
        let same = |pin: &Pin| fetched.iter().find(|file| file.pin().digest == pin.digest).cloned();
        let all = pins.iter().zip(found).map(|(pin, found)| found.or_else(|| same(pin).map(|file| file.also(pin))));
        Ok(all.map(|file| file.expect("what was not found was fetched")).collect())
    }

    async fn look(&self, pin: &Pin) -> Result<Option<Verified>, FetchError> {
        let found = match &pin.source {
            Source::Oci { .. } => self.pulled(pin).await?,
            Source::Url { .. } | Source::Apt { .. } => self.there(&pin.digest).await?,
        };
        Ok(found.map(|blob| Verified::new(pin, blob)))
    }

    /// Fetch under the entries' locks, which are taken in one order so that no two runs wait for each other. All is
    /// tried, whatever fails: the next run has so much less to do.
    async fn fetch_all(&self, mut pins: Vec<&Pin>, events: &Events) -> Result<Vec<Verified>, FetchError> {
        pins.sort_by_key(|pin| pin.digest.hex());
        pins.dedup_by_key(|pin| pin.digest);
        let mut locks: Vec<EntryLock> = Vec::new();
        let mut ready = Vec::new();
        let mut missing = Vec::new();
        // An image takes the locks of its files, one after the other, since other images have some of the same.
        let (images, pins): (Vec<&Pin>, Vec<&Pin>) =
            pins.into_iter().partition(|pin| matches!(pin.source, Source::Oci { .. }));
        for pin in pins {
            locks.push(files::lock(&self.cache().lock_file(&pin.digest.hex()), &pin.label(), events).await?);
            match self.look(pin).await? {
                Some(file) => ready.push(file),
                None => missing.push(pin),
            }
        }
        self.room(missing.iter().map(|pin| (pin.digest, pin.bytes)))?;
        // The largest first: a long one begun last would have the line for itself at the end.
        missing.sort_by_key(|pin| std::cmp::Reverse(pin.bytes.unwrap_or(u64::MAX)));
        let (packages, others): (Vec<&Pin>, _) =
            missing.into_iter().partition(|pin| matches!(pin.source, Source::Apt { .. }));
        let downloads: FuturesUnordered<_> =
            others.into_iter().chain(images).map(|pin| self.download(pin, events)).collect();
        let (packages, downloads) = tokio::join!(self.packages(packages, events), downloads.collect::<Vec<_>>());
        let mut failures = Vec::new();
        for ended in packages.into_iter().chain(downloads) {
            match ended {
                Ok(file) => ready.push(file),
                Err(error) => failures.push(error),
            }
        }
        drop(locks);
        FetchError::all_of(failures).map(|()| ready)
    }

    /// Debian packages: from stores by digest where there are any, the others by one run of apt.
    async fn packages(&self, pins: Vec<&Pin>, events: &Events) -> Vec<Result<Verified, FetchError>> {
        // Without upstream addresses only mirrors are asked.
        let ask = |pin| async move { (pin, self.fetch(&self.order(pin, &[]), events).await) };
        let asked: FuturesUnordered<_> = pins.into_iter().map(ask).collect();
        let (mut ready, mut left) = (Vec::new(), Vec::new());
        for (pin, ended) in asked.collect::<Vec<_>>().await {
            match ended {
                Ok(blob) => ready.push(Ok(Verified::new(pin, blob))),
                Err(error @ FetchError::DiskFull { .. }) => ready.push(Err(error)),
                Err(error) => {
                    if !matches!(error, FetchError::NoWay { .. }) {
                        told_of_next(&pin.label(), true, &error, events);
                    }
                    left.push(pin);
                }
            }
        }
        if !left.is_empty() {
            match self.by_apt(&left, events).await {
                Ok(files) => ready.extend(files.into_iter().map(Ok)),
                Err(error) => ready.push(Err(error)),
            }
        }
        ready
    }

    async fn by_apt(&self, pins: &[&Pin], events: &Events) -> Result<Vec<Verified>, FetchError> {
        let parts: Vec<PathBuf> = pins.iter().map(|pin| self.part(&pin.digest)).collect::<Result<_, _>>()?;
        let wanted: Vec<(&Pin, PathBuf)> = pins.iter().copied().zip(parts).collect();
        self.archive().download(self.cache(), self.lab(), &wanted, events).await?;
        let adopted = wanted.iter().map(async |(pin, part)| {
            let blob = self.adopt_unread(&self.order(pin, &[]), part, "Debian's archive", events).await?;
            Ok(Verified::new(pin, blob))
        });
        try_join_all(adopted).await
    }

    async fn download(&self, pin: &Pin, events: &Events) -> Result<Verified, FetchError> {
        let urls = match &pin.source {
            Source::Url { urls, .. } => urls,
            Source::Apt { .. } => return Err(FetchError::NoWay { name: pin.label(), what: "a Debian archive" }),
            // In a box, since every story holds this future within its own.
            Source::Oci { .. } => return Ok(Verified::new(pin, Box::pin(self.pull(pin, events)).await?)),
        };
        // Told before its turn has come, so that who listens knows how much there is in all.
        let (subject, doing) = (pin.label(), "downloading".into());
        let done = pin.bytes.map(|bytes| (0, bytes));
        events.tell(Event::Progress { step: Step::Fetch, subject, doing, done });
        let upstream: Vec<Address> = urls.iter().map(Address::upstream).collect();
        Ok(Verified::new(pin, self.fetch(&self.order(pin, &upstream), events).await?))
    }

    fn order(&self, pin: &Pin, upstream: &[Address]) -> Order {
        let addresses = self.mirrors().addresses(&pin.digest, upstream);
        Order { label: pin.label(), digest: pin.digest, bytes: pin.bytes, most: UNSIZED_CAP, addresses }
    }
}

#[cfg(test)]
mod tests;
