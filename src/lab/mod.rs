//! What is wanted, as values: pure, without clock, disk, network or environment.

pub mod addressing;
pub mod file;
pub mod name;
pub mod pin;
pub mod plan;
