//! The words about what is broken: explain, watch, fault, bundle, report.

use std::path::PathBuf;

use clap::Subcommand;

use super::{Form, Which};

/// What one can do with what is broken.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the flattened groups are documented at their types")]
pub enum Broken {
    /// Name the first broken link, with evidence from both ends and the command that repairs it
    ///
    /// Ends with 0 if the broken link is named or nothing is broken, with 21 if something is broken and the evidence
    /// does not say what, with 22 if no node could be asked.
    Explain {
        /// Checks to explain, by id or the beginning of one; all that fail if left out
        checks: Vec<String>,
        #[command(flatten)]
        which: Which,
        /// Explain the last proof instead of taking one
        #[arg(long)]
        last: bool,
        /// Explain somebody's bundle instead of a cluster; asks nobody
        ///
        /// What `calicolab bundle`, `calicoctl node diags` or `calicoctl cluster diags` made. Bundles of several nodes
        /// of one cluster can be given together.
        #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "last", "checks"])]
        bundle: Vec<PathBuf>,
        /// How long checks may take to pass before they are explained, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 3, env = "CALICOLAB_EXPLAIN_TIMEOUT")]
        timeout: u64,
        #[command(flatten)]
        form: Form,
    },
    /// Look at a cluster again and again: nodes, sessions both ways, and each change with its time
    ///
    /// A look asks what `verify` asks, but for what needs containers; nothing is changed. Ctrl-C ends it, with the exit
    /// code of the last look.
    Watch {
        /// Checks to look at, by id or the beginning of one; all that need no container if left out
        checks: Vec<String>,
        #[command(flatten)]
        which: Which,
        /// Pause between two looks, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600), env = "CALICOLAB_WATCH_INTERVAL")]
        interval: u64,
        /// End after so many looks
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
        looks: Option<u32>,
    },
    /// Break a cluster in a known way, and repair it exactly
    Fault {
        #[command(subcommand)]
        verb: FaultVerb,
    },
    /// Pack what a bug report needs into one file, without secrets
    Bundle {
        #[command(flatten)]
        which: Which,
        /// The file; NAME-TIME.tar in this folder if left out
        #[arg(short, long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Write the last proof and its explanation as one page of HTML
    Report {
        #[command(flatten)]
        which: Which,
        /// The page; NAME.html in this folder if left out
        #[arg(short, long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// What one can do with faults.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the flattened groups are documented at their types")]
pub enum FaultVerb {
    /// The catalogue, and what stands on a cluster
    List {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        form: Form,
    },
    /// Make one
    Add {
        /// Its word (see `fault list`)
        fault: String,
        #[command(flatten)]
        which: Which,
        /// The node it is about; the catalogue's own choice if left out
        #[arg(long, value_name = "NODE")]
        node: Option<String>,
        /// After this time the nodes undo it by themselves
        #[arg(long = "for", default_value = "30m", value_name = "TIME", env = "CALICOLAB_FAULT_FOR")]
        life: String,
        /// Also on a cluster that is not proven
        #[arg(long)]
        force: bool,
        /// Keep no point of the lab before (see `snapshot`)
        #[arg(long, env = "CALICOLAB_FAULT_NO_POINT")]
        no_point: bool,
    },
    /// Undo one, or all, and prove the cluster again
    Clear {
        /// Their words; all that stand if left out
        faults: Vec<String>,
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        form: Form,
    },
}
