//! `bundle`: what a bug report needs as one file: plan, events, proof, explanation, logs and every reading, no secret.

mod secrets;
pub mod theirs;

use std::path::{Path, PathBuf};

use super::cx::{Cx, not_locked};
use super::explain::{self, Explained};
use super::fault::standing;
use super::kept::read_plan;
use crate::cluster::state::ClusterState;
use crate::durable;
use crate::explain::{Evidence, Told};
use crate::failure::{Exit, Failure};
use crate::lab::name::ClusterName;
use secrets::Secrets;

/// The most that is taken of one log, from its end.
const LOG: usize = 2 << 20;

const PLAN: &str = "plan.json";
const EXPLAINED: &str = "explained.json";
const INDEX: &str = "README.md";

/// Pack `cluster` into `file`. What cannot be had is named in the index: a failed `up` has a bundle too.
pub async fn bundle(cx: &Cx<'_>, cluster: &ClusterName, file: Option<&Path>) -> Result<PathBuf, Failure> {
    let state = cx.home.read(cluster).map_err(|error| not_locked(cluster, &error))?;
    let folder = cx.home.folder(cluster);
    let want = explain::Want { checks: Vec::new(), last: false, patience: std::time::Duration::from_secs(3) };
    let mut packed = Packed::new(&folder);
    let explained = match explain::explain(cx, cluster, &want).await {
        Ok(explained) => Some(explained),
        Err(failure) => {
            packed.missing.push(format!("the nodes could not be asked: {}", failure.to_string().replace('\n', " ")));
            saved(&folder.join(explain::FILE))
        }
    };
    packed.kept(&folder, &state);
    if let Some(explained) = &explained {
        packed.readings(&explained.evidence);
        packed.add("explanation.txt", "the first broken link, for people", &explain::show::text(&explained.diagnosis));
        packed.add_json(
            EXPLAINED,
            "the proof, every reading, and the explanation: `calicolab explain --bundle` reads it",
            explained,
        );
    }
    let standing = standing::active(&folder);
    if !standing.is_empty() {
        packed.add_json("faults.json", "faults that were made on purpose and stand", &standing);
    }
    let at = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    let path = file.map_or_else(|| PathBuf::from(format!("{cluster}-{at}.tar")), Path::to_path_buf);
    let written = packed.tar(cluster).and_then(|bytes| durable::write(&path, &bytes, 0o600));
    written.map_err(|error| {
        Failure::new(Exit::Unexpected, "bundle.write", format!("write {}", path.display())).because(&error)
    })?;
    Ok(path)
}

fn saved(path: &Path) -> Option<Explained> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// What goes into the bundle, with secrets removed as it comes in.
struct Packed {
    secrets: Secrets,
    files: Vec<(String, &'static str, String)>,
    missing: Vec<String>,
}

impl Packed {
    fn new(folder: &Path) -> Self {
        Self { secrets: Secrets::of(folder), files: Vec::new(), missing: Vec::new() }
    }

    fn add(&mut self, name: &str, what: &'static str, text: &str) {
        self.files.push((name.into(), what, self.secrets.removed(text)));
    }

    /// Values of ours carry secrets only in the texts that nodes said; within JSON these stand on one line.
    fn add_json<T: serde::Serialize>(&mut self, name: &str, what: &'static str, value: &T) {
        match serde_json::to_value(value) {
            Ok(mut value) => {
                self.secrets.removed_within(&mut value);
                self.files.push((name.into(), what, format!("{value:#}\n")));
            }
            Err(error) => self.missing.push(format!("{name}: {error}")),
        }
    }

    fn log(&mut self, name: &str, what: &'static str, path: &Path) {
        match std::fs::read(path) {
            Ok(bytes) => {
                let end = &bytes[bytes.len().saturating_sub(LOG)..];
                self.add(name, what, &String::from_utf8_lossy(end));
            }
            Err(error) => self.missing.push(format!("{name}: {error}")),
        }
    }

    /// What the cluster's folder holds; never its keys, nor what was rendered with them in it.
    fn kept(&mut self, folder: &Path, state: &ClusterState) {
        self.add_json("state.json", "phase, leases and machines", state);
        match read_plan(&folder.join(PLAN)) {
            Some(plan) => self.add_json(PLAN, "what is to be, with the pin of every file", &plan),
            None => self.missing.push(format!("{PLAN}: not there, or not to be understood")),
        }
        self.log("events.jsonl", "every happening of every run", &folder.join("events.jsonl"));
        self.log("log", "calicolab's own log", &folder.join("log"));
        if let Some(last) = &state.last_proof {
            let name = "proof.json";
            match explain::read_proof(&last.file) {
                Some(proof) => self.add_json(name, "the last proof, with its evidence", &proof),
                None => self.missing.push(format!("{name}: {} cannot be read", last.file.display())),
            }
        }
        for (node, machine) in &state.machines {
            if let Some(console) = &machine.console {
                self.log(&format!("nodes/{node}/console.log"), "the console of all boots", console);
            }
        }
    }

    /// Each reading as a file of its own, as it was said.
    fn readings(&mut self, evidence: &Evidence) {
        for (node, told) in &evidence.nodes {
            match told {
                Told::Unasked(why) => self.missing.push(format!("nodes/{node}: {why}")),
                Told::Answers(answers) => {
                    for (what, output) in answers {
                        let name = serde_json::to_value(what).ok();
                        let name = name.as_ref().and_then(serde_json::Value::as_str).unwrap_or("reading");
                        let errors = if output.stderr.is_empty() { "" } else { "\n--- standard error\n" };
                        let text = format!("{}{errors}{}", output.stdout, output.stderr);
                        self.add(&format!("nodes/{node}/{name}.txt"), "what the node said", &text);
                    }
                }
            }
        }
    }

    fn tar(mut self, cluster: &ClusterName) -> std::io::Result<Vec<u8>> {
        let listed: Vec<String> = self.files.iter().map(|(name, what, _)| format!("* `{name}`: {what}\n")).collect();
        let listed = listed.concat();
        let missing = self.missing.iter().map(|why| format!("* {why}\n")).collect::<Vec<_>>().concat();
        let missing =
            if missing.is_empty() { "Nothing is missing.\n".into() } else { format!("Missing:\n\n{missing}") };
        let index = format!(
            "# Bundle of `{cluster}`\n\nWritten by calicolab {} at {:.0}. Keys, passwords and tokens are removed; addresses and names are not.\n\
             `calicolab explain --bundle FILE` explains it anywhere, without a network.\n\n{listed}\n{missing}",
            env!("CARGO_PKG_VERSION"),
            jiff::Timestamp::now(),
        );
        let index = self.secrets.removed(&index);
        self.files.insert(0, (INDEX.into(), "", index));
        let mut archive = tar::Builder::new(Vec::new());
        let now = jiff::Timestamp::now().as_second();
        for (name, _, text) in &self.files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(u64::try_from(now).unwrap_or_default());
            archive.append_data(&mut header, format!("{cluster}/{name}"), text.as_bytes())?;
        }
        archive.into_inner()
    }
}
