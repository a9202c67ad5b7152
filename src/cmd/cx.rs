//! What every story is given: the places of this host, the way to tell, and steps that an interrupt ends.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::artifact::cache::Cache;
use crate::artifact::mirror::Mirrors;
use crate::cluster::StateError;
use crate::cluster::home::{Home, Locked};
use crate::cluster::lease::Leases;
use crate::cluster::lock::after_the_dead;
use crate::cluster::state::ClusterState;
use crate::event::{Event, Events, Step};
use crate::failure::{Exit, Failure};
use crate::lab::builtin::Library;
use crate::lab::name::{ClusterName, NodeName};
use crate::lab::problem::nearest;
use crate::machine::{Place, Power, Provider};

/// The places of this host, the way to tell, and the user's interrupt.
pub struct Cx<'a> {
    /// The way to tell.
    pub events: Events,
    /// Where clusters are remembered.
    pub home: Home,
    /// Where bytes are kept.
    pub cache: Cache,
    /// What clusters hold of this host.
    pub leases: Leases,
    /// Labs and templates.
    pub library: Library,
    /// Locks of the user's own, `NAME/lock.yaml` for each lab.
    pub own_locks: PathBuf,
    /// Where else than at its upstream a file may be had.
    pub mirrors: Mirrors,
    /// Who can make machines.
    pub providers: &'a [&'a dyn Provider],
    /// Whether no connection may be opened but to this host and our machines.
    pub offline: bool,
    /// The user's Ctrl-C.
    pub interrupt: Interrupt,
}

impl Cx<'_> {
    /// Tell a step's beginning and end, and end it where the user interrupts. `work` gives its value and, in a few
    /// words, what came out.
    pub async fn step<T>(
        &self,
        step: Step,
        work: impl Future<Output = Result<(T, String), Failure>>,
    ) -> Result<T, Failure> {
        self.events.tell(Event::StepStarted { step });
        let began = Instant::now();
        let result = tokio::select! {
            biased;
            () = self.interrupt.told() => Err(interrupted(step)),
            result = work => result,
        };
        let took = began.elapsed();
        match result {
            Ok((value, outcome)) => {
                self.events.tell(Event::StepDone { step, took, outcome });
                Ok(value)
            }
            Err(failure) => {
                self.events.tell(Event::StepFailed { step, took });
                Err(failure)
            }
        }
    }

    /// A cluster that is there, locked.
    pub async fn locked(&self, cluster: &ClusterName) -> Result<Locked, Failure> {
        let locked = after_the_dead(|| self.home.lock(cluster)).await;
        locked.map_err(|error| not_locked(cluster, &error))
    }

    /// A cluster that is begun, locked.
    pub async fn created(&self, state: ClusterState) -> Result<Locked, StateError> {
        after_the_dead(|| self.home.create(state.clone())).await
    }

    /// A cluster's place on this host as its provider needs it.
    pub fn place(&self, cluster: &ClusterName) -> Result<Place, Failure> {
        let doing = "make a folder for sockets";
        let sockets = self.home.sockets(cluster).map_err(|error| Failure::of_state(doing, &error))?;
        Ok(Place {
            cluster: cluster.clone(),
            label: self.home.label(cluster),
            folder: self.home.folder(cluster),
            sockets,
            events: self.events.clone(),
        })
    }

    /// The machines of a cluster as their provider finds them; `None` if it cannot be asked.
    pub async fn power(&self, state: &ClusterState) -> Option<Vec<(NodeName, Power)>> {
        let provider = self.providers.iter().find(|one| one.kind() == state.provider)?;
        provider.machines(&self.place(&state.name).ok()?).await.ok()
    }

    /// The cluster a verb is about: the named one, or the only one.
    pub fn which(&self, name: Option<&str>) -> Result<ClusterName, Failure> {
        let known: Vec<ClusterName> = self.known()?;
        let none = |why: String| Failure::new(Exit::NoSuch, "cluster.none", "find the cluster").because_text(why);
        match (name, known.as_slice()) {
            (Some(name), _) => known.iter().find(|one| one.as_str() == name).cloned().ok_or_else(|| {
                let words: Vec<&str> = known.iter().map(ClusterName::as_str).collect();
                let failure = none(format!("there is no cluster `{name}`{}", listed(&words)));
                match nearest(name, &words) {
                    Some(near) => failure.hint(format!("did you mean `{near}`?")),
                    None => failure.hint("calicolab ls"),
                }
            }),
            (None, [only]) => Ok(only.clone()),
            (None, []) => Err(none("there is no cluster".into()).hint("calicolab up")),
            (None, several) => {
                let words: Vec<&str> = several.iter().map(ClusterName::as_str).collect();
                Err(Failure::new(Exit::Usage, "cluster.which", "choose a cluster")
                    .because_text(format!("there are several{}", listed(&words)))
                    .hint(format!("name one: --name {}", words[0])))
            }
        }
    }

    /// The names of all clusters, those too whose state cannot be read.
    pub fn known(&self) -> Result<Vec<ClusterName>, Failure> {
        let found = self.home.list().map_err(|error| Failure::of_state("list the clusters", &error))?;
        Ok(found.into_iter().map(|one| one.name).collect())
    }
}

fn listed(words: &[&str]) -> String {
    if words.is_empty() { String::new() } else { format!("; there is {}", words.join(", ")) }
}

/// The node that a word means, or a failure that knows the nearest.
pub fn node_named(nodes: &[NodeName], word: &str) -> Result<NodeName, Failure> {
    nodes.iter().find(|node| node.as_str() == word).cloned().ok_or_else(|| {
        let words: Vec<&str> = nodes.iter().map(NodeName::as_str).collect();
        let mut why = format!("there is no node `{word}`{}", listed(&words));
        if let Some(near) = nearest(word, &words) {
            let _ = write!(why, "; did you mean `{near}`?");
        }
        Failure::new(Exit::NoSuch, "node.none", "find the node").because_text(why)
    })
}

/// A failure to lock or to remember a cluster.
pub fn not_locked(cluster: &ClusterName, error: &StateError) -> Failure {
    Failure::of_state(format!("take hold of `{cluster}`"), error)
}

fn interrupted(step: Step) -> Failure {
    Failure::new(Exit::Interrupted, "interrupted", format!("finish `{}`", step.word())).because_text("interrupted")
}

/// The user's wish to end: the first Ctrl-C (or SIGTERM) ends the step at work, the second the program.
#[derive(Clone, Debug)]
pub struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Listen from here on.
    pub fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let (tell, told) = watch::channel(false);
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::spawn(async move {
            loop {
                tokio::select! { _ = interrupt.recv() => (), _ = terminate.recv() => () }
                if *tell.borrow() {
                    std::process::exit(Exit::Interrupted.code());
                }
                let _ = tell.send(true);
            }
        });
        Ok(Self(told))
    }

    /// Waits for the first one, for ever if need be.
    pub async fn told(&self) {
        let mut told = self.0.clone();
        if told.wait_for(|told| *told).await.is_err() {
            // Nobody listens any more: nobody will interrupt.
            std::future::pending::<()>().await;
        }
    }
}

/// `1 node`, `3 nodes`.
pub fn counted(number: usize, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
}

/// How long it takes one node to answer what takes no thinking, even when all are busy booting.
pub const ANSWER: Duration = Duration::from_secs(60);
