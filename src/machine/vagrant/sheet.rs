//! What a cluster's Vagrantfile is rendered from: the plan, and where its machines' disks and networks are.

use super::{boxes, things};
use crate::lab::name::PerNode;
use crate::lab::plan::Plan;
use crate::lab::render::{self, Boot, Given, Surroundings};
use crate::machine::{Image, Names, Seed, Uplink};

/// A cluster on its way to a Vagrantfile.
pub struct Sheet<'a> {
    /// What its machines are to be.
    pub plan: &'a Plan,
    /// What they are made from.
    pub image: &'a Image,
    /// What each is told at its first boot.
    pub seeds: &'a PerNode<Seed>,
    /// What its things in libvirt are called.
    pub names: &'a Names,
    /// The network between host and machines.
    pub uplink: Uplink,
    /// Whether the host emulates processors.
    pub emulated: bool,
}

impl Sheet<'_> {
    /// For us, who call Vagrant in a folder of the cluster's own.
    pub fn driven(&self) -> String {
        self.rendered("../../ssh/key", None)
    }

    /// For people who call Vagrant themselves, with the digest of the box that lies beside the file.
    pub fn plain(&self, box_sha256: &str) -> String {
        self.rendered("ssh/key", Some(box_sha256))
    }

    fn rendered(&self, key: &str, plain: Option<&str>) -> String {
        let &Self { plan, image, seeds, names, uplink, emulated } = self;
        let pool = things::pool_path(names);
        // Emulated processors keep wrong time by their own counters on a busy host.
        let clock = if emulated { " clocksource=hpet" } else { "" };
        let boot = image.boot.as_ref().map(|boot| Boot {
            kernel: format!("{pool}/{}", super::KERNEL),
            initrd: format!("{pool}/{}", super::INITRD),
            cmdline: format!("{}{clock}", boot.cmdline),
        });
        let (nat, lab) = (names.nat(), names.lab());
        let around = Surroundings {
            label: names.label(),
            box_name: &boxes::name(names),
            user: &image.user,
            key,
            emulated,
            boot,
            payload: seeds.values().any(|seed| seed.payload.is_some()),
            plain,
            names: render::Names { base: names.base(), nat: &nat, lab: &lab },
            uplink: uplink.network(),
            nodes: plan.nodes.map(|node, sizes| Given {
                uuid: things::uuid(names.label(), &names.instance(node)),
                address: uplink.address(sizes.index),
                gateway: uplink.gateway,
            }),
        };
        render::vagrantfile(plan, &around)
    }
}
