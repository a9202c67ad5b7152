//! What changed in a lock, for people and for programs.

use std::path::Path;

use serde_json::{Value, json};

use super::{Change, Made, Side};
use crate::cmd::table::columns;
use crate::lab::pin::{Trust, Wanted};

/// The changes, a line each; nothing if there are none.
pub fn table(changes: &[Change]) -> String {
    if changes.is_empty() {
        return String::new();
    }
    let rows = changes.iter().map(|Change { name, arch, old, new }| {
        vec![name.clone(), arch.words().0.into(), said(old.as_ref()), format!("-> {}", said(new.as_ref()))]
    });
    columns(&["NAME", "ARCH", "OLD", "NEW"], rows)
}

/// A pin in few words: a digest is known by its beginning.
fn said(side: Option<&Side>) -> String {
    let Some(Side { version, digest, trust }) = side else { return "none".into() };
    let trust = match trust {
        Trust::Published => "",
        Trust::Recorded => " (recorded)",
        Trust::FirstUse => " (first use)",
    };
    format!("{version} {}:{}{trust}", digest.algorithm(), &digest.hex()[..12])
}

/// The same for programs, with what is missing still. `written` is where the lock went, if anywhere.
pub fn json(lab: &str, made: &Made, missing: &[Wanted], written: Option<&Path>) -> Value {
    json!({
        "lab": lab,
        "changes": made.changes,
        "refused": made.refused,
        "missing": missing,
        "notes": made.notes,
        "written": written,
    })
}
