//! Parts tried with the real programs they speak to: one test binary.

mod archive;
mod image;
mod proof;
mod support;
