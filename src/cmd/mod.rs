//! The stories, each readable from top to bottom.

pub mod labs;
pub mod plan;
mod table;
