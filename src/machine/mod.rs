//! Machine providers: six verbs, and nothing of SSH, downloads, Kubernetes or BGP.

pub mod ability;
mod choose;
pub mod incus;
mod names;
pub mod qemu;
pub mod seed;
pub mod sweep;
mod uplink;
pub mod vagrant;

pub use crate::guest::{Kind, Leased, Machine, Target};
pub use choose::{Choice, ChooseError, choose};

pub use names::Names;
use uplink::Uplink;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::command::CommandError;
use crate::event::Events;
use crate::lab::name::{ClusterName, NodeName, PerNode};
use crate::lab::placement::Away;
use crate::lab::plan::Plan;

/// A cluster as its provider needs it: names for labels, folders for files, ports that are leased already.
#[derive(Clone, Debug)]
pub struct Place {
    /// The cluster's name.
    pub cluster: ClusterName,
    /// What everything this cluster makes on the host is labelled with: `calicolab/<home>/<cluster>`, where
    /// `<home>` tells this user's state directory from any other.
    pub label: String,
    /// The cluster's own folder; a provider's files lie in `vm/NODE/` below it.
    pub folder: PathBuf,
    /// A short folder of this cluster for sockets (their paths may have at most 107 bytes).
    pub sockets: PathBuf,
    /// Where happenings are told.
    pub events: Events,
}

impl Place {
    /// The folder of one node's files.
    pub fn vm(&self, node: &NodeName) -> PathBuf {
        self.folder.join("vm").join(node.as_str())
    }
}

/// The bytes of an OS image on this host, verified or built in this run.
#[derive(Clone, Debug)]
pub struct Image {
    /// Whole disk (raw or qcow2), never written to.
    pub disk: PathBuf,
    /// `raw` or `qcow2`.
    pub format: &'static str,
    /// Kernel and initrd beside it, where the image has them for direct boot.
    pub boot: Option<DirectBoot>,
    /// The image's root tree, where it was built here (what containers are made from).
    pub tree: Option<Tree>,
    /// The user that cloud-config makes or the image has.
    pub user: String,
}

/// A root tree as a tar, hashed in this run.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Where it lies.
    pub path: PathBuf,
    /// Its SHA-256, in hex.
    pub sha256: String,
}

/// What machines are made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageForm {
    /// A whole disk.
    Disk,
    /// A root tree as a tar.
    Tree,
}

/// What a machine needs to start without a boot loader.
#[derive(Clone, Debug)]
pub struct DirectBoot {
    /// The kernel.
    pub kernel: PathBuf,
    /// The initrd.
    pub initrd: PathBuf,
    /// The kernel's command line.
    pub cmdline: String,
}

/// What a node is told at its first boot, and the read-only disk that comes with it.
#[derive(Clone, Debug)]
pub struct Seed {
    /// NoCloud `meta-data`.
    pub meta_data: String,
    /// NoCloud `user-data`: cloud-config.
    pub user_data: String,
    /// NoCloud `network-config`, where the image has a cloud-init that sets the cards by it.
    pub network_config: Option<String>,
    /// The host key it will present, in OpenSSH's public form (`ssh-ed25519 AAAA…`).
    pub host_key: String,
    /// The artifacts as a tar, attached as a read-only disk by providers that can.
    pub payload: Option<PathBuf>,
}

/// Whether a machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// It runs.
    Running,
    /// It exists and does not run.
    Off,
}

/// Something the host is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lack {
    /// Stable id (`qemu.missing`).
    pub id: String,
    /// What is missing.
    pub what: String,
    /// What to do about it: a command where there is one.
    pub remedy: String,
    /// Whether the lab could still run without it.
    pub bearable: bool,
}

/// How long something will take on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// Roughly how many seconds.
    pub seconds: u64,
    /// What that is reckoned from, in one line.
    pub why: String,
}

/// Why machines could not be made, found, started, stopped or removed.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// A machine died.
    #[error("{node} did not come up: {how}{}", tail(last_words))]
    Died {
        /// The node.
        node: NodeName,
        /// How its process ended.
        how: String,
        /// The last lines it wrote.
        last_words: String,
    },
    /// A program of the host failed.
    #[error("{doing} failed")]
    Command {
        /// What was being done.
        doing: String,
        /// The program's failure.
        source: CommandError,
    },
    /// A file or a process of the host failed us.
    #[error("{doing} failed")]
    Io {
        /// What was being done, with the path.
        doing: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A machine could not be spoken to by the provider's own way.
    #[error("{node}: {what}")]
    Control {
        /// The node.
        node: NodeName,
        /// What went wrong.
        what: String,
    },
    /// A daemon that makes machines does not answer.
    #[error("{why}")]
    Silent {
        /// Which, and in what way it is silent.
        why: String,
    },
    /// Its answer is not understood.
    #[error("the answer of {asked} is not understood")]
    Answer {
        /// Who was asked for what.
        asked: String,
        /// Where it ceases to be understood.
        source: serde_json::Error,
    },
    /// Something that is not ours has a name or an address that is needed.
    #[error("{what} is there already and is not this cluster's")]
    Taken {
        /// The thing.
        what: String,
    },
    /// Several things failed while tearing down; all were tried.
    #[error("{}", list(.0))]
    Several(Vec<ProviderError>),
}

