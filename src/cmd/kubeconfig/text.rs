//! A kubeconfig's text with a cluster's entries in it, and without them; nothing else in it is changed.

use serde_json::{Map, Value};

use crate::node::kubeconfig::{Entries, LISTS, is_ours};

const CURRENT: &str = "current-context";

/// Whose entries are meant: the cluster, and the folder that remembers it.
#[derive(Clone, Copy, Debug)]
pub struct Whose<'a> {
    /// The cluster.
    pub cluster: &'a str,
    /// The home of calicolab in which it is.
    pub home: &'a str,
}

/// Why a kubeconfig is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// No YAML.
    #[error("it is no YAML")]
    NotYaml {
        /// Where and why.
        source: Box<serde_saphyr::Error>,
    },
    /// YAML that is no kubeconfig.
    #[error("it is no kubeconfig: {what}")]
    Shape {
        /// What it has instead.
        what: String,
    },
    /// Somebody else's entry has the name.
    #[error("`{name}` in its `{list}` is an entry that was not made for this cluster")]
    Foreign {
        /// The name.
        name: String,
        /// In which list.
        list: &'static str,
    },
}

/// A text with the cluster's entries in it, and the context that was the current one before.
#[derive(Debug, PartialEq, Eq)]
pub struct Merged {
    /// The whole text.
    pub text: String,
    /// The context that is not the current one any more; none if that was not changed.
    pub replaced: Option<String>,
}

/// `text` with `entries` in place of what it had of this cluster; `current` makes theirs the current context.
pub fn merged(text: &str, whose: Whose<'_>, entries: &Entries, current: bool) -> Result<Merged, TextError> {
    let mut top = read(text)?;
    for (list, value) in LISTS.into_iter().zip(&entries.values) {
        let items = items(&mut top, list)?;
        items.retain(|item| !is_ours(item, whose.cluster, whose.home));
        if items.iter().any(|item| item["name"] == entries.name.as_str()) {
            return Err(TextError::Foreign { name: entries.name.clone(), list });
        }
        items.push(value.clone());
    }
    top.entry("apiVersion").or_insert_with(|| "v1".into());
    top.entry("kind").or_insert_with(|| "Config".into());
    let before = current_of(&top).to_owned();
    let replaced = (current && before != entries.name).then_some(before);
    if current {
        top.insert(CURRENT.into(), entries.name.as_str().into());
    }
    Ok(Merged { text: written(&top), replaced })
}

/// `text` without the cluster's entries; none if it has none. Where theirs was the current context, `before` is again,
/// if it is still there.
pub fn unmerged(text: &str, whose: Whose<'_>, before: Option<&str>) -> Result<Option<String>, TextError> {
    let mut top = read(text)?;
    let mut gone = Vec::new();
    for list in LISTS {
        let items = items(&mut top, list)?;
        let ours = |item: &Value| is_ours(item, whose.cluster, whose.home);
        gone.extend(items.iter().filter(|item| ours(item)).map(|item| item["name"].clone()));
        items.retain(|item| !ours(item));
    }
    if gone.is_empty() {
        return Ok(None);
    }
    if gone.contains(&Value::from(current_of(&top))) {
        let there = |name: &&str| items_of(&top, "contexts").iter().any(|item| item["name"] == *name);
        let before = before.filter(there).unwrap_or_default().to_owned();
        top.insert(CURRENT.into(), before.into());
    }
    Ok(Some(written(&top)))
}

fn read(text: &str) -> Result<Map<String, Value>, TextError> {
    // As kubectl reads: only these two words are switches.
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    let value: Value = serde_saphyr::from_str_with_options(text, options)
        .map_err(|source| TextError::NotYaml { source: Box::new(source) })?;
    match value {
        Value::Object(top) => Ok(top),
        Value::Null => Ok(Map::new()),
        _ => Err(TextError::Shape { what: "its text is no group of keys".into() }),
    }
}

fn current_of(top: &Map<String, Value>) -> &str {
    top.get(CURRENT).and_then(Value::as_str).unwrap_or_default()
}

fn items_of<'t>(top: &'t Map<String, Value>, list: &str) -> &'t [Value] {
    top.get(list).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn items<'t>(top: &'t mut Map<String, Value>, list: &'static str) -> Result<&'t mut Vec<Value>, TextError> {
    let value = top.entry(list).or_insert(Value::Null);
    // kubectl writes an empty list as nothing.
    if value.is_null() {
        *value = Value::Array(Vec::new());
    }
    value.as_array_mut().ok_or_else(|| TextError::Shape { what: format!("its `{list}` is no list") })
}

