//! From a locked, leased cluster to its proof: what `up` and `start` share.

use std::future::ready;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::AsyncReadExt as _;
use tokio::sync::oneshot;

use crate::artifact::image;
use crate::artifact::payload::Payload;
use crate::cluster::StateError;
use crate::cluster::home::Locked;
use crate::command::{Argv, Output};
use crate::durable;
use crate::event::{Event, Events, Step};
use crate::failure::{Exit, Failure, in_one_line};
use crate::install::manifest::Edited;
use crate::install::pki::Pki;
use crate::install::{InstallError, Kit};
use crate::lab::name::{NodeName, PerNode};
use crate::lab::plan::Plan;
use crate::lab::render::{self, AddOn, HostKey, Reader, Secrets};
use crate::machine::{Image, ImageForm, Machine, Order, Place, ProviderError, Seed, console_tail};
use crate::proof::ask::{Ask, Askers};
use crate::record;
use crate::ssh::keys::ClusterKeys;
use crate::ssh::{Remote, SshError};
use crate::wait::{self, Asked, Patience, WaitError};

use super::cx::{ANSWER, Cx, counted};
use super::draft::Draft;
use super::fetch::{not_fetched, os_image, plan_offline, programs};
use super::made::Made;
use super::plan::manifests;
use super::site::Site;
use super::{ready, warm};

/// The steps that [`machines`] takes.
pub const STEPS: [Step; 5] = [Step::Fetch, Step::Render, Step::Boot, Step::Reach, Step::Install];

/// Bring every node to where its daemons start, and give the ways to them. Safe to repeat: what is there already is
/// looked at and left.
pub async fn machines(site: &Site<'_>, locked: &mut Locked) -> Result<PerNode<Remote>, Failure> {
    let (cx, plan) = (site.cx, site.plan);
    let place = cx.place(&plan.cluster)?;
    let (bytes, own, manifests) = cx.step(Step::Fetch, fetch(site, locked)).await?;
    let seeds = cx.step(Step::Render, ready(render(site, locked, &bytes, &own))).await?;
    let (machines, resumed) = cx.step(Step::Boot, boot(site, locked, &place, &bytes.image, &seeds)).await?;
    own.keys.write_client_files(&machines.map(|_, machine| machine.target.clone())).map_err(|error| {
        Failure::new(Exit::Unexpected, "ssh.config", "write the cluster's ssh_config").because(&error)
    })?;

    // Each node is installed as soon as it is reached, so the two steps run side by side.
    let meeting = plan.nodes.map(|_, _| {
        let (tell, told) = oneshot::channel::<Remote>();
        (std::sync::Mutex::new(Some(tell)), std::sync::Mutex::new(Some(told)))
    });
    let key = own.keys.key_file();
    let told = seeds.map(|_, seed| seed.user_data.clone());
    let add_ons = add_ons(cx, plan)?;
    let kit =
        Kit { plan, pki: &own.pki, payload: &bytes.payload, manifests: &manifests, told: &told, add_ons: &add_ons };
    let reach = async {
        let reached = machines
            .try_join(async |node, machine| {
                let reached = reach(site, &place, node, machine, &key).await;
                let remote = reached.map_err(|failure| if resumed { warm::or_boot(failure, plan) } else { failure })?;
                cx.events.subject_done(Step::Reach, node.as_str(), "reached, with the host key it was given");
                take(&meeting[node].0).map(|tell| tell.send(remote.clone()));
                Ok::<_, Failure>(remote)
            })
            .await?;
        let outcome = counted(reached.len(), "machine");
        Ok((reached, outcome))
    };
    let install = async {
        let installed = machines
            .try_join(async |node, machine| {
                cx.events.progress(Step::Install, node.as_str(), "waiting for the machine");
                let Some(told) = take(&meeting[node].1) else { return Ok(()) };
                // The sender is gone only when reaching failed, and then that failure ends this future too.
                let Ok(remote) = told.await else { return std::future::pending().await };
                cx.events.progress(Step::Install, node.as_str(), "placing and hashing what it runs");
                kit.install(node, machine, &remote)
                    .await
                    .map_err(|error| not_installed(&error, &place.folder, plan))?;
                cx.events.subject_done(Step::Install, node.as_str(), "installed");
                Ok(())
            })
            .await?;
        Ok(((), counted(installed.len(), "node")))
    };
    let (remotes, ()) = tokio::try_join!(cx.step(Step::Reach, reach), cx.step(Step::Install, install))?;
    Ok(remotes)
}

