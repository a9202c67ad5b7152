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
