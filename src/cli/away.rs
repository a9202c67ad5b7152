//! The flags of `up` for machines on other servers.

use clap::Args;

/// Where machines run that do not run on this host.
#[derive(Debug, Args)]
pub struct Away {
    /// Run the machines on the servers of Incus or LXD that their client knows by this name (`lxc remote list`)
    #[arg(long, value_name = "NAME", env = "CALICOLAB_UP_REMOTE")]
    pub remote: Option<String>,
    /// Only on these members of their cluster: names with commas between them
    #[arg(long, value_name = "MEMBER", value_delimiter = ',', requires = "remote", env = "CALICOLAB_UP_TARGET")]
    pub target: Vec<String>,
}