fn take<T>(cell: &std::sync::Mutex<Option<T>>) -> Option<T> {
    cell.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
}

/// What every node gets.
pub struct Bytes {
    /// What machines are made from.
    pub image: Image,
    /// What they run.
    pub payload: Payload,
}

/// What is the cluster's own.
pub struct Own {
    /// The user's key and the nodes'.
    pub keys: ClusterKeys,
    /// Certificates.
    pub pki: Pki,
}

async fn fetch(site: &Site<'_>, locked: &Locked) -> Result<((Bytes, Own, Vec<Edited>), String), Failure> {
    plan_offline(site.cx, site.draft, site.plan).await?;
    let bytes = bytes(site.cx, site.draft, site.plan, site.provider.image_form(site.plan)).await?;
    let own = own(&locked.folder(), site.plan)?;
    let manifests = manifests::made(site.cx, site.plan, own.pki.calico().as_ref()).await?;
    let outcome = format!("image {} and {}", site.plan.image, counted(site.plan.artifacts.len(), "artifact"));
    Ok(((bytes, own, manifests), outcome))
}

/// Bring in what a plan's nodes get.
pub async fn bytes(cx: &Cx<'_>, draft: &Draft, plan: &Plan, form: ImageForm) -> Result<Bytes, Failure> {
    let image = Box::pin(os_image(cx, &plan.lab, &draft.image, form));
    let programs = Box::pin(programs(cx, plan));
    let (image, payload) = tokio::try_join!(image, programs).map_err(|error| not_fetched(&error))?;
    Ok(Bytes { image, payload })
}

/// What is a cluster's own, kept in its folder; made where it is not there.
pub fn own(folder: &Path, plan: &Plan) -> Result<Own, Failure> {
    let own = |what: &str, error: &(dyn std::error::Error + 'static)| {
        Failure::new(Exit::Unexpected, "cluster.secrets", format!("make the cluster's {what}")).because(error)
    };
    let keys = ClusterKeys::ensure(&folder.join("ssh"), &plan.nodes).map_err(|error| own("SSH keys", &error))?;
    let pki = Pki::ensure(&folder.join("pki"), plan).map_err(|error| own("certificates", &error))?;
    Ok(Own { keys, pki })
}

fn render(site: &Site<'_>, locked: &Locked, bytes: &Bytes, own: &Own) -> Result<(PerNode<Seed>, String), Failure> {
    let plan = site.plan;
    let seeds = seeds(site.cx, site.draft, plan, (bytes, own), &locked.state().id)?;
    let folder = locked.folder().join("rendered");
    let kept = seeds.try_map(|node, seed| {
        let own_folder = folder.join(node.as_str());
        durable::private_folder(&own_folder)?;
        durable::write(&own_folder.join("user-data"), seed.user_data.as_bytes(), 0o600)?;
        durable::write(&own_folder.join("meta-data"), seed.meta_data.as_bytes(), 0o600)?;
        let Some(text) = &seed.network_config else { return Ok(()) };
        durable::write(&own_folder.join("network-config"), text.as_bytes(), 0o600)
    });
    kept.map_err(|error: std::io::Error| {
        Failure::new(Exit::Unexpected, "render.write", format!("write {}", folder.display())).because(&error)
    })?;
    Ok((seeds, format!("cloud-config of {}", counted(plan.nodes.len(), "node"))))
}

/// What the lab itself runs in its cluster, where installing applies it.
pub fn add_ons(cx: &Cx<'_>, plan: &Plan) -> Result<Vec<(AddOn, String)>, Failure> {
    render::add_ons(plan, &cx.library).map_err(|error| unrendered(&error))
}

/// What the nodes of a plan are told at their first boot; `id` tells this making of them from any other.
pub fn seeds(
    cx: &Cx<'_>,
    draft: &Draft,
    plan: &Plan,
    (bytes, own): (&Bytes, &Own),
    id: &str,
) -> Result<PerNode<Seed>, Failure> {
    let secrets = Secrets {
        authorized_key: own.keys.authorized_key().into(),
        host_keys: plan.nodes.map(|node, _| HostKey {
            private: own.keys.host_private(node).into(),
            public: own.keys.host_public(node).into(),
        }),
        instance_ids: plan.nodes.map(|node, _| format!("{id}-{node}")),
        join: own.pki.join().cloned(),
    };
    let image = Reader {
        user: &draft.image.user,
        cloud_init: !image::has_one_stage(&cx.library, &draft.image).map_err(|error| not_fetched(&error))?,
    };
    let texts = render::seeds(plan, image, &secrets, &cx.library).map_err(|error| unrendered(&error))?;
    Ok(texts.map(|node, texts| Seed {
        meta_data: texts.meta_data.clone(),
        user_data: texts.user_data.clone(),
        network_config: texts.network_config.clone(),
        host_key: secrets.host_keys[node].public.clone(),
        payload: Some(bytes.payload.path().into()),
    }))
}

