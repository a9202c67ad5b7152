//! `fetch`: every byte a lab uses into the cache, verified; and the bringing in that `up` shares.

use crate::artifact::FetchError;
use crate::artifact::apt::Archive;
use crate::artifact::image::{self, Disk, Ready};
use crate::artifact::payload::{self, Part, PartSource, Payload};
use crate::artifact::store::{Reach, Store};
use crate::event::Step;
use crate::lab::images::OsImage;
use crate::lab::name::LabName;
use crate::lab::plan::Plan;
use crate::machine::{DirectBoot, Image, ImageForm};

use super::cx::Cx;

/// The cache as `lab` uses it.
pub fn store_of(cx: &Cx<'_>, lab: &LabName) -> Store {
    let reach = if cx.offline { Reach::Offline } else { Reach::Online };
    Store::new(cx.cache.clone(), lab.clone(), reach, Archive::of_host()).with_mirrors(cx.mirrors.clone())
}

/// Bring an OS image in, in the form that a provider takes.
pub async fn os_image(cx: &Cx<'_>, lab: &LabName, wanted: &OsImage, form: ImageForm) -> Result<Image, FetchError> {
    let archive = Archive::of_host();
    let ready = image::ensure_any(&store_of(cx, lab), &archive, &cx.library, wanted, &cx.events).await?;
    let user = wanted.user.clone();
    let image = match ready {
        Ready::Built(built) => Image {
            disk: built.disk.path().into(),
            format: "raw",
            boot: Some(DirectBoot {
                kernel: built.kernel.path().into(),
                initrd: built.initrd.path().into(),
                cmdline: image::CMDLINE.into(),
            }),
            tree: match form {
                ImageForm::Disk => None,
                ImageForm::Tree => Some(built.tree().await?),
            },
            user,
        },
        Ready::Downloaded(Disk { path, format }) => Image { disk: path, format, boot: None, tree: None, user },
    };
    cx.events.subject_done(Step::Fetch, format!("image {}", wanted.name), "there, digests right");
    Ok(image)
}

/// Bring in what the nodes of a plan get.
pub async fn programs(cx: &Cx<'_>, plan: &Plan) -> Result<Payload, FetchError> {
    let pins: Vec<_> = plan.artifacts.iter().map(|placed| placed.pin.clone()).collect();
    let verified = store_of(cx, &plan.lab).ensure_all(&pins, &cx.events).await?;
    let parts = verified.into_iter().zip(&plan.artifacts).map(|(file, placed)| Part {
        from: PartSource::Verified(file),
        on: placed.on,
        files: placed.files.clone(),
    });
    let payload = payload::pack(&cx.cache, parts.collect(), &cx.events).await?;
    cx.events.subject_done(Step::Fetch, "artifacts", "there, digests right");
    Ok(payload)
}
