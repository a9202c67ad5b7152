//! The files of an image into the store, and whether they are there: what `Store` does for pins of images.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use futures::future::try_join_all;

use super::manifest::LONGEST;
use super::registry::{Kind, Registry, Way};
use super::{Contents, Known, known, named};
use crate::artifact::FetchError;
use crate::artifact::fetch::{Order, told_of_next};
use crate::artifact::mirror::Address;
use crate::artifact::store::Store;
use crate::artifact::verified::Blob;
use crate::event::{Event, Events, Step};
use crate::lab::pin::{Digest, Pin, Source};

impl Store {
    /// The image of `pin` if all its files are there and whole, by the file that the pin names.
    pub(in crate::artifact) async fn pulled(&self, pin: &Pin) -> Result<Option<Blob>, FetchError> {
        let Known::All(contents) = known(self.cache(), pin).await? else { return Ok(None) };
        let files = contents.files();
        // First what takes no time: a missing layer is told at once, whatever there is to be hashed.
        let there = |digest| std::fs::metadata(self.cache().file(digest)).is_ok();
        if !files.iter().all(|file| there(&file.digest)) {
            return Ok(None);
        }
        for file in files {
            if self.there(&file.digest).await?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(self.first(&contents)))
    }

    /// Fetch what the image of `pin` lacks, each file under its own lock: layers are shared between images. The
    /// caller holds no lock of any of them.
    pub(in crate::artifact) async fn pull(&self, pin: &Pin, events: &Events) -> Result<Blob, FetchError> {
        let pull = Pull::new(self, pin, events)?;
        let contents = loop {
            match known(self.cache(), pin).await? {
                Known::All(contents) => break contents,
                Known::Lacks { digest, bytes } => {
                    let most = bytes.unwrap_or(LONGEST).min(LONGEST);
                    pull.file(Kind::Manifest, Wanted { digest, bytes, most }).await?;
                }
            }
        };
        let mut files = contents.files().split_off(contents.manifests.len());
        pull.gauge.expect(files.iter().map(|file| file.bytes).fold(0, u64::saturating_add));
        let absent = files.iter().filter(|file| !self.cache().file(&file.digest).exists());
        self.room(absent.map(|file| (file.digest, Some(file.bytes))))?;
        // The largest first: a long one begun last would have the line for itself at the end.
        files.sort_by_key(|file| std::cmp::Reverse(file.bytes));
        let wanted = files.iter().map(|file| Wanted { digest: file.digest, bytes: Some(file.bytes), most: file.bytes });
        try_join_all(wanted.map(|wanted| pull.file(Kind::Blob, wanted))).await?;
        let (count, bytes) = (contents.files().len(), contents.files().iter().map(|file| file.bytes).sum::<u64>());
        let outcome = format!("{count} files, {} KiB, digests as pinned", bytes.div_ceil(1024));
        events.subject_done(Step::Fetch, pull.label.as_str(), outcome);
        Ok(self.first(&contents))
    }

    /// The file that the pin names, which was hashed when the contents were read.
    fn first(&self, contents: &Contents) -> Blob {
        let file = contents.files()[0];
        Blob { path: self.cache().file(&file.digest), digest: file.digest, bytes: file.bytes }
    }
}

/// One file of the image.
#[derive(Clone, Copy)]
struct Wanted {
    digest: Digest,
    bytes: Option<u64>,
    most: u64,
}

/// One image on its way into the store.
struct Pull<'a> {
    store: &'a Store,
    events: &'a Events,
    label: String,
    mirrors: Vec<Way<'a>>,
    own: Way<'a>,
    gauge: Gauge,
}

impl<'a> Pull<'a> {
    fn new(store: &'a Store, pin: &Pin, events: &'a Events) -> Result<Self, FetchError> {
        let Source::Oci { reference } = &pin.source else {
            return Err(FetchError::NoWay { name: pin.label(), what: "something else than a registry" });
        };
        let parsed = named(reference)?;
        let way = |registry| Way::new(registry, store.logins(), store.manner().stall);
        let mirrors = Registry::mirrors(&parsed, store.mirrors()).into_iter().map(way).collect();
        let own = way(Registry::own(&parsed));
        Ok(Self { store, events, label: pin.label(), mirrors, own, gauge: Gauge::default() })
    }

