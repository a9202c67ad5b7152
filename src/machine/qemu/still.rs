//! Machines held still together, and let run on.

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::Mutex;

use super::files::Files;
use super::qmp::{Qmp, QmpError, Stream};
use super::{RUNNING, laid, scan};
use crate::lab::name::NodeName;
use crate::machine::{Place, ProviderError};
use crate::wait::{Asked, Patience, until};

/// How long a QEMU may take to answer; some milliseconds where nothing else runs.
const ANSWER: Duration = Duration::from_secs(30);

/// QEMU's words for a machine that stands still and can run on: held, its memory sent away, its host's disk full.
const STILL: [&str; 4] = ["paused", "postmigrate", "finish-migrate", "io-error"];

/// A machine that QEMU answers for.
#[derive(Debug)]
pub struct Held {
    /// The node.
    pub node: NodeName,
    /// Its files.
    pub files: Files,
    /// The way to its QEMU, which nobody else has meanwhile.
    pub qmp: Qmp,
    /// How it stood when it was asked, in QEMU's words.
    pub status: String,
}

impl Held {
    /// QEMU's failure with its noun.
    pub fn failed(node: &NodeName) -> impl FnOnce(QmpError) -> ProviderError + use<> {
        let node = node.clone();
        move |error| ProviderError::Control { node, what: error.to_string() }
    }
}

/// All machines of a cluster that have a process, each by its own connection.
async fn all(place: &Place) -> Result<Vec<Held>, ProviderError> {
    let running = scan(place)?.into_iter().map(|(node, _)| async move {
        let files = Files::of(place, &node);
        let mut qmp = Qmp::connect(&files.qmp, ANSWER).await.map_err(Held::failed(&node))?;
        let status = qmp.status().await.map_err(Held::failed(&node))?;
        Ok(Held { node, files, qmp, status })
    });
    futures::future::try_join_all(running).await
}

/// The machines of these nodes, if all of them run.
pub async fn running(place: &Place, nodes: &[NodeName]) -> Result<Vec<Held>, ProviderError> {
    let all = all(place).await?;
    let known: HashSet<&NodeName> = all.iter().map(|held| &held.node).collect();
    let wrong = |node: &NodeName, what: String| Err(ProviderError::Control { node: node.clone(), what });
    if let Some(node) = nodes.iter().find(|node| !known.contains(node)) {
        return wrong(node, "its machine does not run".into());
    }
    if let Some(held) = all.iter().find(|held| held.status != RUNNING) {
        return wrong(&held.node, format!("its machine is {}", held.status));
    }
    Ok(all)
}

/// Stop them all; each is told before any is waited for.
pub async fn stop(machines: &mut [Held]) -> Result<(), ProviderError> {
    let stopped = machines.iter_mut().map(async |one| one.qmp.stop().await.map_err(Held::failed(&one.node)));
    ProviderError::gathered(futures::future::join_all(stopped).await)
}

/// Let them all run on. A stream of memory that still goes is broken off first: at its end QEMU would stop the machine
/// again.
pub async fn go(machines: &mut [Held]) -> Result<(), ProviderError> {
    let gone = machines.iter_mut().map(async |one| {
        let qmp = Mutex::new(&mut one.qmp);
        let ended = until(ENDED, async || {
            let mut qmp = qmp.lock().await;
            match qmp.stream().await {
                Ok(Stream::Ended | Stream::Failed { .. }) => Asked::Yes(()),
                // Again and again: a stream that has only begun does not listen yet.
                Ok(_) => match qmp.cancel().await {
                    Ok(()) => Asked::NotYet("its stream of memory does not end".into()),
                    Err(error) => Asked::Never(error.to_string()),
                },
                Err(error) => Asked::Never(error.to_string()),
            }
        });
        ended.await.map_err(|error| ProviderError::Control { node: one.node.clone(), what: error.to_string() })?;
        one.qmp.cont().await.map_err(Held::failed(&one.node))
    });
    ProviderError::gathered(futures::future::join_all(gone).await)
}

/// How long a stream may take to be broken off.
const ENDED: Patience = Patience { limit: Duration::from_secs(30), pause: Duration::from_millis(5) };

/// Hold all machines of a cluster; all that it has must run or stand still already.
pub async fn pause(place: &Place) -> Result<(), ProviderError> {
    let mut all = all(place).await?;
    for node in laid(place)? {
        if !all.iter().any(|held| held.node == node) {
            return Err(ProviderError::Control { node, what: "its machine does not run".into() });
        }
    }
    all.retain(|held| held.status == RUNNING);
    match stop(&mut all).await {
        Ok(()) => Ok(()),
        Err(error) => ProviderError::gathered(vec![Err(error), go(&mut all).await]),
    }
}

/// Let every machine of a cluster run on that stands still.
pub async fn resume(place: &Place) -> Result<(), ProviderError> {
    let mut still = all(place).await?;
    still.retain(|held| STILL.contains(&held.status.as_str()));
    go(&mut still).await
}