/// Keys sorted, as kubectl writes them.
pub(super) fn written(top: &Map<String, Value>) -> String {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false, compact_list_indent: true };
    serde_saphyr::to_string_with_options(top, options).expect("JSON's values are YAML")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::kubeconfig::tests::entries;

    const DEMO: Whose<'_> = Whose { cluster: "demo", home: "/home/me/calicolab" };
    const MINE: &str = "apiVersion: v1\nkind: Config\ncurrent-context: work\ncontexts:\n- name: work\n  context: {cluster: work, user: me}\n\
                        clusters:\n- name: work\n  cluster: {server: 'https://work.example:6443', insecure-skip-tls-verify: true}\n\
                        users:\n- name: me\n  user: {token: 'on', exec: {apiVersion: x, args: ['0123', '1e3', yes, '~']}}\nmine: {of: my own}\n";

    fn tree(text: &str) -> Map<String, Value> {
        read(text).expect("YAML")
    }

    #[test]
    fn entries_come_and_go_and_nothing_else_changes() {
        let with = merged(MINE, DEMO, &entries("demo"), false).expect("a kubeconfig");
        assert_eq!(with.replaced, None);
        assert!(
            with.text.contains("current-context: work") && with.text.contains("name: calicolab-demo"),
            "{}",
            with.text
        );
        // What another reader would take for a switch or a number stays a text.
        for text in ["\"on\"", "\"0123\"", "\"1e3\"", "\"yes\"", "\"~\""] {
            assert!(with.text.contains(text) || with.text.contains(&text.replace('"', "'")), "{text}: {}", with.text);
        }
        // Once more is the same, and a second cluster stands beside the first.
        assert_eq!(merged(&with.text, DEMO, &entries("demo"), false).expect("again").text, with.text);
        let two = merged(&with.text, Whose { cluster: "two", ..DEMO }, &entries("two"), true).expect("beside");
        assert_eq!(two.replaced.as_deref(), Some("work"));
        let one = unmerged(&two.text, DEMO, None).expect("a kubeconfig").expect("it was there");
        assert!(one.contains("calicolab-two") && !one.contains("calicolab-demo"), "{one}");
        let none =
            unmerged(&one, Whose { cluster: "two", ..DEMO }, Some("work")).expect("a kubeconfig").expect("there");
        assert_eq!(tree(&none), tree(MINE));
        assert_eq!(unmerged(&none, DEMO, None).expect("a kubeconfig"), None);
    }

    #[test]
    fn the_current_context_is_given_back_only_if_it_is_still_there() {
        let with = merged(MINE, DEMO, &entries("demo"), true).expect("a kubeconfig");
        let mut gone = tree(&with.text);
        gone["contexts"].as_array_mut().expect("a list").retain(|item| item["name"] != "work");
        let text = unmerged(&written(&gone), DEMO, with.replaced.as_deref()).expect("a kubeconfig").expect("there");
        assert_eq!(tree(&text)[CURRENT], "");
    }

    #[test]
    fn a_file_that_was_empty_is_a_kubeconfig_afterwards() {
        for text in ["", "\n", "clusters: null\n"] {
            let with = merged(text, DEMO, &entries("demo"), false).expect("nothing is in the way");
            assert!(with.text.contains("apiVersion: v1") && with.text.contains("kind: Config"), "{}", with.text);
        }
    }

    #[test]
    fn what_is_not_ours_or_no_kubeconfig_is_left() {
        let foreign = "contexts:\n- {name: calicolab-demo, context: {}}\n";
        let told = |text: &str| merged(text, DEMO, &entries("demo"), false).expect_err(text).to_string();
        assert!(told(foreign).contains("`calicolab-demo` in its `contexts` is an entry that was not made"));
        let other = merged(
            "",
            Whose { home: "/else", ..DEMO },
            &Entries { values: entries("demo").values, ..entries("demo") },
            false,
        );
        assert!(other.is_ok());
        assert!(told("- a\n").contains("no group of keys") && told("users: 7\n").contains("`users` is no list"));
        assert!(told("a: [\n").contains("no YAML"));
    }
}
