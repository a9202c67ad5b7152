//! The verbs of the cache and of mirrors: clap types; nothing that decides.

use clap::Subcommand;

use super::Form;

/// What one can do with the cache.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the flattened group is documented at its type")]
pub enum CacheVerb {
    /// List what it holds, and which labs and clusters want it; points, too, whose they are and what they take
    Ls {
        #[command(flatten)]
        form: Form,
    },
    /// Hash everything; exit 41 if something is damaged
    Verify {
        /// Remove what is damaged
        #[arg(long)]
        remove_damaged: bool,
        #[command(flatten)]
        form: Form,
    },
    /// Say what no lab and no cluster wants, and how much that frees
    Prune {
        /// Remove it
        #[arg(long)]
        yes: bool,
        /// Also what labs want, as long as no cluster is made from it
        #[arg(long)]
        all: bool,
        /// Also the points that `down --keep-points` kept, and what they stand on
        #[arg(long)]
        points: bool,
        /// Only what was not changed for this many days
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(0..=36500))]
        older_than: Option<u64>,
        #[command(flatten)]
        form: Form,
    },
}

/// What one can do about mirrors.
#[derive(Debug, Subcommand)]
pub enum MirrorVerb {
    /// Serve the cache by digest over HTTP, to be read only, until Ctrl-C
    Serve {
        /// Address and port; 0.0.0.0 is for the whole network, port 0 for a free one
        #[arg(long, default_value = "127.0.0.1:7070", value_name = "ADDRESS:PORT", env = "CALICOLAB_MIRROR_LISTEN")]
        listen: std::net::SocketAddr,
    },
}
