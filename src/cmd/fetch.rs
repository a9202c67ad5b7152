//! `fetch`: every byte a lab uses into the cache, verified; and the bringing in that `up` shares.

use std::path::PathBuf;

use serde::Serialize;

use crate::artifact::FetchError;
use crate::artifact::apt::Archive;
use crate::artifact::cache::Cache;
use crate::artifact::image::{self, Disk, Ready};
use crate::artifact::oci;
use crate::artifact::payload::{self, Part, PartSource, Payload};
use crate::artifact::store::{Reach, Store};
use crate::cluster::state::Wish;
use crate::event::{Event, Step};
use crate::failure::{Exit, Failure};
use crate::lab::images::OsImage;
use crate::lab::name::LabName;
use crate::lab::pin::{Arch, Digest, Pin, Source, Wanted};
use crate::lab::plan::{Plan, pinned};
use crate::machine::{DirectBoot, Image, ImageForm, Tree};
use crate::node::container;

use super::cx::{Cx, counted};
use super::draft::Draft;
use super::table::{bytes, columns};

/// For which processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Archs {
    /// The nodes'.
    Nodes,
    /// All that the lock has.
    All,
}

/// What a lab uses, and what of it is there.
pub struct Survey {
    /// The lab.
    pub draft: Draft,
    /// What it pins.
    pub pins: Vec<Pin>,
    /// What its lock has no digest for.
    pub missing: Vec<Wanted>,
    /// Everything, a line each.
    pub lines: Vec<Line>,
}

/// One thing a lab uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The lab.
    pub lab: LabName,
    /// What people call it.
    pub name: String,
    /// Its processor.
    pub arch: Arch,
    /// Its length in bytes, where that is known.
    pub bytes: Option<u64>,
    /// How it stands.
    pub state: State,
}

/// How a thing that a lab uses stands, as far as names tell: nothing is hashed for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It lies in the cache.
    There,
    /// It would be fetched.
    Absent,
    /// It would be built on this host.
    ToBuild,
    /// Its lock has no digest for it.
    Unpinned,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::There => "there",
            Self::Absent => "to fetch",
            Self::ToBuild => "to build",
            Self::Unpinned => "not pinned",
        }
    }
}

/// Look at what a lab uses. Opens no connection and hashes nothing.
pub async fn survey(cx: &Cx<'_>, lab: &str, archs: Archs) -> Result<Survey, Failure> {
    let draft = Draft::read(cx, lab, &Wish::default())?;
    let (mut pins, mut missing) = (Vec::new(), Vec::new());
    for artifact in &draft.lab.artifacts {
        match pinned(artifact, &draft.lock, Arch::NODE) {
            Ok(pin) => pins.push(pin.clone()),
            Err(wanted) => missing.push(*wanted),
        }
        if archs == Archs::All {
            // Upstreams need not have everything for every processor.
            let others = [Arch::Amd64, Arch::Arm64].into_iter().filter(|arch| *arch != Arch::NODE);
            pins.extend(others.filter_map(|arch| pinned(artifact, &draft.lock, arch).ok().cloned()));
        }
    }
    pins.dedup();
    let mut lines = Vec::new();
    for pin in &pins {
        let (state, length) = stands(cx, pin).await.map_err(|error| not_fetched(&error))?;
        let name = format!("{} {}", pin.name, pin.version);
        lines.push(Line { lab: draft.lab.name.clone(), name, arch: pin.arch, bytes: length, state });
    }
    for wanted in &missing {
        let (name, state) = (wanted.name.clone(), State::Unpinned);
        lines.push(Line { lab: draft.lab.name.clone(), name, arch: wanted.arch, bytes: None, state });
    }
    lines.push(image_line(cx, &draft).map_err(|error| not_fetched(&error))?);
    Ok(Survey { draft, pins, missing, lines })
}

/// How a pinned file stands, and its length: of a container image all its files'.
async fn stands(cx: &Cx<'_>, pin: &Pin) -> Result<(State, Option<u64>), FetchError> {
    let Some(files) = files(&cx.cache, pin).await? else { return Ok((State::Absent, pin.bytes)) };
    let there = files.iter().all(|(digest, _)| cx.cache.file(digest).is_file());
    let known = files.iter().map(|(_, bytes)| *bytes).sum::<Option<u64>>();
    Ok((if there { State::There } else { State::Absent }, known.or(pin.bytes)))
}

/// The files of the cache that a pin means, with their lengths where they are known; nothing while that cannot be told,
/// since a container image's manifest is not there.
pub async fn files(cache: &Cache, pin: &Pin) -> Result<Option<Vec<(Digest, Option<u64>)>>, FetchError> {
    if !matches!(pin.source, Source::Oci { .. }) {
        let length = std::fs::metadata(cache.file(&pin.digest)).map(|meta| meta.len()).ok();
        return Ok(Some(vec![(pin.digest, length)]));
    }
    let contents = oci::contents(cache, pin).await?;
    Ok(contents.map(|contents| contents.files().iter().map(|file| (file.digest, Some(file.bytes))).collect()))
}

