//! What a registry's manifest says, checked: the files of an image, or the images of a list by processor.

use oci_client::manifest::{ImageIndexEntry, OciDescriptor, OciImageManifest, OciManifest, Versioned};

use super::error::ImageError;
use crate::lab::pin::{Arch, Digest};

/// What is asked for: all kinds of manifests that can be read here. A registry keeps back what is not named.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// The most that a manifest may be long, in bytes; registries take none that is longer.
pub(super) const LONGEST: u64 = 4 << 20;

/// One file of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Its media type.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
}

/// The files of an image for one processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    /// Its own media type.
    pub media_type: String,
    /// The configuration: what is run, and the layers' sums when unpacked.
    pub config: Descriptor,
    /// The layers from the lowest up; one may occur twice.
    pub layers: Vec<Descriptor>,
}

/// What can be behind a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Document {
    /// An image.
    Image(Manifest),
    /// The image among those of a list that is for the processor.
    Listed(Descriptor),
}

impl Document {
    /// Read the bytes of a manifest; of a list what it has for `arch` on Linux.
    pub(super) fn parse(bytes: &[u8], arch: Arch) -> Result<Self, ImageError> {
        let unreadable = |source| ImageError::Unreadable { source };
        let versioned: Versioned = serde_json::from_slice(bytes).map_err(unreadable)?;
        if versioned.schema_version == 1 {
            return Err(ImageError::Old);
        }
        match serde_json::from_slice(bytes).map_err(unreadable)? {
            OciManifest::Image(image) => Manifest::checked(&image, versioned.media_type).map(Self::Image),
            OciManifest::ImageIndex(list) => listed(&list.manifests, arch).map(Self::Listed),
        }
    }
}

impl Manifest {
    fn checked(image: &OciImageManifest, media_type: Option<String>) -> Result<Self, ImageError> {
        let layers: Vec<Descriptor> = image.layers.iter().map(Descriptor::of).collect::<Result<_, _>>()?;
        let foreign = |layer: &&Descriptor| {
            layer.media_type.contains(".nondistributable.") || layer.media_type.contains(".rootfs.foreign.")
        };
        if let Some(layer) = layers.iter().find(foreign) {
            let media_type = layer.media_type.clone();
            return Err(ImageError::Foreign { digest: Box::new(layer.digest), media_type });
        }
        // Only OCI's own documents need not say what they are.
        let media_type = media_type.unwrap_or_else(|| oci_client::manifest::OCI_IMAGE_MEDIA_TYPE.into());
        Ok(Self { media_type, config: Descriptor::of(&image.config)?, layers })
    }
}

impl Descriptor {
    fn of(descriptor: &OciDescriptor) -> Result<Self, ImageError> {
        Self::checked(&descriptor.media_type, &descriptor.digest, descriptor.size)
    }

    fn checked(media_type: &str, digest: &str, bytes: i64) -> Result<Self, ImageError> {
        let wrong = || ImageError::Descriptor { digest: digest.into(), bytes };
        let length = u64::try_from(bytes).map_err(|_| wrong())?;
        Ok(Self { media_type: media_type.into(), digest: digest.parse().map_err(|_| wrong())?, bytes: length })
    }
}

fn listed(images: &[ImageIndexEntry], arch: Arch) -> Result<Descriptor, ImageError> {
    let (wanted, _) = arch.words();
    let platform = |image: &ImageIndexEntry| {
        image.platform.as_ref().map(|platform| format!("{}/{}", platform.os, platform.architecture))
    };
    let ours = format!("linux/{wanted}");
    match images.iter().find(|image| platform(image).as_deref() == Some(&ours)) {
        Some(image) => Descriptor::checked(&image.media_type, &image.digest, image.size),
        None => Err(ImageError::NoPlatform { wanted, has: images.iter().filter_map(platform).collect() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SHA: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

    fn file(kind: &str) -> serde_json::Value {
        json!({ "mediaType": kind, "digest": SHA, "size": 5 })
    }

    fn parse(document: &serde_json::Value) -> Result<Document, ImageError> {
        Document::parse(document.to_string().as_bytes(), Arch::Amd64)
    }

    fn list(platforms: &[&str]) -> serde_json::Value {
        let images: Vec<_> = platforms
            .iter()
            .zip(1..)
            .map(|(platform, number)| {
                let (os, architecture) = platform.split_once('/').expect("os and processor");
                json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": SHA, "size": number,
                        "platform": { "os": os, "architecture": architecture } })
            })
            .collect();
        json!({ "schemaVersion": 2, "manifests": images })
    }

    #[test]
    fn both_families_of_media_types_are_read() {
        let docker = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": file("application/vnd.docker.container.image.v1+json"),
            "layers": [file("application/vnd.docker.image.rootfs.diff.tar.gzip")],
        });
        let Ok(Document::Image(image)) = parse(&docker) else { panic!("an image") };
        assert_eq!(image.media_type, "application/vnd.docker.distribution.manifest.v2+json");
        assert_eq!((image.layers.len(), image.config.bytes), (1, 5));
        let oci =
            json!({ "schemaVersion": 2, "config": file("application/vnd.oci.image.config.v1+json"), "layers": [] });
        let Ok(Document::Image(image)) = parse(&oci) else { panic!("an image") };
        assert_eq!(image.media_type, "application/vnd.oci.image.manifest.v1+json");
    }

    #[test]
    fn a_list_gives_what_is_for_the_node() {
        let listed = parse(&list(&["unknown/unknown", "windows/amd64", "linux/arm64", "linux/amd64", "linux/amd64"]));
        assert!(matches!(listed, Ok(Document::Listed(image)) if image.bytes == 4));
        let error = parse(&list(&["linux/arm64", "linux/s390x"])).expect_err("nothing for the node");
        assert_eq!(error.to_string(), "it has nothing for linux/amd64, only for linux/arm64, linux/s390x");
    }

    #[test]
    fn what_no_runtime_takes_is_refused() {
        let old = json!({ "schemaVersion": 1, "name": "calico/node", "fsLayers": [], "history": [], "signatures": [] });
        assert!(matches!(parse(&old), Err(ImageError::Old)));
        for kind in [
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        ] {
            let image = json!({ "schemaVersion": 2, "config": file("x"), "layers": [file("x"), file(kind)] });
            assert!(matches!(parse(&image), Err(ImageError::Foreign { .. })), "{kind}");
        }
        let mut short = json!({ "schemaVersion": 2, "config": file("x"), "layers": [file("x")] });
        short["layers"][0]["digest"] = SHA[..70].into();
        assert!(matches!(parse(&short), Err(ImageError::Descriptor { .. })));
        short["layers"][0]["digest"] = "sha256:../../../../etc/passwd".into();
        assert!(matches!(parse(&short), Err(ImageError::Descriptor { .. })));
        short["layers"][0] = json!({ "mediaType": "x", "digest": SHA, "size": -1 });
        assert!(matches!(parse(&short), Err(ImageError::Descriptor { .. })));
        assert!(matches!(parse(&json!({ "schemaVersion": 2 })), Err(ImageError::Unreadable { .. })));
        assert!(matches!(Document::parse(b"<html>", Arch::Amd64), Err(ImageError::Unreadable { .. })));
    }
}
