//! Bytes in: fetched or built, hashed, and only then used.
//!
//! [`store`] keeps files under their digests and alone makes [`store::Verified`]; [`http`] and [`apt`] bring bytes
//! to it; [`payload`] packs what the nodes get; [`image`] builds the disk they boot.

pub mod apt;
pub mod error;
mod files;
pub mod http;
pub mod image;
pub mod payload;
pub mod resolve;
pub mod store;

pub use error::FetchError;
