//! The real parts tests stand on.

pub mod sshd;
