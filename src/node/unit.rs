//! A node's services as systemd tells them.

use crate::command::Argv;
use crate::lab::installer::Installer;

/// The units of a node that calicolab made, by how the cluster was built.
fn of(installer: Installer) -> &'static [&'static str] {
    match installer {
        Installer::Primer => {
            &["etcd", "calicolab-datastore", "calico-confd", "bird", "calicolab-services", "calicolab-dns"]
        }
        Installer::Binaries => &[
            "etcd",
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "containerd",
            "docker",
            "kubelet",
            "kube-proxy",
        ],
        Installer::Kubeadm => &["containerd", "docker", "kubelet"],
        Installer::Coreos => &["etcd2", "docker", "flanneld", "kubelet", "kube-proxy", "calico-node"],
    }
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its name without `.service`.
    pub name: String,
    /// Whether there is one.
    pub loaded: bool,
    /// `active`, `inactive`, `failed`, `activating`, …
    pub active: String,
    /// `running`, `exited`, `dead`, `auto-restart`, …
    pub sub: String,
    /// How its last run ended (`success`, `exit-code`, `signal`, …).
    pub result: String,
    /// Since when it is so, as printed.
    pub since: String,
    /// The process that it is, if it runs one.
    pub pid: Option<u32>,
}

/// How all units of such a node stand.
pub fn ask(installer: Installer) -> Argv {
    let properties = "-pId,LoadState,ActiveState,SubState,Result,MainPID,StateChangeTimestamp";
    Argv::new("systemctl").args(["show", properties]).args(of(installer).iter().copied())
}

/// The last words of those units; with Kubernetes of each, since what network plugins say in containerd's name would
/// leave no room for the kubelet.
pub fn ask_journal(installer: Installer) -> Argv {
    const EACH: &str = r#"for unit; do journalctl --no-pager -q -n 80 -o short-iso -u "$unit"; done"#;
    if installer.has_kubernetes() {
        return Argv::script(EACH, of(installer).iter().copied());
    }
    let units = of(installer).iter().flat_map(|unit| ["-u", unit]);
    Argv::new("journalctl").args(["--no-pager", "-q", "-n", "80", "-o", "short-iso"]).args(units)
}

impl Unit {
    /// Read the answer to [`ask`]: one paragraph a unit.
    pub fn parse(text: &str) -> Vec<Self> {
        let paragraphs = text.split("\n\n").filter(|part| !part.trim().is_empty());
        paragraphs
            .map(|part| {
                let value = |key: &str| {
                    let line = part.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
                    line.unwrap_or_default().to_owned()
                };
                Self {
                    name: value("Id").trim_end_matches(".service").into(),
                    loaded: value("LoadState") == "loaded",
                    active: value("ActiveState"),
                    sub: value("SubState"),
                    result: value("Result"),
                    since: value("StateChangeTimestamp"),
                    pid: value("MainPID").parse().ok().filter(|pid| *pid != 0),
                }
            })
            .collect()
    }

    /// Whether it does its work.
    pub fn works(&self) -> bool {
        self.active == "active"
    }
}

impl std::fmt::Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.service is {} ({})", self.name, self.active, self.sub)?;
        if self.since.is_empty() { Ok(()) } else { write!(f, " since {}", self.since) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_is_a_unit() {
        let text = "Result=success\nId=bird.service\nLoadState=loaded\nActiveState=inactive\nSubState=dead\n\
            MainPID=0\nStateChangeTimestamp=Sat 2026-11-21 17:33:57 UTC\n\nMainPID=7\nResult=success\nId=etcd.service\nLoadState=not-found\n\
            ActiveState=inactive\nSubState=dead\nStateChangeTimestamp=\n";
        let units = Unit::parse(text);
        assert_eq!(units.len(), 2);
        assert_eq!(units[0].to_string(), "bird.service is inactive (dead) since Sat 2026-11-21 17:33:57 UTC");
        assert_eq!((units[0].pid, units[1].pid), (None, Some(7)));
        assert!(units[0].loaded && !units[0].works() && !units[1].loaded);
    }
}
