//! `fault`: a cluster broken in a way of the catalogue, remembered before the effect, and repaired exactly.

pub mod standing;

use std::time::Duration;

use standing::{active, remember};

use super::cx::{Cx, node_named};
use super::kept::{connect, plan_of};
use super::{calm, snapshot, verify};
use crate::cluster::state::Phase;
use crate::command::{Argv, Ended};
use crate::event::Event;
use crate::failure::{Exit, Failure};
use crate::fault::{Active, Fault, Honest, Needs, catalogue, node};
use crate::guest::Kind;
use crate::install::pki::expired_etcd;
use crate::lab::installer::Installer;
use crate::lab::name::{ClusterName, NodeName, PerNode};
use crate::lab::problem::nearest;
use crate::proof::check::Layer;
use crate::proof::{Proof, Verdict};
use crate::ssh::{Remote, SshError};
use crate::wait::{self, Asked, Patience};

/// What is asked of `fault add`.
pub struct Want {
    /// The fault's word.
    pub fault: String,
    /// The node it is to be about.
    pub node: Option<String>,
    /// After which time the nodes undo it by themselves.
    pub life: Duration,
    /// Whether also where the cluster is not proven.
    pub force: bool,
    /// Whether the lab is kept as it is before.
    pub point: bool,
}

/// Making a fault may restart daemons, which an emulated machine takes its time for.
const LIMIT: Duration = Duration::from_secs(90);

fn named(word: &str) -> Result<&'static Fault, Failure> {
    Fault::named(word).ok_or_else(|| {
        let words: Vec<&str> = catalogue().map(|fault| fault.id).collect();
        let failure = Failure::new(Exit::NoSuch, "fault.none", "find the fault")
            .because_text(format!("no fault is called `{word}`"));
        match nearest(word, &words) {
            Some(near) => failure.hint(format!("did you mean `{near}`?")),
            None => failure.hint("calicolab fault list"),
        }
    })
}

/// Make a fault: remembered here and armed on the nodes before anything is broken.
pub async fn add(cx: &Cx<'_>, cluster: &ClusterName, want: &Want) -> Result<Active, Failure> {
    let fault = named(&want.fault)?;
    let locked = cx.locked(cluster).await?;
    let (plan, state, folder) = (plan_of(cx, cluster)?, locked.state(), locked.folder());
    let refused =
        |id, why: String| Failure::new(Exit::Conflict, id, format!("make the fault `{}`", fault.id)).because_text(why);
    if fault.honest == Honest::OwnKernel && !matches!(state.provider, Kind::Qemu | Kind::Vagrant) {
        let why = format!("{} is not honest where nodes share the host's kernel and clock", fault.id);
        return Err(refused("fault.shared-kernel", why).hint("calicolab up --provider qemu"));
    }
    if !fault.labs.fits(plan.installer) {
        let why = format!("{} is not for labs of the installer {}", fault.id, plan.installer);
        return Err(refused("fault.other-lab", why).hint("calicolab fault list"));
    }
    let mut all = active(&folder);
    let proven = matches!(state.phase, Phase::Ready { .. }) && all.is_empty();
    if !(want.force || proven) {
        let why = match all.first() {
            Some(known) => format!("`{}` stands there already", known.fault),
            None => format!("the cluster is {}, so that nobody could tell what the fault does", state.phase.word()),
        };
        let hint = format!("calicolab fault clear --name {cluster}, or --force");
        return Err(refused("fault.unproven", why).hint(hint));
    }
    let names: Vec<NodeName> = plan.nodes.names().cloned().collect();
    let node = want.node.as_deref().map(|word| node_named(&names, word)).transpose()?;
    let about = fault
        .about(&plan, node.as_ref())
        .map_err(|error| Failure::new(Exit::Usage, "fault.misplaced", "choose the node").because(&error))?;
    if want.point {
        snapshot::save_before(cx, &locked, fault.id).await?;
    }
    let certificate = fault.needs.map(|Needs::ExpiredCertificate| expired_etcd(&folder.join("pki"), &plan)).transpose();
    let certificate = certificate.map_err(|error| {
        Failure::new(Exit::Unexpected, "fault.needs", format!("make what {} needs", fault.id)).because(&error)
    })?;
    let since = jiff::Timestamp::now();
    let until = since.saturating_add(want.life).unwrap_or(jiff::Timestamp::MAX);
    let one = Active { fault: fault.id.into(), node: about.clone(), on: fault.on(&plan, &about), since, until };
    all.retain(|known| known.fault != one.fault);
    all.push(one.clone());
    calm::disturbed(&folder)?;
    remember(&folder, &all)?;
    let remotes = connect(cx, cluster, &plan, state).await?;
    for node in &one.on {
        let argv = node::make(fault, &plan, node, &about, want.life, certificate.as_deref());
        let done = on(&remotes, node, argv).await;
        let Err(failure) = done else { continue };
        // What was made so far goes again; the nodes do it by themselves if they cannot be told.
        let mut undone = true;
        for node in &one.on {
            undone &= on(&remotes, node, node::clear(fault.id)).await.is_ok();
        }
        if undone {
            all.retain(|known| known.fault != one.fault);
            remember(&folder, &all)?;
        }
        return Err(failure.hint(format!("calicolab fault clear --name {cluster}")));
    }
    cx.events.note(format!("{} on {about}: {}", fault.id, fault.about));
    Ok(one)
}

