//! What all transfers of a run share: the connections, how many may be at work, and who does not answer.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use reqwest::Client;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::http;
use super::mirror::Address;

/// Transfers at once in all. More only share the same line.
const AT_ONCE: usize = 8;

/// Transfers at once from one host, which would take more for an attack.
const AT_ONCE_A_HOST: usize = 4;

/// What all transfers of a store share: the connections, and how many may be at work.
#[derive(Debug)]
pub(super) struct Line {
    client: OnceLock<Client>,
    all: Arc<Semaphore>,
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
    absent: Mutex<HashSet<String>>,
}

/// One of the transfers that a host, and this one, have at once.
#[derive(Debug)]
pub(super) struct Turn {
    _host: OwnedSemaphorePermit,
    _one: OwnedSemaphorePermit,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            client: OnceLock::new(),
            all: Arc::new(Semaphore::new(AT_ONCE)),
            hosts: Mutex::default(),
            absent: Mutex::default(),
        }
    }
}

impl Line {
    /// The connections, made when first needed.
    pub(super) fn client(&self) -> &Client {
        self.client.get_or_init(http::client)
    }

    fn host(&self, address: &Address) -> Arc<Semaphore> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let host = hosts.entry(address.host()).or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE_A_HOST)));
        Arc::clone(host)
    }

    /// A turn on the line to the host of `address`, until it is dropped. First come, first served, so it is asked for before
    /// anything else that has to be waited for: or the disk, not who made the list, would say which file is first.
    pub(super) async fn turn(&self, address: &Address) -> Turn {
        let host = self.host(address).acquire_owned().await.expect("no queue is ever closed");
        let one = Arc::clone(&self.all).acquire_owned().await.expect("no queue is ever closed");
        Turn { _host: host, _one: one }
    }

    /// Mirrors that did not answer, which no other file waits for.
    pub(super) fn absent(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.absent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
