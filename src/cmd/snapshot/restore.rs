//! `snapshot restore`: the machines as they were saved, their clocks set, and the lab proved again.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use crate::cluster::home::Locked;
use crate::cluster::state::Phase;
use crate::command::Argv;
use crate::durable;
use crate::event::{Event, Step};
use crate::failure::{Exit, Failure};
use crate::install::pki::{self, Pki};
use crate::lab::name::{ClusterName, NodeName, PerNode, PointName};
use crate::lab::plan::{LabNet, Plan};
use crate::machine::ability::{Save, Slot};
use crate::machine::{Leased, Machine, Order, Place, Power, Provider, Seed};
use crate::point::folder::Points;
use crate::point::{Point, differences, last_proven};
use crate::proof::Proof;
use crate::proof::round::Pace;
use crate::ssh::keys::ClusterKeys;
use crate::ssh::{Remote, SshError};

use super::super::bring::{self, know};
use super::super::calm;
use super::super::cx::{ANSWER, Cx, counted, not_locked};
use super::super::kept;
use super::super::made::Made;
use super::super::power;
use super::super::ready;
use super::super::up;
use super::points::{self, LAB_FOLDER, ability, alone, of_point, state_of, unread};
use super::{kept as aside, login};

/// What is asked of `snapshot restore`.
pub struct Want {
    /// The point; the last one that was proven if not said.
    pub point: Option<PointName>,
    /// Whether machines that run may be ended.
    pub replace: bool,
}

/// Clocks that differ by less are left alone: setting one moves it by about as much.
const NEAR: SignedDuration = SignedDuration::from_millis(100);

/// Bring a lab back as it was, and prove it.
pub async fn restore(cx: &Cx<'_>, cluster: &ClusterName, want: &Want) -> Result<Proof, Failure> {
    let steps = vec![Step::Check, Step::Restore, Step::Prove];
    cx.events.tell(Event::Begin { verb: "snapshot restore".into(), cluster: cluster.to_string(), steps });
    if alone(cx, cluster) {
        let point = chosen(&points::of(cx, cluster), want.point.as_ref())?;
        aside::make_again(cx, cluster, &point.name).await?;
    }
    let mut locked = cx.locked(cluster).await?;
    let (provider, ability) = ability(cx, locked.state().provider)?;
    let (points, place) = (points::of(cx, cluster), cx.place(cluster)?);
    let point = chosen(&points, want.point.as_ref())?;
    let plan = kept::plan_of(cx, cluster)?;
    cx.step(Step::Check, fit(&points, &point, ability)).await?;
    let running = running(provider, &place).await?;
    if !(running.is_empty() || want.replace || points.returning().is_some()) {
        return Err(Failure::new(Exit::Conflict, "point.lab-runs", format!("bring back `{}`", point.name))
            .because_text(format!(
                "{} of `{cluster}` run, and what they did since would be lost",
                counted(running.len(), "machine")
            ))
            .hint(format!("calicolab snapshot restore {} --replace --name {cluster}", point.name))
            .hint(format!("keep it first: calicolab snapshot save --name {cluster}")));
    }
    let site =
        Site { cx, plan: &plan, points: &points, from: &points, point: &point, ability, place: &place, login: None };
    let restored = cx.step(Step::Restore, returned(&site, &mut locked, &running)).await;
    let remotes = match restored {
        Ok(remotes) => remotes,
        Err(failure) => {
            let failure = failure
                .left(format!("`{cluster}`, half brought back"))
                .hint(format!("calicolab snapshot restore {} --replace --name {cluster}", point.name))
                .hint(format!("calicolab down {cluster}"));
            let _ = locked.record(|state| state.phase = Phase::Failed { message: failure.to_string() });
            return Err(failure);
        }
    };
    if point.saved.lost.is_empty() {
        return proven(cx, &plan, &remotes, &mut locked).await;
    }
    // What its provider could not keep begins anew, as after a stop.
    drop(locked);
    Box::pin(power::start(cx, cluster, BOOT)).await
}

