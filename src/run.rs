//! From the command line to a story, and from its end to an exit code: the one place that shows a failure.

mod broken;
mod bytes;
mod config;
mod kube;
mod labs;
mod lock;
mod look;
mod papers;
mod points;
mod raise;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, Parser as _};
use serde_json::json;

use crate::artifact::cache::Cache;
use crate::artifact::mirror::Mirrors;
use crate::cli::kube::Kube;
use crate::cli::{Cli, Format, Verb, Wish};
use crate::cluster::home::Home;
use crate::cluster::lease::Leases;
use crate::cluster::state;
use crate::cmd::cx::{Cx, Interrupt};
use crate::cmd::down::OfPoints;
use crate::cmd::fetch::Archs;
use crate::cmd::{self, power, up, verify};
use crate::event::Events;
use crate::failure::{Exit, Failure};
use crate::lab::builtin::Library;
use crate::lab::name::{ClusterName, LabName};
use crate::lab::placement::Away;
use crate::machine::Provider;
use crate::proof::Proof;
use crate::report::{self, Manner, Reporter, data, json_data};

/// Who can make machines, given where state and cache are.
pub type Providers = dyn Fn(&Path, &Path) -> Vec<Box<dyn Provider>>;

/// The program: parse the command line, tell the story, and end with its code.
pub fn main_with(providers: &Providers) -> ExitCode {
    let cli = Cli::parse();
    if let Verb::Completion { shell } = &cli.verb {
        let mut script = Vec::new();
        clap_complete::generate(*shell, &mut Cli::command(), "calicolab", &mut script);
        data(&String::from_utf8_lossy(&script));
        return ExitCode::SUCCESS;
    }
    crate::record::listen();
    let (events, reporter) = Reporter::start(Manner::choose(cli.global.json));
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return ended(Err(Failure::new(Exit::Unexpected, "runtime", "begin").because(&error)), false),
    };
    let as_json = cli.global.json;
    let result = runtime.block_on(told(&cli, providers, events));
    // What still runs on other threads (a hash, a far command) must not hold up the end of an interrupted story.
    runtime.shutdown_background();
    reporter.finish();
    let exit = ended(result, as_json);
    match cli.verb {
        // As with ssh(1): any other code is the far command's.
        Verb::Ssh { .. } | Verb::Cp { .. } | Verb::Kube(Kube::Kubectl { .. } | Kube::Calicoctl { .. }) => {
            ExitCode::from(cmd::ssh::OWN_FAILURE)
        }
        _ => exit,
    }
}

fn ended(result: Result<Exit, Failure>, as_json: bool) -> ExitCode {
    let exit = match result {
        Ok(exit) => exit,
        Err(failure) => {
            if as_json {
                data(&json!({"event": "failure", "failure": failure}).to_string());
            } else {
                report::talk(&failure.to_string());
            }
            failure.exit()
        }
    };
    ExitCode::from(exit)
}

async fn told(cli: &Cli, providers: &Providers, events: Events) -> Result<Exit, Failure> {
    let unexpected = |id, doing: &str, error: &(dyn std::error::Error + 'static)| {
        Failure::new(Exit::Unexpected, id, doing).because(error)
    };
    let verb = word(&cli.verb);
    let home = Home::from_env(verb).map_err(|error| Failure::of_state("find the state directory", &error))?;
    let cache = Cache::from_env().map_err(|error| unexpected("cache", "find the cache", &error))?;
    let made = providers(home.root(), cache.root());
    let providers: Vec<&dyn Provider> = made.iter().map(AsRef::as_ref).collect();
    let library = Library::open(cli.global.labs.clone())
        .map_err(|error| Failure::new(Exit::NoSuch, "labs.folder", "open the labs").because(&error))?;
    let interrupt = Interrupt::listen().map_err(|error| unexpected("signals", "listen to signals", &error))?;
    let mirrors = if fetches(&cli.verb) { config::mirrors(&cli.global.mirrors)? } else { Mirrors::default() };
    let cx = Cx {
        events,
        home,
        cache,
        leases: Leases::open(Leases::default_path()),
        library,
        own_locks: config::folder().join("labs"),
        mirrors,
        providers: &providers,
        offline: cli.global.offline,
        interrupt,
    };
    Box::pin(story(&cx, &cli.verb, !cli.global.json)).await
}

