//! The tests against real parts, as one binary.

mod ssh;
mod ssh_put;
mod ssh_trust;
mod support;
