//! The words about points: save, list, show, restore, delete.

use clap::Subcommand;

use super::{Form, Which};

/// What one can do with points.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the flattened groups are documented at their types")]
pub enum SnapshotVerb {
    /// Keep a running lab as it is; it stands still for less than a second
    Save {
        /// A name for the point; the first free of point-1, point-2, … if left out
        point: Option<String>,
        #[command(flatten)]
        which: Which,
    },
    /// List the points of a cluster
    List {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        form: Form,
    },
    /// Show one point: its files, digests, and what it can be brought back by
    Show {
        /// The point
        point: String,
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        form: Form,
    },
    /// Bring the lab back as it was, set its clocks, and prove it again
    Restore {
        /// The point
        #[arg(required_unless_present = "proven")]
        point: Option<String>,
        /// The last one that was proven when it was saved
        #[arg(long, conflicts_with = "point")]
        proven: bool,
        /// End the machines that run; what they did since is lost
        #[arg(long)]
        replace: bool,
        /// As a cluster of this name, beside the lab: the same inside, with ports, wire and login key of its own
        #[arg(long = "as", value_name = "NAME", conflicts_with = "replace")]
        beside: Option<String>,
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        form: Form,
    },
    /// Remove a point
    Delete {
        /// The point
        point: String,
        #[command(flatten)]
        which: Which,
    },
}
