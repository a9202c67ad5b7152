//! The only way into a node: SSH that is strict from the first connection.

pub mod keys;
pub mod remote;
pub mod session;
