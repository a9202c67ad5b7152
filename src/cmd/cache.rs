//! `cache ls|verify|prune`: what the cache holds and for whom, whether it is whole, and what can go.

pub mod points;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::artifact::cache::EntryState;
use crate::artifact::shelf::{Gone, Kind, Thing};
use crate::artifact::{image, template};
use crate::event::{Event, Step};
use crate::failure::{Exit, Failure};
use crate::lab::images::Images;
use crate::lab::name::LabName;
use crate::lab::pin::{Digest, Pin};

use super::cx::{Cx, counted};
use super::fetch::not_fetched;
use super::fetch::{files, own_lock};
use super::kept::read_plan;
use super::ls::age;
use super::table::{bytes, columns};

/// Who wants what of the cache.
#[derive(Default)]
struct Wants {
    /// What people call a file.
    names: BTreeMap<Digest, String>,
    /// The labs whose locks name a file, and the clusters whose plans do.
    files: BTreeMap<Digest, BTreeSet<String>>,
    /// Folders of images that a lab's recipe makes, and images that a cluster's machines start from.
    images: BTreeMap<String, BTreeSet<String>>,
    /// Files that points stand on.
    paths: Vec<(PathBuf, String)>,
    /// Whether anything is remembered as a cluster.
    clusters: bool,
    /// Labs and plans that could not be read: what they want is not known.
    unread: Vec<String>,
}

impl Wants {
    fn file(&mut self, digest: Digest, name: String, who: String) {
        self.names.entry(digest).or_insert(name);
        self.files.entry(digest).or_default().insert(who);
    }

    fn of(&self, thing: &Thing) -> BTreeSet<String> {
        let stood_on = self.paths.iter().filter(|(path, _)| path.starts_with(&thing.path));
        let mut who: BTreeSet<String> = stood_on.map(|(_, who)| who.clone()).collect();
        who.extend(self.by_name(thing));
        who
    }

    fn by_name(&self, thing: &Thing) -> BTreeSet<String> {
        match thing.kind {
            Kind::File => thing.digest.and_then(|digest| self.files.get(&digest)).cloned().unwrap_or_default(),
            Kind::Image => {
                let folder = thing.name.trim_start_matches("images/");
                let image = folder.rsplit_once('-').map_or(folder, |(image, _)| image);
                self.image(folder).chain(self.image(image)).collect()
            }
            // No machine stands on it: who would boot this very image next is meant.
            Kind::Template => template::image_of(&thing.path).iter().flat_map(|folder| self.image(folder)).collect(),
            _ => BTreeSet::new(),
        }
    }

    fn image(&self, name: &str) -> impl Iterator<Item = String> {
        self.images.get(name).into_iter().flatten().cloned()
    }

    fn name(&self, thing: &Thing) -> String {
        let known = thing.digest.and_then(|digest| self.names.get(&digest));
        known.cloned().unwrap_or_else(|| thing.name.clone())
    }
}

/// What all known labs want, as far as that can be read.
async fn of_labs(cx: &Cx<'_>, wants: &mut Wants) -> Result<(), Failure> {
    let unread = |error| super::draft::unread(&super::labs::LabsError::Library(error));
    let images = cx.library.images().map_err(unread)?;
    for lab in cx.library.labs().map_err(unread)? {
        if of_lab(cx, &lab, &images, wants).await.is_none() {
            wants.unread.push(format!("lab {lab}"));
        }
    }
    Ok(())
}

async fn of_lab(cx: &Cx<'_>, name: &LabName, images: &Images, wants: &mut Wants) -> Option<()> {
    // Both locks: the user's own may go again, and the lab's is in effect then.
    for own in [Some(own_lock(cx, name)), None] {
        let (lab, lock) = super::labs::read(&cx.library, name, &[], own.as_deref()).ok()?;
        for pin in &lock.pins {
            let label = format!("{} {}", pin.name, pin.version);
            for digest in files_of(cx, pin).await {
                wants.file(digest, label.clone(), name.to_string());
            }
        }
        let Some(image) = images.get(&lab.image) else { continue };
        match image::pin(image) {
            Some(pin) => {
                wants.file(pin.digest, pin.name.clone(), name.to_string());
                let folder = format!("{}-{}", image.name, &pin.digest.hex()[..12]);
                wants.images.entry(folder).or_default().insert(name.to_string());
            }
            None => {
                if let Ok(recipe) = image::recipe(&cx.library, image) {
                    let folder = format!("{}-{}", image.name, &recipe.digest().hex()[..12]);
                    wants.images.entry(folder).or_default().insert(name.to_string());
                }
            }
        }
    }
    Some(())
}

