//! Why a registry does not give an image, and why an image cannot be used.

use std::time::Duration;

use oci_client::errors::OciDistributionError;

use crate::artifact::error::words::after;
use crate::lab::pin::Digest;

/// Why a registry does not give an image.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The name of the image cannot be read.
    #[error("`{reference}` is no name of an image")]
    Reference {
        /// As written in the lock.
        reference: String,
        /// What is wrong with it.
        source: oci_client::ParseError,
    },
    /// It does not let us in.
    #[error("{registry} does not give {image} to us {login}")]
    Denied {
        /// Host and port.
        registry: String,
        /// The image.
        image: String,
        /// With which login it was asked.
        login: String,
    },
    /// It was asked too often from this address or by this user.
    #[error("{registry} limits how much is fetched from it: no {image} for now (status 429){}", after(*rest))]
    TooMany {
        /// Host and port.
        registry: String,
        /// The image.
        image: String,
        /// How long it asks us to wait, if it says so.
        rest: Option<Duration>,
    },
    /// It does not have it.
    #[error("{registry} has no {image}{}", digest.as_ref().map(|digest| format!(" with {digest}")).unwrap_or_default())]
    Absent {
        /// Host and port.
        registry: String,
        /// The image.
        image: String,
        /// What was asked for, if not for the image by its tag.
        digest: Option<Box<Digest>>,
    },
    /// It, or the server it sends us to for a token, gives none.
    #[error("no token is to be had for {registry}")]
    Token {
        /// Host and port.
        registry: String,
        /// What went wrong.
        source: Box<OciDistributionError>,
    },
}

impl RegistryError {
    /// The stable id.
    pub fn id(&self) -> &'static str {
        match self {
            Self::Reference { .. } => "registry.reference",
            Self::Denied { .. } => "registry.denied",
            Self::TooMany { .. } => "registry.limit",
            Self::Absent { .. } => "registry.absent",
            Self::Token { .. } => "registry.token",
        }
    }

    /// What to do about it, where that is known.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Denied { registry, .. } => Some(format!("docker login {registry}")),
            Self::TooMany { registry, .. } => Some(format!(
                "add --mirror {registry}=http://HOST for a mirror near by, log in (docker login {registry}), or try again later"
            )),
            Self::Absent { registry, .. } => Some(format!(
                "add --mirror {registry}=http://HOST for a mirror that still has it, or lock the lab anew"
            )),
            Self::Reference { .. } | Self::Token { .. } => None,
        }
    }
}

/// Why an image cannot be used, whoever serves it.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It was pushed in the registries' first format.
    #[error("its manifest is in the format of 2014 (schema 1), which no container runtime takes any more")]
    Old,
    /// It is no manifest.
    #[error("what it names is no manifest of an image")]
    Unreadable {
        /// Where reading stopped.
        source: serde_json::Error,
    },
    /// It is longer than any manifest.
    #[error("what it names is {bytes} bytes long, which no manifest is")]
    Long {
        /// Its length.
        bytes: u64,
    },
    /// A digest or length in it is none.
    #[error("its manifest names a file by `{digest}` of {bytes} bytes")]
    Descriptor {
        /// The digest as written.
        digest: String,
        /// The length as written.
        bytes: i64,
    },
    /// Part of it may not be handed on by registries.
    #[error("its layer {digest} is one that registries do not hand on ({media_type})")]
    Foreign {
        /// The layer.
        digest: Box<Digest>,
        /// Its media type.
        media_type: String,
    },
    /// The list has nothing for the nodes.
    #[error("it has nothing for linux/{wanted}, only for {}", has.join(", "))]
    NoPlatform {
        /// The processor of the nodes.
        wanted: &'static str,
        /// What it has.
        has: Vec<String>,
    },
    /// A list names a list.
    #[error("it is a list of images within a list")]
    Nested,
}

impl ImageError {
    /// What to do about it, where that is known.
    pub fn remedy(&self) -> Option<String> {
        let said = match self {
            Self::Old => {
                "push it anew with a docker of 1.10 or later, or take it out of a release's archive, and pin that"
            }
            Self::Foreign { .. } => "pin an image that is wholly in its registry",
            Self::NoPlatform { .. } => "pin an image that is built for the nodes",
            Self::Unreadable { .. } | Self::Long { .. } | Self::Descriptor { .. } | Self::Nested => {
                "pin the digest of the image's manifest, or of its list, not of its configuration"
            }
        };
        Some(said.into())
    }
}
