//! `--set KEY.PATH=VALUE`: changes made to a lab's tree before it is read.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::problem::{Place, Problem};
use super::tree::{Key, Node, Value};

/// One change to a lab: a path of keys and the text of a value, whose type the lab's reader decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    path: Vec<String>,
    value: String,
    flag: String,
}

impl Setting {
    /// `--nodes COUNT`.
    pub fn nodes(count: usize) -> Self {
        Self { path: vec!["nodes".into(), "count".into()], value: count.to_string(), flag: "--nodes".into() }
    }

    /// The releases that settings say, by what they are of, sorted; later ones win.
    pub fn releases(settings: &[Self]) -> BTreeMap<&str, &str> {
        let said = settings.iter().filter(|setting| setting.says_release());
        said.map(|setting| (setting.path[0].as_str(), setting.value.as_str())).collect()
    }

    /// Whether it says which release of Kubernetes or Calico there is, and so which bytes.
    pub fn says_release(&self) -> bool {
        matches!(self.path.as_slice(), [of, version] if matches!(of.as_str(), "kubernetes" | "calico") && version == "version")
    }

    fn place(&self) -> Place {
        Place::Flag { flag: self.flag.clone() }
    }
}

/// A text that is no setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no setting: `KEY.PATH=VALUE` is, as in `bgp.mesh=off`")]
pub struct SettingError(String);

impl FromStr for Setting {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let (path, value) = text.split_once('=').ok_or_else(|| SettingError(text.into()))?;
        let mut keys: Vec<String> = path.split('.').map(str::to_owned).collect();
        // `--set kubernetes=1.20.8` is what people say for its version.
        if matches!(path, "kubernetes" | "calico") {
            keys.push("version".into());
        }
        if keys.iter().any(|key| key.trim().is_empty()) {
            return Err(SettingError(text.into()));
        }
        Ok(Self { path: keys, value: value.into(), flag: format!("--set {path}") })
    }
}

/// Apply the settings in their order; later ones win. A path that leads through something that is no group is a
/// problem; a key that no lab has is found by the lab's reader.
pub(in crate::lab) fn apply(tree: &mut Node, settings: &[Setting], problems: &mut Vec<Problem>) {
    for setting in settings {
        if let Err(problem) = set(tree, setting, &setting.path) {
            problems.push(problem);
        }
    }
    if settings.iter().any(|setting| setting.path == ["nodes", "names"]) {
        forget_counting(tree);
    }
}

fn set(node: &mut Node, setting: &Setting, path: &[String]) -> Result<(), Problem> {
    let place = setting.place();
    let Some((first, rest)) = path.split_first() else {
        *node = Node { at: place, value: Value::Given(setting.value.clone()) };
        return Ok(());
    };
    if node.value == Value::Null {
        node.value = Value::Map(Vec::new());
    }
    let Value::Map(entries) = &mut node.value else {
        let kind = node.value.kind();
        return Err(Problem::new(&place, format!("`{first}` lies inside {kind}, not a group of keys"))
            .remedy("change it in lab.yaml: `calicolab labs export DIR` writes it out"));
    };
    let found = entries.iter().position(|(key, _)| key.word == *first).unwrap_or_else(|| {
        let empty = Node { at: place.clone(), value: Value::Null };
        entries.push((Key { at: place, word: first.clone() }, empty));
        entries.len() - 1
    });
    set(&mut entries[found].1, setting, rest)
}

/// Names given on the command line replace a count in the file.
fn forget_counting(tree: &mut Node) {
    let Value::Map(top) = &mut tree.value else { return };
    let Some((_, Node { value: Value::Map(nodes), .. })) = top.iter_mut().find(|(key, _)| key.word == "nodes") else {
        return;
    };
    nodes.retain(|(key, node)| {
        !(matches!(key.word.as_str(), "count" | "prefix") && matches!(node.at, Place::File { .. }))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_a_path_and_a_text() {
        let setting: Setting = "bgp.reflectors=a=b".parse().expect("a setting");
        assert_eq!((setting.path, setting.value.as_str()), (vec!["bgp".into(), "reflectors".into()], "a=b"));
        for bad in ["", "bgp", "=x", "bgp.=x", ".mesh=x"] {
            assert!(bad.parse::<Setting>().is_err(), "{bad}");
        }
    }
}
