//! The flags of `up`, `doctor` and `gc` about other servers.

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

/// Which servers are judged.
#[derive(Debug, Args)]
pub struct Judged {
    /// Judge the servers of Incus or LXD that their client knows by this name, not this host
    #[arg(long, value_name = "NAME", env = "CALICOLAB_DOCTOR_REMOTE")]
    pub remote: Option<String>,
    /// Only these members of their cluster: names with commas between them
    #[arg(long, value_name = "MEMBER", value_delimiter = ',', requires = "remote", env = "CALICOLAB_DOCTOR_TARGET")]
    pub target: Vec<String>,
}

/// Where else it is looked.
#[derive(Debug, Args)]
pub struct Remotes {
    /// Look there too: servers of Incus or LXD by the names their client knows, with commas between them; those that
    /// clusters are on are asked in any case
    #[arg(long, value_name = "NAME", value_delimiter = ',', env = "CALICOLAB_GC_REMOTE")]
    pub remote: Vec<String>,
}
