//! What a lab's image needs of the host before anything is made, if it is not in the cache.

use crate::artifact::image::{self, needs};
use crate::failure::Failure;
use crate::lab::images::Origin;
use crate::machine::{Kind, Lack};

use super::cx::Cx;
use super::draft::Draft;
use super::fetch::not_fetched;

/// What the host lacks to bring the lab's image in, each with its remedy. Goes by names alone, so it takes no time
/// and is no proof: whatever is used is hashed then.
pub async fn lacks(cx: &Cx<'_>, draft: &Draft) -> Result<Vec<Lack>, Failure> {
    if matches!(draft.image.origin, Origin::Download { .. }) || cached(cx, draft)? {
        return Ok(Vec::new());
    }
    let lacks = needs::lacks(&cx.cache).await.into_iter();
    Ok(lacks.map(|lack| Lack { id: lack.id.into(), what: lack.what, remedy: lack.remedy, bearable: false }).collect())
}

/// What an image lacks that was built here, where virtual machines of Incus or LXD are to start from it: their firmware
/// wants a boot loader, and QEMU alone is handed kernel and initrd.
pub fn boot_loader(draft: &Draft, provider: Kind) -> Option<Lack> {
    let built = matches!(draft.image.origin, Origin::Build { .. });
    (draft.vm && built && provider == Kind::Incus).then(|| Lack {
        id: "image.boot-loader".into(),
        what: format!(
            "the image {} has no boot loader, which virtual machines of Incus and LXD need",
            draft.image.name
        ),
        remedy: "--set image=debian-12-cloud, or --provider qemu".into(),
        bearable: false,
    })
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
