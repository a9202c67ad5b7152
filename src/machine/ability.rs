//! What some providers can do beside the six verbs: hold machines still, keep them as they are, bring them back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Found, Machine, Order, Place, ProviderError};
use crate::lab::name::{NodeName, PerNode};

/// Holds machines still and lets them run on. A provider that can says so by [`Provider::pauses`](super::Provider::pauses).
#[async_trait]
pub trait Pause: Send + Sync {
    /// When it returns, all machines of the cluster stand still: their processors, and so the time that their own timers
    /// count. All are told before any is waited for. If one cannot be held, or does not run, those that were held by this
    /// call run on, and the error names it. One that stands still already is fine.
    async fn pause(&self, place: &Place) -> Result<(), ProviderError>;

    /// When it returns, no machine of the cluster stands still; all are told at once, and every error is gathered. Fine
    /// where none did, and where there is none. Also heals what a killed [`pause`](Self::pause) or [`Save::save`] left.
    async fn resume(&self, place: &Place) -> Result<(), ProviderError>;
}

/// Keeps all machines of a cluster as they are at one moment, and brings them back. A provider that can says so by
/// [`Provider::saves`](super::Provider::saves).
#[async_trait]
pub trait Save: Pause {
    /// What machines that are saved on this host can be brought back by: all of it must be the same then. Keys and
    /// values are for people, too (`QEMU` → `7.2.22`).
    async fn fit(&self) -> BTreeMap<String, String>;

    /// Keep these machines, which must all run. They are held still together for as short as can be, and run on when
    /// it returns, with an error too. After an error nothing of the point is kept that [`tidy`](Self::tidy) would not
    /// remove. What is written to files is whole, but not yet synced.
    async fn save(&self, place: &Place, nodes: &[NodeName], slot: &Slot<'_>) -> Result<Saved, ProviderError>;

    /// Bring the machines back as they were saved, under the ports and the wire of this order; machines of the cluster
    /// that exist are ended first and what they wrote since is lost. What was saved stays as it is, to be brought back
    /// again. All run on together when it returns, their clocks as late as the time that went by. Tells of each machine
    /// as it comes to exist. After an error, calling it again is all that is needed.
    async fn restore(
        &self,
        order: &Order<'_>,
        saved: &Saved,
        slot: &Slot<'_>,
        found: &mut Found<'_>,
    ) -> Result<PerNode<Machine>, ProviderError>;

    /// Remove what was saved of this cluster and is of none of `kept`, found by what is there and not by memory, but
    /// nothing that a machine or one of `kept` still stands on. Files in a point's own folder are their keeper's affair.
    /// Safe to repeat.
    async fn tidy(&self, place: &Place, shared: &Path, kept: &[Saved]) -> Result<(), ProviderError>;
}

/// Begins machines from one that was booted once to where it waits for its seed, and was saved there. A provider that can
/// says so by [`Provider::warms`](super::Provider::warms).
#[async_trait]
pub trait Warm: Save {
    /// Boot a machine like that of `node`, with a disk in which nothing is but that the seed is still to come, until it
    /// waits for it, at most so long; and save it into `folder`, which is there, for this user alone, and empty. It holds
    /// no key and has no name. Nothing of it runs when this returns, nor when it is dropped.
    async fn template(
        &self,
        order: &Order<'_>,
        node: &NodeName,
        folder: &Path,
        limit: Duration,
    ) -> Result<(), ProviderError>;

    /// All machines of an order, none of which exists, from folders that [`template`](Self::template) filled for such
    /// ones: each takes its own seed as if it had booted with it. What is in the folders is only read, and not needed
    /// any more when this returns. Tells of each machine as it comes to exist.
    async fn boot_from(
        &self,
        order: &Order<'_>,
        templates: &PerNode<PathBuf>,
        found: &mut Found<'_>,
    ) -> Result<PerNode<Machine>, ProviderError>;
}

/// Where a provider puts what it saves of one point.
#[derive(Clone, Copy, Debug)]
pub struct Slot<'a> {
    /// The point's id, unlike any other's, of a-z, 0-9 and `-`: for what has a name and no file.
    pub id: &'a str,
    /// The point's own folder, for this user alone; it is there. What lies in it goes with the point.
    pub folder: &'a Path,
    /// The folder, in the same file system and two below the cluster's, for what several points of the cluster may stand
    /// on; it is there.
    pub shared: &'a Path,
}

/// What was saved, as the provider must be told of it to bring it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The id it was saved under.
    pub id: String,
    /// How long the machines stood still: from the first that was told to stop to the last that ran on.
    pub paused: Duration,
    /// How long it took until all stood still, from when the first was told.
    pub spread: Duration,
    /// The files that were written or are stood on. Empty where the provider keeps them itself.
    pub parts: Vec<Part>,
    /// What is not kept, each in a sentence for people (`memory is not kept: every process starts anew`).
    pub lost: Vec<String>,
}

/// One file of what was saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The node it is of.
    pub node: NodeName,
    /// What it is.
    pub role: Role,
    /// Where it lies.
    pub lies: Lies,
    /// Its name there.
    pub file: PathBuf,
}

/// What a file of a point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The machine's memory and the state of its devices.
    Memory,
    /// A disk, or what was changed of one; where there are several of a node, each stands on the next.
    Disk,
}

/// Where a file of a point lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lies {
    /// In [`Slot::folder`].
    Own,
    /// In [`Slot::shared`].
    Shared,
}
