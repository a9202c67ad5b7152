//! `load`: an archive of images of the user's own into all nodes, where pods find them without pulling.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::cx::{Cx, counted, not_locked};
use super::kept::{connect, plan_of};
use super::table::columns;
use crate::artifact::oci::saved::{self, SavedError};
use crate::event::{Event, Step};
use crate::failure::{Exit, Failure};
use crate::lab::kubernetes::Runtime;
use crate::lab::name::{ClusterName, NodeName};
use crate::node::image;
use crate::ssh::{Input, Remote, SshError};

/// A large image by a slow way.
const LIMIT: Duration = Duration::from_secs(900);

/// An image that all nodes have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loaded {
    /// Its whole name, for a pod's `image`.
    pub image: String,
    /// The digest under which every node has it.
    pub digest: String,
    /// How many nodes have it.
    pub nodes: usize,
}

/// Bring the images of `file` into every node. Safe to repeat; those of the same name are replaced.
pub async fn load(cx: &Cx<'_>, cluster: &ClusterName, file: &Path) -> Result<Vec<Loaded>, Failure> {
    let state = cx.home.read(cluster).map_err(|error| not_locked(cluster, &error))?;
    let plan = plan_of(cx, cluster)?;
    super::kube::has_kubernetes(&plan)?;
    let names = saved::names(file).map_err(|error| unread(file, &error))?;
    cx.events.tell(Event::Begin { verb: "load".into(), cluster: cluster.to_string(), steps: vec![Step::Install] });
    let loading = async {
        let remotes = connect(cx, cluster, &plan, &state).await?;
        let taken = remotes
            .try_join(async |node, remote| taken(cx, node, remote, file, (plan.runtime(), &names)).await)
            .await?;
        let loaded = agreed(&names, &taken.values().cloned().collect::<Vec<_>>())?;
        let outcome = format!("{} on {}", counted(loaded.len(), "image"), counted(taken.len(), "node"));
        Ok((loaded, outcome))
    };
    cx.step(Step::Install, loading).await
}

async fn taken(
    cx: &Cx<'_>,
    node: &NodeName,
    remote: &Result<Remote, SshError>,
    file: &Path,
    (runtime, names): (Runtime, &[String]),
) -> Result<Vec<(String, String)>, Failure> {
    let failed = || Failure::new(Exit::Install, "load.failed", format!("give {node} the images"));
    let remote = remote.as_ref().map_err(|error| failed().because(error))?;
    cx.events.progress(Step::Install, node.as_str(), "taking the images in");
    let argv = image::take(runtime, names.iter().map(String::as_str)).sudo();
    let output = remote.run_with_input(&argv, Input::File(file.to_path_buf()), LIMIT).await;
    let output = output.map_err(|error| failed().because(&error))?;
    if !output.ok() {
        return Err(failed().because_text(format!("{node} {}: {}", output.ended, output.tail(6))));
    }
    cx.events.subject_done(Step::Install, node.as_str(), "has them");
    Ok(image::taken(&output.stdout))
}

/// Every image, under the one digest that all nodes have it by.
fn agreed(names: &[String], taken: &[Vec<(String, String)>]) -> Result<Vec<Loaded>, Failure> {
    let one = |name: &String| {
        let all = taken.iter().map(|pairs| pairs.iter().find(|(own, _)| own == name).map(|(_, digest)| digest));
        let digests: BTreeSet<Option<&String>> = all.collect();
        match digests.into_iter().collect::<Vec<_>>().as_slice() {
            [Some(digest)] => Ok(Loaded { image: name.clone(), digest: (*digest).clone(), nodes: taken.len() }),
            several => {
                let told: Vec<&str> = several.iter().map(|one| one.map_or("not there", String::as_str)).collect();
                Err(Failure::new(Exit::Digest, "load.differs", format!("find {name} the same on all nodes"))
                    .because_text(format!("they have it as {}", told.join(" and "))))
            }
        }
    };
    names.iter().map(one).collect()
}

fn unread(file: &Path, error: &SavedError) -> Failure {
    let failure = Failure::new(Exit::Usage, "load.file", format!("read {}", file.display())).because(error);
    match error {
        SavedError::Unread { .. } => failure,
        SavedError::NoImages | SavedError::Nameless { .. } => failure.hint("docker save NAME:TAG -o IMAGE.tar"),
    }
}

/// For people: what was loaded, and how pods get it.
pub fn table(loaded: &[Loaded]) -> String {
    let rows = loaded.iter().map(|one| vec![one.image.clone(), one.digest.clone(), one.nodes.to_string()]);
    columns(&["IMAGE", "DIGEST", "NODES"], rows) + "pods get it by this name with imagePullPolicy: Never\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_one_only_if_all_nodes_say_so() {
        let names = ["docker.io/me/node:dev".to_owned()];
        let has = |digest: &str| vec![(names[0].clone(), digest.to_owned())];
        let same = [has("sha256:aa"), has("sha256:aa")];
        let loaded = agreed(&names, &same).expect("one");
        assert!(table(&loaded).contains("docker.io/me/node:dev  sha256:aa  2"), "{}", table(&loaded));
        let differ = [has("sha256:aa"), has("sha256:bb")];
        assert!(agreed(&names, &differ).expect_err("two").to_string().contains("sha256:aa and sha256:bb"));
        let gone = [has("sha256:aa"), Vec::new()];
        assert!(agreed(&names, &gone).expect_err("not all").to_string().contains("not there"));
    }
}
