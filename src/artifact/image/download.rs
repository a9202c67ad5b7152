//! An OS image that is downloaded: the disk out of the file as the upstream publishes it, kept unpacked.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{LIST, LIST_SCHEMA, List, build, sums};
use crate::artifact::FetchError;
use crate::artifact::cache::Cache;
use crate::artifact::error::{CANNOT_SERIALISE, Lacking, Refusal};
use crate::artifact::files::{self, blocking, failed, sha256_of};
use crate::artifact::member::Whole;
use crate::artifact::store::Store;
use crate::artifact::unpack::{self, Limits, Metered};
use crate::artifact::verified::Verified;
use crate::command::{Argv, CommandError, find, run};
use crate::durable;
use crate::event::{Events, Step};
use crate::lab::images::DiskFormat;
use crate::lab::pin::{Digest, Pin};

/// Raised when the same file shall give another disk.
const RECIPE: u32 = 1;

/// Disks are mostly zeros, so far more may come out of a file than of one for nodes.
const LIMITS: Limits = Limits { scanned: 128 << 30, member: 64 << 30, free: 4 << 30, ratio: 1000 };

const BLOCK: usize = 64 << 10;

/// The disk of a downloaded image.
#[derive(Clone, Debug)]
pub struct Disk {
    /// The disk, unpacked; of a file that needed no unpacking, the pinned file itself.
    pub path: PathBuf,
    /// `raw` or `qcow2`.
    pub format: &'static str,
}

/// The forms of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Raw,
    Qcow2,
}

impl Form {
    const ALL: [Self; 2] = [Self::Raw, Self::Qcow2];

    fn word(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Raw => super::DISK,
            Self::Qcow2 => "disk.qcow2",
        }
    }

    /// What `images.yaml` says.
    fn said(format: DiskFormat) -> Self {
        match format {
            DiskFormat::Raw => Self::Raw,
            // A box for libvirt holds one, and one for VirtualBox becomes one.
            DiskFormat::Qcow2 | DiskFormat::VagrantBox => Self::Qcow2,
        }
    }
}

/// The disk of a downloaded image: unpacked by an earlier run and still whole, or the pinned file itself where there is
/// nothing to unpack, or unpacked now, by one run while others wait.
pub(super) async fn ensure(
    store: &Store,
    image: &str,
    pin: &Pin,
    format: DiskFormat,
    events: &Events,
) -> Result<Disk, FetchError> {
    let (form, recipe) = (Form::said(format), recipe(pin, format));
    let folder = folder(store.cache(), image, pin);
    if let Some(disk) = look(&folder, recipe).await? {
        return Ok(disk);
    }
    let verified = store.ensure(pin, events).await?;
    let packed = Packed::of(&verified).map_err(failed(&format!("reading {}", pin.label()), verified.path(), 0))?;
    if packed == Packed::Not {
        sound(&verified.pin().name, verified.path(), form)?;
        return Ok(Disk { path: verified.path().into(), format: form.word() });
    }
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let _lock = files::lock(&store.cache().lock_file(&format!("image-{name}")), &pin.label(), events).await?;
    if let Some(disk) = look(&folder, recipe).await? {
        return Ok(disk);
    }
    if folder.exists() {
        events.warn(format!("{} was damaged in the cache; it is unpacked again", pin.label()));
        build::clear(&folder).await?;
    }
    events.progress(Step::Fetch, pin.label(), "unpacking the disk");
    let part = folder.with_file_name(format!(".{name}.part"));
    build::clear(&part).await?;
    let made = match unpack(&verified, packed, &part).await {
        Ok(got) if got == form => keep(&part, &folder, recipe, got).await,
        Ok(got) => Err(refused(&pin.name, format!("its disk is {}, not {} as said", got.word(), form.word()))),
        Err(error) => Err(error),
    };
    if let Err(error) = made {
        // The first failure is the one to tell; what cannot be cleared now is cleared by the next run.
        let _ = build::clear(&part).await;
        return Err(error);
    }
    events.subject_done(Step::Fetch, pin.label(), "unpacked");
    let disk = look(&folder, recipe).await?;
    disk.ok_or_else(|| refused(&pin.name, "what was unpacked is not what was kept".into()))
}