fn unrendered(error: &render::RenderError) -> Failure {
    Failure::new(Exit::LabInvalid, "render", "render what the nodes read").because(error)
}

/// Remember a machine as it comes to exist, and tell of it.
pub fn know(events: &Events, locked: &mut Locked, node: &NodeName, machine: &Machine) -> Result<(), StateError> {
    let written = locked.record(|state| {
        state.machines.retain(|(name, _)| name != node);
        state.machines.push((node.clone(), machine.clone()));
    });
    events.tell(Event::Machine { node: node.to_string(), handle: machine.handle.clone() });
    written
}

/// The machines, and whether they were resumed instead of booted.
async fn boot(
    site: &Site<'_>,
    locked: &mut Locked,
    place: &Place,
    image: &Image,
    seeds: &PerNode<Seed>,
) -> Result<((PerNode<Machine>, bool), String), Failure> {
    let mut unwritten = None;
    let mut found = |node: &NodeName, machine: &Machine| {
        if let Err(error) = know(&site.cx.events, locked, node, machine) {
            unwritten.get_or_insert(error);
        }
    };
    let remembered = Made::remember(&place.folder, image, seeds);
    remembered.map_err(|error| {
        Failure::new(Exit::Unexpected, "state.write", "write down what the machines are made from").because(&error)
    })?;
    let order = Order { place, plan: site.plan, leased: site.leased, image, seeds };
    let (machines, resumed) = match warm::boot(site, &order, &mut found).await? {
        Some(machines) => (machines, true),
        None => (site.provider.boot(&order, &mut found).await.map_err(|error| not_booted(&error))?, false),
    };
    if let Some(error) = unwritten {
        return Err(Failure::new(Exit::Unexpected, "state.write", "record the machines").because(&error));
    }
    let outcome = counted(machines.len(), "machine");
    Ok(((machines, resumed), outcome))
}

/// Wait for *this* boot's own word on the console, where there is one, and then connect once: a port that is
/// forwarded into a booting guest and polled slows the guest badly. Elsewhere sshd's port is asked: in our images it
/// opens last.
async fn reach(
    site: &Site<'_>,
    place: &Place,
    node: &NodeName,
    machine: &Machine,
    key: &std::path::Path,
) -> Result<Remote, Failure> {
    site.cx.events.progress(Step::Reach, node.as_str(), "booting");
    let patience = Patience { limit: site.boot_limit, pause: Duration::from_millis(30) };
    let waited = wait::until(patience, async || {
        let said = match &machine.console {
            Some(console) => ready::said(&String::from_utf8_lossy(&std::fs::read(console).unwrap_or_default()), node),
            // Nothing is forwarded there: an address that nobody answers at yet costs the guest nothing.
            None if answers(machine.target.addr).await => Asked::Yes(()),
            None => Asked::NotYet("no sshd answers yet".into()),
        };
        match said {
            Asked::NotYet(why) => site.provider.obituary(place, node).await.map_or(Asked::NotYet(why), Asked::Never),
            said => said,
        }
    });
    waited.await.map_err(|error| never_ready(node, machine, &error))?;
    site.cx.events.progress(Step::Reach, node.as_str(), "connecting");
    Remote::connect(&machine.target, node, key, ANSWER).await.map_err(|error| not_reached(&error))
}

/// Whether an sshd speaks there: what leads into a machine may accept a connection before anybody in it does. One that
/// accepts is given time: an sshd that is begun anew for each of many callers serves none where processors are emulated.
async fn answers(addr: std::net::SocketAddr) -> bool {
    let connected = tokio::time::timeout(Duration::from_secs(2), tokio::net::TcpStream::connect(addr)).await;
    let Ok(Ok(mut stream)) = connected else { return false };
    let mut first = [0; 4];
    let spoke = tokio::time::timeout(Duration::from_secs(30), stream.read_exact(&mut first)).await;
    matches!(spoke, Ok(Ok(_))) && first == *b"SSH-"
}

