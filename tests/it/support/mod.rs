//! Real parts that several tests need.

pub mod birds;
pub mod sshd;
