//! `logs`: our own log of a cluster, a node's console, or a node's journal.

use std::path::Path;

use crate::command::{Argv, Output};
use crate::failure::{Exit, Failure};
use crate::lab::name::ClusterName;
use crate::ssh::Remote;

use super::bring::not_reached;
use super::cx::not_locked;
use super::cx::{ANSWER, Cx, node_named};
use super::kept::{plan_of, targets};

/// What is to be shown.
pub enum Source {
    /// calicolab's own log.
    Own,
    /// A node's console, kept by the provider: there also for machines that never came up.
    Console {
        /// The node.
        node: String,
    },
    /// A node's journal, of one unit or of all.
    Journal {
        /// The node.
        node: String,
        /// The unit.
        unit: Option<String>,
    },
}

/// The last `lines` lines.
pub async fn logs(cx: &Cx<'_>, cluster: &ClusterName, source: &Source, lines: u32) -> Result<String, Failure> {
    let folder = cx.home.folder(cluster);
    match source {
        Source::Own => file(&folder.join(crate::record::LOG), lines),
        Source::Console { node } => {
            let state = cx.home.read(cluster).map_err(|error| not_locked(cluster, &error))?;
            let node = node_named(&state.nodes, node)?;
            let provider = cx.providers.iter().find(|one| one.kind() == state.provider);
            let kept = match provider {
                Some(provider) => provider.console(&cx.place(cluster)?, &node).await,
                None => None,
            };
            match kept {
                Some(said) if said.is_empty() => {
                    Err(Failure::new(Exit::NoSuch, "logs.none", format!("read the console of {node}"))
                        .because_text("nothing was said there, or nothing of it was kept")
                        .hint(format!("calicolab logs {node}")))
                }
                Some(said) => Ok(tail(&said, lines)),
                None => file(&folder.join("vm").join(node.as_str()).join("console.log"), lines),
            }
        }
        Source::Journal { node, unit } => {
            let state = cx.home.read(cluster).map_err(|error| not_locked(cluster, &error))?;
            let plan = plan_of(cx, cluster)?;
            let node = node_named(&state.nodes, node)?;
            let target = &targets(&plan, &state)?[&node];
            let remote = Remote::connect(target, &node, &folder.join("ssh").join("key"), ANSWER)
                .await
                .map_err(|error| not_reached(&error).hint(format!("calicolab logs {node} --console")))?;
            let mut argv = Argv::new("journalctl").args(["--no-pager", "--output=short-iso", "--lines"]);
            argv = argv.arg(lines.to_string());
            if let Some(unit) = unit {
                argv = argv.args(["--unit", unit]);
            }
            let argv = argv.sudo();
            let said: Output = remote.run(&argv, ANSWER).await.map_err(|error| not_reached(&error))?;
            said.success(&argv)
                .map_err(|error| Failure::new(Exit::Unexpected, "logs.journal", "read the journal").because(&error))
        }
    }
}

fn file(path: &Path, lines: u32) -> Result<String, Failure> {
    let bytes = std::fs::read(path)
        .map_err(|error| Failure::new(Exit::NoSuch, "logs.none", format!("read {}", path.display())).because(&error))?;
    Ok(tail(&String::from_utf8_lossy(&bytes), lines))
}

fn tail(text: &str, lines: u32) -> String {
    let all: Vec<&str> = text.lines().collect();
    let wanted = usize::try_from(lines).unwrap_or(usize::MAX);
    all[all.len().saturating_sub(wanted)..].join("\n")
}
