//! `fetch`: every byte a lab uses into the cache, verified; and the bringing in that `up` shares.

use crate::artifact::FetchError;
use crate::artifact::apt::Archive;
use crate::artifact::image::{self, Recipe};
use crate::artifact::payload::{self, Part, Payload};
use crate::artifact::store::{Reach, Store};
use crate::event::Step;
use crate::lab::images::{Origin, OsImage};
use crate::lab::plan::Plan;
use crate::machine::{DirectBoot, Image, ImageForm};

use super::cx::Cx;

/// Whether connections may be opened.
pub fn reach_of(cx: &Cx<'_>) -> Reach {
    if cx.offline { Reach::Offline } else { Reach::Online }
}

/// Bring an OS image in, in the form that a provider takes.
pub async fn os_image(cx: &Cx<'_>, wanted: &OsImage, form: ImageForm) -> Result<Image, FetchError> {
    let Origin::Build { suite, recipe } = &wanted.origin else {
        return Err(FetchError::NoWay { name: wanted.name.clone(), what: "a downloaded image with this installer" });
    };
    let files = cx
        .library
        .image_recipe_files(recipe)
        .map_err(|error| FetchError::Recipe { image: wanted.name.clone(), why: error.to_string() })?;
    let recipe = Recipe::new(&wanted.name, suite, files.into_iter().map(|file| (file.path, file.bytes)));
    let built = image::ensure(&cx.cache, &Archive::of_host(), &recipe, reach_of(cx), &cx.events).await?;
    let tree = match form {
        ImageForm::Disk => None,
        ImageForm::Tree => Some(built.tree().await?),
    };
    cx.events.subject_done(Step::Fetch, format!("image {}", wanted.name), "there, digests right");
    Ok(Image {
        disk: built.disk.path().into(),
        format: "raw",
        boot: Some(DirectBoot {
            kernel: built.kernel.path().into(),
            initrd: built.initrd.path().into(),
            cmdline: image::CMDLINE.into(),
        }),
        tree,
        user: wanted.user.clone(),
    })
}

/// Bring in what the nodes of a plan get.
pub async fn programs(cx: &Cx<'_>, plan: &Plan) -> Result<Payload, FetchError> {
    let store = Store::new(cx.cache.clone(), plan.lab.clone(), reach_of(cx), Archive::of_host());
    let pins: Vec<_> = plan.artifacts.iter().map(|placed| placed.pin.clone()).collect();
    let verified = store.ensure_all(&pins, &cx.events).await?;
    let parts = verified.into_iter().zip(&plan.artifacts).map(|(package, placed)| Part {
        package,
        on: placed.on,
        files: placed.files.iter().filter_map(|taken| taken.from.clone()).collect(),
    });
    let payload = payload::pack(&cx.cache, parts.collect(), &cx.events).await?;
    cx.events.subject_done(Step::Fetch, "packages", "there, digests right");
    Ok(payload)
}
