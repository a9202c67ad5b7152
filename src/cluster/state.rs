//! What is remembered of one cluster, as `state.json`: its phase, its leases and its machines.

use std::fmt;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use jiff::Timestamp;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::StateError;
use crate::durable;
use crate::guest::{Kind, Leased, Machine};
use crate::lab::name::{ClusterName, LabName, NodeName};
use crate::lab::pin::Digest;
use crate::lab::placement::Away;
use crate::lab::plan::Plan;

/// Version of `state.json`.
pub const SCHEMA: u32 = 1;

/// Its file in the folder of a cluster.
pub(super) const STATE: &str = "state.json";

/// The folder of a cluster in a home.
pub(super) fn folder(root: &Path, cluster: &ClusterName) -> PathBuf {
    root.join("clusters").join(cluster.as_str())
}

/// The file of its state.
pub(super) fn state_file(root: &Path, cluster: &ClusterName) -> PathBuf {
    folder(root, cluster).join(STATE)
}

/// One cluster. What `down` needs comes first, so that it survives in the remains of a damaged file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterState {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Its name.
    pub name: ClusterName,
    /// Sixteen random hex digits: tells it from an earlier cluster of the same name. One that was brought back beside
    /// another has that one's, since its machines know themselves by it.
    pub id: String,
    /// Where its machines run.
    pub provider: Kind,
    /// How far it came.
    pub phase: Phase,
    /// When it was begun.
    pub created: Timestamp,
    /// When this file was last written.
    pub changed: Timestamp,
    /// Version of the calicolab that began it.
    pub calicolab: String,
    /// The lab it is made from.
    pub lab: LabName,
    /// Digest of the lab's files, where they were read from a folder or the binary.
    pub lab_digest: Option<Digest>,
    /// What was asked for beside the lab's file.
    pub wish: Wish,
    /// Its nodes, the master first.
    pub nodes: Vec<NodeName>,
    /// Its lab network.
    pub network: Ipv4Net,
    /// The ports and the wire leased to it; `None` until they are.
    pub leased: Option<Leased>,
    /// The machines that came to exist.
    pub machines: Vec<(NodeName, Machine)>,
    /// The last proof taken.
    pub last_proof: Option<LastProof>,
}

/// How far a cluster came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Phase {
    /// `up` is at work; or was, if nobody holds the lock.
    Raising,
    /// Proven.
    Ready {
        /// When the proof was complete.
        at: Timestamp,
    },
    /// Up, and some checks do not pass.
    Unproven {
        /// Ids of those checks, the earliest in the chain first.
        failing: Vec<String>,
    },
    /// A step before the proof failed.
    Failed {
        /// What was told.
        message: String,
    },
    /// Powered off by `stop`.
    Stopped,
    /// `down` is at work; or was, if nobody holds the lock.
    Destroying,
}

impl Phase {
    /// The word people see.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Raising => "raising",
            Self::Ready { .. } => "ready",
            Self::Unproven { .. } => "unproven",
            Self::Failed { .. } => "failed",
            Self::Stopped => "stopped",
            Self::Destroying => "destroying",
        }
    }

    /// Whether the phase is one in which somebody must be at work.
    pub fn needs_holder(&self) -> bool {
        matches!(self, Self::Raising | Self::Destroying)
    }
}

/// What was asked for beside the lab's file, as given on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// `--nodes`.
    pub nodes: Option<u8>,
    /// `--set`, each `KEY=VALUE`.
    pub sets: Vec<String>,
    /// `--vm`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub vm: bool,
    /// `--remote` and `--target`; none where the machines are on this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away: Option<Away>,
}

/// The last proof in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastProof {
    /// When it ended.
    pub at: Timestamp,
    /// Checks that passed.
    pub pass: u32,
    /// Checks that did not hold yet.
    pub not_yet: u32,
    /// Checks that cannot come to hold.
    pub never: u32,
    /// Checks whose nodes could not be asked.
    pub unknown: u32,
    /// The file that holds it.
    pub file: PathBuf,
}

impl LastProof {
    /// How many checks there were.
    pub fn total(&self) -> u32 {
        self.pass + self.not_yet + self.never + self.unknown
    }
}

