//! calicolab: throwaway clusters of real machines with a pinned network, proven before they are called up.
//!
//! The modules read like the sentence the tool is for: a [`lab`] gets its [`artifact`]s, [`machine`]s are booted, reached
//! by [`ssh`], [`install`]ed, and the [`proof`] is taken.
//!
//! | from the ground up | |
//! |---|---|
//! | [`event`], [`command`], [`wait`], [`durable`] | what happens, how programs are called, waiting, whole files |
//! | [`lab`] | what is wanted, as values: lab, lock, plan, seeds; pure |
//! | [`guest`] | a machine as plain data |
//! | [`node`] | what runs on a node: how it is asked, and its answer as a value; pure |
//! | [`artifact`] | bytes in, hashed on every use |
//! | [`cluster`] | what this host remembers: state, locks, leases |
//! | [`machine`] | providers of machines |
//! | [`point`] | a lab as it was at one moment |
//! | [`ssh`] | the only way into a node |
//! | [`install`], [`proof`] | one writes, the other judges |
//! | [`explain`], [`fault`] | from failing checks to the first broken link; ways to break a lab on purpose |
//! | [`cmd`] | the stories: `up`, `down`, `verify` and the others |
//! | [`cli`], [`report`], [`record`], [`failure`] | words in, happenings out, the log, and how it ended |
//!
//! Who may use whom is kept by a test over the source; `ARCHITECTURE.md` has the whole map.

pub mod artifact;
pub mod cli;
pub mod cluster;
pub mod cmd;
pub mod command;
pub mod durable;
pub mod event;
pub mod explain;
pub mod failure;
pub mod fault;
pub mod guest;
pub mod install;
pub mod lab;
pub mod machine;
pub mod node;
pub mod point;
pub mod proof;
pub mod record;
pub mod report;
mod run;
pub mod ssh;
pub mod wait;

pub use run::{Providers, main_with};
