//! One node's machine: its files, the intent on disk, the process, and its first sign of life.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::accel::QEMU;
use super::args::{Spec, text};
use super::files::Files;
use super::process::Identity;
use super::qmp::Qmp;
use crate::command::{self, Argv, Ended};
use crate::durable;
use crate::lab::name::NodeName;
use crate::machine::{Image, ProviderError, Seed, boot_mark, failed};
use crate::wait::{Asked, Patience, WaitError, until};

/// What `process.json` holds: written before the process is started, and again when it has a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Version of this file.
    pub schema: u32,
    /// `LABEL/NODE`, which the process carries.
    pub name: String,
    /// When the start was decided.
    pub since: jiff::Timestamp,
    /// The process; `null` while it is only meant to be.
    pub process: Option<Identity>,
}

impl Record {
    /// The one of a node, if there is one that can be read.
    pub fn read(files: &Files) -> Option<Self> {
        serde_json::from_slice(&fs::read(&files.record).ok()?).ok()
    }

    fn write(&self, files: &Files) -> Result<(), ProviderError> {
        let text = serde_json::to_vec_pretty(self).map_err(io::Error::from);
        text.and_then(|text| durable::write(&files.record, &text, 0o600)).map_err(failed("writing", &files.record))
    }
}

/// How a QEMU that was started by this program ended, once it has.
pub type Run = watch::Receiver<Option<Ended>>;

/// A process that exists from here on.
#[derive(Debug)]
pub struct Started {
    /// Its number.
    pub pid: u32,
    /// Its end, when it comes.
    pub run: Run,
    record: Record,
}

impl Started {
    /// Write down which process it is. One that has ended already leaves the intent as it is.
    pub fn remember(mut self, files: &Files) -> Result<Run, ProviderError> {
        self.record.process = Identity::of(self.pid)
            .map_err(|source| ProviderError::Io { doing: format!("looking at process {}", self.pid), source })?;
        self.record.write(files)?;
        Ok(self.run)
    }
}

/// Lay the node's folder and disks, where they are not there yet.
pub async fn lay(files: &Files, seed: &Seed, image: &Image, disk_mib: u64) -> Result<(), ProviderError> {
    lay_beside(files, seed).await?;
    if files.disk().exists() { Ok(()) } else { overlay(files, image, disk_mib).await }
}

/// Lay the node's folder and the seed's disk.
pub async fn lay_beside(files: &Files, seed: &Seed) -> Result<(), ProviderError> {
    durable::private_folder(&files.folder).map_err(failed("making", &files.folder))?;
    let (ours, path) = (seed.clone(), files.seed.clone());
    let written = tokio::task::spawn_blocking(move || ours.write_disk(&path)).await;
    written.map_err(io::Error::other).flatten().map_err(failed("writing", &files.seed))
}

/// Made under another name and renamed: an overlay that is there is complete.
pub async fn overlay(files: &Files, image: &Image, disk_mib: u64) -> Result<(), ProviderError> {
    const LIMIT: Duration = Duration::from_secs(60);
    let part = files.overlay.with_extension("part");
    let base = text(&image.disk).map_err(failed("using", &image.disk))?;
    let size = base_size(image).await?.max(disk_mib << 20);
    let argv = Argv::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-F", image.format, "-b"])
        .arg(base)
        .arg(text(&part).map_err(failed("using", &part))?)
        .arg(size.to_string());
    said(&argv, LIMIT, || format!("making the disk {}", files.overlay.display())).await?;
    // The guest's disk holds its keys.
    let ours = fs::set_permissions(&part, fs::Permissions::from_mode(0o600));
    ours.and_then(|()| fs::rename(&part, &files.overlay)).map_err(failed("making", &files.overlay))
}

/// Bytes of the image as a guest sees it: an overlay must not cut it short.
async fn base_size(image: &Image) -> Result<u64, ProviderError> {
    const LIMIT: Duration = Duration::from_secs(20);
    #[derive(Deserialize)]
    struct Info {
        #[serde(rename = "virtual-size")]
        size: u64,
    }
    let disk = text(&image.disk).map_err(failed("using", &image.disk))?;
    let argv = Argv::new("qemu-img").args(["info", "--output=json", "-f", image.format]).arg(disk);
    let answer = said(&argv, LIMIT, || format!("reading the image {}", image.disk.display())).await?;
    let info: Info = serde_json::from_str(&answer)
        .map_err(io::Error::from)
        .map_err(failed("reading qemu-img's word on", &image.disk))?;
    Ok(info.size)
}