impl ClusterState {
    /// A cluster that is begun now: nothing leased, no machine.
    pub fn begun(plan: &Plan, provider: Kind, wish: Wish, lab_digest: Option<Digest>) -> Self {
        let now = Timestamp::now();
        Self {
            schema: SCHEMA,
            name: plan.cluster.clone(),
            id: super::random_hex::<8>(),
            provider,
            phase: Phase::Raising,
            created: now,
            changed: now,
            calicolab: env!("CARGO_PKG_VERSION").into(),
            lab: plan.lab.clone(),
            lab_digest,
            wish,
            nodes: plan.nodes.names().cloned().collect(),
            network: plan.network.lab,
            leased: None,
            machines: Vec::new(),
            last_proof: None,
        }
    }

    /// Read the file at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, StateError> {
        let bytes = std::fs::read(path).map_err(StateError::io("read", path))?;
        let broken = |source| StateError::Broken { path: path.into(), source };
        let Head { schema } = serde_json::from_slice(&bytes).map_err(broken)?;
        if schema != u64::from(SCHEMA) {
            return Err(StateError::Schema { path: path.into(), found: schema });
        }
        serde_json::from_slice(&bytes).map_err(broken)
    }

    /// Replace the file at `path`: a reader sees the old or the new one, whole.
    pub(super) fn write(&self, path: &Path) -> Result<(), StateError> {
        let bytes =
            serde_json::to_vec_pretty(self).map_err(|source| StateError::Broken { path: path.into(), source })?;
        durable::write(path, &bytes, 0o600).map_err(StateError::io("written", path))
    }
}

#[derive(Deserialize)]
struct Head {
    schema: u64,
}

/// What `down` needs, read from a state of any schema, or from what is left of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Minimal {
    /// The schema it names.
    pub schema: Option<u64>,
    /// The cluster's id.
    pub id: Option<String>,
    /// The provider, if this calicolab knows it.
    pub provider: Option<Kind>,
}

impl Minimal {
    /// What can be had from these bytes; nothing is had from nothing.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut found = Self::default();
        // The error is the end of what can be read; what came before it counts.
        let _ = Gather(&mut found).deserialize(&mut serde_json::Deserializer::from_slice(bytes));
        found
    }
}

/// Keeps what it met even when the text ends in the middle.
struct Gather<'a>(&'a mut Minimal);

impl<'de> DeserializeSeed<'de> for Gather<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Gather<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a cluster's state")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "schema" => self.0.schema = map.next_value::<serde_json::Value>()?.as_u64(),
                "id" => self.0.id = map.next_value::<serde_json::Value>()?.as_str().map(Into::into),
                "provider" => self.0.provider = serde_json::from_value(map.next_value()?).ok(),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    fn read_text(text: &[u8]) -> Result<ClusterState, StateError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(STATE);
        std::fs::write(&path, text).expect("written");
        ClusterState::read(&path)
    }

    #[test]
    fn what_is_written_is_read() {
        let state = example::state("demo");
        let text = serde_json::to_vec(&state).expect("it is JSON");
        assert!(text.starts_with(br#"{"schema":1,"#), "the schema comes first");
        assert_eq!(read_text(&text).expect("it is whole"), state);
    }

    #[test]
    fn another_schema_is_named_and_still_gives_what_down_needs() {
        let text = br#"{"schema":7,"name":"demo","id":"00ff","provider":"qemu","phase":{"floats":true},"worlds":[]}"#;
        let error = read_text(text).expect_err("an unknown schema");
        assert!(matches!(error, StateError::Schema { found: 7, .. }), "{error}");
        let all = Minimal { schema: Some(7), id: Some("00ff".into()), provider: Some(Kind::Qemu) };
        assert_eq!(Minimal::from_bytes(text), all);
        // Cut anywhere after the provider, it still says the same.
        for cut in 56..text.len() {
            assert_eq!(Minimal::from_bytes(&text[..cut]), all, "cut at {cut}");
        }
    }

    #[test]
    fn garbage_gives_nothing_and_does_no_harm() {
        for text in [&b""[..], b"\0\xff\xfe", b"[1,2]", b"null", br#"{"id":3,"provider":"abacus","schema":"x"}"#] {
            assert_eq!(Minimal::from_bytes(text), Minimal::default());
            assert!(matches!(read_text(text), Err(StateError::Broken { .. })));
        }
    }
}
