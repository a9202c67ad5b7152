//! What is wanted, as values.
//!
//! A lab is text until [`file::Lab`] reads it: [`tree`] turns YAML into a tree in which every key knows its place,
//! [`setting`] applies `--set` to that tree, and the reader takes it apart with `scalar`, noting every [`problem`]
//! instead of stopping at the first. What comes out cannot be wrong. [`lock`](lock_file) does the same for the pins.
//!
//! [`plan()`](plan::plan) turns lab, lock, cluster name and lab network into one value: pure and total. [`render`] makes
//! of a plan and some secrets the texts that nodes read at their first boot, and parses each again before anyone
//! uses it.
//!
//! All of it is pure (no clock, disk, network or environment), except that [`builtin`] reads the folder which
//! overrides what the binary carries.

pub mod accept;
pub mod addressing;
pub mod agreement;
pub mod artifact;
pub mod builtin;
pub mod calico;
pub mod edit;
pub mod era;
#[cfg(test)]
pub(crate) mod example;
pub mod file;
pub mod images;
pub mod installer;
pub mod kernel;
pub mod kubernetes;
pub mod lock_file;
pub mod name;
pub mod pin;
pub mod placement;
pub mod plan;
pub mod problem;
pub mod render;
mod scalar;
pub mod schema;
pub mod setting;
pub mod tree;