/// How long a machine may take to boot whose memory was not kept.
const BOOT: Duration = Duration::from_secs(600);

/// The proof of what was brought back.
pub(super) async fn proven(cx: &Cx<'_>, plan: &Plan, remotes: &Remotes, locked: &mut Locked) -> Result<Proof, Failure> {
    // As for what has just been started: nothing that these machines run is in any cache of this host any more.
    let patience = Duration::from_secs(plan.proof.up_s);
    up::prove(cx, plan, &bring::askers_or_why(remotes), locked, (Pace::AtOnce, patience)).await
}

/// What is brought back, and where.
pub(super) struct Site<'a> {
    /// This host.
    pub cx: &'a Cx<'a>,
    /// What the lab is to be.
    pub plan: &'a Plan,
    /// The points of the cluster that is brought back.
    pub points: &'a Points,
    /// Those in which the point lies.
    pub from: &'a Points,
    /// The point.
    pub point: &'a Point,
    /// Who brings the machines back.
    pub ability: &'a dyn Save,
    /// The cluster's place on this host.
    pub place: &'a Place,
    /// The key that lets into the machines as they were saved, where it is not to stay the key of the cluster.
    pub login: Option<&'a Path>,
}

pub(super) fn chosen(points: &Points, name: Option<&PointName>) -> Result<Point, Failure> {
    let failed = |error: &_| of_point("find the point", error);
    if let Some(name) = name {
        return points.read(name).map_err(|error| failed(&error));
    }
    let all = points.readable().map_err(|error| failed(&error))?;
    last_proven(&all).cloned().ok_or_else(|| {
        Failure::new(Exit::NoSuch, "point.none", "find the last good point")
            .because_text("no point was proven when it was saved")
            .hint("calicolab snapshot list")
    })
}

/// Whether the point can be brought back here, and is whole: before a machine is ended or started.
pub(super) async fn fit(points: &Points, point: &Point, ability: &dyn Save) -> Result<((), String), Failure> {
    let doing = || format!("bring back `{}`", point.name);
    let other = differences(&point.fit, &ability.fit().await);
    if !other.is_empty() {
        let failure = Failure::new(Exit::HostUnfit, "point.unfit", doing());
        let failure = other.into_iter().fold(failure, Failure::because_text);
        return Err(failure.hint("bring it back where it was saved, or begin anew: calicolab up --recreate"));
    }
    points.check(point).await.map_err(|error| of_point(doing(), &error))?;
    in_date(point, &points.folder(&point.name).join(LAB_FOLDER), pki::today())?;
    Ok(((), format!("`{}` is whole: {} right", point.name, counted(point.files.len(), "digest"))))
}

/// What ended while the lab was away cannot be proven: its datastore would refuse every node. Said here, and not when the
/// machines are gone that run now.
fn in_date(point: &Point, lab: &Path, today: Date) -> Result<(), Failure> {
    let Some(ended) = Pki::ended(&lab.join("pki"), today) else { return Ok(()) };
    let failure = Failure::new(Exit::HostUnfit, "point.expired", format!("bring back `{}`", point.name));
    let why = format!("its certificates ({}) ended on {}, and here it is {today}", ended.of.join(", "), ended.day);
    Err(failure
        .because_text(why)
        .hint(format!("begin anew, with new ones: calicolab up {} --recreate", point.lab))
        .hint("if this host's clock is wrong, set it"))
}

async fn running(provider: &dyn Provider, place: &Place) -> Result<Vec<NodeName>, Failure> {
    let machines = provider
        .machines(place)
        .await
        .map_err(|error| Failure::new(Exit::Provider, "provider.machines", "look for machines").because(&error))?;
    Ok(machines.into_iter().filter(|(_, power)| *power == Power::Running).map(|(node, _)| node).collect())
}

/// The ways to machines that were brought back.
pub(super) type Remotes = PerNode<Result<Remote, SshError>>;

