//! The async handle on a node: run, put.
