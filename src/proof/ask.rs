//! How nodes are asked, and the containers made for asking, which go when the proof ends.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::command::{Argv, Output};
use crate::lab::name::PerNode;
use crate::node::container;

/// A way to ask one node.
#[async_trait]
pub trait Ask: Send + Sync {
    /// Run `argv` there as root and give its output, or say why the node could not be asked within `limit`.
    async fn ask(&self, argv: &Argv, limit: Duration) -> Result<Output, String>;
}

/// One way to ask each node.
pub type Askers = PerNode<Arc<dyn Ask>>;

/// The proof's containers, which must not outlive it.
pub(super) struct Raised<'a> {
    nonce: String,
    askers: &'a Askers,
    /// Whether any may have been made.
    pub(super) needed: bool,
}

impl<'a> Raised<'a> {
    /// None so far, for the proof `nonce`.
    pub(super) fn none(nonce: &str, askers: &'a Askers) -> Self {
        Self { nonce: nonce.into(), askers, needed: false }
    }

    /// Tell the nodes to remove them.
    pub(super) async fn remove(mut self) {
        if std::mem::take(&mut self.needed) {
            let argv = container::farewell(&self.nonce);
            // One that cannot be told now ends by itself and is swept after the next proof.
            futures::future::join_all(self.askers.values().map(|asker| asker.ask(&argv, Duration::from_secs(10))))
                .await;
        }
    }
}

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        if !self.needed {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            for asker in self.askers.values() {
                let (asker, argv) = (Arc::clone(asker), container::farewell(&self.nonce));
                runtime.spawn(async move { asker.ask(&argv, Duration::from_secs(10)).await });
            }
        }
    }
}
