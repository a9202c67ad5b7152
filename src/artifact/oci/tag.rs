//! What a registry has under a name now: asked by `lock` alone, since a tag can be moved.

use super::manifest::{Document, LONGEST};
use super::named;
use super::registry::{Registry, Way};
use crate::artifact::FetchError;
use crate::artifact::files::sha256_of;
use crate::artifact::store::Store;
use crate::event::Events;
use crate::lab::pin::{Arch, Digest};

/// What a registry has under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// Of the manifest, or of the list of manifests.
    pub digest: Digest,
    /// Whether it is a list, with a manifest for each processor.
    pub list: bool,
}

impl Store {
    /// What the registry has under `reference`: the list for all processors if `arch` is that, else the manifest for one.
    pub async fn tagged(&self, reference: &str, arch: Arch, events: &Events) -> Result<Tagged, FetchError> {
        let way = Way::new(Registry::own(&named(reference)?), self.logins(), self.manner().stall);
        match self.read(way.named().await?, LONGEST, events).await {
            Ok(bytes) => meant(&bytes, reference, arch),
            Err(error) => Err(way.meaning(error, None).await),
        }
    }
}

/// A manifest's own digest, or that of the one for `arch` in a list. The bytes are hashed here: what a registry says
/// of them counts for nothing.
fn meant(bytes: &[u8], reference: &str, arch: Arch) -> Result<Tagged, FetchError> {
    let wanted = if arch == Arch::All { Arch::NODE } else { arch };
    let unusable = |source| FetchError::Image { name: reference.into(), source };
    Ok(match Document::parse(bytes, wanted).map_err(unusable)? {
        Document::Listed(child) if arch != Arch::All => Tagged { digest: child.digest, list: false },
        document => Tagged { digest: sha256_of(bytes), list: matches!(document, Document::Listed(_)) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_a_manifest_for_each_processor() {
        let child = format!("sha256:{}", "0a".repeat(32));
        let entry = |digest: &str, os: &str| {
            serde_json::json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 7, "digest": digest,
                "platform": {"os": os, "architecture": "amd64"}})
        };
        let list = serde_json::json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [entry(&format!("sha256:{}", "0b".repeat(32)), "windows"), entry(&child, "linux")]})
        .to_string();
        let of = |arch| meant(list.as_bytes(), "x.example/a:1", arch);
        assert_eq!(of(Arch::All).expect("a list"), Tagged { digest: sha256_of(list.as_bytes()), list: true });
        let one = Tagged { digest: child.parse().expect("a digest"), list: false };
        assert_eq!(of(Arch::Amd64).expect("there"), one);
        assert!(matches!(of(Arch::Arm64), Err(FetchError::Image { name, .. }) if name == "x.example/a:1"));
        assert!(matches!(meant(br#"{"schemaVersion": 1}"#, "x.example/a:1", Arch::All), Err(FetchError::Image { .. })));
    }
}
