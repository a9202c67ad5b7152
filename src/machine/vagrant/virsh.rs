//! Libvirt by its own program: what there is, whose it is, and its verbs.

use std::time::Duration;

use super::things::uuid;
use crate::command::{self, Argv};
use crate::machine::ProviderError;

/// The program.
pub const VIRSH: &str = "virsh";

/// Longer than a disk takes to be brought in.
const LIMIT: Duration = Duration::from_secs(300);

/// What libvirt keeps by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// A machine.
    Domain,
    /// A network.
    Network,
    /// A pool of disks.
    Pool,
}

impl Sort {
    /// Its list, those too that do not run, and the word for its own name.
    fn words(self) -> ([&'static str; 3], &'static str) {
        match self {
            Self::Domain => (["list", "--all", "--name"], "domuuid"),
            Self::Network => (["net-list", "--all", "--name"], "net-uuid"),
            Self::Pool => (["pool-list", "--all", "--name"], "pool-uuid"),
        }
    }
}

/// Whether something is there under a name of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// There is nothing.
    Nobodys,
    /// It was made for this cluster.
    Ours,
    /// It bears the name and was not made for this cluster.
    Foreign,
}

/// A verb and its words, and what stands on its standard input.
pub async fn virsh(words: &[&str], input: &str, doing: &str) -> Result<String, ProviderError> {
    let argv = Argv::new("env").args(["LC_ALL=C", VIRSH, "--quiet", "--connect", "qemu:///system"]);
    let argv = argv.args(words.iter().copied());
    let done = command::run_with_input(&argv, input.as_bytes().to_vec(), LIMIT).await;
    done.and_then(|output| output.success(&argv))
        .map_err(|source| ProviderError::Command { doing: doing.into(), source })
}

/// The first words of the lines of a list.
pub async fn names(words: &[&str]) -> Result<Vec<String>, ProviderError> {
    let text = virsh(words, "", "asking libvirt").await?;
    Ok(text.lines().filter_map(|line| line.split_ascii_whitespace().next()).map(str::to_owned).collect())
}

/// Everything of a sort whose name begins with `base`.
pub async fn beginning(sort: Sort, base: &str) -> Result<Vec<String>, ProviderError> {
    let mut all = names(&sort.words().0).await?;
    all.retain(|name| name.starts_with(base));
    Ok(all)
}

/// Whose `name` is. What is made for a cluster has an id that follows from the cluster's label.
pub async fn whose(sort: Sort, name: &str, label: &str) -> Result<Whose, ProviderError> {
    if !beginning(sort, name).await?.iter().any(|known| known == name) {
        return Ok(Whose::Nobodys);
    }
    let id = virsh(&[sort.words().1, name], "", "asking libvirt").await?;
    Ok(if id.trim() == uuid(label, name) { Whose::Ours } else { Whose::Foreign })
}
