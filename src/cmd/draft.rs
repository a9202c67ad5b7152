//! What the user asked for, read and checked: lab, lock, image, and the plan made from them.

use std::path::PathBuf;

use crate::cluster::state::Wish;
use crate::failure::{Exit, Failure};
use crate::install;
use crate::lab::builtin::LibraryError;
use crate::lab::file::Lab;
use crate::lab::images::OsImage;
use crate::lab::name::{ClusterName, LabName};
use crate::lab::pin::{Lock, Wanted};
use crate::lab::placement::Away;
use crate::lab::plan::{LabNet, Plan};
use crate::lab::problem::nearest;
use crate::lab::setting::{Setting, SettingError};

use super::cx::Cx;
use super::labs::{self, LabsError};
use super::own_image;

/// A lab and all it names.
pub struct Draft {
    /// What is wanted.
    pub lab: Lab,
    /// What is pinned.
    pub lock: Lock,
    /// Where the user's own lock of it is, or would be.
    pub own_lock: PathBuf,
    /// The settings that make another release of it, each `KEY=VALUE`.
    pub variant: Vec<String>,
    /// The image the machines start from.
    pub image: OsImage,
    /// Whether virtual machines were asked for.
    pub vm: bool,
    /// The servers that were asked for, where that is not this host.
    pub away: Option<Away>,
}

impl Draft {
    /// Read the lab `name` with what is asked beside its file. Every problem is told at once.
    pub fn read(cx: &Cx<'_>, name: &str, wish: &Wish) -> Result<Self, Failure> {
        let name = lab_name(cx, name)?;
        let mut settings = Vec::new();
        let (own_images, sets) = own_image::apart(&wish.sets);
        for text in &sets {
            let setting: Setting = text
                .parse()
                .map_err(|error: SettingError| Failure::new(Exit::Usage, "usage.set", "read --set").because(&error))?;
            settings.push(setting);
        }
        settings.extend(wish.nodes.map(|count| Setting::nodes(count.into())));
        let own_lock = own_lock(cx, &name, &settings);
        // What a variant has in common with its lab is pinned there until it has a lock of its own.
        let there = if own_lock.is_file() { own_lock.clone() } else { self::own_lock(cx, &name, &[]) };
        let (mut lab, mut lock) =
            labs::read(&cx.library, &name, &settings, Some(&there)).map_err(|error| unread(&error))?;
        for (name, value) in own_images {
            own_image::put(&cx.cache, &mut lab, &mut lock, name, value)?;
        }
        let images = cx.library.images().map_err(|error| unread(&LabsError::Library(error)))?;
        let image = images.get(&lab.image).cloned().ok_or_else(|| {
            Failure::new(Exit::LabInvalid, "lab.image", "find the lab's image")
                .because_text(format!("images.yaml has no `{}`", lab.image))
        })?;
        let releases = sets.iter().zip(&settings).filter(|(_, setting)| setting.says_release());
        let variant = releases.map(|(text, _)| (*text).clone()).collect();
        Ok(Self { lab, lock, own_lock, variant, image, vm: wish.vm, away: wish.away.clone() })
    }

    /// The plan for a cluster on a lab network.
    pub fn plan(&self, cluster: &ClusterName, net: LabNet) -> Plan {
        let plan = crate::lab::plan::plan(&self.lab, &self.lock, cluster, net);
        let plan = Plan { vm: self.vm, ..plan };
        match &self.away {
            Some(away) => plan.away(away.clone()),
            None => plan,
        }
    }
}

/// Where the user's own lock of a lab is: of a variant, whose releases are others, beside that of the lab.
pub fn own_lock(cx: &Cx<'_>, lab: &LabName, settings: &[Setting]) -> PathBuf {
    let releases = Setting::releases(settings);
    let name = releases.iter().fold("lock".to_owned(), |name, (of, version)| format!("{name}-{of}-{version}"));
    cx.own_locks.join(lab.as_str()).join(format!("{name}.yaml"))
}

/// The command that completes the lock of a lab, or of a variant of it.
pub fn lock_command(lab: &LabName, variant: &[String]) -> String {
    variant.iter().fold(format!("calicolab lock {lab}"), |words, set| format!("{words} --set {set}"))
}

/// A plan whose lock has everything it needs, or the failure that says what is missing and what completes it.
pub fn complete(draft: &Draft, plan: &Plan) -> Result<(), Failure> {
    if plan.missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = plan.missing.iter().map(|wanted| wanted.name.as_str()).collect();
    let failure = Failure::new(Exit::LabInvalid, "lock.incomplete", format!("plan the lab {}", plan.lab))
        .because_text(format!("its lock has no digest for {}", names.join(", ")));
    let why = plan.missing.iter().map(|Wanted { name, why, .. }| format!("{name}: {why}"));
    let own = "a file of your own, by its digest: the README of coreos-0.15 says how (calicolab labs export DIR)";
    Err(why.fold(failure, Failure::because_text).hint(lock_command(&plan.lab, &draft.variant)).hint(own))
}

/// A plan that `up` can carry out, or the failure that says what can be done instead.
pub fn installable(plan: &Plan) -> Result<(), Failure> {
    let Some(why) = install::refusal(plan) else { return Ok(()) };
    Err(Failure::new(Exit::HostUnfit, "installer.none", format!("bring up the lab {}", plan.lab))
        .because_text(why)
        .hint(format!("calicolab fetch {} (brings its bytes in, each verified)", plan.lab))
        .hint("calicolab up primer"))
}

/// A lab that could not be read, in the words and with the code of the command line.
pub fn unread(error: &LabsError) -> Failure {
    let (exit, id) = match error {
        LabsError::Wrong { .. } => (Exit::LabInvalid, "lab.invalid"),
        LabsError::NoFile { .. } => (Exit::NoSuch, "lab.none"),
        LabsError::Library(LibraryError::Differ { .. }) => {
            return Failure::new(Exit::Conflict, "labs.differ", "write the files")
                .because(error)
                .hint("--force overwrites them; another folder leaves them as they are");
        }
        LabsError::Library(_) => (Exit::NoSuch, "lab.unreadable"),
    };
    Failure::new(exit, id, "read the lab").because(error)
}

/// The lab that a word means, or a failure that knows the nearest.
pub fn lab_name(cx: &Cx<'_>, word: &str) -> Result<LabName, Failure> {
    let none = || Failure::new(Exit::NoSuch, "lab.none", "find the lab");
    let known = cx.library.labs().map_err(|error| none().because(&error))?;
    if let Some(found) = known.iter().find(|lab| lab.as_str() == word) {
        return Ok(found.clone());
    }
    let words: Vec<&str> = known.iter().map(LabName::as_str).collect();
    let failure = none().because_text(format!("there is no lab `{word}`; there is {}", words.join(", ")));
    Err(match nearest(word, &words) {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None => failure.hint("calicolab labs"),
    })
}
