//! calicolab: throwaway clusters of real machines with a pinned network, proven before they are called up.

pub mod artifact;
pub mod cli;
pub mod cluster;
pub mod cmd;
pub mod command;
pub mod durable;
pub mod event;
pub mod failure;
pub mod guest;
pub mod install;
pub mod lab;
pub mod machine;
pub mod node;
pub mod proof;
pub mod record;
pub mod report;
mod run;
pub mod ssh;
pub mod wait;

pub use run::{Providers, main_with};
