//! What is changed in an upstream's manifests, as data: which object, where in it, and what is there afterwards.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One change to one object.
///
/// Those that carry a secret are made by an installer alone, and are never shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// The object.
    #[serde(rename = "in")]
    pub object: Object,
    /// Where in it.
    pub at: Path,
    /// What is done there.
    #[serde(flatten)]
    pub change: Change,
}

impl Edit {
    /// A value in the place of another.
    pub fn set(object: &str, at: &str, value: impl Into<Value>) -> Self {
        Self::new(object, at, Change::Set(value.into()))
    }

    /// A value in a place that may be new.
    pub fn put(object: &str, at: &str, value: impl Into<Value>) -> Self {
        Self::new(object, at, Change::Put(value.into()))
    }

    fn new(object: &str, at: &str, change: Change) -> Self {
        Self {
            object: object.parse().expect("an object written in this crate"),
            at: at.parse().expect("a path written in this crate"),
            change,
        }
    }
}

/// What is done at a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// This instead of what is there; that nothing is there is an error.
    Set(Value),
    /// This, whether or not something is there; what it lies in must be there.
    Put(Value),
    /// Nothing any more; that nothing is there already is an error.
    Remove,
}

/// An object by its kind and name, written `DaemonSet/calico-node`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Object {
    /// As `DaemonSet`.
    pub kind: String,
    /// Its `metadata.name`.
    pub name: String,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

impl FromStr for Object {
    type Err = EditTextError;

    fn from_str(text: &str) -> Result<Self, EditTextError> {
        let wrong = || EditTextError::Object(text.into());
        let (kind, name) = text.split_once('/').ok_or_else(wrong)?;
        let kind_like = kind.starts_with(|c: char| c.is_ascii_uppercase()) && kind.chars().all(char::is_alphanumeric);
        let name_like = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || ".-:".contains(c));
        if !kind_like || !name_like {
            return Err(wrong());
        }
        Ok(Self { kind: kind.into(), name: name.into() })
    }
}

/// Where in an object: `spec.template.spec.containers[calico-node].env[IP].value`.
///
/// `.key` leads into a group of keys (quoted where it has other than letters, digits, `_`, `-` and `/` in it),
/// `[name]` to the item of a list that is called so (by its `name`, or else its `type`), `[0]` to one by its place,
/// and `.(json)` into a text that is JSON. It begins with a key, and ends with a key or an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Path(Vec<Step>);

/// One step of a [`Path`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into a group of keys.
    Key(String),
    /// To the item of a list that is called so.
    Named(String),
    /// To an item of a list by its place, from 0.
    Item(usize),
    /// Into a text that is JSON.
    Json,
}

impl Path {
    /// Its steps, at least one.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0))
    }
}

/// Steps as people write them.
pub fn shown(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        let (before, word, after) = match step {
            Step::Key(key) if key.chars().all(plain) => (".", key.clone(), ""),
            Step::Key(key) => (".\"", key.clone(), "\""),
            Step::Named(name) => ("[", name.clone(), "]"),
            Step::Item(at) => ("[", at.to_string(), "]"),
            Step::Json => (".", "(json)".into(), ""),
        };
        text.extend([before, &word, after]);
    }
    text.strip_prefix('.').map_or_else(|| text.clone(), str::to_owned)
}

fn plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-/".contains(c)
}

impl FromStr for Path {
    type Err = EditTextError;

    fn from_str(text: &str) -> Result<Self, EditTextError> {
        let wrong = || EditTextError::Path(text.into());
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (step, after) = if let Some(inside) = rest.strip_prefix('[') {
                let (name, after) = inside.split_once(']').ok_or_else(wrong)?;
                (name.parse().map_or_else(|_| Step::Named(name.into()), Step::Item), after)
            } else {
                let key = if steps.is_empty() { rest } else { rest.strip_prefix('.').ok_or_else(wrong)? };
                if let Some(after) = key.strip_prefix("(json)") {
                    (Step::Json, after)
                } else if let Some(quoted) = key.strip_prefix('"') {
                    let (key, after) = quoted.split_once('"').ok_or_else(wrong)?;
                    (Step::Key(key.into()), after)
                } else {
                    let end = key.find(|c| !plain(c)).unwrap_or(key.len());
                    (Step::Key(key[..end].into()), &key[end..])
                }
            };
            if matches!(&step, Step::Key(word) | Step::Named(word) if word.is_empty()) {
                return Err(wrong());
            }
            steps.push(step);
            rest = after;
        }
        let ends_in_json = matches!(steps.last(), Some(Step::Json));
        if matches!(steps.first(), Some(Step::Key(_))) && !ends_in_json { Ok(Self(steps)) } else { Err(wrong()) }
    }
}

/// A text that names no object, or no place in one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditTextError {
    /// No object.
    #[error("`{0}` names no object: its kind and its name do, as in `DaemonSet/calico-node`")]
    Object(String),
    /// No place.
    #[error("`{0}` is no path into an object: one is `spec.template.spec.containers[calico-node].image`")]
    Path(String),
}

impl TryFrom<String> for Object {
    type Error = EditTextError;

    fn try_from(text: String) -> Result<Self, EditTextError> {
        text.parse()
    }
}

impl From<Object> for String {
    fn from(object: Object) -> Self {
        object.to_string()
    }
}

impl TryFrom<String> for Path {
    type Error = EditTextError;

    fn try_from(text: String) -> Result<Self, EditTextError> {
        text.parse()
    }
}

impl From<Path> for String {
    fn from(path: Path) -> Self {
        path.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_as_it_is_shown() {
        for text in [
            "data",
            "data.etcd_endpoints",
            "spec.template.spec.containers[calico-node].env[IP].value",
            "spec.calicoNetwork.ipPools[0].cidr",
            "data.cni_network_config.(json).plugins[calico].mtu",
            "metadata.annotations.\"scheduler.alpha.kubernetes.io/critical-pod\"",
        ] {
            assert_eq!(text.parse::<Path>().expect(text).to_string(), text);
        }
        let path: Path = "a[0].(json)[b].c".parse().expect("a path");
        let steps = [Step::Key("a".into()), Step::Item(0), Step::Json, Step::Named("b".into()), Step::Key("c".into())];
        assert_eq!(path.steps(), steps);
    }

    #[test]
    fn what_leads_nowhere_is_no_path() {
        for text in ["", ".a", "a.", "a..b", "a[", "a[]", "[a]", "(json)", "a b", "a.\"b", "a[b]c", "a.(json)"] {
            assert!(text.parse::<Path>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_object_has_a_kind_and_a_name() {
        let object: Object = "CustomResourceDefinition/ippools.crd.projectcalico.org".parse().expect("an object");
        assert_eq!(
            (object.kind.as_str(), object.name.as_str()),
            ("CustomResourceDefinition", "ippools.crd.projectcalico.org")
        );
        for text in ["calico-node", "/x", "DaemonSet/", "daemonset/x", "DaemonSet/a b"] {
            assert!(text.parse::<Object>().is_err(), "{text}");
        }
    }
}
