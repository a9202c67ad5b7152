//! `kubeconfig`: a client's way into the cluster, printed, merged into the user's own file, and taken out of it again.

mod place;
mod text;

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use self::place::{Before, Held, Memory, PlaceError};
use self::text::{TextError, Whose, merged, unmerged, written};
use super::cx::{ANSWER, Cx, not_locked};
use super::kept::{master, plan_of};
use crate::cluster::state::ClusterState;
use crate::failure::{Exit, Failure};
use crate::guest::API_PORT;
use crate::lab::name::ClusterName;
use crate::lab::plan::Plan;
use crate::node::kubeconfig::{Access, Entries, Server, ask};

/// What `merge` did, for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Done {
    /// The user's file.
    pub file: PathBuf,
    /// The context in it.
    pub context: String,
    /// Whether that is the current one now.
    pub current: bool,
    /// Where it leads to.
    pub server: String,
}

/// A kubeconfig with nothing but this cluster in it, as JSON.
pub async fn alone(cx: &Cx<'_>, cluster: &ClusterName) -> Result<Value, Failure> {
    Ok(entries(cx, cluster).await?.0.alone())
}

/// The same as YAML.
pub fn yaml(config: &Value) -> String {
    config.as_object().map(written).unwrap_or_default()
}

/// Put the cluster into the user's file, which keeps all else that it has; `current` makes it what kubectl asks by itself.
pub async fn merge(cx: &Cx<'_>, cluster: &ClusterName, current: bool) -> Result<Done, Failure> {
    let folder = cx.home.folder(cluster);
    let file = users_file()?;
    let memory = Memory::read(&folder);
    if let Some(other) = memory.as_ref().filter(|memory| memory.file != file) {
        return Err(refused(&file)
            .because_text(format!("`{cluster}` is merged into {} already", other.file.display()))
            .hint(format!("calicolab kubeconfig --name {cluster} unmerge")));
    }
    let (entries, server) = entries(cx, cluster).await?;
    let held = Held::take(&file).await.map_err(|error| unwritten(&file, &error))?;
    let there = held.text().map_err(|error| unwritten(&file, &error))?;
    let whose = whose(cx);
    let whose = Whose { cluster: cluster.as_str(), home: &whose };
    let made = merged(there.as_deref().unwrap_or_default(), whose, &entries, current);
    let made = made.map_err(|error| unread(&file, &error))?;
    let (before, known) = match memory {
        // What it was before the first merge is what one wants back, if nobody wrote to it since.
        Some(memory) if there.as_deref() == Some(&memory.wrote) => (memory.before, memory.replaced),
        Some(memory) => (Before::Shared, memory.replaced),
        None => (there.map_or(Before::Absent, Before::Text), None),
    };
    let memory = Memory { file, before, wrote: made.text.clone(), replaced: made.replaced.or(known) };
    // Remembered before it is done: taking out what is not there is fine.
    memory.write(&folder).map_err(|error| unwritten(&memory.file, &error))?;
    held.put(Some(&made.text)).map_err(|error| unwritten(&memory.file, &error))?;
    Ok(Done { file: memory.file, context: entries.name, current, server: server.url })
}

/// Take the cluster out of the user's file again; the file, if there was anything to take out. Where nobody wrote to it
/// since, it is what it was before to the last byte.
pub async fn unmerge(cx: &Cx<'_>, cluster: &ClusterName) -> Result<Option<PathBuf>, Failure> {
    let folder = cx.home.folder(cluster);
    let Some(memory) = Memory::read(&folder) else { return Ok(None) };
    let file = &memory.file;
    let held = Held::take(file).await.map_err(|error| unwritten(file, &error))?;
    let there = held.text().map_err(|error| unwritten(file, &error))?;
    let whose = whose(cx);
    let whose = Whose { cluster: cluster.as_str(), home: &whose };
    let put = |text: Option<&str>| held.put(text).map_err(|error| unwritten(file, &error)).map(|()| true);
    let changed = match (there, &memory.before) {
        (None, _) => false,
        (Some(text), Before::Absent) if text == memory.wrote => put(None)?,
        (Some(text), Before::Text(before)) if text == memory.wrote => put(Some(before))?,
        (Some(text), _) => {
            let without = unmerged(&text, whose, memory.replaced.as_deref()).map_err(|error| unread(file, &error))?;
            without.map_or(Ok(false), |without| put(Some(&without)))?
        }
    };
    Memory::forget(&folder).map_err(|error| unwritten(file, &error))?;
    Ok(changed.then_some(memory.file))
}