/// The files of a pin, as far as that can be told; of a container image whose manifest is damaged nothing else is of use.
async fn files_of(cx: &Cx<'_>, pin: &Pin) -> Vec<Digest> {
    let files = files(&cx.cache, pin).await.ok().flatten().unwrap_or_default();
    std::iter::once(pin.digest).chain(files.into_iter().map(|(digest, _)| digest)).collect()
}

/// What all clusters want. Which of several images of one name a machine's disk stands on is not asked: none goes.
async fn of_clusters(cx: &Cx<'_>, wants: &mut Wants) -> Result<(), Failure> {
    for cluster in cx.known()? {
        wants.clusters = true;
        let who = format!("cluster {cluster}");
        let Some(plan) = read_plan(&cx.home.folder(&cluster).join("plan.json")) else {
            wants.unread.push(who);
            continue;
        };
        for placed in &plan.artifacts {
            let label = format!("{} {}", placed.pin.name, placed.pin.version);
            for digest in files_of(cx, &placed.pin).await {
                wants.file(digest, label.clone(), who.clone());
            }
        }
        let images = cx.library.images().ok();
        if let Some(pin) = images.as_ref().and_then(|images| images.get(&plan.image)).and_then(image::pin) {
            wants.file(pin.digest, pin.name, who.clone());
        }
        wants.images.entry(plan.image).or_default().insert(who);
    }
    Ok(())
}

/// What these points stand on.
fn of_points(lines: &[points::Line], wants: &mut Wants) {
    for line in lines {
        match &line.stands_on {
            Some(files) => wants.paths.extend(files.iter().map(|file| (file.clone(), line.who()))),
            None => wants.unread.push(line.who()),
        }
    }
}

/// One thing of the cache for people and programs.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// What people call it.
    pub called: String,
    /// Labs and clusters that want it.
    pub wanted_by: BTreeSet<String>,
    /// The thing.
    #[serde(flatten)]
    pub thing: Thing,
}

/// Everything in the cache and who wants it.
pub async fn list(cx: &Cx<'_>) -> Result<Vec<Line>, Failure> {
    let mut wants = Wants::default();
    of_labs(cx, &mut wants).await?;
    of_clusters(cx, &mut wants).await?;
    of_points(&points::all(cx)?, &mut wants);
    let things = cx.cache.things().await.map_err(|error| not_fetched(&error))?;
    Ok(things.into_iter().map(|thing| line(&wants, thing)).collect())
}

fn line(wants: &Wants, thing: Thing) -> Line {
    Line { called: wants.name(&thing), wanted_by: wants.of(&thing), thing }
}

/// The list for people.
pub fn table(lines: &[Line], now: jiff::Timestamp) -> String {
    let rows = lines.iter().map(|line| {
        let wanted = line.wanted_by.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let wanted = if wanted.is_empty() { "-".into() } else { wanted };
        let Thing { kind, bytes: size, changed, .. } = &line.thing;
        vec![kind.word().into(), line.called.clone(), bytes(*size), age(*changed, now), wanted]
    });
    columns(&["KIND", "NAME", "SIZE", "AGE", "WANTED BY"], rows) + &format!("{}\n", total(lines))
}

fn total(lines: &[Line]) -> String {
    let size = lines.iter().map(|line| line.thing.bytes).sum();
    format!("{}, {}", super::cx::counted(lines.len(), "thing"), bytes(size))
}

/// The same for programs.
pub fn json(lines: &[Line]) -> Value {
    let size: u64 = lines.iter().map(|line| line.thing.bytes).sum();
    json!({ "things": lines, "bytes": size })
}

/// What hashing the cache found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verified {
    /// How many files and images are what they are named after.
    pub right: usize,
    /// Names of those that are not.
    pub damaged: Vec<String>,
    /// Names of those that were not and were removed.
    pub removed: Vec<String>,
}

