//! Which releases of Calico, Kubernetes, kubeadm's configuration and systems go together, and why others do not.

use super::kernel::Cgroups;
use super::kubernetes::Release;

/// A series of Calico and the series of Kubernetes it goes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Era {
    /// The series of Calico.
    pub calico: (u16, u16),
    /// The first and the last series of Kubernetes 1 that take its manifests, where there is a last.
    pub takes: (u16, Option<u16>),
    /// The first and the last series that its project says it was tested with.
    pub tested: (u16, u16),
    /// Why an older Kubernetes does not take it.
    pub older: &'static str,
    /// Why a newer one does not.
    pub newer: &'static str,
}

/// The series of Calico whose manifests are known here.
pub const ERAS: [Era; 6] = [
    Era {
        calico: (2, 4),
        takes: (6, Some(15)),
        tested: (7, 7),
        older: "its roles are of rbac.authorization.k8s.io/v1beta1, which 1.6 brought",
        newer: "its DaemonSet is of extensions/v1beta1, which went with 1.16",
    },
    Era {
        calico: (3, 0),
        takes: (7, Some(15)),
        tested: (8, 8),
        older: "it asks for policies of networking.k8s.io/v1, which 1.7 brought",
        newer: "its DaemonSet is of extensions/v1beta1, which went with 1.16",
    },
    Era {
        calico: (3, 14),
        takes: (9, Some(21)),
        tested: (16, 18),
        older: "its DaemonSet is of apps/v1, which 1.9 brought",
        newer: "its resources are defined by apiextensions.k8s.io/v1beta1, which went with 1.22",
    },
    Era {
        calico: (3, 21),
        takes: (16, Some(24)),
        tested: (20, 22),
        older: "its resources are defined by apiextensions.k8s.io/v1, which 1.16 brought",
        newer: "its disruption budget is of policy/v1beta1, which went with 1.25",
    },
    Era {
        calico: (3, 31),
        takes: (21, None),
        tested: (32, 35),
        older: "its disruption budget is of policy/v1, which 1.21 brought",
        newer: "",
    },
    Era {
        calico: (3, 32),
        takes: (21, None),
        tested: (34, 36),
        older: "its disruption budget is of policy/v1, which 1.21 brought",
        newer: "",
    },
];

/// The era of a Calico, if its manifests are known here.
pub fn of(calico: Release) -> Option<&'static Era> {
    ERAS.iter().find(|era| era.calico == calico.series())
}

/// Why two releases do not go together; nothing where they do.
pub fn refusal(kubernetes: Release, calico: Release) -> Option<String> {
    let Some(era) = of(calico) else {
        let known: Vec<String> =
            ERAS.iter().map(|Era { calico: (major, minor), .. }| format!("{major}.{minor}")).collect();
        return Some(format!(
            "Calico {}.{} is of no series whose manifests are known here: those are {}",
            calico.major,
            calico.minor,
            known.join(", ")
        ));
    };
    let why = match (kubernetes.series(), era.takes) {
        (series, (first, _)) if series < (1, first) => era.older,
        (series, (_, Some(last))) if series > (1, last) => era.newer,
        _ => return None,
    };
    Some(format!("Calico {calico} does not go with Kubernetes {kubernetes}: {why}"))
}

/// How the kubeadm of some series of Kubernetes 1 is told what to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kubeadm {
    /// The first and the last of them.
    pub series: (u16, u16),
    /// The version of the configuration that it reads.
    pub api: &'static str,
}

/// The versions in which `cloud-config/kubeadm` can say it.
///
/// Source: `cmd/kubeadm/app/apis/kubeadm/VERSION/doc.go` of kubernetes/kubernetes. 1.15 brought `v1beta2`, which 1.22
/// began to replace; 1.31 brought `v1beta4`, in which arguments are lists and all waits lie in `timeouts`.
pub const KUBEADM: [Kubeadm; 2] =
    [Kubeadm { series: (15, 21), api: "v1beta2" }, Kubeadm { series: (31, 36), api: "v1beta4" }];

