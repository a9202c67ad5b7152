//! Real parts that several tests need.

pub mod birds;
pub mod pods;
pub mod sshd;