    /// One file, if it is not there: from mirrors, and only then is the registry itself asked for a token.
    async fn file(&self, kind: Kind, wanted: Wanted) -> Result<(), FetchError> {
        if let Some(blob) = self.store.there(&wanted.digest).await? {
            self.gauge.set(wanted.digest, blob.bytes);
            return Ok(());
        }
        let mirrors = self.of_mirrors(kind, &wanted.digest).await;
        if !mirrors.is_empty() {
            match self.fetch(wanted, mirrors).await {
                Ok(()) => return Ok(()),
                Err(error @ (FetchError::DiskFull { .. } | FetchError::Io { .. } | FetchError::Waited { .. })) => {
                    return Err(error);
                }
                // None of them is there to be asked, which was told when that was found out.
                Err(FetchError::NoWay { .. }) => {}
                Err(error) => told_of_next(&self.label, true, &error, self.events),
            }
        }
        let asked = Instant::now();
        let mut ended = self.ask_registry(kind, wanted).await;
        if matches!(ended, Err(FetchError::Status { status: 401, .. })) && Way::has_aged(asked) {
            // What is here already is gone on from.
            ended = self.ask_registry(kind, wanted).await;
        }
        match ended {
            Err(error) => Err(self.own.meaning(error, Some(&wanted.digest)).await),
            Ok(()) => Ok(()),
        }
    }

    async fn ask_registry(&self, kind: Kind, wanted: Wanted) -> Result<(), FetchError> {
        let address = self.own.address(kind, &wanted.digest).await?;
        self.fetch(wanted, vec![address]).await
    }

    /// Stores by digest, then mirrors of the registry that can be spoken to.
    async fn of_mirrors(&self, kind: Kind, digest: &Digest) -> Vec<Address> {
        let mut upstream = Vec::new();
        for way in self.mirrors.iter().filter(|way| !way.is_given_up()) {
            match way.address(kind, digest).await {
                Ok(address) => upstream.push(address),
                // Told once, whatever the number of files; those that are on their way may each have found out.
                Err(error) if way.give_up() => told_of_next(&self.label, true, &error, self.events),
                Err(_) => {}
            }
        }
        self.store.mirrors().addresses(digest, &upstream)
    }

    /// Fetch one file, and tell of it as of a part of the image.
    async fn fetch(&self, wanted: Wanted, addresses: Vec<Address>) -> Result<(), FetchError> {
        let Wanted { digest, bytes, most } = wanted;
        let order = Order { label: self.label.clone(), digest, bytes, most, addresses };
        let (inner, mut told) = Events::channel();
        let work = async move {
            // The sender is dropped with this, which ends the telling.
            self.store.blob(&order, &inner).await
        };
        let tell = async {
            while let Some(told) = told.recv().await {
                match told.event {
                    Event::Progress { done: Some((have, _)), .. } => {
                        self.gauge.set(digest, have);
                        self.gauge.tell(&self.label, self.events);
                    }
                    // A file is no image.
                    Event::SubjectDone { .. } => {}
                    other => self.events.tell(other),
                }
            }
        };
        let (blob, ()) = tokio::join!(work, tell);
        self.gauge.set(digest, blob?.bytes);
        self.gauge.tell(&self.label, self.events);
        Ok(())
    }
}

/// How much of an image is there. Manifests are too short to be counted.
#[derive(Default)]
struct Gauge(Mutex<(HashMap<Digest, u64>, u64)>);

impl Gauge {
    fn held(&self) -> std::sync::MutexGuard<'_, (HashMap<Digest, u64>, u64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files have so many bytes in all.
    fn expect(&self, total: u64) {
        *self.held() = (HashMap::new(), total);
    }

    fn set(&self, file: Digest, have: u64) {
        self.held().0.insert(file, have);
    }

    fn tell(&self, label: &str, events: &Events) {
        let held = self.held();
        let have = held.0.values().sum();
        let done = (held.1 > 0).then_some((have, held.1));
        let (subject, doing) = (label.to_owned(), "downloading".to_owned());
        events.tell(Event::Progress { step: Step::Fetch, subject, doing, done });
    }
}
