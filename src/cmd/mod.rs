//! The stories, each readable from top to bottom.

pub mod verify;
