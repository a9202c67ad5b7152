//! The OS image that a lab names, asked for in one way whether it is built or downloaded.

use super::download::{self, Disk};
use super::{Built, Recipe};
use crate::artifact::FetchError;
use crate::artifact::apt::Archive;
use crate::artifact::cache::Cache;
use crate::artifact::store::Store;
use crate::event::Events;
use crate::lab::builtin::Library;
use crate::lab::images::{Origin, OsImage};
use crate::lab::pin::{Pin, Source};

/// An OS image on this host, its bytes hashed in this run.
#[derive(Clone, Debug)]
pub enum Ready {
    /// Built here, with kernel and initrd beside the disk.
    Built(Box<Built>),
    /// Downloaded: a whole disk with a boot loader of its own.
    Downloaded(Disk),
}

/// The OS image `image`: out of the cache where it is whole there, else built or downloaded now (never by an offline
/// store: [`FetchError::Offline`]). `library` has the recipes; Debian packages come out of `archive`.
pub async fn ensure_any(
    store: &Store,
    archive: &Archive,
    library: &Library,
    image: &OsImage,
    events: &Events,
) -> Result<Ready, FetchError> {
    let (Some(pin), Origin::Download { format, .. }) = (pin(image), &image.origin) else {
        let recipe = recipe(library, image)?;
        return super::ensure(store.cache(), archive, &recipe, store.reach(), events)
            .await
            .map(Box::new)
            .map(Ready::Built);
    };
    Box::pin(download::ensure(store, &image.name, &pin, *format, events)).await.map(Ready::Downloaded)
}

/// Whether the image can be had without building or downloading it, as far as names tell: nothing is hashed, so that
/// asking costs nothing.
pub fn cached(cache: &Cache, library: &Library, image: &OsImage) -> Result<bool, FetchError> {
    Ok(match pin(image) {
        Some(pin) => download::cached(cache, &image.name, &pin),
        None => super::folder(cache, &recipe(library, image)?).join(super::LIST).exists(),
    })
}

/// The pin of an image that is downloaded; none of one that is built.
pub fn pin(image: &OsImage) -> Option<Pin> {
    let Origin::Download { urls, sums, digest, bytes, trust, found, .. } = &image.origin else { return None };
    Some(Pin {
        name: format!("image {}", image.name),
        version: digest.hex()[..12].into(),
        arch: image.arch,
        source: Source::Url { urls: urls.clone(), sums: sums.clone() },
        digest: *digest,
        bytes: *bytes,
        trust: *trust,
        found: found.clone(),
    })
}

/// What a recipe brings that runs cloud-init in one stage of its own, sets the cards and says on the console that it is
/// ready.
const ONE_STAGE: &str = "rootfs/usr/lib/calicolab/one-stage.py";

/// Whether the image does by itself what every other one has to be told, which has cloud-init as distributions ship it.
pub fn has_one_stage(library: &Library, image: &OsImage) -> Result<bool, FetchError> {
    if pin(image).is_some() {
        return Ok(false);
    }
    Ok(recipe(library, image)?.files.iter().any(|file| file.path == ONE_STAGE))
}

/// The recipe of an image that is built.
pub fn recipe(library: &Library, image: &OsImage) -> Result<Recipe, FetchError> {
    let Origin::Build { suite, recipe } = &image.origin else {
        return Err(FetchError::Recipe { image: image.name.clone(), why: "it is not built".into() });
    };
    let files = library
        .image_recipe_files(recipe)
        .map_err(|error| FetchError::Recipe { image: image.name.clone(), why: error.to_string() })?;
    Ok(Recipe::new(&image.name, suite, files.into_iter().map(|file| (file.path, file.bytes))))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn only_what_is_built_for_labs_needs_no_words_for_its_cards() {
        let library = Library::open(None).expect("the binary's");
        for image in library.images().expect("right").iter() {
            let own = has_one_stage(&library, image).expect("its recipe is there");
            assert_eq!(own, image.name == "debian-12", "{}", image.name);
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machines/cloud-init");
        let library = Library::open(Some(folder)).expect("the tests' own");
        let images = library.images().expect("right");
        let built = images.get("debian-12-stages").expect("it is there");
        assert!(!has_one_stage(&library, built).expect("its recipe is there"));
    }
}
