//! What a lab is accepted by beyond what its plan says anyway: the objects of its manifests, and the pods that run then.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::artifact::On;
use super::edit::Object;
use super::name::{NodeName, PerNode};

/// What has to be there, no less and no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accept {
    /// The objects of the upstream's manifests; where there are none they are not counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<Object>,
    /// The pods of the namespaces that are named here; where there are none they are not counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<Crew>,
}

/// Pods of one maker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crew {
    /// Of whom they have their names.
    pub name: CrewName,
    /// How many there are to be.
    #[serde(flatten)]
    pub wanted: Muster,
}

/// How many pods of one maker there are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Muster {
    /// One on each of these nodes, and none elsewhere.
    On(On),
    /// So many, wherever they are.
    Count(u16),
}

/// A namespace and what the names of pods in it begin with, written `kube-system/calico-node`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CrewName {
    /// The namespace.
    pub namespace: String,
    /// What the names begin with, before a `-`.
    pub prefix: String,
}

/// A text that names no pods.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no pods: a namespace and what their names begin with do, as in `kube-system/calico-node`")]
pub struct CrewNameError(String);

impl CrewName {
    /// Whether the pod `NAMESPACE/NAME` may have its name of it: what makes pods adds something of its own after a `-`.
    pub fn fits(&self, pod: &str) -> bool {
        let rest = pod.split_once('/').filter(|(namespace, _)| *namespace == self.namespace);
        rest.and_then(|(_, name)| name.strip_prefix(&self.prefix)).is_some_and(|rest| rest.starts_with('-'))
    }
}

impl fmt::Display for CrewName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.prefix)
    }
}

impl FromStr for CrewName {
    type Err = CrewNameError;

    fn from_str(text: &str) -> Result<Self, CrewNameError> {
        let label = |word: &str| {
            !word.is_empty()
                && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
                && !word.starts_with('-')
                && !word.ends_with('-')
        };
        match text.split_once('/') {
            Some((namespace, prefix)) if label(namespace) && label(prefix) => {
                Ok(Self { namespace: namespace.into(), prefix: prefix.into() })
            }
            _ => Err(CrewNameError(text.into())),
        }
    }
}

impl TryFrom<String> for CrewName {
    type Error = CrewNameError;

    fn try_from(text: String) -> Result<Self, CrewNameError> {
        text.parse()
    }
}

impl From<CrewName> for String {
    fn from(name: CrewName) -> Self {
        name.to_string()
    }
}

impl Muster {
    /// The nodes that are to have one each; none where only their number counts.
    pub fn nodes<'n, T>(self, nodes: &'n PerNode<T>, master: &'n NodeName) -> Option<Vec<&'n NodeName>> {
        match self {
            Self::On(On::All) => Some(nodes.names().collect()),
            Self::On(On::Master) => Some(vec![master]),
            Self::Count(_) => None,
        }
    }

    /// How many that are, of so many nodes.
    pub fn of(self, nodes: usize) -> usize {
        match self {
            Self::On(On::All) => nodes,
            Self::On(On::Master) => 1,
            Self::Count(count) => count.into(),
        }
    }
}

impl Accept {
    /// How many pods there are to be on so many nodes.
    pub fn pods_of(&self, nodes: usize) -> usize {
        self.pods.iter().map(|crew| crew.wanted.of(nodes)).sum()
    }

    /// Which objects are not among those that are there, and which of those nobody accepts. Neither where no objects are
    /// named.
    pub fn differs<'o>(&'o self, there: &[&'o Object]) -> (Vec<&'o Object>, Vec<&'o Object>) {
        if self.objects.is_empty() {
            return (Vec::new(), Vec::new());
        }
        let missing = self.objects.iter().filter(|object| !there.contains(object)).collect();
        let surplus = there.iter().copied().filter(|object| !self.objects.contains(object)).collect();
        (missing, surplus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::example::carried;

    #[test]
    fn the_lab_of_2020_is_24_objects_and_15_pods_on_its_four_nodes() {
        let plan = carried("calico-3.14-kubeadm", &[]);
        let accept = plan.accept.expect("it says what it is accepted by");
        assert_eq!((plan.nodes.len(), accept.objects.len(), accept.pods_of(plan.nodes.len())), (4, 24, 15));
        let kinds = accept.objects.iter().filter(|object| object.kind == "CustomResourceDefinition").count();
        assert_eq!(kinds, 15);
        // Two of these are on every node.
        for (nodes, pods) in [(2, 11), (3, 13), (6, 19)] {
            let plan = carried("calico-3.14-kubeadm", &[&format!("nodes.count={nodes}")]);
            assert_eq!(plan.accept.expect("said").pods_of(plan.nodes.len()), pods, "{nodes} nodes");
        }
    }

    #[test]
    fn a_pod_has_its_makers_name_and_something_of_its_own() {
        let name: CrewName = "kube-system/calico-node".parse().expect("a name");
        assert_eq!(name.to_string(), "kube-system/calico-node");
        assert!(name.fits("kube-system/calico-node-x7z2k"));
        for other in ["kube-system/calico-nodes-x7z2k", "kube-system/calico-node", "default/calico-node-x7z2k", ""] {
            assert!(!name.fits(other), "{other}");
        }
        for text in ["", "calico-node", "/calico-node", "kube-system/", "kube-system/calico-", "Kube/x", "a/b/c"] {
            assert!(text.parse::<CrewName>().is_err(), "{text}");
        }
    }

    #[test]
    fn objects_are_compared_both_ways_where_any_are_named() {
        let object = |text: &str| text.parse::<Object>().expect(text);
        let (one, two, three) = (object("ConfigMap/a"), object("DaemonSet/b"), object("Deployment/c"));
        let accept = Accept { objects: vec![one.clone(), two.clone()], pods: Vec::new() };
        assert_eq!(accept.differs(&[&one, &two]), (vec![], vec![]));
        assert_eq!(accept.differs(&[&one, &three]), (vec![&two], vec![&three]));
        assert_eq!(Accept { objects: Vec::new(), ..accept.clone() }.differs(&[&three]), (vec![], vec![]));
    }
}
