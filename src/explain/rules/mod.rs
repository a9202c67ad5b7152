//! The pure functions beside the table: each looks for one cause at one node or between two.

pub(super) mod address;
pub(super) mod calico;
pub(super) mod filter;
pub(super) mod intent;
pub(super) mod kernel;
pub(super) mod kubernetes;
pub(super) mod machine;
pub(super) mod names;
pub(super) mod pods;
pub(super) mod session;
