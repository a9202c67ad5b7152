//! The verbs about labs and their locks, from their words to what is shown and written.

use std::path::PathBuf;

use serde_json::json;

use super::shown;
use crate::artifact::apt::Archive;
use crate::cli::LabsVerb;
use crate::cluster::state;
use crate::cmd::cx::Cx;
use crate::cmd::{self, draft};
use crate::failure::{Exit, Failure};
use crate::lab::builtin::Existing;
use crate::report::data;

pub(super) async fn lock(
    cx: &Cx<'_>,
    lab: &str,
    apt_only: bool,
    if_gone: bool,
    dry_run: bool,
) -> Result<Exit, Failure> {
    use cmd::lock::{When, apt_only as relock};
    if !apt_only {
        return Err(Failure::new(Exit::Usage, "lock.sources", "make the lock anew")
            .because_text("only Debian packages can be locked so far")
            .hint(format!("calicolab lock {lab} --apt-only")));
    }
    let draft = draft::Draft::read(cx, lab, &state::Wish::default())?;
    let when = if if_gone { When::IfGone } else { When::Always };
    if cx.offline {
        return Err(Failure::new(Exit::Offline, "lock.offline", "make the lock anew")
            .because_text("the archive cannot be asked while offline"));
    }
    let made = relock(&cx.cache, &Archive::of_host(), &draft.lab, &draft.lock, when, &cx.events)
        .await
        .map_err(|error| cmd::bring::not_fetched(&error))?;
    for change in &made.changes {
        let word = |version: &Option<String>| version.clone().unwrap_or_else(|| "none".into());
        data(&format!("{}: {} -> {}", change.name, word(&change.old), word(&change.new)));
    }
    if made.changes.is_empty() {
        cx.events.note(format!("the lock of {lab} is as it should be"));
    } else if !dry_run {
        let path = cx.own_locks.join(draft.lab.name.as_str()).join("lock.yaml");
        cmd::lock::write(&path, &made.lock)
            .map_err(|error| Failure::new(Exit::Unexpected, "lock.write", "write the lock").because(&error))?;
        cx.events.note(format!("written to {}", path.display()));
    }
    Ok(Exit::Done)
}

pub(super) fn labs(cx: &Cx<'_>, verb: Option<&LabsVerb>, quiet: bool) -> Result<Exit, Failure> {
    use cmd::labs;
    let failed = |error| draft::unread(&error);
    let wrote = |files: Vec<PathBuf>| {
        for file in files {
            data(&file.display().to_string());
        }
    };
    match verb {
        None => data(&labs::list_table(&labs::list(&cx.library).map_err(failed)?)),
        Some(LabsVerb::Show { lab }) => {
            data(&labs::show(&cx.library, &draft::lab_name(cx, lab)?).map_err(failed)?);
        }
        Some(LabsVerb::New { name, folder }) => {
            let name = name.parse().map_err(|error: crate::lab::name::NameError| {
                Failure::new(Exit::Usage, "usage.name", "name the lab").because(&error)
            })?;
            wrote(labs::new(&cx.library, &name, folder).map_err(failed)?);
        }
        Some(LabsVerb::Check { lab, form }) => {
            let checked = labs::check(&cx.library, lab).map_err(failed)?;
            shown(form.output, quiet, || checked.to_string(), || json!(checked));
        }
        Some(LabsVerb::Schema) => data(&labs::schema()),
        Some(LabsVerb::Export { folder, force }) => {
            let existing = if *force { Existing::Replace } else { Existing::Keep };
            wrote(labs::export(folder, existing).map_err(failed)?);
        }
    }
    Ok(Exit::Done)
}
