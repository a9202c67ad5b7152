//! The command line: clap types; nothing that decides.

mod away;
pub mod broken;
mod bytes;
pub mod kube;
mod labs;
pub mod papers;
pub mod points;
mod up;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use papers::Papers;

pub use away::{Away, Judged, Remotes};
pub use bytes::{CacheVerb, MirrorVerb};
pub use labs::{LabsVerb, LockHow};
pub use up::Up;

use crate::failure::Exit;

fn after_help() -> String {
    format!(
        "Exit codes:\n{}\nEvery flag has an environment variable by rule: CALICOLAB_<VERB>_<FLAG>; for all verbs\n\
         CALICOLAB_HOME, CALICOLAB_CLUSTER, CALICOLAB_LABS, CALICOLAB_OFFLINE and CALICOLAB_MIRRORS.",
        Exit::table()
    )
}

/// Throwaway clusters of real machines with a pinned network, proven before they are called up.
#[derive(Debug, Parser)]
#[command(name = "calicolab", version, max_term_width = 100, after_help = after_help())]
pub struct Cli {
    /// What holds for every verb.
    #[command(flatten)]
    pub global: Global,
    /// The verb.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What holds for every verb.
#[derive(Debug, Args)]
pub struct Global {
    /// Labs and templates of your own instead of those in the binary (see `labs export`)
    #[arg(long, global = true, env = "CALICOLAB_LABS", value_name = "DIR")]
    pub labs: Option<PathBuf>,
    /// Open no connection but to this host and our machines
    #[arg(long, global = true, env = "CALICOLAB_OFFLINE")]
    pub offline: bool,
    /// Another place for what begins with PREFIX (`code.example/project`; `*`: any file by its digest, as `mirror serve`
    /// gives it out); need not be trusted. Also CALICOLAB_MIRRORS, and `mirrors` in config.yaml
    #[arg(long = "mirror", global = true, value_name = "PREFIX=URL")]
    pub mirrors: Vec<String>,
    /// Tell happenings as one JSON object a line on standard output, and nothing else there
    #[arg(long, global = true)]
    pub json: bool,
}

/// Which cluster a verb is about.
#[derive(Debug, Args)]
pub struct Which {
    /// The cluster; not needed while there is only one
    #[arg(short, long, env = "CALICOLAB_CLUSTER", value_name = "NAME")]
    pub name: Option<String>,
}

/// How data is written to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// The form of the answer.
#[derive(Debug, Args)]
pub struct Form {
    /// Form of the answer
    #[arg(short, long, default_value = "table", value_name = "FORM")]
    pub output: Format,
}

/// What a lab is asked to be, beside its file.
#[derive(Debug, Args)]
pub struct Wish {
    /// How many nodes, 2 to 9
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=9))]
    pub nodes: Option<u8>,
    /// Another value for a key of lab.yaml (`bgp.mesh=off`); lists are separated by commas. `image.NAME=FILE` or
    /// `image.NAME=REF@DIGEST` is an image of your own in place of the lab's
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Virtual machines where a provider would make containers
    #[arg(long)]
    pub vm: bool,
}

/// What to do with the machines of a lab that did not come up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnFailure {
    /// Leave them to be looked at.
    Keep,
    /// Remove everything, as `down` does.
    Down,
}

