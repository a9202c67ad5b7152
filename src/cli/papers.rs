//! The words about files that a proof is written to beside its answer.

use std::path::PathBuf;

use clap::Args;

/// Files for others than the one who asks.
#[derive(Debug, Default, Args)]
pub struct Papers {
    /// Also write the checks as JUnit's XML, for CI
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Also write the page that `report` writes
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}