/// Whether a verb can come to fetch something; no other stops at a mirror that is written wrong.
fn fetches(verb: &Verb) -> bool {
    !matches!(
        verb,
        Verb::Down { .. }
            | Verb::Stop { .. }
            | Verb::Verify { .. }
            | Verb::Snapshot { .. }
            | Verb::Ls { .. }
            | Verb::Status { .. }
            | Verb::Kube(_)
            | Verb::Ssh { .. }
            | Verb::Cp { .. }
            | Verb::SshConfig { .. }
            | Verb::Logs { .. }
            | Verb::Labs { .. }
            | Verb::Gc { .. }
            | Verb::Completion { .. }
    )
}

fn word(verb: &Verb) -> &'static str {
    match verb {
        Verb::Up(_) => "up",
        Verb::Down { .. } => "down",
        Verb::Stop { .. } => "stop",
        Verb::Start { .. } => "start",
        Verb::Gc { .. } => "gc",
        Verb::Verify { .. } => "verify",
        Verb::Broken(verb) => broken::word(verb),
        Verb::Snapshot { verb } => points::word(verb),
        _ => "calicolab",
    }
}

fn wish(wish: &Wish) -> state::Wish {
    state::Wish { nodes: wish.nodes, sets: wish.sets.clone(), vm: wish.vm, away: None }
}

fn cluster_name(name: Option<&str>, lab: &str) -> Result<ClusterName, Failure> {
    let word = name.map_or_else(|| LabName::cluster_word(lab), str::to_owned);
    word.parse().map_err(|error: crate::lab::name::NameError| {
        Failure::new(Exit::Usage, "usage.name", "name the cluster").because(&error)
    })
}

fn servers(remote: Option<&str>, targets: &[String]) -> Option<Away> {
    remote.map(|remote| Away { remote: remote.into(), targets: targets.to_vec() })
}

fn want(lab: &str, name: Option<&str>, asked: &Wish) -> Result<up::Want, Failure> {
    Ok(up::Want {
        lab: lab.into(),
        cluster: cluster_name(name, lab)?,
        wish: wish(asked),
        provider: None,
        recreate: false,
        down_on_failure: false,
        boot_limit: Duration::from_secs(600),
        cold: false,
    })
}

/// Where an answer goes when standard output belongs to the events; none when that is the answer's own.
type Stream<'a> = Option<&'a Events>;

/// The answer: on standard output, or the last of the events.
fn shown(output: Format, quiet: Stream<'_>, text: impl FnOnce() -> String, value: impl FnOnce() -> serde_json::Value) {
    match (output, quiet) {
        (_, Some(events)) => events.answer(value()),
        (Format::Table, None) => match text() {
            nothing if nothing.is_empty() => {}
            text => data(&text),
        },
        (Format::Json, None) => json_data(&value()),
    }
}

fn show_proof(proof: &Proof, output: Format, quiet: Stream<'_>, only_failures: bool) {
    use verify::show;
    let text = || if only_failures { show::failures(proof) } else { show::table(proof) };
    shown(output, quiet, text, || show::json(proof));
}

fn of_points(keep: bool) -> OfPoints {
    if keep { OfPoints::Keep } else { OfPoints::Remove }
}

