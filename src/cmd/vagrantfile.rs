//! `vagrantfile`: a lab as one folder for plain Vagrant, with the bytes, keys and scripts that `up` would use.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cluster::random_hex;
use crate::durable;
use crate::event::{Event, Step};
use crate::failure::{Exit, Failure};
use crate::install::Kit;
use crate::lab::plan::Plan;
use crate::machine::ImageForm;
use crate::machine::vagrant::{Plain, Vagrant};

use super::bring;
use super::cx::{Cx, counted};
use super::draft::{complete, installable};
use super::fetch::plan_offline;
use super::up::{Want, drafted};

/// What the folder says of itself.
const README: &str = include_str!("vagrantfile.md");

/// Write the folder; `vagrant up` in it needs nothing of this program any more.
pub async fn vagrantfile(cx: &Cx<'_>, want: &Want, folder: &Path) -> Result<(), Failure> {
    let (draft, plan) = drafted(cx, want)?;
    installable(&plan)?;
    complete(&draft, &plan)?;
    plan_offline(cx, &draft, &plan).await?;
    let folder = empty(folder)?;
    let steps = vec![Step::Fetch, Step::Render];
    cx.events.tell(Event::Begin { verb: "vagrantfile".into(), cluster: plan.cluster.to_string(), steps });
    let fetching = async {
        let bytes = bring::bytes(cx, &draft, &plan, ImageForm::Disk).await?;
        Ok((bytes, format!("image {} and {}", plan.image, counted(plan.artifacts.len(), "artifact"))))
    };
    let bytes = Box::pin(cx.step(Step::Fetch, fetching)).await?;
    let writing = async {
        let own = bring::own(&folder, &plan)?;
        let seeds = bring::seeds(cx, &draft, &plan, (&bytes, &own), &random_hex::<8>())?;
        for (node, seed) in seeds.iter() {
            write(&folder.join("cloud-config").join(format!("{node}.yaml")), &seed.user_data, 0o600)?;
        }
        write(&folder.join("README.md"), &readme(&plan), 0o644)?;
        let (told, add_ons) = (seeds.map(|_, seed| seed.user_data.clone()), bring::add_ons(cx, &plan)?);
        let kit =
            Kit { plan: &plan, pki: &own.pki, payload: &bytes.payload, manifests: &[], told: &told, add_ons: &add_ons };
        let installs = plan.nodes.try_map(|node, _| kit.script(node).ok_or_else(|| no_script(&plan)))?;
        let wanted = Plain { plan: &plan, image: &bytes.image, seeds: &seeds, installs: &installs };
        let written = Vagrant::default().write_plain(&wanted, &folder, &cx.events).await;
        written.map_err(|error| unwritten(&folder).because(&error))?;
        Ok(((), format!("{} for {}", folder.display(), counted(plan.nodes.len(), "machine"))))
    };
    Box::pin(cx.step(Step::Render, writing)).await
}

/// A lab whose nodes wait for each other while it is installed.
fn no_script(plan: &Plan) -> Failure {
    Failure::new(Exit::HostUnfit, "vagrantfile.installer", format!("write the lab {} for plain Vagrant", plan.lab))
        .because_text(format!("installing it by `{}` takes more than a script on each machine", plan.installer))
        .hint("calicolab up --provider vagrant")
}

/// The folder by its whole path; made if it is not there, refused if anything is in it.
fn empty(folder: &Path) -> Result<PathBuf, Failure> {
    let io = |error: std::io::Error| unwritten(folder).because(&error);
    fs::create_dir_all(folder).map_err(io)?;
    let whole = fs::canonicalize(folder).map_err(io)?;
    if fs::read_dir(&whole).map_err(io)?.next().is_some() {
        return Err(Failure::new(Exit::Conflict, "vagrantfile.exists", format!("write {}", folder.display()))
            .because_text("there is something in it already")
            .hint("another folder, with -o")
            .hint("or in it: vagrant destroy -f, then remove it"));
    }
    Ok(whole)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let failed = |error: std::io::Error| unwritten(path).because(&error);
    durable::private_folder(path.parent().expect("it lies in a folder")).map_err(failed)?;
    durable::write(path, text.as_bytes(), mode).map_err(failed)
}

fn unwritten(path: &Path) -> Failure {
    Failure::new(Exit::Unexpected, "vagrantfile.write", format!("write {}", path.display()))
}

fn readme(plan: &Plan) -> String {
    let nodes = plan.nodes.iter().map(|(name, node)| format!("| {name} | {} | {} |\n", node.address, node.block));
    README
        .replace("{lab}", plan.lab.as_str())
        .replace("{master}", plan.master.as_str())
        .replace("{network}", &plan.network.lab.to_string())
        .replace("{peers}", &plan.master_node().peers.len().to_string())
        .replace("{nodes}", nodes.collect::<String>().trim_end())
}