/// What a program of the host said, or its failure with what was being done.
pub async fn said(argv: &Argv, limit: Duration, doing: impl Fn() -> String) -> Result<String, ProviderError> {
    let output = command::run(argv, limit).await.and_then(|output| output.success(argv));
    output.map_err(|source| ProviderError::Command { doing: doing(), source })
}

/// Start the process: intent on disk, mark on the console, process. Nothing in here is awaited, so no interrupt can
/// come between.
pub fn start(spec: &Spec<'_>) -> Result<Started, ProviderError> {
    let files = spec.files;
    let argv = spec.argv().map_err(failed("writing the arguments for", &files.folder))?;
    durable::write(&files.argv, format!("{argv}\n").as_bytes(), 0o600).map_err(failed("writing", &files.argv))?;
    let record = Record { schema: 1, name: spec.name.into(), since: jiff::Timestamp::now(), process: None };
    record.write(files)?;
    let mut console = open(&files.console, true)?;
    console.write_all(boot_mark(record.since).as_bytes()).map_err(failed("writing", &files.console))?;
    // A socket of an earlier process would be taken for a machine that does not answer.
    match fs::remove_file(&files.qmp) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("removing", &files.qmp)(error)),
        _ => {}
    }
    let log = open(&files.log, false)?;
    let child = tokio::process::Command::new(argv.program())
        .args(&argv.words()[1..])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(failed("opening", &files.log))?)
        .stderr(log)
        // A group of its own: Ctrl-C in our terminal is for us. What we hold open, locks above all, is closed on exec.
        .process_group(0)
        .spawn();
    let mut child = child.map_err(|source| ProviderError::Command {
        doing: "starting QEMU".into(),
        source: command::CommandError::Start { argv: argv.clone(), source },
    })?;
    let pid = child.id().expect("a child that nobody waited for has a number");
    let (tell, run) = watch::channel(None);
    // Dropping the child's handle would not end it: QEMU lives on after us.
    tokio::spawn(async move {
        let ended = child.wait().await.map_or_else(|error| Ended::Signal(error.to_string()), command::ended);
        tell.send_replace(Some(ended));
    });
    Ok(Started { pid, run, record })
}

/// Wait until QEMU has made its machine (it greets on its socket then) and says `wanted` of it, or has ended.
pub async fn settled(
    node: &NodeName,
    files: &Files,
    mut run: Run,
    wanted: &str,
    limit: Duration,
) -> Result<(), ProviderError> {
    const PAUSE: Duration = Duration::from_millis(20);
    let greeted = until(Patience { limit, pause: PAUSE }, || async {
        let status = match Qmp::connect(&files.qmp, limit).await {
            Ok(mut qmp) => qmp.status().await,
            Err(error) => Err(error),
        };
        match status {
            Ok(status) if status == wanted => Asked::Yes(()),
            Ok(status) => Asked::NotYet(format!("its machine is {status}")),
            Err(error) => Asked::NotYet(error.to_string()),
        }
    });
    tokio::select! {
        biased;
        ended = run.wait_for(Option::is_some) => {
            let how = ended.ok().and_then(|ended| ended.clone()).map_or_else(|| "ended".into(), |ended| ended.to_string());
            Err(ProviderError::Died { node: node.clone(), how: format!("{QEMU} {how}"), last_words: files.last_words() })
        }
        greeted = greeted => greeted.map_err(|why| ProviderError::Control {
            node: node.clone(),
            what: match why {
                WaitError::TimedOut { after, last } => format!("QEMU is not ready after {} s: {last}", after.as_secs()),
                WaitError::Never { why } => why,
            },
        }),
    }
}

/// For this user alone; appended to, or emptied.
pub fn open(path: &Path, append: bool) -> Result<fs::File, ProviderError> {
    let mut options = OpenOptions::new();
    options.create(true).mode(0o600).append(append).write(true).truncate(!append);
    options.open(path).map_err(failed("opening", path))
}