fn image_line(cx: &Cx<'_>, draft: &Draft) -> Result<Line, FetchError> {
    let image = &draft.image;
    let pin = image::pin(image);
    let state = match (image::cached(&cx.cache, &cx.library, image)?, &pin) {
        (true, _) => State::There,
        (false, Some(_)) => State::Absent,
        (false, None) => State::ToBuild,
    };
    let file = match &pin {
        Some(pin) => std::fs::metadata(cx.cache.file(&pin.digest)).map(|meta| meta.len()).ok(),
        None => image::kept(&cx.cache, &image::recipe(&cx.library, image)?).map(|kept| kept.bytes),
    };
    let (lab, name) = (draft.lab.name.clone(), format!("image {}", image.name));
    Ok(Line { lab, name, arch: image.arch, bytes: file.or(pin.and_then(|pin| pin.bytes)), state })
}

/// What is missing while no connection may be opened: every name, before anything is hashed.
pub fn offline(cx: &Cx<'_>, lines: &[Line]) -> Result<(), Failure> {
    let absent = lines.iter().filter(|line| matches!(line.state, State::Absent | State::ToBuild));
    let names: Vec<String> = absent.map(|line| line.name.clone()).collect();
    if !cx.offline || names.is_empty() {
        return Ok(());
    }
    Err(not_fetched(&FetchError::Offline { names }))
}

/// The same for a plan.
pub async fn plan_offline(cx: &Cx<'_>, draft: &Draft, plan: &Plan) -> Result<(), Failure> {
    if !cx.offline {
        return Ok(());
    }
    let mut lines = Vec::new();
    for placed in &plan.artifacts {
        let (state, bytes) = stands(cx, &placed.pin).await.map_err(|error| not_fetched(&error))?;
        let name = format!("{} {}", placed.pin.name, placed.pin.version);
        lines.push(Line { lab: plan.lab.clone(), name, arch: placed.pin.arch, bytes, state });
    }
    lines.push(image_line(cx, draft).map_err(|error| not_fetched(&error))?);
    offline(cx, &lines)
}

/// Bring in everything of these labs that is pinned, verified. What their locks lack is an error at the end.
pub async fn fetch(cx: &Cx<'_>, surveys: &[Survey]) -> Result<(), Failure> {
    let labs: Vec<&str> = surveys.iter().map(|survey| survey.draft.lab.name.as_str()).collect();
    cx.events.tell(Event::Begin { verb: "fetch".into(), cluster: labs.join(", "), steps: vec![Step::Fetch] });
    let all: Vec<Line> = surveys.iter().flat_map(|survey| survey.lines.clone()).collect();
    offline(cx, &all)?;
    let bringing = async {
        for survey in surveys {
            bring(cx, survey).await?;
        }
        let files = all.iter().filter(|line| line.state != State::Unpinned).count();
        Ok(((), format!("{} there, digests right", counted(files, "file"))))
    };
    let ended = Box::pin(cx.step(Step::Fetch, bringing)).await;
    ended.map_err(|failure| match failure.exit() {
        Exit::Interrupted => failure.left("what is fetched is kept, and gone on from").hint("the same command again"),
        _ => failure,
    })?;
    match surveys.iter().find(|survey| !survey.missing.is_empty()) {
        None => Ok(()),
        Some(_) => Err(incomplete(surveys)),
    }
}

/// Everything of one lab that is pinned.
pub async fn bring(cx: &Cx<'_>, survey: &Survey) -> Result<(), Failure> {
    let draft = &survey.draft;
    let store = store_of(cx, &draft.lab.name);
    let archive = Archive::of_host();
    let image = image::ensure_any(&store, &archive, &cx.library, &draft.image, &cx.events);
    // Whatever fails, the other has so much less to do next time.
    let (files, image) = tokio::join!(store.ensure_all(&survey.pins, &cx.events), image);
    files.map_err(|error| not_fetched(&error))?;
    if let Ready::Built(built) = image.map_err(|error| not_fetched(&error))? {
        // Only containers are made from the tree, and who packs the image packs it too.
        built.tree().await.map_err(|error| not_fetched(&error))?;
    }
    Ok(())
}

fn incomplete(surveys: &[Survey]) -> Failure {
    let mut failure = Failure::new(Exit::LabInvalid, "lock.incomplete", "fetch all that the lab uses");
    for survey in surveys.iter().filter(|survey| !survey.missing.is_empty()) {
        let name = &survey.draft.lab.name;
        let names: Vec<&str> = survey.missing.iter().map(|wanted| wanted.name.as_str()).collect();
        failure = failure
            .because_text(format!("the lock of {name} has no digest for {}", names.join(", ")))
            .hint(format!("calicolab lock {name}"));
    }
    failure.left("everything that is pinned, in the cache")
}

