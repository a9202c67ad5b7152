//! The stories, each readable from top to bottom.

pub mod lock;
pub mod ssh;