/// The cluster goes: what leads to it goes too. A file that cannot be changed must not keep the machines.
pub async fn goes(cx: &Cx<'_>, cluster: &ClusterName) {
    match unmerge(cx, cluster).await {
        Ok(None) => {}
        Ok(Some(file)) => cx.events.note(format!("`{cluster}` is taken out of {}", file.display())),
        Err(failure) => cx.events.warn(failure.to_string()),
    }
}

/// The cluster's entries, with where they lead to.
async fn entries(cx: &Cx<'_>, cluster: &ClusterName) -> Result<(Entries, Server), Failure> {
    let state = cx.home.read(cluster).map_err(|error| not_locked(cluster, &error))?;
    let plan = plan_of(cx, cluster)?;
    super::kube::has_kubernetes(&plan)?;
    let server = server(&plan, &state)?;
    let remote = master(cx, cluster, &plan, &state).await?;
    let unasked = || Failure::new(Exit::Boot, "kubeconfig.master", format!("read the kubeconfig on {}", plan.master));
    let output = remote.run(&ask().sudo(), ANSWER).await.map_err(|error| unasked().because(&error))?;
    let access =
        Access::parse(&output.stdout).map_err(|error| unasked().because(&error).because_text(output.stderr))?;
    Ok((Entries::of(cluster.as_str(), &whose(cx), &server, &access), server))
}

/// Where this host reaches the API server: at its own port, where the machines have addresses of this host's networks,
/// else at the port of this host that leads there.
fn server(plan: &Plan, state: &ClusterState) -> Result<Server, Failure> {
    let target = super::kept::targets(plan, state)?[&plan.master].addr.ip();
    let leads =
        if target.is_loopback() { state.leased.as_ref().and_then(|leased| leased.api_port) } else { Some(API_PORT) };
    let Some(port) = leads.filter(|_| plan.away.is_none()) else {
        let why = "only its sshd is reached from this host, by a port of its own; its API server is not";
        return Err(Failure::new(
            Exit::Conflict,
            "kubeconfig.away",
            format!("reach the API server of `{}`", plan.cluster),
        )
        .because_text(format!("{}: {why}", plan.master))
        .hint(format!("calicolab kubectl --name {} -- get nodes", plan.cluster)));
    };
    // The certificate is made before the machines, and so before their addresses towards this host are known.
    Ok(Server {
        url: format!("https://{}", std::net::SocketAddr::new(target, port)),
        named: Some(plan.network.api_name.clone()),
    })
}

fn whose(cx: &Cx<'_>) -> String {
    cx.home.root().display().to_string()
}

fn users_file() -> Result<PathBuf, Failure> {
    place::users().ok_or_else(|| {
        Failure::new(Exit::Usage, "kubeconfig.none", "find your kubeconfig")
            .because_text("neither KUBECONFIG nor HOME is set")
            .hint("KUBECONFIG=FILE calicolab kubeconfig merge")
    })
}

fn refused(file: &Path) -> Failure {
    Failure::new(Exit::Conflict, "kubeconfig.file", format!("change {}", file.display()))
}

fn unwritten(file: &Path, error: &PlaceError) -> Failure {
    refused(file).because(error).left("it as it was")
}

fn unread(file: &Path, error: &TextError) -> Failure {
    refused(file).because(error).left("it as it was")
}