/// End the machines that run, bring back those of the point, set their clocks, and give the ways to them.
pub(super) async fn returned(
    site: &Site<'_>,
    locked: &mut Locked,
    running: &[NodeName],
) -> Result<(Remotes, String), Failure> {
    let Site { cx, plan, points, from, point, .. } = *site;
    let failed = |error: &(dyn std::error::Error + 'static)| {
        Failure::new(Exit::Unexpected, "point.restore", format!("bring back `{}`", point.name)).because(error)
    };
    calm::disturbed(&locked.folder())?;
    let leased = leased(site, locked, running).await?;
    points.set_returning(&point.name).map_err(|error| failed(&error))?;
    let begun = locked.record(|state| {
        state.phase = Phase::Raising;
        state.leased = Some(leased.clone());
    });
    begun.map_err(|error| not_locked(&plan.cluster, &error))?;
    let machines = machines(site, locked, &leased).await?;
    let own = from.folder(&point.name).join(LAB_FOLDER);
    let keys = ClusterKeys::ensure(&locked.folder().join("ssh"), &plan.nodes).map_err(|error| failed(&error))?;
    // Ports may be others than they were.
    keys.write_client_files(&machines.map(|_, machine| machine.target.clone())).map_err(|error| failed(&error))?;
    if let Some(old) = site.login {
        login::change_key(&machines, old, &keys).await?;
    }
    let noted = machines.try_map(say_ready).and_then(|_| faults(&own, &locked.folder()));
    noted.map_err(|error| failed(&error))?;
    points.set_here(&point.name).and_then(|()| points.returned()).map_err(|error| failed(&error))?;
    let remotes = kept::connect_within(cx, &plan.cluster, plan, locked.state(), ANSWER).await?;
    let clocks = remotes.iter().map(|(node, remote)| async move {
        let Ok(remote) = remote else { return };
        match set_clock(remote).await {
            Ok(behind) => {
                cx.events.subject_done(Step::Restore, node.as_str(), format!("its clock was {behind:.1} s behind"));
            }
            Err(why) => cx.events.warn(format!("the clock of {node} was not set: {why}")),
        }
    });
    futures::future::join_all(clocks).await;
    Ok((remotes, format!("{} as of {:.0}", counted(plan.nodes.len(), "machine"), point.at)))
}

async fn leased(site: &Site<'_>, locked: &Locked, running: &[NodeName]) -> Result<Leased, Failure> {
    let (kept, plan) = (&site.cx.leases, &site.plan);
    let (owner, net) = (locked.owner(), LabNet(plan.network.lab));
    let leased = match &locked.state().leased {
        Some(leased) => kept.renew(&owner, net, leased, &plan.master, |node| running.contains(node)).await,
        None => kept.lease(&owner, net, &plan.nodes, plan.kubernetes.is_some()).await,
    };
    leased.map_err(|error| Failure::of_lease("lease what the cluster needs of this host", &error))
}

async fn machines(site: &Site<'_>, locked: &mut Locked, leased: &Leased) -> Result<PerNode<Machine>, Failure> {
    let Site { cx, plan, points, from, point, ability, place, .. } = *site;
    let lab = from.folder(&point.name).join(LAB_FOLDER);
    let unread = || unread(point, &lab);
    let then = state_of(&lab).ok_or_else(unread)?;
    let made = Made::read(&lab).ok_or_else(unread)?;
    let seeds = plan.nodes.try_map(|node, _| {
        let of = |name| std::fs::read_to_string(lab.join("rendered").join(node.as_str()).join(name));
        let known = then.machines.iter().find(|(name, _)| name == node);
        let host_key = known.map(|(_, machine)| machine.target.host_key.clone()).ok_or_else(unread)?;
        let (Ok(meta_data), Ok(user_data)) = (of("meta-data"), of("user-data")) else { return Err(unread()) };
        // Not every image is told of its cards.
        Ok(Seed { meta_data, user_data, network_config: of("network-config").ok(), host_key, payload: made.payload() })
    })?;
    let (image, folder, shared) = (made.image(), from.folder(&point.name), points.shared());
    let order = Order { place, plan, leased, image: &image, seeds: &seeds };
    let slot = Slot { id: &point.saved.id, folder: &folder, shared: &shared };
    let mut unwritten = None;
    let mut found = |node: &NodeName, machine: &Machine| {
        if let Err(error) = know(&cx.events, locked, node, machine) {
            unwritten.get_or_insert(error);
        }
    };
    let machines = ability.restore(&order, &point.saved, &slot, &mut found).await;
    let machines = machines.map_err(|error| {
        Failure::new(Exit::Provider, "point.restore", format!("bring back `{}`", point.name)).because(&error)
    })?;
    match unwritten {
        Some(error) => Err(not_locked(&plan.cluster, &error)),
        None => Ok(machines),
    }
}