impl ProviderError {
    /// Nothing if all went well, else every error as one.
    fn gathered(results: Vec<Result<(), Self>>) -> Result<(), Self> {
        let mut errors: Vec<_> = results.into_iter().filter_map(Result::err).collect();
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Several(errors)),
        }
    }
}

fn tail(last_words: &str) -> String {
    if last_words.trim().is_empty() { String::new() } else { format!("; its last words:\n{}", last_words.trim_end()) }
}

/// The failure of doing something with a file.
fn failed(doing: &str, path: &Path) -> impl FnOnce(std::io::Error) -> ProviderError + use<> {
    let doing = format!("{doing} {}", path.display());
    move |source| ProviderError::Io { doing, source }
}

fn list(errors: &[ProviderError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The machines that are wanted.
pub struct Order<'a> {
    /// Where they belong.
    pub place: &'a Place,
    /// Which, and how large.
    pub plan: &'a Plan,
    /// What they use of this host.
    pub leased: &'a Leased,
    /// What they are made from.
    pub image: &'a Image,
    /// What each is told at its first boot.
    pub seeds: &'a PerNode<Seed>,
}

/// Is told of each machine as it comes to exist. (A name of its own, since `async_trait` would give the two borrows
/// lifetimes of the whole call.)
pub type Found<'a> = dyn FnMut(&NodeName, &Machine) + Send + 'a;

/// Makes and removes machines. Every verb is safe to repeat.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Which one this is.
    fn kind(&self) -> Kind;

    /// One line on how machines will run here, or on the servers that are meant, and why (`software emulation: /dev/kvm
    /// opens, guests hang`).
    async fn describe(&self, away: Option<&Away>) -> String;

    /// Whether machines run slower here than this host could, because their processors are emulated.
    async fn emulates(&self) -> bool {
        false
    }

    /// What this provider makes machines from.
    fn image_form(&self, _plan: &Plan) -> ImageForm {
        ImageForm::Disk
    }

    /// What a machine's console said since its last start, of providers that keep it themselves; none where it is a
    /// file, and where nothing was made.
    async fn console(&self, _place: &Place, _node: &NodeName) -> Option<String> {
        None
    }

    /// What the host is missing for this plan, each with its remedy; changes nothing.
    async fn lacks(&self, plan: &Plan) -> Vec<Lack>;

    /// How long [`boot`](Self::boot) and the machines' own start will take here, where that can be said.
    async fn estimate(&self, _plan: &Plan) -> Option<Estimate> {
        None
    }

    /// Start what is not running, all at once, making what is not there; tells of each machine as it comes to
    /// exist. Returns when every machine's process runs; none need be ready.
    async fn boot(&self, order: &Order<'_>, found: &mut Found<'_>) -> Result<PerNode<Machine>, ProviderError>;

    /// What exists on this host under the cluster's label, by label and not by memory.
    async fn machines(&self, place: &Place) -> Result<Vec<(NodeName, Power)>, ProviderError>;

    /// A reason for which `node` will never become ready, if there is one by now (its process ended).
    async fn obituary(&self, place: &Place, node: &NodeName) -> Option<String>;

    /// End machines that were asked to power off and did not: asks by the provider's own way, then ends them.
    async fn stop(&self, place: &Place) -> Result<(), ProviderError>;

    /// Remove everything under the cluster's label; `Ok` when there is nothing; gathers every error.
    async fn destroy(&self, place: &Place) -> Result<(), ProviderError>;

    /// How it holds machines still, if it can.
    fn pauses(&self) -> Option<&dyn ability::Pause> {
        None
    }

    /// How it keeps machines as they are and brings them back, if it can.
    fn saves(&self) -> Option<&dyn ability::Save> {
        None
    }

    /// How it begins machines from one that waits for its seed, if it can.
    fn warms(&self) -> Option<&dyn ability::Warm> {
        None
    }

    /// How it finds what was left, if its machines can outlive their folders.
    fn sweeps(&self) -> Option<&dyn sweep::Sweep> {
        None
    }
}

/// The line that a provider writes to a console before each start of its machine.
pub fn boot_mark(at: jiff::Timestamp) -> String {
    format!("\n{BOOT_MARK} {at:.0}\n")
}

const BOOT_MARK: &str = "=== calicolab starts this machine at";

/// What a console says of the machine's last start; marks of earlier boots must not count for this one.
pub fn this_boot(console: &str) -> &str {
    let Some(mark) = console.rfind(BOOT_MARK) else { return console };
    console[mark..].split_once('\n').map_or("", |(_, said)| said)
}

/// The console's last `lines` lines of this boot, for errors; empty if there is no console.
pub fn console_tail(console: Option<&Path>, lines: usize) -> String {
    let Some(text) = console.and_then(|path| std::fs::read(path).ok()) else { return String::new() };
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = this_boot(&text).lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_boot_does_not_count() {
        let mark = || boot_mark(jiff::Timestamp::UNIX_EPOCH);
        let console = format!("{}READY one\n{}booting", mark(), mark());
        assert_eq!(this_boot(&console), "booting");
        assert_eq!(this_boot(&mark()), "");
        assert_eq!(this_boot("no mark"), "no mark");
    }
}
