//! The words about the cluster that a lab runs: kubectl, calicoctl, kubeconfig, images of one's own.

use std::path::PathBuf;

use clap::Subcommand;

use super::{Form, Which};

/// What one can do with the cluster that a lab runs.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the flattened groups are documented at their types")]
pub enum Kube {
    /// Run the lab's own kubectl on its master, as administrator
    ///
    /// Words, standard input, terminal and exit code pass through; 255 says that it could not be run. Files are the
    /// master's: hand over one of yours by standard input, as in `calicolab kubectl -- apply -f - <pod.yaml`.
    Kubectl {
        #[command(flatten)]
        which: Which,
        /// Words for kubectl, after `--`
        #[arg(last = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Run the lab's own calicoctl on its master, told where Calico keeps its data
    ///
    /// Words, standard input, terminal and exit code pass through; 255 says that it could not be run.
    Calicoctl {
        #[command(flatten)]
        which: Which,
        /// Words for calicoctl, after `--`
        #[arg(last = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Print a kubeconfig by which kubectl on this host reaches the cluster, or merge it into yours
    Kubeconfig {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        form: Form,
        #[command(subcommand)]
        verb: Option<KubeconfigVerb>,
    },
    /// Give all nodes a container image of your own, for pods with `imagePullPolicy: Never`
    Load {
        /// What `docker save NAME:TAG` wrote, or an OCI layout as a tar; may be compressed
        file: PathBuf,
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        form: Form,
    },
}

/// What one can do with the user's own kubeconfig.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum KubeconfigVerb {
    /// Print it, for `kubectl --kubeconfig`; what no word does
    Print,
    /// Put it into the first file of KUBECONFIG, or ~/.kube/config, as the context `calicolab-NAME`
    ///
    /// All other entries stay; comments do not, as with kubectl's own verbs. `unmerge` and `down` take it out again.
    Merge {
        /// Make it the current context too
        #[arg(long, env = "CALICOLAB_KUBECONFIG_USE_CONTEXT")]
        use_context: bool,
    },
    /// Take it out again; a file that nobody else wrote to is what it was, to the last byte
    Unmerge,
}
