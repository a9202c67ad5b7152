//! The settings by which a cluster's things are known again in Incus or LXD.

pub use crate::machine::Names;

/// The setting that says whose a thing is; both projects keep what begins with `user.` and mean nothing by it.
pub const LABEL: &str = "user.calicolab";
/// The setting that says which node an instance is.
pub const NODE: &str = "user.calicolab.node";
/// The property that marks images of ours, and says of what they were made.
pub const IMAGE: &str = "calicolab";
