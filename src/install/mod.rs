//! Bytes and secrets onto the nodes, daemons started: straight code over SSH.

pub mod pki;
