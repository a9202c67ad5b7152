//! Names that cannot be wrong, and one value for each node.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a word is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not a {what}: {reason}")]
pub struct NameError {
    word: String,
    what: &'static str,
    reason: String,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $longest:literal, $problem:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(word: &str) -> Result<Self, NameError> {
                match $problem(word, $longest) {
                    None => Ok(Self(word.into())),
                    Some(reason) => Err(NameError { word: word.into(), what: $what, reason }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(word: String) -> Result<Self, NameError> {
                word.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// A cluster's name: a host name label of at most 40 characters, since paths and labels carry it.
    ClusterName, "cluster name", 40, label_problem
);
name!(
    /// A node's name: the host name the machine itself bears.
    NodeName, "host name", 63, label_problem
);
name!(
    /// A point's name: that of its folder.
    PointName, "point's name", 40, label_problem
);
name!(
    /// A lab's name: the folder it lies in. Unlike others it may have dots in it, as versions do.
    LabName, "lab name", 40, lab_problem
);

impl LabName {
    /// The word for a cluster made from it by people who gave it no name: without the dots.
    pub fn cluster_word(lab: &str) -> String {
        lab.replace('.', "-")
    }
}

/// What keeps `word` from being a label of RFC 1123, if anything.
fn label_problem(word: &str, longest: usize) -> Option<String> {
    if word.is_empty() {
        return Some("it is empty".into());
    }
    if word.len() > longest {
        return Some(format!("it has {} characters, at most {longest} are allowed", word.len()));
    }
    if let Some(c) = word.chars().find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-')) {
        return Some(format!("`{c}` is not allowed; use a-z, 0-9 and `-`"));
    }
    if word.starts_with('-') || word.ends_with('-') {
        return Some("it begins or ends with `-`".into());
    }
    None
}

/// What keeps `word` from being labels with dots between them, if anything.
fn lab_problem(word: &str, longest: usize) -> Option<String> {
    let whole = label_problem(&word.replace('.', "-"), longest);
    let part = || word.split('.').find_map(|label| label_problem(label, longest));
    whole.or_else(part)
}

/// One value for each node, in the plan's order.
///
/// Only a plan's list of nodes makes one from nothing; every other comes from [`map`](Self::map) or
/// [`try_map`](Self::try_map), so no node can be forgotten on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerNode<T>(Vec<(NodeName, T)>);

impl<T> PerNode<T> {
    /// The first one of a plan. Names are distinct: the lab file's reader has seen to that.
    pub(in crate::lab) fn first(values: Vec<(NodeName, T)>) -> Self {
        Self(values)
    }

    /// The same nodes with other values.
    pub fn map<U>(&self, mut f: impl FnMut(&NodeName, &T) -> U) -> PerNode<U> {
        PerNode(self.0.iter().map(|(node, value)| (node.clone(), f(node, value))).collect())
    }

    /// The same nodes with other values, or the first failure.
    pub fn try_map<U, E>(&self, mut f: impl FnMut(&NodeName, &T) -> Result<U, E>) -> Result<PerNode<U>, E> {
        self.0.iter().map(|(node, value)| Ok((node.clone(), f(node, value)?))).collect::<Result<_, E>>().map(PerNode)
    }

    /// The same nodes with what `f` comes to for each, all at the same time; the first failure ends the others.
    pub async fn try_join<'a, U, E, F>(&'a self, mut f: impl FnMut(&'a NodeName, &'a T) -> F) -> Result<PerNode<U>, E>
    where
        F: Future<Output = Result<U, E>>,
    {
        let all = self.0.iter().map(|(node, value)| {
            let one = f(node, value);
            async move { one.await.map(|made| (node.clone(), made)) }
        });
        futures::future::try_join_all(all).await.map(PerNode)
    }

    /// The value of `node`, if the plan has it.
    pub fn get(&self, node: &NodeName) -> Option<&T> {
        self.0.iter().find(|(name, _)| name == node).map(|(_, value)| value)
    }

    /// Nodes and values in the plan's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&NodeName, &T)> {
        self.0.iter().map(|(node, value)| (node, value))
    }

    /// The names in the plan's order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &NodeName> {
        self.0.iter().map(|(node, _)| node)
    }

    /// The values in the plan's order.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &T> {
        self.0.iter().map(|(_, value)| value)
    }

    /// How many nodes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none; a plan's are never empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> std::ops::Index<&NodeName> for PerNode<T> {
    type Output = T;

    fn index(&self, node: &NodeName) -> &T {
        self.get(node).expect("a node of another plan")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_say_what_is_wrong() {
        for (word, part) in [("", "empty"), ("Calico-01", "`C`"), ("a_b", "`_`"), ("-a", "begins"), ("a b", "` `")] {
            let error = word.parse::<NodeName>().expect_err(word).to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!("calico-01".parse::<NodeName>().is_ok());
        assert!("x".repeat(41).parse::<ClusterName>().is_err());
    }

    #[test]
    fn a_lab_may_bear_a_version() {
        assert!("calico-3.32".parse::<LabName>().is_ok());
        assert!("calico-3.32".parse::<ClusterName>().is_err());
        assert!(LabName::cluster_word("calico-3.32").parse::<ClusterName>().is_ok());
        for word in ["", ".", "..", "a..b", "a.", ".a", "a.-b", "a/b", &"x".repeat(41)] {
            assert!(word.parse::<LabName>().is_err(), "{word}");
        }
    }
}