fn never_ready(node: &NodeName, machine: &Machine, error: &WaitError) -> Failure {
    let (id, doing) = match error {
        WaitError::Never { .. } => ("boot.node-died", "boot the machines"),
        WaitError::TimedOut { .. } => ("boot.not-ready", "wait for the machines"),
    };
    let failure = Failure::new(Exit::Boot, id, doing).because_text(format!("{node}: {error}"));
    if machine.console.is_none() {
        return failure;
    }
    let tail = console_tail(machine.console.as_deref(), 12);
    let failure = if tail.is_empty() {
        failure.because_text(format!("{node}'s console is empty: its kernel never began"))
    } else {
        failure.because_text(format!("the last lines of {node}'s console:\n{tail}"))
    };
    failure.hint(format!("calicolab logs {node} --console"))
}

/// A failure of SSH in the words and with the code of the command line.
pub fn not_reached(error: &SshError) -> Failure {
    if error.is_host_key_mismatch() {
        return Failure::new(Exit::HostKey, "ssh.host-key", "reach the machines").because(error);
    }
    Failure::new(Exit::Boot, "ssh.unreachable", "reach the machines").because(error)
}

/// A node that could not be installed; where only the last lines of what it said are shown, the log has all of them.
fn not_installed(error: &InstallError, folder: &Path, plan: &Plan) -> Failure {
    let failure = match error {
        InstallError::Altered { .. } => Failure::new(Exit::Digest, "install.altered", "install the nodes"),
        InstallError::Ssh { source, .. } if source.is_host_key_mismatch() => {
            Failure::new(Exit::HostKey, "ssh.host-key", "install the nodes")
        }
        _ => Failure::new(Exit::Install, "install.failed", "install the nodes"),
    };
    let failure = failure.because(error);
    match error {
        InstallError::Failed { .. } => failure
            .because_text(format!("all that was said there is in {}", folder.join(record::LOG).display()))
            .hint(format!("calicolab logs --name {}", plan.cluster)),
        _ => failure,
    }
}

fn not_booted(error: &ProviderError) -> Failure {
    match error {
        ProviderError::Died { .. } => Failure::new(Exit::Boot, "boot.node-died", "boot the machines").because(error),
        _ => Failure::new(Exit::Provider, "provider.boot", "boot the machines").because(error),
    }
}

/// A node asked over SSH.
struct Over(Remote);

#[async_trait]
impl Ask for Over {
    async fn ask(&self, argv: &Argv, limit: Duration) -> Result<Output, String> {
        self.0.run(&argv.clone().sudo(), limit).await.map_err(|error| in_one_line(&error))
    }
}

/// A node that could not even be connected to.
struct Silent(String);

#[async_trait]
impl Ask for Silent {
    async fn ask(&self, _: &Argv, _: Duration) -> Result<Output, String> {
        Err(self.0.clone())
    }
}

/// The nodes as a proof asks them.
pub fn askers(remotes: &PerNode<Remote>) -> Askers {
    remotes.map(|_, remote| Arc::new(Over(remote.clone())) as Arc<dyn Ask>)
}

/// The same where some could not be connected to: those answer nothing, with the reason.
pub fn askers_or_why(remotes: &PerNode<Result<Remote, SshError>>) -> Askers {
    remotes.map(|_, remote| match remote {
        Ok(remote) => Arc::new(Over(remote.clone())) as Arc<dyn Ask>,
        Err(error) => Arc::new(Silent(in_one_line(error))) as Arc<dyn Ask>,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_was_not_installed_is_told_with_the_place_of_all_it_said() {
        let plan = crate::lab::example::planned(&crate::lab::example::lab(&["one", "two"]), "demo");
        let error =
            InstallError::Failed { node: plan.master.clone(), doing: "kubeadm init", said: "the last lines".into() };
        let told = not_installed(&error, Path::new("/home/me/clusters/demo"), &plan);
        assert_eq!(told.exit(), Exit::Install);
        let told = serde_json::to_value(&told).expect("plain data");
        let because = told["error"]["because"].to_string();
        assert!(because.contains("the last lines") && because.contains("/home/me/clusters/demo/log"), "{because}");
        assert_eq!(told["error"]["hints"][0], "calicolab logs --name demo");
    }
}