/// What there is, for people.
pub fn table(lines: &[Line]) -> String {
    let rows = lines.iter().map(|line| {
        let size = line.bytes.map_or_else(|| "-".into(), bytes);
        let arch = line.arch.words().0.to_owned();
        vec![line.lab.to_string(), line.name.clone(), arch, size, line.state.word().into()]
    });
    let sum = |state: &[State]| {
        let of: Vec<&Line> = lines.iter().filter(|line| state.contains(&line.state)).collect();
        let known: u64 = of.iter().filter_map(|line| line.bytes).sum();
        let rest = match of.iter().filter(|line| line.bytes.is_none()).count() {
            0 => String::new(),
            number => format!(" and {number} of unknown length"),
        };
        format!("{}, {}{rest}", counted(of.len(), "file"), bytes(known))
    };
    let totals = format!("there: {}; to bring in: {}\n", sum(&[State::There]), sum(&[State::Absent, State::ToBuild]));
    columns(&["LAB", "FILE", "FOR", "SIZE", "STATE"], rows) + &totals
}

/// Where a lab's own lock of this user is.
pub fn own_lock(cx: &Cx<'_>, lab: &LabName) -> PathBuf {
    super::draft::own_lock(cx, lab, &[])
}

/// The cache as `lab` uses it.
pub fn store_of(cx: &Cx<'_>, lab: &LabName) -> Store {
    let reach = if cx.offline { Reach::Offline } else { Reach::Online };
    Store::new(cx.cache.clone(), lab.clone(), reach, Archive::of_host()).with_mirrors(cx.mirrors.clone())
}

/// Bring an OS image in, in the form that a provider takes.
pub async fn os_image(cx: &Cx<'_>, lab: &LabName, wanted: &OsImage, form: ImageForm) -> Result<Image, FetchError> {
    let archive = Archive::of_host();
    let ready = image::ensure_any(&store_of(cx, lab), &archive, &cx.library, wanted, &cx.events).await?;
    let user = wanted.user.clone();
    let image = match ready {
        Ready::Built(built) => Image {
            disk: built.disk.path().into(),
            format: "raw",
            boot: Some(DirectBoot {
                kernel: built.kernel.path().into(),
                initrd: built.initrd.path().into(),
                cmdline: image::CMDLINE.into(),
            }),
            tree: match form {
                ImageForm::Disk => None,
                ImageForm::Tree => {
                    let tree = built.tree().await?;
                    Some(Tree { path: tree.path().into(), sha256: tree.digest().hex() })
                }
            },
            user,
        },
        Ready::Downloaded(Disk { path, format }) => Image { disk: path, format, boot: None, tree: None, user },
    };
    cx.events.subject_done(Step::Fetch, format!("image {}", wanted.name), "there, digests right");
    Ok(image)
}

/// Bring in what the nodes of a plan get.
pub async fn programs(cx: &Cx<'_>, plan: &Plan) -> Result<Payload, FetchError> {
    let pins: Vec<_> = plan.artifacts.iter().map(|placed| placed.pin.clone()).collect();
    let verified = store_of(cx, &plan.lab).ensure_all(&pins, &cx.events).await?;
    let mut parts = Vec::new();
    for (file, placed) in verified.into_iter().zip(&plan.artifacts) {
        parts.push(match &placed.pin.source {
            // Whoever runs containers there takes an image in as one file.
            Source::Oci { .. } => {
                let archive = oci::archive(&cx.cache, &file, &cx.events).await?;
                Part::whole(archive, placed.on, format!("{}/{}.tar", container::ARCHIVES, placed.pin.name))
            }
            _ => Part { from: PartSource::Verified(file), on: placed.on, files: placed.files.clone() },
        });
    }
    let payload = payload::pack(&cx.cache, parts, &cx.events).await?;
    cx.events.subject_done(Step::Fetch, "artifacts", "there, digests right");
    Ok(payload)
}

/// A failure to fetch in the words and with the code of the command line.
pub fn not_fetched(error: &FetchError) -> Failure {
    let exit = match error.gravest() {
        FetchError::Mismatch { .. } | FetchError::WrongLength { .. } => Exit::Digest,
        FetchError::Offline { .. } => Exit::Offline,
        FetchError::Lacking { .. } | FetchError::NoArchive { .. } | FetchError::DiskFull { .. } => Exit::HostUnfit,
        _ => Exit::Download,
    };
    let failure = Failure::new(exit, error.id(), "fetch what the lab uses").because(error);
    match error.remedy() {
        Some(remedy) => failure.hint(remedy),
        None => failure,
    }
}
