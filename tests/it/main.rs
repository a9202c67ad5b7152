//! Every test with real parts, in one binary.

mod proof;
mod support;