/// Whether the image can be had without a network, by names alone: nothing is hashed.
pub(super) fn cached(cache: &Cache, image: &str, pin: &Pin) -> bool {
    folder(cache, image, pin).join(LIST).exists() || cache.file(&pin.digest).exists()
}

fn folder(cache: &Cache, image: &str, pin: &Pin) -> PathBuf {
    cache.root().join("images").join(format!("{image}-{}", &pin.digest.hex()[..12]))
}

fn recipe(pin: &Pin, format: DiskFormat) -> Digest {
    sha256_of(format!("download {RECIPE} {} {}", pin.digest, Form::said(format).word()).as_bytes())
}

fn refused(image: &str, why: String) -> FetchError {
    FetchError::Refused { archive: image.into(), entry: String::new(), why: Refusal::Disk(why) }
}

/// How the disk lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packed {
    /// The file is the disk.
    Not,
    /// Compressed.
    Single,
    /// In a tar, compressed or not: a Vagrant box.
    Boxed,
}

impl Packed {
    fn of(file: &Verified) -> io::Result<Self> {
        let compressed = unpack::Packing::of(file.path())?.is_some();
        let begin = unpack::beginning(&mut unpack::open(file.path())?, 512)?;
        Ok(match (unpack::is_tar(&begin), compressed) {
            (true, _) => Self::Boxed,
            (false, true) => Self::Single,
            (false, false) => Self::Not,
        })
    }
}

/// Unpack into `part`, which does not exist yet, and say what form the disk has.
async fn unpack(verified: &Verified, packed: Packed, part: &Path) -> Result<Form, FetchError> {
    let making = failed(&format!("making {}", part.display()), part, verified.bytes());
    let scratch = part.join("unpacked");
    std::fs::create_dir_all(&scratch).map_err(&making)?;
    let (file, into) = (verified.clone(), scratch.clone());
    let disk = blocking(move || {
        let name = &file.pin().name;
        let whole = Whole { name, path: file.path(), bytes: file.bytes() };
        if packed == Packed::Single {
            single(whole, &into.join("disk"))
        } else {
            super::vagrant::disk(whole, &into, LIMITS)
        }
    });
    let disk = disk.await?;
    let image = &verified.pin().name;
    let form = match magic(&disk).map_err(&making)? {
        Magic::Vmdk => {
            convert(image, &disk, &part.join(Form::Qcow2.file())).await?;
            Form::Qcow2
        }
        other => {
            let form = if other == Magic::Qcow2 { Form::Qcow2 } else { Form::Raw };
            sound(image, &disk, form)?;
            std::fs::rename(&disk, part.join(form.file())).map_err(&making)?;
            form
        }
    };
    std::fs::remove_dir_all(&scratch).map_err(making)?;
    Ok(form)
}

/// What is compressed in a file; zeros become holes.
fn single(file: Whole<'_>, into: &Path) -> Result<PathBuf, FetchError> {
    let writing = failed(&format!("unpacking {}", file.name), into, file.bytes);
    let mut stream = Metered::new(unpack::open(file.path).map_err(&writing)?, file.bytes, LIMITS);
    let gauge = stream.gauge();
    let mut write = || {
        let mut out = File::create(into)?;
        let mut block = Vec::with_capacity(BLOCK);
        let mut length = 0;
        loop {
            block.clear();
            if stream.by_ref().take(BLOCK as u64).read_to_end(&mut block)? == 0 {
                break out.set_len(length);
            }
            length += block.len() as u64;
            if block.iter().any(|byte| *byte != 0) {
                out.write_all(&block)?;
            } else {
                out.seek(SeekFrom::Start(length))?;
            }
        }
    };
    write().map(|()| into.to_owned()).map_err(|error| match gauge.refused() {
        Some(why) => FetchError::Refused { archive: file.name.into(), entry: String::new(), why },
        None => writing(error),
    })
}

/// What the first bytes of a disk say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Magic {
    Qcow2,
    Vmdk,
    Other,
}

fn magic(disk: &Path) -> io::Result<Magic> {
    let begin = unpack::beginning(&mut File::open(disk)?, 4)?;
    Ok(match begin.as_slice() {
        b"QFI\xfb" => Magic::Qcow2,
        b"KDMV" => Magic::Vmdk,
        _ => Magic::Other,
    })
}

