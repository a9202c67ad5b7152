//! Bytes in: fetched or built, hashed, and only then used.
//!
//! [`store`] keeps files under their digests and alone makes [`store::Verified`]; [`http`] and [`apt`] bring bytes
//! to it; [`oci`] makes images of containers of its files; [`payload`] packs what the nodes get; [`image`] builds the disk
//! they boot.

pub mod apt;
pub mod cache;
pub mod error;
mod fetch;
mod files;
pub mod http;
pub mod image;
pub mod mirror;
pub mod oci;
mod part;
pub mod payload;
pub mod store;
#[cfg(test)]
mod support;

pub use error::FetchError;
