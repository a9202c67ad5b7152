//! The same machines for people who call Vagrant themselves: one folder with all that takes.

use std::fs;
use std::path::Path;

use super::sheet::Sheet;
use super::{INITRD, KERNEL, PAYLOAD, Vagrant, boxes, failed, seed_volume, things};
use crate::durable;
use crate::event::{Events, Step};
use crate::lab::name::PerNode;
use crate::lab::plan::Plan;
use crate::machine::uplink::of_this_host;
use crate::machine::{Image, Names, Provider as _, ProviderError, Seed, Uplink};

/// Makes pool and networks and takes them away; called by the Vagrantfile.
const SCRIPT: &str = include_str!("plain.sh");
const BOX: &str = "lab.box";

/// What such a folder is made from.
pub struct Plain<'a> {
    /// What the machines are to be.
    pub plan: &'a Plan,
    /// What they are made from.
    pub image: &'a Image,
    /// What each is told at its first boot.
    pub seeds: &'a PerNode<Seed>,
    /// What is run on each once it answers: a shell's text, which may hold secrets.
    pub installs: &'a PerNode<String>,
}

impl Vagrant {
    /// Write the folder: Vagrantfile, box, disks, what libvirt is asked for, a script for each machine. Makes nothing
    /// outside of it.
    pub async fn write_plain(&self, plain: &Plain<'_>, folder: &Path, events: &Events) -> Result<(), ProviderError> {
        let &Plain { plan, image, seeds, installs } = plain;
        // Two folders must not share one machine.
        let names = Names::of(&format!("vagrantfile {}", folder.display()));
        let uplink = Uplink::free(&names, &of_this_host())?;
        let sheet = Sheet { plan, image, seeds, names: &names, uplink, emulated: self.emulates().await };

        events.progress(Step::Render, "box", "making it of the image");
        let (disk, size) = boxes::disk(image, folder).await?;
        let path = folder.join(BOX);
        let digest = boxes::packed(&disk, &path, size).await?;
        fs::remove_file(&disk).map_err(failed("removing", &disk))?;

        let open = |name: &str, text: &str, mode| {
            let path = folder.join(name);
            durable::write(&path, text.as_bytes(), mode).map_err(failed("writing", &path))
        };
        for private in ["libvirt", "libvirt/disks", "install"] {
            let path = folder.join(private);
            durable::private_folder(&path).map_err(failed("making", &path))?;
        }
        open("libvirt.sh", SCRIPT, 0o755)?;
        open(&format!("libvirt/{}.xml", names.base()), &things::pool(&names), 0o600)?;
        open(&format!("libvirt/{}.xml", names.lab()), &things::lab(&names, plan.network.mtu), 0o600)?;
        open(&format!("libvirt/{}.xml", names.nat()), &things::nat(&names, plan, uplink), 0o600)?;
        for (node, script) in installs.iter() {
            open(&format!("install/{node}.sh"), script, 0o600)?;
        }

        events.progress(Step::Render, "disks", "copying");
        let disks = folder.join("libvirt/disks");
        let copy = |from: &Path, name: &str| {
            let to = disks.join(name);
            fs::copy(from, &to).map(drop).map_err(failed("writing", &to))
        };
        if let Some(boot) = &image.boot {
            copy(&boot.kernel, KERNEL)?;
            copy(&boot.initrd, INITRD)?;
        }
        if let Some(payload) = seeds.values().find_map(|seed| seed.payload.as_deref()) {
            copy(payload, PAYLOAD)?;
        }
        for (node, seed) in seeds.iter() {
            let path = disks.join(seed_volume(node));
            seed.write_disk(&path).map_err(failed("writing", &path))?;
        }
        // Last: where it is, everything is.
        open("Vagrantfile", &sheet.plain(&digest), 0o644)
    }
}