/// Hash everything in the cache. `remove` takes out what is damaged.
pub async fn verify(cx: &Cx<'_>, remove: bool) -> Result<Verified, Failure> {
    let root = cx.cache.root().display().to_string();
    cx.events.tell(Event::Begin { verb: "cache verify".into(), cluster: root, steps: vec![Step::Check] });
    let hashing = async {
        let wrong = |error| not_fetched(&error);
        let mut found = Verified::default();
        let things = list(cx).await?;
        let mut damaged = BTreeSet::new();
        for checked in cx.cache.verify(&cx.events).await.map_err(wrong)? {
            match checked.state {
                EntryState::Right => found.right += 1,
                EntryState::Damaged { .. } | EntryState::Unreadable { .. } => drop(damaged.insert(checked.entry.path)),
            }
        }
        for line in things.iter().filter(|line| matches!(line.thing.kind, Kind::Image | Kind::Template)) {
            cx.events.progress(Step::Check, "the cache", format!("hashing {}", line.called));
            let whole = match line.thing.kind {
                Kind::Template => template::is_whole(&line.thing.path).await,
                _ => image::is_whole(&line.thing.path).await,
            };
            if whole.map_err(wrong)? {
                found.right += 1;
            } else {
                damaged.insert(line.thing.path.clone());
            }
        }
        for line in things.iter().filter(|line| damaged.contains(&line.thing.path)) {
            if remove && cx.cache.remove(&line.thing).await.map_err(wrong)? == Gone::Removed {
                found.removed.push(line.called.clone());
            } else {
                found.damaged.push(line.called.clone());
            }
        }
        let outcome = format!("{} right, {} damaged", found.right, damaged.len());
        Ok((found, outcome))
    };
    Box::pin(cx.step(Step::Check, hashing)).await
}

/// The failure of a cache in which damaged files remain.
pub fn damaged(found: &Verified) -> Result<(), Failure> {
    if found.damaged.is_empty() {
        return Ok(());
    }
    let failure = Failure::new(Exit::Digest, "cache.damaged", "find the cache whole");
    Err(found
        .damaged
        .iter()
        .fold(failure, |failure, name| failure.because_text(format!("{name} is damaged")))
        .hint("calicolab cache verify --remove-damaged")
        .hint("whatever is damaged is never used: the next run fetches it again"))
}

/// What may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Also what the labs' locks want, as long as no cluster does.
    pub all: bool,
    /// Also the points of clusters that are gone, and what they stand on.
    pub points: bool,
    /// Only what was not changed for this long.
    pub older_than: Option<Duration>,
}

/// What goes, or went.
#[derive(Clone, Debug, Serialize)]
pub struct Pruned {
    /// What goes.
    pub gone: Vec<Line>,
    /// What stays because another run is at it.
    pub held: Vec<Line>,
    /// The bytes that are freed.
    pub bytes: u64,
}

/// What can go. Changes nothing.
pub async fn prunable(cx: &Cx<'_>, limits: Limits) -> Result<Vec<Line>, Failure> {
    let mut kept = Wants::default();
    of_clusters(cx, &mut kept).await?;
    let points = points::all(cx)?.into_iter().filter(|line| !line.may_go(limits));
    of_points(&points.collect::<Vec<_>>(), &mut kept);
    if !limits.all {
        of_labs(cx, &mut kept).await?;
    }
    if !kept.unread.is_empty() {
        return Err(Failure::new(Exit::Conflict, "cache.unknown", "tell what can go")
            .because_text(format!("what is wanted by {} cannot be read", kept.unread.join(", ")))
            .hint("calicolab labs check LAB; calicolab down NAME; calicolab snapshot delete POINT"));
    }
    let now = jiff::Timestamp::now();
    let old = |thing: &Thing| {
        let seconds = u64::try_from(now.as_second() - thing.changed.as_second()).unwrap_or(0);
        limits.older_than.is_none_or(|limit| seconds >= limit.as_secs())
    };
    let may_go = |thing: &Thing| match thing.kind {
        Kind::File | Kind::Image | Kind::Template => kept.of(thing).is_empty(),
        // A machine that runs reads its tar; it is made again in a moment where it is missed.
        Kind::Derived => !kept.clusters && kept.of(thing).is_empty(),
        Kind::Lists => limits.all,
        Kind::Part => true,
    };
    let mut names = Wants::default();
    of_labs(cx, &mut names).await?;
    let things = cx.cache.things().await.map_err(|error| not_fetched(&error))?;
    Ok(things.into_iter().filter(|thing| may_go(thing) && old(thing)).map(|thing| line(&names, thing)).collect())
}

/// Take out what can go.
pub async fn prune(cx: &Cx<'_>, limits: Limits) -> Result<Pruned, Failure> {
    let mut pruned = Pruned { gone: Vec::new(), held: Vec::new(), bytes: 0 };
    for line in prunable(cx, limits).await? {
        match cx.cache.remove(&line.thing).await.map_err(|error| not_fetched(&error))? {
            Gone::Removed => {
                pruned.bytes += line.thing.bytes;
                pruned.gone.push(line);
            }
            Gone::Held => pruned.held.push(line),
        }
    }
    if !pruned.held.is_empty() {
        cx.events.note(format!("{} stay: another run is at them", counted(pruned.held.len(), "thing")));
    }
    Ok(pruned)
}
