//! The verb `lock`, from its words to what is shown and written.

use std::path::PathBuf;

use serde_json::json;

use super::{Stream, shown};
use crate::artifact::apt::Archive;
use crate::cli::{Format, LockHow};
use crate::cluster::state::Wish;
use crate::cmd::cx::Cx;
use crate::cmd::draft::{Draft, lock_command};
use crate::cmd::lock::{self, Made, Relocked, Want, When, check};
use crate::cmd::own_image;
use crate::failure::{Exit, Failure};
use crate::lab::pin::{Lock, Source, Wanted};
use crate::lab::plan::pinned;
use crate::lab::problem::nearest;

pub(super) async fn lock(
    cx: &Cx<'_>,
    names: &[String],
    how: &LockHow,
    output: Format,
    quiet: Stream<'_>,
) -> Result<Exit, Failure> {
    if how.check {
        let checked = check::check(cx, names)?;
        shown(output, quiet, || check::table(&checked), || json!(checked));
        return check::wrong(&checked).map_or(Ok(Exit::Done), Err);
    }
    if names.len() > 1 {
        return Err(Failure::new(Exit::Usage, "usage.lab", "make a lock anew")
            .because_text("several labs are named, of which each has a lock of its own")
            .hint(format!("calicolab lock {}", names[0])));
    }
    own_image::none_for_a_lock(&how.sets)?;
    let name = names.first().map_or("primer", String::as_str);
    let draft = Draft::read(cx, name, &Wish { sets: how.sets.clone(), ..Wish::default() })?;
    if cx.offline {
        return Err(Failure::new(Exit::Offline, "lock.offline", "make the lock anew")
            .because_text("nobody can be asked while offline")
            .hint("calicolab lock --check judges the locks as they are"));
    }
    known(&draft, &how.only)?;
    let made = made(cx, &draft, how).await?;
    for note in &made.notes {
        cx.events.warn(note.clone());
    }
    let written = if made.refused.is_empty() && made.lock != draft.lock && !how.dry_run {
        Some(write(&draft, &made.lock)?)
    } else {
        None
    };
    let missing = missing(&draft, &made.lock);
    shown(
        output,
        quiet,
        || lock::table(&made.changes),
        || lock::json(draft.lab.name.as_str(), &made, &missing, written.as_deref()),
    );
    refused(&draft, &made)?;
    match &written {
        Some(path) => cx.events.note(format!("written to {}", path.display())),
        None if how.dry_run && !made.changes.is_empty() => cx.events.note("nothing was written: --dry-run"),
        None => cx.events.note(format!("the lock of {name} is as it should be")),
    }
    if how.apt_only { Ok(Exit::Done) } else { incomplete(&draft, &made, &missing) }
}

/// Names that are no artifact of the lab, with the nearest that is.
fn known(draft: &Draft, only: &[String]) -> Result<(), Failure> {
    let names: Vec<&str> = draft.lab.artifacts.iter().map(|artifact| artifact.name.as_str()).collect();
    let Some(word) = only.iter().find(|word| !names.contains(&word.as_str())) else { return Ok(()) };
    let failure = Failure::new(Exit::NoSuch, "artifact.none", "find the artifact").because_text(format!(
        "{} has no artifact `{word}`; there is {}",
        draft.lab.name,
        names.join(", ")
    ));
    Err(match nearest(word, &names) {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None => failure.hint(format!("calicolab labs show {}", draft.lab.name)),
    })
}

async fn made(cx: &Cx<'_>, draft: &Draft, how: &LockHow) -> Result<Made, Failure> {
    let archive = Archive::of_host();
    let made = if how.apt_only {
        let when = if how.if_gone { When::IfGone } else { When::Always };
        let relocked = lock::apt_only(&cx.cache, &archive, &draft.lab, &draft.lock, when, &cx.events).await;
        relocked.map(Relocked::alone)
    } else {
        let want = Want { only: how.only.clone(), first_use: how.first_use, accept_changed: how.accept_changed };
        lock::all(&cx.cache, &archive, &draft.lab, &draft.lock, &want, &cx.events).await
    };
    made.map_err(|error| crate::cmd::fetch::not_fetched(&error))
}

fn write(draft: &Draft, made: &Lock) -> Result<PathBuf, Failure> {
    let path = draft.own_lock.clone();
    lock::write(&path, made)
        .map_err(|error| Failure::new(Exit::Unexpected, "lock.write", "write the lock").because(&error))?;
    Ok(path)
}

/// What the lab's nodes need and the lock has no digest for.
fn missing(draft: &Draft, lock: &Lock) -> Vec<Wanted> {
    let wanted = |artifact| pinned(artifact, lock, draft.lab.arch).err().map(|wanted| *wanted);
    draft.lab.artifacts.iter().filter_map(wanted).collect()
}

/// Pins that are contradicted now: nothing is taken, and both digests are shown.
fn refused(draft: &Draft, made: &Made) -> Result<(), Failure> {
    if made.refused.is_empty() {
        return Ok(());
    }
    let (lab, command) = (&draft.lab.name, lock_command(&draft.lab.name, &draft.variant));
    let failure = Failure::new(Exit::Digest, "lock.changed", format!("make the lock of {lab} anew"));
    let told = made.refused.iter().map(|one| {
        let (name, arch) = (&one.name, one.arch.words().0);
        format!("{name} for {arch}: the lock has {}, but {} has {} now", one.pinned, one.at, one.now)
    });
    Err(told
        .fold(failure, Failure::because_text)
        .left("the lock as it was: nothing was written")
        .hint("find out why the upstream changed a release: its bytes, or only its list")
        .hint(format!("{command} --accept-changed (takes what is there now)")))
}

/// A lock that is still incomplete is no success: `up` would refuse it.
fn incomplete(draft: &Draft, made: &Made, missing: &[Wanted]) -> Result<Exit, Failure> {
    if missing.is_empty() {
        return Ok(Exit::Done);
    }
    let (lab, command) = (&draft.lab.name, lock_command(&draft.lab.name, &draft.variant));
    let failed = |wanted: &&Wanted| made.failed.contains(&wanted.name);
    let (exit, id) = if missing.iter().any(|wanted| failed(&wanted)) {
        (Exit::Download, "lock.unresolved")
    } else {
        (Exit::LabInvalid, "lock.incomplete")
    };
    let told = missing.iter().map(|Wanted { name, why, .. }| format!("{name}: {why}"));
    let failure = told.fold(Failure::new(exit, id, format!("complete the lock of {lab}")), Failure::because_text);
    let unlisted: Vec<&str> = missing
        .iter()
        .filter(|wanted| matches!(wanted.source, Source::Url { .. }))
        .map(|wanted| wanted.name.as_str())
        .collect();
    Err(if unlisted.is_empty() {
        failure.hint(format!("{command} (again, when the registry answers)"))
    } else {
        let only = unlisted.join(",");
        failure.hint(format!("{command} --first-use --only {only} (takes what comes; nobody vouches for it)"))
    })
}
