//! Real parts that several tests need.

pub mod birds;
pub mod plans;
pub mod pods;
pub mod registry;
pub mod sshd;
#[path = "../../support/waiting.rs"]
pub mod waiting;
pub mod web;