/// Whether the disk is what it is said to be and stands for itself: a qcow2 may name other files of this host, whose
/// bytes a guest would then read.
fn sound(image: &str, disk: &Path, form: Form) -> Result<(), FetchError> {
    let reading = failed(&format!("reading {image}"), disk, 0);
    let found = magic(disk).map_err(&reading)?;
    if (found == Magic::Qcow2) != (form == Form::Qcow2) {
        let is = if found == Magic::Qcow2 { "is" } else { "is not" };
        return Err(refused(image, format!("it is said to be {}, and {is} qcow2", form.word())));
    }
    if form == Form::Raw {
        return Ok(());
    }
    let mut header = [0; 80];
    File::open(disk).and_then(|file| file.read_exact_at(&mut header, 0)).map_err(reading)?;
    let word = |at: usize| u64::from_be_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    let version = u32::from_be_bytes(header[4..8].try_into().expect("four bytes"));
    // Where the name of another disk stands, and of version 3 the feature bit for data in another file.
    if word(8) != 0 || (version >= 3 && word(72) & 4 != 0) {
        return Err(refused(image, "its qcow2 lies over another file".into()));
    }
    Ok(())
}

/// `VirtualBox`'s own format to QEMU's.
async fn convert(image: &str, from: &Path, to: &Path) -> Result<(), FetchError> {
    const LIMIT: Duration = Duration::from_secs(1800);
    if find("qemu-img").is_none() {
        let remedy = "sudo apt-get install qemu-utils".into();
        let what = "the program qemu-img, which turns VirtualBox's disks into QEMU's".into();
        return Err(FetchError::Lacking { lacks: vec![Lacking { id: "image.qemu-img", what, remedy }] });
    }
    let (from, to) = (from.display().to_string(), to.display().to_string());
    let failed =
        |source: CommandError| FetchError::Command { doing: format!("converting the disk of {image}"), source };
    let info = Argv::new("qemu-img").args(["info", "--output=json", "-f", "vmdk"]).arg(&from);
    let said = run(&info, LIMIT).await.and_then(|output| output.success(&info)).map_err(failed)?;
    let alone = serde_json::from_str::<serde_json::Value>(&said).is_ok_and(|said| {
        let extents = &said["format-specific"]["data"]["extents"];
        said["backing-filename"].is_null()
            && extents.as_array().is_some_and(|all| all.len() == 1 && all[0]["filename"] == from.as_str())
    });
    if !alone {
        return Err(refused(image, "its vmdk lies over another file".into()));
    }
    let argv = Argv::new("qemu-img").args(["convert", "-q", "-f", "vmdk", "-O", "qcow2"]).arg(from).arg(to);
    run(&argv, LIMIT).await.and_then(|output| output.success(&argv)).map(drop).map_err(failed)
}

/// Hash the disk, list it, and give the folder its name.
async fn keep(part: &Path, folder: &Path, recipe: Digest, form: Form) -> Result<(), FetchError> {
    let (from, to) = (part.to_owned(), folder.to_owned());
    let kept = blocking(move || {
        let path = from.join(form.file());
        File::open(&path)?.sync_all()?;
        files::read_only(&path)?;
        let files = [(form.file().to_owned(), sums(&path)?.0)].into();
        let list = List { schema: LIST_SCHEMA, recipe, built: jiff::Timestamp::now(), files };
        durable::write(&from.join(LIST), &serde_json::to_vec_pretty(&list).expect(CANNOT_SERIALISE), 0o644)?;
        std::fs::rename(&from, &to)?;
        File::open(to.parent().unwrap_or(&to))?.sync_all()
    });
    kept.await.map_err(failed(&format!("keeping {}", folder.display()), folder, 0))
}

/// The disk in `folder`, if it is there and whole.
async fn look(folder: &Path, recipe: Digest) -> Result<Option<Disk>, FetchError> {
    let at = folder.to_owned();
    let read = move || {
        let Some(list) = super::listed(&at, recipe)? else { return Ok(None) };
        for form in Form::ALL {
            let path = at.join(form.file());
            let Some(wanted) = list.files.get(form.file()) else { continue };
            return match sums(&path) {
                Ok((got, _)) => Ok((got == *wanted).then_some(Disk { path, format: form.word() })),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            };
        }
        Ok(None)
    };
    blocking(read).await.map_err(failed(&format!("reading {}", folder.display()), folder, 0))
}
