//! What the bytes of a lab need before anything is made: a host that can build its image, or a full cache.

use crate::artifact::FetchError;
use crate::artifact::image::{self, needs};
use crate::failure::Failure;
use crate::lab::images::Origin;
use crate::lab::pin::Source;
use crate::lab::plan::Plan;
use crate::machine::Lack;

use super::bring::not_fetched;
use super::cx::Cx;
use super::draft::Draft;

/// What the host lacks to bring the lab's bytes in, each with its remedy; offline, the failure that names all that
/// is not there. Goes by names alone, so it takes no time and is no proof: whatever is used is hashed then.
pub async fn lacks(cx: &Cx<'_>, draft: &Draft, plan: &Plan) -> Result<Vec<Lack>, Failure> {
    let cached = cached(cx, draft)?;
    if cx.offline {
        let image = format!("image {}", draft.image.name);
        let absent = |source: &Source| matches!(source, Source::Url { .. } | Source::Apt { .. });
        let files = plan.artifacts.iter().map(|placed| &placed.pin);
        let files = files.filter(|pin| absent(&pin.source) && !cx.cache.file(&pin.digest).exists());
        let names: Vec<String> = (!cached)
            .then_some(image)
            .into_iter()
            .chain(files.map(|pin| format!("{} {}", pin.name, pin.version)))
            .collect();
        return if names.is_empty() { Ok(Vec::new()) } else { Err(not_fetched(&FetchError::Offline { names })) };
    }
    if cached || matches!(draft.image.origin, Origin::Download { .. }) {
        return Ok(Vec::new());
    }
    let lacks = needs::lacks(&cx.cache).await.into_iter();
    Ok(lacks.map(|lack| Lack { id: lack.id.into(), what: lack.what, remedy: lack.remedy, bearable: false }).collect())
}

/// What comes before the machines are made and is not counted in their time, if anything does.
pub fn first(cx: &Cx<'_>, draft: &Draft) -> Result<Option<String>, Failure> {
    let how = match draft.image.origin {
        Origin::Build { .. } => "is built here, once: a minute or two more",
        Origin::Download { .. } => "is downloaded, once",
    };
    Ok((!cached(cx, draft)?).then(|| format!("image {} {how}", draft.image.name)))
}

fn cached(cx: &Cx<'_>, draft: &Draft) -> Result<bool, Failure> {
    image::cached(&cx.cache, &cx.library, &draft.image).map_err(|error| not_fetched(&error))
}
