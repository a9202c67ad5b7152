//! Plan and place -> Vagrantfile: machines for Vagrant, rendered strictly.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use minijinja::{Environment, Value, context};
use serde::Serialize;

use super::{json, seen, strict};
use crate::lab::name::{NodeName, PerNode};
use crate::lab::plan::{NodePlan, Plan};

/// Carried by the binary alone: the providers of machines and this text are made for each other.
const TEMPLATE: &str = include_str!("../../../Vagrantfile.tmpl");

/// What a Vagrantfile says that no plan knows. Nothing in it is secret.
#[derive(Clone, Debug, Serialize)]
pub struct Surroundings<'a> {
    /// Whose the machines are, for people who look at them from beside.
    pub label: &'a str,
    /// The box, by a name that stands for one disk.
    #[serde(rename = "box")]
    pub box_name: &'a str,
    /// The user of the box who can become root.
    pub user: &'a str,
    /// The key of that user, by its path from the Vagrantfile's folder.
    pub key: &'a str,
    /// Whether the host has to emulate processors.
    pub emulated: bool,
    /// For libvirt: what starts a disk that has no boot loader.
    pub boot: Option<Boot>,
    /// Whether a disk with the artifacts lies in the pool.
    pub payload: bool,
    /// Where people call Vagrant themselves: the SHA-256 of the box beside the file.
    pub plain: Option<&'a str>,
    /// What libvirt's things are called.
    pub names: Names<'a>,
    /// The network between the machines and the host.
    pub uplink: Ipv4Net,
    /// What each machine is given there.
    #[serde(skip)]
    pub nodes: PerNode<Given>,
}

/// A kernel and an initrd, where libvirt finds them.
#[derive(Clone, Debug, Serialize)]
pub struct Boot {
    /// Path of the kernel.
    pub kernel: String,
    /// Path of the initrd.
    pub initrd: String,
    /// The kernel's words.
    pub cmdline: String,
}

/// What libvirt's things are called.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Names<'a> {
    /// The pool, and what the machines' names begin with.
    pub base: &'a str,
    /// The network that leads outside.
    pub nat: &'a str,
    /// The lab network.
    pub lab: &'a str,
}

/// What one machine is given by its host.
#[derive(Clone, Debug, Serialize)]
pub struct Given {
    /// Libvirt's own name for it.
    pub uuid: String,
    /// Its address towards the host.
    pub address: Ipv4Addr,
    /// The host's address there.
    pub gateway: Ipv4Addr,
}

#[derive(Serialize)]
struct NodeView<'a> {
    name: &'a NodeName,
    uuid: &'a str,
    uplink: String,
    #[serde(flatten)]
    plan: &'a NodePlan,
}

/// Render the Vagrantfile of a plan.
///
/// # Panics
///
/// If the template, which is part of this program, does not fit this program.
pub fn vagrantfile(plan: &Plan, around: &Surroundings<'_>) -> String {
    let nodes: Vec<NodeView<'_>> = plan
        .nodes
        .iter()
        .map(|(name, node)| {
            let Given { uuid, address, gateway } = &around.nodes[name];
            let uplink = format!("{address}/{},{gateway}", around.uplink.prefix_len());
            NodeView { name, uuid, uplink, plan: node }
        })
        .collect();
    let known = context! {
        cluster => plan.cluster.as_str(),
        lab => plan.lab.as_str(),
        netmask => plan.network.lab.netmask().to_string(),
        nodes => seen(nodes),
        ..seen(around),
    };
    environment().render_str(TEMPLATE, known).expect("the template fits")
}

fn environment() -> Environment<'static> {
    let mut environment = strict();
    environment.add_filter("ruby", ruby);
    environment.add_filter("hex", |mac: &str| mac.replace(':', ""));
    environment
}

/// A Ruby string: JSON's are, but for what Ruby would put in place of `#{…}`.
fn ruby(value: &Value) -> Result<String, minijinja::Error> {
    Ok(json(value)?.replace('#', "\\#"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::example;

    #[test]
    fn three_machines() {
        for (name, emulated) in [("emulated", true), ("accelerated", false)] {
            let plan = example::planned(&example::lab(&["calico-01", "calico-02", "calico-03"]), "demo");
            insta::assert_snapshot!(format!("vagrantfile_{name}"), vagrantfile(&plan, &around(&plan, emulated)));
        }
        let plan = example::planned(&example::lab(&["calico-01"]), "demo");
        let alone = Surroundings { plain: Some("00aa"), key: "ssh/key", ..around(&plan, true) };
        insta::assert_snapshot!("vagrantfile_plain", vagrantfile(&plan, &alone));
    }

    #[test]
    fn ruby_reads_what_was_written() {
        assert_eq!(ruby(&Value::from("a \"b\" #{exit} #$0 é")).expect("text"), r#""a \"b\" \#{exit} \#$0 é""#);
    }

    fn around(plan: &Plan, emulated: bool) -> Surroundings<'static> {
        let boot = Boot {
            kernel: "/pool/vmlinuz".into(),
            initrd: "/pool/initrd".into(),
            cmdline: "root=/dev/vda rw console=ttyS0".into(),
        };
        Surroundings {
            label: "calicolab/0a1b/demo",
            box_name: "calicolab/debian-12-0123456789abcdef",
            user: "debian",
            key: "../../ssh/key",
            emulated,
            boot: emulated.then_some(boot),
            payload: emulated,
            plain: None,
            names: Names { base: "cl00", nat: "cl00n", lab: "cl00l" },
            uplink: "10.64.3.0/24".parse().expect("a network"),
            nodes: plan.nodes.map(|_, node| Given {
                uuid: format!("00000000-0000-8000-8000-00000000000{}", node.index),
                address: Ipv4Addr::new(10, 64, 3, 11),
                gateway: Ipv4Addr::new(10, 64, 3, 1),
            }),
        }
    }
}