/// The verbs.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "the flattened groups are documented at their types, and a comment here would become help text"
)]
pub enum Verb {
    /// Bring a lab up, or on, and prove it
    Up(Up),
    /// Remove a cluster and everything of it; fine to repeat
    Down {
        /// The cluster
        #[arg(env = "CALICOLAB_CLUSTER", conflicts_with = "all")]
        name: Option<String>,
        /// All clusters of this user
        #[arg(long)]
        all: bool,
        /// Keep the points, and with them the way back
        #[arg(long)]
        keep_points: bool,
    },
    /// Power the machines off, keeping their disks
    Stop {
        #[command(flatten)]
        which: Which,
    },
    /// Power the machines on again, and prove the cluster again
    Start {
        #[command(flatten)]
        which: Which,
        /// How long a machine may take to boot, in seconds
        #[arg(long, default_value_t = 600, value_name = "SECONDS", env = "CALICOLAB_START_BOOT_TIMEOUT")]
        boot_timeout: u64,
        #[command(flatten)]
        form: Form,
    },
    /// Take the proof again, whole or in part
    Verify {
        /// Checks to take, by id or the beginning of one; all if left out
        checks: Vec<String>,
        #[command(flatten)]
        which: Which,
        /// List the checks and end
        #[arg(long)]
        list: bool,
        /// Show only what fails
        #[arg(long)]
        only_failures: bool,
        /// One round, no waiting
        #[arg(long)]
        no_wait: bool,
        /// How long to wait for all to pass, in seconds
        #[arg(long, value_name = "SECONDS", env = "CALICOLAB_VERIFY_TIMEOUT")]
        timeout: Option<u64>,
        /// Do not ask how long sessions have been up; the answer says so
        #[arg(long)]
        no_stable: bool,
        #[command(flatten)]
        papers: Papers,
        #[command(flatten)]
        form: Form,
    },
    #[command(flatten)]
    Broken(broken::Broken),
    /// Points: a whole lab kept as it is, and brought back proven
    Snapshot {
        #[command(subcommand)]
        verb: points::SnapshotVerb,
    },
    /// List the clusters
    Ls {
        #[command(flatten)]
        form: Form,
    },
    /// Show one cluster: phase, nodes, last proof, files
    Status {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        form: Form,
    },
    #[command(flatten)]
    Kube(kube::Kube),
    /// Log in to a node, or run words there as ssh(1) does
    Ssh {
        #[command(flatten)]
        which: Which,
        /// The node
        node: String,
        /// Words for the node's login shell, after `--`
        #[arg(last = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Print an ssh_config for the nodes
    SshConfig {
        /// One node only
        node: Option<String>,
        #[command(flatten)]
        which: Which,
    },
    /// Copy files to or from nodes (`NODE:PATH`), as scp does
    Cp {
        #[command(flatten)]
        which: Which,
        /// Sources, then the target
        #[arg(required = true, num_args = 2..)]
        paths: Vec<String>,
    },
    /// Show what was logged: our own log, a node's console, or a node's journal
    Logs {
        /// The node; our own log if left out
        node: Option<String>,
        #[command(flatten)]
        which: Which,
        /// The node's console instead of its journal
        #[arg(long, requires = "node")]
        console: bool,
        /// One unit of the node's journal
        #[arg(short, long, requires = "node", conflicts_with = "console")]
        unit: Option<String>,
        /// Only this many last lines
        #[arg(long, default_value_t = 200, value_name = "LINES")]
        tail: u32,
    },
    /// Show what `up` would do; touches nothing
    Plan {
        /// The lab
        #[arg(default_value = "primer", env = "CALICOLAB_PLAN_LAB")]
        lab: String,
        /// The cluster; the lab's name if left out
        #[arg(short, long, env = "CALICOLAB_CLUSTER", value_name = "NAME")]
        name: Option<String>,
        /// Show what the lab changes in Calico's own manifests instead, as a diff
        #[arg(long, env = "CALICOLAB_PLAN_MANIFESTS")]
        manifests: bool,
        #[command(flatten)]
        wish: Wish,
        #[command(flatten)]
        form: Form,
    },
    /// Write a folder with which plain Vagrant brings a lab up: Vagrantfile, box, disks, cloud-config
    Vagrantfile {
        /// The lab
        #[arg(default_value = "primer", env = "CALICOLAB_VAGRANTFILE_LAB")]
        lab: String,
        /// The folder; must be empty or not there
        #[arg(short = 'o', long = "output", value_name = "DIR")]
        into: PathBuf,
        #[command(flatten)]
        wish: Wish,
    },
    /// Write a lab's lock: the digests of all it uses, out of their upstreams' own records
    Lock {
        /// The lab; with --check any number of them, and all if none is named
        #[arg(value_name = "LAB")]
        names: Vec<String>,
        #[command(flatten)]
        how: LockHow,
        #[command(flatten)]
        form: Form,
    },
    /// Bring every byte that labs use into the cache, verified
    Fetch {
        /// The labs
        #[arg(default_value = "primer", env = "CALICOLAB_FETCH_LAB")]
        lab: Vec<String>,
        /// Also the files for other processors than the nodes'
        #[arg(long)]
        all_archs: bool,
        /// List what is there and what would be fetched, and end
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        form: Form,
    },
    /// Write a lab with its lock, templates and every byte it uses as one file
    Pack {
        /// The lab
        #[arg(default_value = "primer", env = "CALICOLAB_PACK_LAB")]
        lab: String,
        /// The file
        #[arg(short = 'o', long = "output", value_name = "FILE")]
        into: PathBuf,
        /// Replace a file that is there
        #[arg(long)]
        force: bool,
    },
    /// Check a pack whole, then bring what it holds to where `up --offline` finds it
    Unpack {
        /// The file that `pack` wrote
        file: PathBuf,
        /// Show the pack's list and end; reads the list alone
        #[arg(long, conflicts_with = "dry_run")]
        list: bool,
        /// Check every byte, show the list and write nothing
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        form: Form,
    },
    /// The cache: what it holds, whether it is whole, what can go
    Cache {
        #[command(subcommand)]
        verb: CacheVerb,
    },
    /// Hand the cache out to other machines
    Mirror {
        #[command(subcommand)]
        verb: MirrorVerb,
    },
    /// The labs: list, show, check, carry out of the binary
    Labs {
        #[command(subcommand)]
        verb: Option<LabsVerb>,
    },
    /// Say whether this host, or other servers, are fit, and what to do where they are not
    Doctor {
        /// The lab to judge it for
        #[arg(default_value = "primer")]
        lab: String,
        #[command(flatten)]
        wish: Wish,
        #[command(flatten)]
        judged: Judged,
        #[command(flatten)]
        form: Form,
    },
    /// Say what was left on this host, or on other servers, and belongs to no cluster, and how much that frees
    Gc {
        /// Remove it
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        remotes: Remotes,
        #[command(flatten)]
        form: Form,
    },
    /// Print a completion script for a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}
