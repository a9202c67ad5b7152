//! The cache as one lab uses it: what is there, and the ways to what is not.

use std::sync::Arc;

use super::apt::Archive;
use super::cache::Cache;
use super::http::Manner;
use super::line::Line;
use super::mirror::Mirrors;
use super::oci::Logins;
use crate::lab::name::LabName;

/// Whether connections may be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// They may.
    Online,
    /// Only what is in the cache may be used.
    Offline,
}

/// The cache as one lab uses it.
#[derive(Clone, Debug)]
pub struct Store {
    cache: Cache,
    lab: LabName,
    reach: Reach,
    archive: Archive,
    manner: Manner,
    mirrors: Mirrors,
    logins: Logins,
    line: Arc<Line>,
}

impl Store {
    /// The cache for `lab`, which errors name; Debian packages come out of `archive`.
    pub fn new(cache: Cache, lab: LabName, reach: Reach, archive: Archive) -> Self {
        let (manner, mirrors, line) = (Manner::default(), Mirrors::default(), Arc::default());
        Self { cache, lab, reach, archive, manner, mirrors, logins: Logins::from_env(), line }
    }

    /// The same with logins to registries from elsewhere than the user's own files.
    #[must_use]
    pub fn with_logins(mut self, logins: Logins) -> Self {
        self.logins = logins;
        self
    }

    /// The same with mirrors, which are asked before any upstream.
    #[must_use]
    pub fn with_mirrors(mut self, mirrors: Mirrors) -> Self {
        self.mirrors = mirrors;
        self
    }

    /// The same with other patience for servers.
    #[must_use]
    pub fn with_manner(mut self, manner: Manner) -> Self {
        self.manner = manner;
        self
    }

    /// The folder behind it.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Whether it may open connections.
    pub fn reach(&self) -> Reach {
        self.reach
    }

    pub(super) fn lab(&self) -> &LabName {
        &self.lab
    }

    pub(super) fn archive(&self) -> &Archive {
        &self.archive
    }

    pub(super) fn logins(&self) -> &Logins {
        &self.logins
    }

    pub(super) fn mirrors(&self) -> &Mirrors {
        &self.mirrors
    }

    pub(super) fn manner(&self) -> Manner {
        self.manner
    }

    pub(super) fn line(&self) -> &Line {
        &self.line
    }
}
