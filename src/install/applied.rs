//! What the master of a Kubernetes applies: files in one folder, in the order of their names.

use serde_json::Value;

use crate::ssh::{Content, Upload};

/// Where they lie on the master.
pub(super) const FOLDER: &str = "/var/lib/calicolab/manifests";

/// An object of ours.
pub(super) fn object(name: &str, mode: u32, object: &Value) -> Upload {
    Upload { mode, ..text(name, object.to_string()) }
}

/// A text, as an upstream's.
pub(super) fn text(name: &str, text: String) -> Upload {
    Upload { path: format!("{FOLDER}/{name}"), mode: 0o644, content: Content::Bytes(text.into_bytes()) }
}