/// Whoever waits for this machine's word finds it: it was ready when it was saved, and says so only when it boots.
fn say_ready(node: &NodeName, machine: &Machine) -> io::Result<()> {
    let Some(console) = &machine.console else { return Ok(()) };
    let mut console = OpenOptions::new().append(true).open(console)?;
    writeln!(console, "{}as it was when it was saved", ready::mark(node))
}

/// The faults that stood then stand now, and no others.
fn faults(lab: &Path, folder: &Path) -> io::Result<()> {
    let then = match std::fs::read(lab.join("faults.json")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => b"[]".to_vec(),
        then => then?,
    };
    durable::write(&folder.join("faults.json"), &then, 0o600)
}

/// Set a node's clock by this host's, and give the seconds it was behind.
async fn set_clock(remote: &Remote) -> Result<f64, String> {
    let run = async |argv: &Argv| {
        let output = remote.run(argv, ANSWER).await.map_err(|error| error.to_string())?;
        if output.ok() { Ok(output.stdout) } else { Err(output.tail(1)) }
    };
    let (asked, said) = (Timestamp::now(), run(&Argv::new("date").args(["-u", "+%s.%N"])).await?);
    let answered = Timestamp::now();
    let middle = asked.saturating_add(answered.duration_since(asked) / 2).unwrap_or(answered);
    let behind = behind(middle, &said).ok_or_else(|| format!("`{}` is no time", said.trim()))?;
    if behind.abs() > NEAR {
        // By how much, and not to when: nobody knows how long this takes to arrive.
        let by = format!("{} seconds", behind.as_secs_f64());
        run(&Argv::new("date").args(["-u", "-s", &by]).sudo()).await?;
    }
    Ok(behind.as_secs_f64())
}

/// How far a clock is behind that says seconds and nanoseconds with a dot between.
fn behind(now: Timestamp, said: &str) -> Option<SignedDuration> {
    let (seconds, nanoseconds) = said.trim().split_once('.')?;
    let there = Timestamp::new(seconds.parse().ok()?, nanoseconds.parse().ok()?).ok()?;
    Some(now.duration_since(there))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_behind_or_ahead_by_parts_of_a_second() {
        let now = Timestamp::new(1_000_000, 250_000_000).expect("a time");
        let seconds = |said| behind(now, said).map(|by| by.as_secs_f64());
        assert_eq!(seconds("999000.000000000\n"), Some(1000.25));
        assert_eq!(seconds("1000001.000000000\n"), Some(-0.75));
        assert_eq!(seconds("noon"), None);
    }

    #[test]
    fn faults_are_those_of_the_point() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let lab = folder.path().join("lab");
        std::fs::create_dir(&lab).expect("a folder");
        let now = || std::fs::read_to_string(folder.path().join("faults.json")).expect("there");
        faults(&lab, folder.path()).expect("written");
        assert_eq!(now(), "[]");
        std::fs::write(lab.join("faults.json"), "[1]").expect("written");
        faults(&lab, folder.path()).expect("written");
        assert_eq!(now(), "[1]");
    }
}
