//! `up`: from argv to proof; the order of the steps is the order of this text.

use std::time::Duration;

use crate::cluster::StateError;
use crate::cluster::home::Locked;
use crate::cluster::routes::Routes;
use crate::cluster::state::{ClusterState, Phase, Wish};
use crate::durable;
use crate::event::{Event, Step};
use crate::failure::{Exit, Failure};
use crate::lab::name::{ClusterName, PerNode};
use crate::lab::plan::{LabNet, Plan};
use crate::machine::{Kind, Leased, Power, Provider, choose};
use crate::proof::round::Pace;
use crate::proof::{Proof, expect};
use crate::ssh::Remote;

use super::bring;
use super::calm;
use super::cx::{Cx, counted, not_locked};
use super::down::{self, OfPoints};
use super::draft::{Draft, complete, installable};
use super::fetch::plan_offline;
use super::kept::{self, keep, read_plan};
use super::site::Site;
use super::snapshot::points::{self, not_half_way};
use super::{needs, verify};

/// What is asked of `up`.
pub struct Want {
    /// The lab.
    pub lab: String,
    /// The cluster.
    pub cluster: ClusterName,
    /// What is asked beside the lab's file.
    pub wish: Wish,
    /// The provider that was named, if one was.
    pub provider: Option<Kind>,
    /// Remove what is there first.
    pub recreate: bool,
    /// Remove everything again if it does not come up.
    pub down_on_failure: bool,
    /// How long a machine may take to say that it is ready.
    pub boot_limit: Duration,
    /// Boot every machine, instead of resuming one that was booted before.
    pub cold: bool,
}

/// Bring the cluster up, or on, and prove it. On a running one this is `verify`.
pub async fn up(cx: &Cx<'_>, want: &Want) -> Result<Proof, Failure> {
    if want.recreate && cx.known()?.contains(&want.cluster) {
        down::down(cx, &want.cluster, OfPoints::Remove).await?;
    }
    finish_a_broken_down(cx, &want.cluster).await?;
    let mut steps = vec![Step::Plan];
    steps.extend(bring::STEPS);
    steps.push(Step::Prove);
    cx.events.tell(Event::Begin { verb: "up".into(), cluster: want.cluster.to_string(), steps });

    let planned = cx.step(Step::Plan, planned(cx, want)).await?;
    let mut locked = begin(cx, want, &planned).await?;
    let raised = raise(cx, want, &planned, &mut locked).await;
    let failure = match raised {
        Ok(proof) => return Ok(proof),
        Err(failure) => failure,
    };
    let unproven = matches!(failure.exit(), Exit::Unproven | Exit::Unasked);
    if !unproven {
        // Whatever cannot be written now is seen by the next run as an interrupted one.
        let _ = locked.record(|state| state.phase = Phase::Failed { message: failure.to_string() });
    }
    let machines = locked.state().machines.len();
    drop(locked);
    if want.down_on_failure {
        return Err(match down::down(cx, &want.cluster, OfPoints::Remove).await {
            Ok(()) => failure.left("nothing: everything was removed again"),
            Err(also) => failure.because_text(also.to_string()),
        });
    }
    let left = match machines {
        0 => format!("the folder of `{}`, no machine", want.cluster),
        number => format!("{} of `{}`, to be looked at", counted(number, "machine"), want.cluster),
    };
    let failure =
        if unproven { failure } else { failure.left(left).hint("calicolab up (carries on where it stopped)") };
    Err(failure.hint(format!("calicolab down {}", want.cluster)))
}

/// Everything that is known before anything is made.
pub struct Planned<'a> {
    /// What was asked for.
    pub draft: Draft,
    /// What is to be.
    pub plan: Plan,
    /// Who makes the machines.
    pub provider: &'a dyn Provider,
}

/// Read and plan. Changes nothing.
pub fn drafted(cx: &Cx<'_>, want: &Want) -> Result<(Draft, Plan), Failure> {
    let known = known(cx, &want.cluster)?;
    let mut wish = want.wish.clone();
    // What a cluster's machines are and where they are is said once.
    if let Some(state) = &known {
        wish.vm |= state.wish.vm;
        wish.away = wish.away.or_else(|| state.wish.away.clone());
    }
    let draft = Draft::read(cx, &want.lab, &wish)?;
    let net = match known {
        Some(state) => LabNet(state.network),
        None => free_network(cx, &draft)?,
    };
    let plan = draft.plan(&want.cluster, net);
    Ok((draft, plan))
}