/// That of a release, if it is known here.
pub fn kubeadm(kubernetes: Release) -> Option<&'static Kubeadm> {
    let (major, minor) = kubernetes.series();
    KUBEADM.iter().find(|own| major == 1 && (own.series.0..=own.series.1).contains(&minor))
}

/// Why kubelets of a release do not run on a system with these control groups, if they do not.
///
/// Source: kubernetes/enhancements, `sig-node/2254-cgroup-v2` and `sig-node/5573-remove-cgroup-v1`.
pub fn unfit(kubernetes: Release, cgroups: Cgroups) -> Option<String> {
    let why = match cgroups {
        Cgroups::V2 if !kubernetes.since(1, 19) => "has cgroup v2 alone, which kubelets know since 1.19",
        Cgroups::V1 if kubernetes.since(1, 35) => "has cgroup v1, with which kubelets since 1.35 do not start",
        Cgroups::V1 | Cgroups::V2 => return None,
    };
    Some(format!("{why}: the lab has {kubernetes}"))
}

impl Era {
    /// What it goes with, for people: `1.16 to 1.24 (tested 1.20 to 1.22)`.
    pub fn range(&self) -> String {
        let (first, last) = self.takes;
        let takes = last.map_or_else(|| format!("1.{first} and later"), |last| format!("1.{first} to 1.{last}"));
        let tested = match self.tested {
            (first, last) if first == last => format!("1.{first}"),
            (first, last) => format!("1.{first} to 1.{last}"),
        };
        format!("{takes} (tested {tested})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kubernetes: &str, calico: &str) -> Option<String> {
        refusal(kubernetes.parse().expect("a release"), calico.parse().expect("a release"))
    }

    #[test]
    fn each_kubeadm_has_the_configuration_of_its_age() {
        let api = |version: &str| kubeadm(version.parse().expect("a release")).map(|own| own.api);
        assert_eq!(["1.14.10", "1.22.0", "1.30.14", "1.37.0", "2.17.0"].map(api), [None; 5]);
        assert_eq!(["1.15.0", "1.17.3", "1.21.14"].map(api), [Some("v1beta2"); 3]);
        assert_eq!(["1.31.0", "1.36.3"].map(api), [Some("v1beta4"); 2]);
    }

    #[test]
    fn a_kubelet_wants_the_control_groups_of_its_age() {
        let told = |version: &str, cgroups| unfit(version.parse().expect("a release"), cgroups);
        assert_eq!((told("1.17.3", Cgroups::V1), told("1.34.0", Cgroups::V1)), (None, None));
        assert_eq!((told("1.19.0", Cgroups::V2), told("1.36.3", Cgroups::V2)), (None, None));
        assert!(told("1.17.3", Cgroups::V2).is_some_and(|why| why.contains("since 1.19: the lab has 1.17.3")));
        assert!(told("1.36.3", Cgroups::V1).is_some_and(|why| why.contains("since 1.35 do not start")));
    }

    #[test]
    fn what_goes_together_is_not_refused() {
        for (kubernetes, calico) in
            [("1.7.16", "2.4.1"), ("1.9.11", "3.0.3"), ("1.17.3", "3.14.1"), ("1.20.8", "3.21.2"), ("1.37.0", "3.32.1")]
        {
            assert_eq!(told(kubernetes, calico), None, "{kubernetes} {calico}");
        }
    }

    #[test]
    fn what_does_not_is_refused_with_the_reason() {
        let told: Vec<String> = [
            ("1.5.8", "2.4.1"),
            ("1.16.0", "3.0.3"),
            ("1.22.0", "3.14.1"),
            ("1.25.0", "3.21.2"),
            ("1.20.8", "3.32.1"),
            ("1.30.0", "3.27.0"),
        ]
        .into_iter()
        .map(|(kubernetes, calico)| told(kubernetes, calico).expect("refused"))
        .collect();
        insta::assert_snapshot!(told.join("\n"));
    }
}
