//! The stories, each readable from top to bottom.

pub mod labs;
pub mod lock;
pub mod plan;
pub mod ssh;
mod table;