fn known(cx: &Cx<'_>, cluster: &ClusterName) -> Result<Option<ClusterState>, Failure> {
    match cx.home.read(cluster) {
        Ok(state) => Ok(Some(state)),
        Err(StateError::NoSuch { .. }) => Ok(None),
        Err(error) => Err(not_locked(cluster, &error)),
    }
}

/// Read, choose, plan, and ask what the host lacks. Changes nothing.
pub async fn planned<'a>(cx: &Cx<'a>, want: &Want) -> Result<(Planned<'a>, String), Failure> {
    let (draft, plan) = drafted(cx, want)?;
    installable(&plan)?;
    complete(&draft, &plan)?;
    let known = known(cx, &want.cluster)?;
    if known.is_some() {
        same_plan(cx, &plan)?;
        not_half_way(&want.cluster, &points::of(cx, &want.cluster))?;
    }
    let kind = known.as_ref().map(|state| state.provider).or(want.provider);
    let choice = choose(cx.providers, kind, &plan).await.map_err(|error| {
        Failure::new(Exit::HostUnfit, "provider.none", "choose where machines run").because_text(error.to_string())
    })?;
    cx.events.note(choice.why.clone());
    let mut lacks = choice.provider.lacks(&plan).await;
    // What has machines had its bytes; should they be gone, fetching tells.
    if known.is_none_or(|state| state.machines.is_empty()) {
        plan_offline(cx, &draft, &plan).await?;
        lacks.extend(needs::lacks(cx, &draft).await?);
        lacks.extend(needs::boot_loader(&draft, choice.provider.kind()));
    }
    let (bearable, missing): (Vec<_>, Vec<_>) = lacks.into_iter().partition(|lack| lack.bearable);
    for lack in bearable {
        cx.events.warn(format!("{}; {}", lack.what, lack.remedy));
    }
    if !missing.is_empty() {
        let failure = Failure::new(Exit::HostUnfit, "host.unfit", "find this host fit");
        return Err(missing
            .into_iter()
            .fold(failure, |failure, lack| failure.because_text(lack.what).hint(lack.remedy)));
    }
    let outcome = format!("{}, lab network {}", counted(plan.nodes.len(), "node"), plan.network.lab);
    Ok((Planned { draft, plan, provider: choice.provider }, outcome))
}

/// A free lab network, and a word of warning where pods and services have addresses the host uses otherwise.
fn free_network(cx: &Cx<'_>, draft: &Draft) -> Result<LabNet, Failure> {
    let routes = Routes::read()
        .map_err(|error| Failure::new(Exit::Unexpected, "host.routes", "read this host's routes").because(&error))?;
    let ranges = [("pods", draft.lab.network.pods), ("services", draft.lab.network.services)];
    for conflict in routes.conflicts(&ranges) {
        cx.events.warn(conflict.to_string());
    }
    cx.leases
        .choose(draft.lab.network.lab, &routes)
        .map_err(|error| Failure::of_lease("lease what the cluster needs of this host", &error))
}

/// `up` carries on with what it began; it does not turn one cluster into another.
fn same_plan(cx: &Cx<'_>, plan: &Plan) -> Result<(), Failure> {
    let path = cx.home.folder(&plan.cluster).join("plan.json");
    // A run that died before it wrote its plan made nothing by it either.
    let Some(old) = read_plan(&path) else { return Ok(()) };
    let differences = super::plan::differences(&old, plan);
    if differences.is_empty() {
        return Ok(());
    }
    let failure = Failure::new(Exit::Conflict, "plan.differs", format!("carry on with `{}`", plan.cluster))
        .because_text(format!("the cluster `{}` was begun by another plan:\n{}", plan.cluster, differences.join("\n")));
    Err(failure.hint(format!("another name: --name {}-2", plan.cluster)).hint("remove it and begin anew: --recreate"))
}

/// A `down` that was cut short is finished before anything is made under the same name.
async fn finish_a_broken_down(cx: &Cx<'_>, cluster: &ClusterName) -> Result<(), Failure> {
    match cx.home.read(cluster) {
        Ok(state) if state.phase == Phase::Destroying => down::down(cx, cluster, OfPoints::Remove).await,
        _ => Ok(()),
    }
}

/// Intent before effect: from here `down` knows what to look for.
async fn begin(cx: &Cx<'_>, want: &Want, planned: &Planned<'_>) -> Result<Locked, Failure> {
    let cluster = &want.cluster;
    let state = ClusterState::begun(&planned.plan, planned.provider.kind(), want.wish.clone(), None);
    let mut locked = match cx.created(state).await {
        Err(StateError::Exists { .. }) => cx.locked(cluster).await?,
        other => other.map_err(|error| not_locked(cluster, &error))?,
    };
    write_down(cx, &mut locked, &planned.plan)?;
    Ok(locked)
}

