//! `pack`: a lab with its lock, templates and every byte it uses as one file.

use std::path::Path;

use crate::artifact::cache::Cache;
use crate::artifact::image;
use crate::artifact::pack::{self, Bytes, Contents, Existing, PackError, Piece, Place};
use crate::event::{Event, Step};
use crate::failure::{Exit, Failure};
use crate::lab::pin::{Arch, Pin};

use super::cx::Cx;
use super::draft::unread;
use super::fetch::{self, Archs, Survey, own_lock};
use super::labs::LabsError;
use super::table::bytes;

/// Pack `lab` into `file`; gives its length. What is missing is fetched first.
pub async fn pack(cx: &Cx<'_>, lab: &str, file: &Path, existing: Existing) -> Result<u64, Failure> {
    if existing == Existing::Keep && file.symlink_metadata().is_ok() {
        return Err(not_packed(&PackError::Exists { path: file.into() }));
    }
    let survey = fetch::survey(cx, lab, Archs::Nodes).await?;
    if !survey.missing.is_empty() {
        let name = &survey.draft.lab.name;
        let names: Vec<&str> = survey.missing.iter().map(|wanted| wanted.name.as_str()).collect();
        return Err(Failure::new(Exit::LabInvalid, "lock.incomplete", format!("pack the lab {name}"))
            .because_text(format!("its lock has no digest for {}", names.join(", ")))
            .hint(format!("calicolab lock {name}")));
    }
    let steps = vec![Step::Fetch, Step::Pack];
    cx.events.tell(Event::Begin { verb: "pack".into(), cluster: survey.draft.lab.name.to_string(), steps });
    fetch::offline(cx, &survey.lines)?;
    let bringing = async {
        fetch::bring(cx, &survey).await?;
        Ok(((), format!("{} there, digests right", super::cx::counted(survey.lines.len(), "file"))))
    };
    Box::pin(cx.step(Step::Fetch, bringing)).await?;
    let packing = async {
        let contents = contents(cx, &survey).await?;
        let members = contents.pieces.len();
        let length = pack::write(contents, file, existing, &cx.events).await.map_err(|error| not_packed(&error))?;
        Ok((length, format!("{}: {members} files, {}", file.display(), bytes(length))))
    };
    Box::pin(cx.step(Step::Pack, packing)).await
}

/// Everything that the pack of a lab holds.
async fn contents(cx: &Cx<'_>, survey: &Survey) -> Result<Contents, Failure> {
    let draft = &survey.draft;
    let lab = draft.lab.name.clone();
    let library = |error| unread(&LabsError::Library(error));
    let images = cx.library.images().map_err(library)?;
    let mut parts = cx.library.parts(&draft.lab, &images).map_err(library)?;
    // The lock that is in effect, the user's own where there is one.
    if let Some(lock) = cx.library.lock_text(&lab, Some(&own_lock(cx, &lab))).map_err(library)? {
        parts.insert(format!("labs/{lab}/lock.yaml"), lock.text.into_bytes());
    }
    let mut pieces = Vec::new();
    for (path, text) in parts {
        let place = Place::parse(&path).ok_or_else(|| not_packed(&PackError::Name { name: path }))?;
        pieces.push(Piece { place, label: None, bytes: Bytes::Text(text) });
    }
    for pin in &survey.pins {
        pinned(&cx.cache, pin, &mut pieces).await?;
    }
    match image::pin(&draft.image) {
        Some(pin) => pinned(&cx.cache, &pin, &mut pieces).await?,
        None => built(cx, survey, &mut pieces)?,
    }
    pieces.sort_by(|a, b| a.place.cmp(&b.place));
    pieces.dedup_by(|a, b| a.place == b.place);
    Ok(Contents { lab, arch: Arch::NODE, pieces })
}

/// The files of a pin.
async fn pinned(cache: &Cache, pin: &Pin, pieces: &mut Vec<Piece>) -> Result<(), Failure> {
    let gone = || {
        Failure::new(Exit::Unexpected, "pack.gone", format!("pack {}", pin.name))
            .because_text("it was removed from the cache meanwhile")
    };
    let files = fetch::files(cache, pin).await.map_err(|error| super::fetch::not_fetched(&error))?;
    for (digest, _) in files.ok_or_else(gone)? {
        let path = cache.file(&digest);
        let failed = |source| not_packed(&PackError::Io { doing: format!("reading {}", path.display()), source });
        let bytes = std::fs::metadata(&path).map_err(failed)?.len();
        let label = Some(format!("{} {}", pin.name, pin.version));
        pieces.push(Piece {
            place: Place::Entry(digest),
            label,
            bytes: Bytes::File { path, digest, bytes, disk: false },
        });
    }
    Ok(())
}

/// The files of the image that was built.
fn built(cx: &Cx<'_>, survey: &Survey, pieces: &mut Vec<Piece>) -> Result<(), Failure> {
    let image = &survey.draft.image;
    let recipe = image::recipe(&cx.library, image).map_err(|error| super::fetch::not_fetched(&error))?;
    let gone = || {
        Failure::new(Exit::Unexpected, "image.gone", "pack the OS image")
            .because_text(format!("image {} was removed from the cache meanwhile", image.name))
    };
    let kept = image::kept(&cx.cache, &recipe).ok_or_else(gone)?;
    for file in image::FILES {
        let (path, disk) = (kept.folder.join(file), file == image::DISK);
        let digest = *kept.files.get(file).ok_or_else(gone)?;
        // What the disk takes here, not what it shows.
        let bytes = std::fs::metadata(&path).map(|meta| std::os::unix::fs::MetadataExt::blocks(&meta) * 512);
        let bytes = Bytes::File { path, digest, bytes: bytes.unwrap_or(0), disk };
        let label = Some(format!("image {}: {file}", image.name));
        pieces.push(Piece { place: Place::Image { folder: kept.name(), file }, label, bytes });
    }
    Ok(())
}

/// A pack that could not be made, in the words and with the code of the command line.
fn not_packed(error: &PackError) -> Failure {
    told(error, "pack the lab")
}

/// A failure of a pack in the words and with the code of the command line.
pub fn told(error: &PackError, doing: &str) -> Failure {
    let exit = match error {
        PackError::NotAPack { .. } | PackError::Schema { .. } => Exit::Usage,
        PackError::Truncated { .. }
        | PackError::Damaged { .. }
        | PackError::Lies { .. }
        | PackError::Name { .. }
        | PackError::List { .. }
        | PackError::Altered { .. } => Exit::Digest,
        PackError::Exists { .. } | PackError::Busy { .. } => Exit::Conflict,
        PackError::DiskFull { .. } => Exit::HostUnfit,
        PackError::Cache { source } => return super::fetch::not_fetched(source),
        PackError::Io { .. } => Exit::Unexpected,
    };
    let failure = Failure::new(exit, error.id(), doing).because(error);
    match error.remedy() {
        Some(remedy) => failure.hint(remedy),
        None => failure,
    }
}
