//! The verb `labs`, from its words to what is shown and written.

use std::path::PathBuf;

use serde_json::json;

use super::{Stream, shown};
use crate::cli::LabsVerb;
use crate::cmd::cx::Cx;
use crate::cmd::{self, draft};
use crate::failure::{Exit, Failure};
use crate::lab::builtin::Existing;
use crate::report::data;

pub(super) fn labs(cx: &Cx<'_>, verb: Option<&LabsVerb>, quiet: Stream<'_>) -> Result<Exit, Failure> {
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
        Some(LabsVerb::Matrix) => data(&labs::matrix(&cx.library).map_err(failed)?),
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
