//! Bytes in: fetched or built, hashed, and only then used.
//!
//! [`cache`] keeps files under their digests, [`store`] knows the ways to what is not there, and by [`http`], [`apt`]
//! and [`oci`] pins become [`verified`] files. [`payload`] packs what the nodes get; [`image`] builds or downloads the
//! disk they boot; [`pack`](mod@pack) carries a lab with all of it.

pub mod apt;
pub mod cache;
mod ensure;
pub mod error;
mod fetch;
pub(crate) mod files;
pub mod http;
pub mod image;
mod line;
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
pub mod template;
pub mod texts;
mod unpack;
mod unpinned;
pub mod verified;

pub use error::FetchError;
