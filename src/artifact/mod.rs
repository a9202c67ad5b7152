//! Bytes in: fetched or built, hashed, and only then used.
//!
//! [`store`] keeps files under their digests and alone makes [`store::Verified`]; [`http`] and [`apt`] bring bytes
//! to it; [`oci`] makes images of containers of its files; [`payload`] packs what the nodes get; [`image`] builds or
//! downloads the disk they boot; [`pack`](mod@pack) carries a lab with all of it.

pub mod apt;
pub mod cache;
pub mod error;
mod fetch;
pub(crate) mod files;
pub mod http;
pub mod image;
mod member;
pub mod mirror;
pub mod oci;
pub mod pack;
mod part;
pub mod payload;
pub mod resolve;
pub mod shelf;
pub mod store;
#[cfg(test)]
mod support;
pub mod texts;
mod unpack;
mod unpinned;

pub use error::FetchError;
