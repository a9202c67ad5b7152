//! `stop` and `start`: machines off with their disks kept, and on again with a proof.

use std::time::Duration;

use crate::cluster::state::Phase;
use crate::command::Argv;
use crate::event::{Event, Step};
use crate::failure::{Exit, Failure};
use crate::lab::name::ClusterName;
use crate::machine::{Place, Power, Provider, choose};
use crate::proof::Proof;
use crate::wait::{self, Asked, Patience};

use super::calm;
use super::cx::not_locked;
use super::cx::{Cx, counted};
use super::kept;
use super::up::{self, Want};

/// How long machines may take to power off by themselves before their provider ends them.
const POWER_OFF: Patience = Patience { limit: Duration::from_secs(40), pause: Duration::from_millis(200) };

/// Power the machines off: by themselves where they can be reached, by their provider where not.
pub async fn stop(cx: &Cx<'_>, cluster: &ClusterName) -> Result<(), Failure> {
    cx.events.tell(Event::Begin { verb: "stop".into(), cluster: cluster.to_string(), steps: vec![Step::Stop] });
    let mut locked = cx.locked(cluster).await?;
    let place = cx.place(cluster)?;
    calm::disturbed(&locked.folder())?;
    let stopping = async {
        let plan = kept::plan_of(cx, cluster)?;
        let provider = choose(cx.providers, Some(locked.state().provider), &plan)
            .await
            .map_err(|error| {
                Failure::new(Exit::HostUnfit, "provider.none", "find the machines' provider")
                    .because_text(error.to_string())
            })?
            .provider;
        let remotes = kept::connect(cx, cluster, &plan, locked.state()).await?;
        let off = Argv::new("systemctl").arg("poweroff").sudo();
        let asked = remotes.iter().map(|(node, remote)| {
            let off = &off;
            async move {
                cx.events.progress(Step::Stop, node.as_str(), "powering off");
                if let Ok(remote) = remote {
                    // The connection may be cut before the answer comes: what counts is that the machine is gone.
                    let _ = remote.run(off, Duration::from_secs(20)).await;
                }
            }
        });
        futures::future::join_all(asked).await;
        wait_for_off(provider, &place).await;
        provider
            .stop(&place)
            .await
            .map_err(|error| Failure::new(Exit::Provider, "provider.stop", "stop the machines").because(&error))?;
        Ok(((), counted(plan.nodes.len(), "machine")))
    };
    cx.step(Step::Stop, stopping).await?;
    locked.record(|state| state.phase = Phase::Stopped).map_err(|error| not_locked(cluster, &error))
}

/// Ends when all are off, or when it is the provider's turn.
async fn wait_for_off(provider: &dyn Provider, place: &Place) {
    let _ = wait::until(POWER_OFF, async || match provider.machines(place).await {
        Ok(machines) if machines.iter().all(|(_, power)| *power == Power::Off) => Asked::Yes(()),
        Ok(_) => Asked::NotYet("some still run".into()),
        Err(error) => Asked::NotYet(error.to_string()),
    })
    .await;
}

/// Power the machines on and prove the cluster again: `up` with what was asked for when it was made.
pub async fn start(cx: &Cx<'_>, cluster: &ClusterName, boot_limit: Duration) -> Result<Proof, Failure> {
    let state = cx.home.read(cluster).map_err(|error| not_locked(cluster, &error))?;
    let want = Want {
        lab: state.lab.to_string(),
        cluster: cluster.clone(),
        wish: state.wish.clone(),
        provider: Some(state.provider),
        recreate: false,
        down_on_failure: false,
        boot_limit,
        cold: false,
    };
    up::up(cx, &want).await
}
