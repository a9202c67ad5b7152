//! What the nodes of a lab get: which file, out of what, on whom, and where to.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::pin::{Arch, Source, filled};

/// Which nodes get something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum On {
    /// Every node.
    All,
    /// The master alone.
    Master,
}

/// A file the nodes get, by the name under which the lock pins it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Artifact {
    /// Name of the pin.
    pub name: String,
    /// The upstream's version; none of a Debian package, whose version is what its suite has. `{kubernetes}` and
    /// `{calico}` in lab.yaml are the lab's own.
    pub version: Option<String>,
    /// Where it comes from, before [`Source::filled`].
    pub source: Source,
    /// Which nodes get it.
    pub on: On,
    /// What of it goes where on the nodes; nothing of what is only used on the host.
    pub files: Vec<Taken>,
}

/// What is taken out of an artifact, and where it goes on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "TakenText", into = "TakenText")]
pub struct Taken {
    /// The member of the package or tar, as a root-relative path; none for the whole file, decompressed if it is a
    /// single compressed one.
    pub from: Option<String>,
    /// Where it goes, as a root-relative path.
    pub to: String,
    /// Its permissions, 0755 or 0644; the member's own if not said, and of a whole file 0644.
    pub mode: Option<u32>,
}

impl Taken {
    /// A member that keeps its path.
    pub fn same(path: impl Into<String>) -> Self {
        let path = path.into();
        Self { from: Some(path.clone()), to: path, mode: None }
    }

    /// The same with `{version}`, `{arch}` and `{machine}` filled in, as in [`Source::filled`].
    #[must_use]
    pub fn filled(&self, version: &str, arch: Arch) -> Self {
        let fill = |text: &String| filled(text, version, arch);
        Self { from: self.from.as_ref().map(fill), to: fill(&self.to), mode: self.mode }
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.from {
            Some(from) if *from != self.to => write!(f, "{from} -> {}", self.to),
            _ => f.write_str(&self.to),
        }
    }
}

/// How it is written: a member that keeps its path is just that path.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum TakenText {
    Same(String),
    To { from: Option<String>, to: String, mode: Option<u32> },
}

impl From<TakenText> for Taken {
    fn from(text: TakenText) -> Self {
        match text {
            TakenText::Same(path) => Self::same(path),
            TakenText::To { from, to, mode } => Self { from, to, mode },
        }
    }
}

impl From<Taken> for TakenText {
    fn from(taken: Taken) -> Self {
        match taken {
            Taken { from: Some(from), to, mode: None } if from == to => Self::Same(to),
            Taken { from, to, mode } => Self::To { from, to, mode },
        }
    }
}
