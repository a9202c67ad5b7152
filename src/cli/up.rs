//! The words of `up`: which lab, where it runs, and what else is to become of it.

use clap::Args;

use super::papers::Papers;
use super::{Away, Form, OnFailure, Wish};

/// What is asked of `up`.
#[derive(Debug, Args)]
pub struct Up {
    /// The lab; `primer` if left out, and with --from the point's
    #[arg(env = "CALICOLAB_UP_LAB")]
    pub lab: Option<String>,
    /// The cluster; the lab's name if left out
    #[arg(short, long, env = "CALICOLAB_CLUSTER", value_name = "NAME")]
    pub name: Option<String>,
    /// What the lab is asked to be.
    #[command(flatten)]
    pub wish: Wish,
    /// Where the machines run: auto, qemu, incus (Incus or LXD), vagrant (with libvirt; never chosen by itself)
    #[arg(long, default_value = "auto", env = "CALICOLAB_UP_PROVIDER")]
    pub provider: String,
    /// Where else than on this host.
    #[command(flatten)]
    pub away: Away,
    /// Show the plan and end
    #[arg(long)]
    pub dry_run: bool,
    /// Remove what is there under this name first
    #[arg(long)]
    pub recreate: bool,
    /// Bring the cluster back as one of its points, kept by `down --keep-points` too, instead of booting it
    #[arg(long, value_name = "POINT", conflicts_with_all = ["recreate", "dry_run", "nodes", "sets", "vm", "remote"])]
    pub from: Option<String>,
    /// Boot every machine from nothing; else emulated ones are resumed from one that was booted before its seed was read
    #[arg(long, conflicts_with = "from", env = "CALICOLAB_UP_COLD")]
    pub cold: bool,
    /// How long a machine may take to boot, in seconds
    #[arg(long, default_value_t = 600, value_name = "SECONDS", env = "CALICOLAB_UP_BOOT_TIMEOUT")]
    pub boot_timeout: u64,
    /// What to do with machines that did not come up
    #[arg(long, default_value = "keep", env = "CALICOLAB_UP_ON_FAILURE")]
    pub on_failure: OnFailure,
    /// What the proof is written to besides.
    #[command(flatten)]
    pub papers: Papers,
    /// The form of the answer.
    #[command(flatten)]
    pub form: Form,
}