async fn on(remotes: &PerNode<Result<Remote, SshError>>, node: &NodeName, argv: Argv) -> Result<(), Failure> {
    let failed = || Failure::new(Exit::Boot, "fault.node", format!("change {node}"));
    let remote = remotes[node].as_ref().map_err(|error| failed().because(error))?;
    let output = remote.run(&argv.sudo(), LIMIT).await.map_err(|error| failed().because(&error))?;
    match output.ended {
        Ended::Exit(0) => Ok(()),
        Ended::Exit(node::STANDS) => Err(Failure::new(Exit::Conflict, "fault.stands", format!("change {node}"))
            .because_text("the fault stands there already")),
        ended => Err(failed().because_text(format!("it {ended}: {}", output.stderr.trim()))),
    }
}

/// Undo these faults, or all that stand, and prove the cluster again.
pub async fn clear(cx: &Cx<'_>, cluster: &ClusterName, words: &[String]) -> Result<Proof, Failure> {
    undo(cx, cluster, words).await?;
    // Sessions begin again as after a boot: as long as that may take, on a busy host too.
    let patience = Some(Duration::from_secs(plan_of(cx, cluster)?.proof.up_s));
    let want = verify::Want { checks: Vec::new(), patience, without_stability: false };
    // A session that was refused for its AS keeps that as its last error until it calls again, and a proof does not
    // wait for what cannot heal by itself.
    let again = wait::until(HEALING, async || match verify::verify(cx, cluster, &want).await {
        Ok(proof) if refused(&proof) => Asked::NotYet("a session remembers its error".into()),
        proved => Asked::Yes(proved),
    });
    match again.await {
        Ok(proved) => proved,
        Err(_) => verify::verify(cx, cluster, &want).await,
    }
}

/// How long sessions may take to call again after an error: on Calico's own timers up to half a minute.
const HEALING: Patience = Patience { limit: Duration::from_secs(60), pause: Duration::from_millis(500) };

/// Whether the only thing that would never hold is a session.
fn refused(proof: &Proof) -> bool {
    let mut never = proof.findings.iter().filter(|one| matches!(one.verdict, Verdict::Never { .. })).peekable();
    never.peek().is_some() && never.all(|one| one.check.layer() == Layer::Session)
}

/// The same without a proof.
pub async fn undo(cx: &Cx<'_>, cluster: &ClusterName, words: &[String]) -> Result<(), Failure> {
    let wanted: Vec<&Fault> = words.iter().map(|word| named(word)).collect::<Result<_, _>>()?;
    cx.events.tell(Event::Begin { verb: "fault clear".into(), cluster: cluster.to_string(), steps: Vec::new() });
    let locked = cx.locked(cluster).await?;
    let (plan, folder) = (plan_of(cx, cluster)?, locked.folder());
    let mut all = active(&folder);
    let remotes = connect(cx, cluster, &plan, locked.state()).await?;
    // The last one first: it may stand on what an earlier one left.
    for one in all.clone().iter().rev() {
        if !wanted.is_empty() && !wanted.iter().any(|fault| fault.id == one.fault) {
            continue;
        }
        for node in &one.on {
            on(&remotes, node, node::clear(&one.fault)).await.map_err(|failure| {
                failure
                    .left(format!("`{}` on {node} until {}", one.fault, one.until))
                    .hint(format!("calicolab fault clear --name {cluster}"))
            })?;
        }
        all.retain(|known| known != one);
        remember(&folder, &all)?;
        cx.events.note(format!("{} on {} is undone", one.fault, one.node));
    }
    Ok(())
}

/// The catalogue for people, with what stands on the cluster: of a cluster that is known, what can be made there.
pub fn table(standing: &[Active], installer: Option<Installer>) -> String {
    let rows = catalogue().filter(|fault| fits(fault, installer)).map(|fault| {
        let stands = standing.iter().find(|one| one.fault == fault.id);
        let symptom = fault.symptom.map_or_else(|| "nothing".into(), |layer| layer.to_string());
        let stands = stands.map_or_else(String::new, |one| format!("{} until {:.0}", one.node, one.until));
        vec![fault.id.into(), symptom, fault.explained.into(), stands, fault.about.into()]
    });
    super::table::columns(&["FAULT", "SEEN IN", "EXPLAINED AS", "STANDS ON", "WHAT IT IS"], rows)
}

fn fits(fault: &Fault, installer: Option<Installer>) -> bool {
    installer.is_none_or(|installer| fault.labs.fits(installer))
}

/// The same for programs.
pub fn json(standing: &[Active], installer: Option<Installer>) -> serde_json::Value {
    let one = |fault: &Fault| {
        serde_json::json!({
            "fault": fault.id,
            "about": fault.about,
            "symptom": fault.symptom,
            "explained": fault.explained,
            "machines_only": fault.honest == Honest::OwnKernel,
        })
    };
    serde_json::json!({ "catalogue": catalogue().filter(|fault| fits(fault, installer)).map(one).collect::<Vec<_>>(), "standing": standing })
}