fn write_down(cx: &Cx<'_>, locked: &mut Locked, plan: &Plan) -> Result<(), Failure> {
    let folder = locked.folder();
    let io = |error: std::io::Error| {
        Failure::new(Exit::Unexpected, "state.write", format!("write in {}", folder.display())).because(&error)
    };
    let events = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("events.jsonl")).map_err(io)?;
    cx.events.record_to(events);
    crate::record::keep(&folder).map_err(io)?;
    let text = serde_json::to_vec_pretty(plan).map_err(|error| io(error.into()))?;
    durable::write(&folder.join("plan.json"), &text, 0o600).map_err(io)
}

/// From a locked cluster to its proof.
async fn raise(cx: &Cx<'_>, want: &Want, planned: &Planned<'_>, locked: &mut Locked) -> Result<Proof, Failure> {
    let Planned { draft, plan, provider } = planned;
    let place = cx.place(&plan.cluster)?;
    if let Some(ability) = provider.pauses()
        && let Err(error) = ability.resume(&place).await
    {
        // What stands still and stays so is found by the proof.
        cx.events.warn(format!("{error}"));
    }
    let exists = provider
        .machines(&place)
        .await
        .map_err(|error| Failure::new(Exit::Provider, "provider.machines", "look for machines").because(&error))?;
    let running = |node: &crate::lab::name::NodeName| exists.contains(&(node.clone(), Power::Running));
    if matches!(locked.state().phase, Phase::Ready { .. }) && plan.nodes.names().all(running) {
        cx.events.note(format!("`{}` is up already; it is proven again", plan.cluster));
        let remotes = kept::connect(cx, &plan.cluster, plan, locked.state()).await?;
        return prove(cx, plan, &bring::askers_or_why(&remotes), locked, patient(plan)).await;
    }
    calm::disturbed(&locked.folder())?;
    let leased = lease(cx, plan, locked, running).await?;
    record(locked, |state| {
        state.phase = Phase::Raising;
        state.leased = Some(leased.clone());
    })?;
    let (boot_limit, cold) = (want.boot_limit, want.cold);
    let site = Site { cx, draft, plan, provider: *provider, leased: &leased, boot_limit, cold };
    let remotes: PerNode<Remote> = bring::machines(&site, locked).await?;
    prove(cx, plan, &bring::askers(&remotes), locked, patient(plan)).await
}

/// Patience for what has just been started.
fn patient(plan: &Plan) -> (Pace, Duration) {
    (Pace::SessionsFirst, Duration::from_secs(plan.proof.up_s))
}

async fn lease(
    cx: &Cx<'_>,
    plan: &Plan,
    locked: &Locked,
    running: impl Fn(&crate::lab::name::NodeName) -> bool,
) -> Result<Leased, Failure> {
    let (owner, net) = (locked.owner(), LabNet(plan.network.lab));
    let leased = match &locked.state().leased {
        Some(leased) => cx.leases.renew(&owner, net, leased, &plan.master, running).await,
        None => cx.leases.lease(&owner, net, &plan.nodes, plan.kubernetes.is_some()).await,
    };
    leased.map_err(|error| Failure::of_lease("lease what the cluster needs of this host", &error))
}

fn record(locked: &mut Locked, change: impl FnOnce(&mut ClusterState)) -> Result<(), Failure> {
    let cluster = locked.cluster().clone();
    locked.record(change).map_err(|error| not_locked(&cluster, &error))
}

/// Take the whole proof, and remember how it ended.
pub async fn prove(
    cx: &Cx<'_>,
    plan: &Plan,
    askers: &crate::proof::ask::Askers,
    locked: &mut Locked,
    (pace, patience): (Pace, Duration),
) -> Result<Proof, Failure> {
    let checks = expect::expect(plan);
    let taking = async {
        let mut proof = crate::proof::round::prove(plan, &checks, askers, pace, patience, &cx.events).await;
        calm::compare(&locked.folder(), plan, &mut proof)?;
        proof.flapped.iter().for_each(|flap| cx.events.warn(flap.to_string()));
        let outcome = verify::outcome(&proof);
        let verdict = verify::unproven(cx, &plan.cluster, &proof);
        let last = keep(&locked.folder(), &proof)?;
        record(locked, |state| {
            state.last_proof = Some(last);
            state.phase = match verify::failing(&proof) {
                failing if failing.is_empty() => Phase::Ready { at: jiff::Timestamp::now() },
                failing => Phase::Unproven { failing },
            };
        })?;
        match verdict {
            None => Ok((proof, outcome)),
            Some(failure) => Err(failure),
        }
    };
    cx.step(Step::Prove, taking).await
}
