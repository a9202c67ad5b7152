//! A container image by digest: list, manifest, configuration and layers, each a file of the store.

pub mod archive;
pub(super) mod error;
mod login;
mod manifest;
mod pull;
mod registry;
pub mod saved;
mod tag;

use std::collections::BTreeSet;
use std::io;

use oci_client::Reference;

pub use archive::archive;
pub use error::{ImageError, RegistryError};
pub use login::Logins;
pub use manifest::Descriptor;
pub use tag::Tagged;

use self::manifest::{Document, LONGEST, Manifest};
use super::FetchError;
use super::cache::Cache;
use super::files::{Sum, blocking};
use crate::lab::pin::{Arch, Digest, Pin};

/// What an image is made of, as its manifests in the cache say. They were hashed in this run; the other files need not
/// even be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The list of the pin, if it names one, and the image's own manifest.
    manifests: Vec<Descriptor>,
    manifest: Manifest,
}

impl Contents {
    /// All its files, each once: what the pin names comes first.
    pub fn files(&self) -> Vec<&Descriptor> {
        let mut seen = BTreeSet::new();
        self.manifests.iter().chain(self.blobs()).filter(|file| seen.insert(file.digest)).collect()
    }

    /// Configuration and layers, as often as the manifest names them.
    fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.manifest.config).chain(&self.manifest.layers)
    }

    /// The descriptor of the image's own manifest.
    fn own(&self) -> &Descriptor {
        self.manifests.last().expect("an image has a manifest")
    }
}

/// What the image of `pin` is made of; nothing if one of its manifests is not in the cache, or damaged there.
pub async fn contents(cache: &Cache, pin: &Pin) -> Result<Option<Contents>, FetchError> {
    match known(cache, pin).await? {
        Known::All(contents) => Ok(Some(contents)),
        Known::Lacks { .. } => Ok(None),
    }
}

/// The name of an image as its parts.
fn named(reference: &str) -> Result<Reference, FetchError> {
    let wrong = |source| FetchError::Registry(RegistryError::Reference { reference: reference.into(), source });
    reference.parse().map_err(wrong)
}

/// How far the manifests in the cache lead.
enum Known {
    /// To the end.
    All(Contents),
    /// To this manifest, which is not there; its length where it is known.
    Lacks { digest: Digest, bytes: Option<u64> },
}

async fn known(cache: &Cache, pin: &Pin) -> Result<Known, FetchError> {
    let (cache, pin) = (cache.clone(), pin.clone());
    blocking(move || follow(&cache, &pin)).await
}

fn follow(cache: &Cache, pin: &Pin) -> Result<Known, FetchError> {
    let arch = if pin.arch == Arch::All { Arch::NODE } else { pin.arch };
    let unusable = |source| FetchError::Image { name: pin.label(), source };
    let (mut digest, mut length, mut manifests) = (pin.digest, pin.bytes, Vec::new());
    loop {
        let Some(text) = read(cache, &digest, &unusable)? else { return Ok(Known::Lacks { digest, bytes: length }) };
        let bytes = text.len() as u64;
        match Document::parse(&text, arch).map_err(unusable)? {
            Document::Image(manifest) => {
                manifests.push(Descriptor { media_type: manifest.media_type.clone(), digest, bytes });
                return Ok(Known::All(Contents { manifests, manifest }));
            }
            Document::Listed(_) if !manifests.is_empty() => return Err(unusable(ImageError::Nested)),
            Document::Listed(image) => {
                manifests.push(Descriptor { media_type: "a list of images".into(), digest, bytes });
                (digest, length) = (image.digest, Some(image.bytes));
            }
        }
    }
}

/// The bytes of a manifest, if they are in the cache and whole.
fn read(
    cache: &Cache,
    digest: &Digest,
    unusable: &impl Fn(ImageError) -> FetchError,
) -> Result<Option<Vec<u8>>, FetchError> {
    let path = cache.file(digest);
    let reading = |source| FetchError::Io { doing: format!("reading {}", path.display()), source };
    let bytes = match std::fs::metadata(&path) {
        Ok(meta) => meta.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(reading(error)),
    };
    if bytes > LONGEST {
        return Err(unusable(ImageError::Long { bytes }));
    }
    let text = std::fs::read(&path).map_err(reading)?;
    let mut sum = Sum::like(digest);
    sum.update(&text);
    Ok((sum.digest() == *digest).then_some(text))
}
