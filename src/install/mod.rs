//! Bytes and secrets onto the nodes, daemons started: straight code over SSH.

mod applied;
mod binaries;
mod calico;
mod cluster;
mod coreos;
mod datastore;
mod etcd;
mod kubeadm;
pub mod manifest;
pub mod pki;
mod primer;

use std::fmt::Write as _;
use std::time::Duration;

use self::pki::Pki;
use crate::artifact::payload::Payload;
use crate::command::{Argv, Ended, Output};
use crate::guest::Machine;
use crate::lab::file::{Installer, On};
use crate::lab::name::{NodeName, PerNode};
use crate::lab::plan::Plan;
use crate::lab::render::AddOn;
use crate::ssh::{Content, Input, Remote, SshError, Upload};

use self::manifest::Edited;

/// Everything an installer brings; the same for all nodes, each takes what is its own.
pub struct Kit<'a> {
    /// What is to be.
    pub plan: &'a Plan,
    /// Certificates and keys.
    pub pki: &'a Pki,
    /// The pinned programs.
    pub payload: &'a Payload,
    /// The upstream's manifests with the lab's edits in them; none without a Calico.
    pub manifests: &'a [Edited],
    /// What each node was told at its first boot: cloud-config.
    pub told: &'a PerNode<String>,
    /// What the lab itself runs in its cluster, where its installer applies that: rendered manifests.
    pub add_ons: &'a [(AddOn, String)],
}

/// Runs on the node: takes the programs from the payload disk or from standard input, unless they are there already.
/// What an installer adds to it begins only when every one has the digest that was planned.
const PLACE: &str = include_str!("place.sh");
/// [`PLACE`]'s own status for bytes that are not those that were packed.
const ALTERED: i32 = 65;
const SUMS: &str = "/etc/calicolab/payload.sha256";
/// Emulated machines unpack and hash some 60 MiB in this time even when all of them do so at once on one processor.
const LIMIT: Duration = Duration::from_secs(300);

impl Kit<'_> {
    /// Bring `node` to where its units start by themselves, and the master to where it has what the cluster begins
    /// with. Safe to repeat.
    pub async fn install(&self, node: &NodeName, machine: &Machine, remote: &Remote) -> Result<(), InstallError> {
        match self.plan.installer {
            Installer::Primer => primer::install(self, node, machine, remote).await,
            Installer::Binaries => binaries::install(self, node, machine, remote).await,
            Installer::Kubeadm => kubeadm::install(self, node, machine, remote).await,
            Installer::Coreos => coreos::install(self, node, machine, remote).await,
        }
    }

    /// What [`install`](Self::install) does to `node` as a shell's text, for who has no session of ours: run as root
    /// there, with the payload attached as a disk. It holds what only root may read. None where the nodes of a cluster
    /// have to wait for each other.
    pub fn script(&self, node: &NodeName) -> Option<String> {
        (self.plan.installer == Installer::Primer).then(|| primer::script(self, node))
    }

    fn with_sums(&self, node: &NodeName, mut files: Vec<Upload>) -> Vec<Upload> {
        files.push(secret(SUMS, &self.sums(node)));
        files
    }

    /// Put `files`, place the programs, and run `then` on the node once each has its digest.
    async fn place(
        &self,
        node: &NodeName,
        machine: &Machine,
        remote: &Remote,
        files: Vec<Upload>,
        then: &str,
    ) -> Result<(), InstallError> {
        let failed = |source| InstallError::Ssh { node: node.clone(), source: Box::new(source) };
        let (files, script) = (self.with_sums(node, files), [PLACE, then].concat());
        let output = if machine.payload_attached {
            remote.put_and_run(files, (&script, &["disk"]), LIMIT).await
        } else {
            remote.put_many(files, LIMIT).await.map_err(failed)?;
            let input = Input::File(self.payload.path().to_path_buf());
            remote.run_with_input(&Argv::node_script(&script, ["stream"]).sudo(), input, LIMIT).await
        };
        let output = output.map_err(failed)?;
        match output.ended {
            Ended::Exit(0) => Ok(()),
            Ended::Exit(ALTERED) => Err(InstallError::Altered { node: node.clone(), which: output.tail(5) }),
            _ => Err(InstallError::failed(node, "placing the programs", &output)),
        }
    }

    /// sha256sum's own list of what this node uses.
    fn sums(&self, node: &NodeName) -> String {
        let master = *node == self.plan.master;
        let used = self.payload.files().iter().filter(|file| file.on == On::All || master);
        used.fold(String::new(), |mut list, file| {
            // Writing into a String cannot fail.
            let _ = writeln!(list, "{}  {}", file.sha256.hex(), file.path);
            list
        })
    }
}

/// Why a plan cannot be installed, if it cannot.
pub fn refusal(plan: &Plan) -> Option<String> {
    match plan.installer {
        Installer::Primer | Installer::Coreos => None,
        Installer::Binaries => binaries::refusal(plan),
        Installer::Kubeadm => kubeadm::refusal(plan),
    }
}

/// A file for root alone.
fn secret(path: &str, text: &str) -> Upload {
    Upload { path: path.into(), mode: 0o600, content: Content::Bytes(text.as_bytes().to_vec()) }
}

/// Why a node was not installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Its cloud-config is not what this installer follows.
    #[error("the cloud-config of {node} names no units that can be started")]
    Told {
        /// The node.
        node: NodeName,
        /// What is wrong with it.
        source: Box<serde_saphyr::Error>,
    },
    /// A manifest of the lab's is not one.
    #[error("the lab's own manifest {name} cannot be read")]
    Manifest {
        /// Which.
        name: &'static str,
        /// What is wrong with it.
        source: Box<serde_saphyr::Error>,
    },
    /// The way to it failed.
    #[error("{node} could not be installed")]
    Ssh {
        /// The node.
        node: NodeName,
        /// How.
        source: Box<SshError>,
    },
    /// It holds other bytes than those that were packed.
    #[error("{node} has other bytes than those that were packed: {which}")]
    Altered {
        /// The node.
        node: NodeName,
        /// What the node's own check said.
        which: String,
    },
    /// A command of ours failed there. All it said is in the cluster's log.
    #[error("{doing} on {node} failed: {said}")]
    Failed {
        /// The node.
        node: NodeName,
        /// What was being done.
        doing: &'static str,
        /// The last lines it said.
        said: String,
    },
}

impl InstallError {
    /// A command of ours that failed there: its last lines here, all of them in the log.
    fn failed(node: &NodeName, doing: &'static str, output: &Output) -> Self {
        log(node, doing, output);
        Self::Failed { node: node.clone(), doing, said: output.tail(12) }
    }
}

/// Write down all that a command said, where only a part of it is shown.
fn log(node: &NodeName, doing: &str, Output { ended, stdout, stderr }: &Output) {
    tracing::debug!("{doing} on {node} {ended}; it said:\n{stdout}\n{stderr}");
}

#[cfg(test)]
mod tests;
