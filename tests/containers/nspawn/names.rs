//! By what everything of a cluster on this host is known again: names of namespaces and cgroups, marks of processes.

use std::fs;
use std::io;

use calicolab::lab::name::NodeName;
use calicolab::machine::qemu::process::Identity;

/// The names of one cluster's things. A part of a label has no dot, so nothing of `demo` is taken for `demo2`'s.
#[derive(Clone, Debug)]
pub struct Names {
    label: String,
    base: String,
}

/// What a process is there for, as its command line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is on its way to a container, or is one.
    Machine,
    /// It leads a port of loopback into a node's namespace.
    Forward,
}

/// A process of the cluster.
#[derive(Clone, Debug)]
pub struct Process {
    /// The node it belongs to.
    pub node: NodeName,
    /// What it is there for.
    pub role: Role,
    /// Which one.
    pub identity: Identity,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Self::Machine => "CALICOLAB_MACHINE=",
            Self::Forward => "CALICOLAB_FORWARD=",
        }
    }
}

impl Names {
    /// Of the cluster with this label.
    pub fn of(label: &str) -> Self {
        Self { label: label.into(), base: label.replace('/', ".") }
    }

    /// The namespace that holds the lab network's bridge.
    pub fn lan(&self) -> String {
        self.base.clone()
    }

    /// A node: its namespace, its cgroups, its container.
    pub fn node(&self, node: &NodeName) -> String {
        format!("{}.{node}", self.base)
    }

    /// The namespace at the other end of a node's NAT card.
    pub fn uplink(&self, node: &NodeName) -> String {
        format!("{}.{node}.up", self.base)
    }

    /// Whether something of this name is the cluster's.
    pub fn owns(&self, name: &str) -> bool {
        name.strip_prefix(&self.base).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// The word that every process of this role carries among its arguments.
    pub fn mark(&self, role: Role, node: &NodeName) -> String {
        format!("{}{}/{node}", role.word(), self.label)
    }

    /// The cluster's processes, by their marks.
    pub fn processes(&self) -> io::Result<Vec<Process>> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // Before the arguments are read and after: the number must not have changed hands in between.
            let Some(identity) = Identity::of(pid)? else { continue };
            let Some((role, node)) = self.marked(pid) else { continue };
            if identity.lives()? {
                found.push(Process { node, role, identity });
            }
        }
        Ok(found)
    }

    fn marked(&self, pid: u32) -> Option<(Role, NodeName)> {
        words(pid)?.split(|byte| *byte == 0).find_map(|word| {
            let word = std::str::from_utf8(word).ok()?;
            [Role::Machine, Role::Forward].into_iter().find_map(|role| {
                let node = word.strip_prefix(role.word())?.strip_prefix(&self.label)?.strip_prefix('/')?;
                Some((role, node.parse().ok()?))
            })
        })
    }
}

/// A process that is just becoming another program has no arguments for a moment, and one of ours must not be
/// overlooked then. The kernel's own processes never have any, and no program either.
fn words(pid: u32) -> Option<Vec<u8>> {
    for _ in 0..100 {
        let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        if !words.is_empty() || fs::read_link(format!("/proc/{pid}/exe")).is_err() {
            return Some(words);
        }
        std::thread::yield_now();
    }
    None
}
