//! The verbs of labs and locks: clap types; nothing that decides.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Form;

/// How a lock is made.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
#[derive(Clone, Debug, Args)]
pub struct LockHow {
    /// Only Debian packages
    #[arg(long)]
    pub apt_only: bool,
    /// Only if the archive no longer has what is locked
    #[arg(long, requires = "apt_only")]
    pub if_gone: bool,
    /// Only these artifacts: names with commas between them
    #[arg(long, value_name = "NAME", value_delimiter = ',', conflicts_with = "apt_only")]
    pub only: Vec<String>,
    /// Where nobody publishes a sum, fetch the file and take its own
    #[arg(long, conflicts_with = "apt_only")]
    pub first_use: bool,
    /// Take what an upstream says now, though a pin says otherwise
    #[arg(long, conflicts_with = "apt_only")]
    pub accept_changed: bool,
    /// The lab with another value for a key of its lab.yaml (`kubernetes=1.35.3`), as `plan` and `up` take it: a variant,
    /// with a lock of its own
    #[arg(long = "set", value_name = "KEY=VALUE", conflicts_with = "check")]
    pub sets: Vec<String>,
    /// Show what would change and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Judge the locks as they are; opens no connection
    #[arg(long, conflicts_with_all = ["apt_only", "only", "first_use", "accept_changed", "dry_run"])]
    pub check: bool,
}

/// What one can do with labs.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the flattened group is documented at its type")]
pub enum LabsVerb {
    /// Say what a lab is, and what it teaches
    Show {
        /// The lab
        lab: String,
    },
    /// Say which Calico goes with which Kubernetes, and why others do not
    Matrix,
    /// Begin a lab of your own in a folder of labs
    New {
        /// Its name
        name: String,
        /// The folder to hand to `--labs`
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Read a lab and tell every problem
    Check {
        /// A lab's name, or the path of a lab.yaml
        lab: String,
        #[command(flatten)]
        form: Form,
    },
    /// Print the JSON Schema of lab.yaml
    Schema,
    /// Write all labs and templates to a folder for editing
    Export {
        /// The folder
        folder: PathBuf,
        /// Overwrite files that differ
        #[arg(long)]
        force: bool,
    },
}