/// One verb from its beginning to its end. `talks` is whether standard output is for data.
async fn story(cx: &Cx<'_>, verb: &Verb, talks: bool) -> Result<Exit, Failure> {
    let quiet = (!talks).then_some(&cx.events);
    match verb {
        Verb::Up(asked) => Box::pin(raise::up(cx, asked, quiet)).await,
        Verb::Down { all: true, keep_points, .. } => {
            cmd::down::down_all(cx, of_points(*keep_points)).await.map(|()| Exit::Done)
        }
        Verb::Down { name, all: false, keep_points } => {
            let cluster = match name {
                // Also one that nothing is remembered of: its machines may be there all the same.
                Some(name) => cluster_name(Some(name), "")?,
                None if cx.known()?.is_empty() => return Ok(Exit::Done),
                None => cx.which(None)?,
            };
            cmd::down::down_or_forget(cx, &cluster, of_points(*keep_points)).await.map(|()| Exit::Done)
        }
        Verb::Stop { which } => {
            let cluster = cx.which(which.name.as_deref())?;
            power::stop(cx, &cluster).await.map(|()| Exit::Done)
        }
        Verb::Start { which, boot_timeout, form } => {
            let cluster = cx.which(which.name.as_deref())?;
            let proof = Box::pin(power::start(cx, &cluster, Duration::from_secs(*boot_timeout))).await?;
            show_proof(&proof, form.output, quiet, false);
            Ok(Exit::Done)
        }
        Verb::Verify { checks, which, list, only_failures, no_wait, timeout, no_stable, papers, form } => {
            let cluster = cx.which(which.name.as_deref())?;
            if *list {
                let checks = verify::chosen(&cmd::kept::plan_of(cx, &cluster)?, checks)?;
                let ids = || checks.iter().map(|check| check.id().to_string()).collect::<Vec<_>>();
                shown(form.output, quiet, || verify::show::list(&checks), || json!(ids()));
                return Ok(Exit::Done);
            }
            let patience = if *no_wait { Some(0) } else { *timeout };
            let patience = patience.map(Duration::from_secs);
            let want = verify::Want { checks: checks.clone(), patience, without_stability: *no_stable };
            let proof = verify::verify(cx, &cluster, &want).await?;
            show_proof(&proof, form.output, quiet, *only_failures);
            papers::write(cx, &cluster, papers, Some(&proof))?;
            verify::unproven(cx, &cluster, &proof).map_or(Ok(Exit::Done), Err)
        }
        Verb::Broken(verb) => Box::pin(broken::story(cx, verb, quiet)).await,
        Verb::Snapshot { verb } => Box::pin(points::story(cx, verb, quiet)).await,
        Verb::Ls { form } => look::list_clusters(cx, form.output, quiet).await,
        Verb::Status { which, form } => look::status(cx, which.name.as_deref(), form.output, quiet).await,
        Verb::Kube(verb) => kube::story(cx, verb, quiet).await,
        Verb::Ssh { which, node, words } => cmd::shell::login(cx, &cx.which(which.name.as_deref())?, node, words),
        Verb::Cp { which, paths } => cmd::shell::copy(cx, &cx.which(which.name.as_deref())?, paths),
        Verb::SshConfig { node, which } => {
            data(&cmd::shell::config(cx, &cx.which(which.name.as_deref())?, node.as_deref())?);
            Ok(Exit::Done)
        }
        Verb::Logs { node, which, console, unit, tail } => {
            look::logs(cx, which, node.as_deref(), *console, unit.as_deref(), *tail).await
        }
        Verb::Plan { lab, name, manifests, wish, form } => {
            let want = want(lab, name.as_deref(), wish)?;
            match manifests {
                false => look::planned(cx, &want, form.output, quiet).await,
                true => look::manifests(cx, &want, form.output, quiet).await,
            }
        }
        Verb::Vagrantfile { lab, into, wish } => {
            cmd::vagrantfile::vagrantfile(cx, &want(lab, None, wish)?, into).await?;
            if quiet.is_none() {
                data(&format!("next: cd {} && vagrant up", crate::command::quoted(&[into.to_string_lossy()])));
            }
            Ok(Exit::Done)
        }
        Verb::Lock { names, how, form } => lock::lock(cx, names, how, form.output, quiet).await,
        Verb::Fetch { lab, all_archs, dry_run, form } => {
            let archs = if *all_archs { Archs::All } else { Archs::Nodes };
            bytes::fetch(cx, lab, archs, *dry_run, (form.output, quiet)).await
        }
        Verb::Pack { lab, into, force } => bytes::pack(cx, lab, into, *force, quiet).await,
        Verb::Unpack { file, list, dry_run, form } => {
            bytes::unpack(cx, file, *list, *dry_run, (form.output, quiet)).await
        }
        Verb::Cache { verb } => bytes::cache(cx, verb, quiet).await,
        Verb::Mirror { verb } => bytes::mirror(cx, verb, quiet).await,
        Verb::Labs { verb } => labs::labs(cx, verb.as_ref(), quiet),
        Verb::Doctor { lab, wish, judged, form } => {
            let mut want = want(lab, None, wish)?;
            want.wish.away = servers(judged.remote.as_deref(), &judged.target);
            look::doctor(cx, &want, form.output, quiet).await
        }
        Verb::Gc { yes, remotes, form } => look::left(cx, &remotes.remote, *yes, form.output, quiet).await,
        Verb::Completion { .. } => Ok(Exit::Done),
    }
}
