//! One edit in one object: the walk along its path, through groups, lists and texts that are JSON.

use serde_json::{Map, Value};

use super::document::Document;
use super::{EditError, near};
use crate::lab::edit::{Change, Edit, Step, shown};

/// Make the change, or say which step of its path leads nowhere.
pub(super) fn change(document: &mut Document, edit: &Edit) -> Result<(), EditError> {
    walk(&mut document.value, edit, 0)
}

/// From `value`, where the steps before `at` led, to the end of the path.
fn walk(value: &mut Value, edit: &Edit, at: usize) -> Result<(), EditError> {
    let steps = edit.at.steps();
    // Every path ends in a key or an item, which the group or list before it takes as its last.
    let step = &steps[at];
    let last = at + 1 == steps.len();
    match step {
        Step::Json => inside_json(value, edit, at),
        Step::Key(key) => {
            // A key under which only comments stand holds nothing, and can take its first entry.
            if value.is_null() && last && matches!(edit.change, Change::Put(_)) {
                *value = Value::Object(Map::new());
            }
            let is = kind(value);
            let group = value.as_object_mut().ok_or_else(|| other_kind(edit, at, is, "a group of keys"))?;
            if last {
                return in_group(group, key, edit, at);
            }
            let there: Vec<String> = group.keys().cloned().collect();
            match group.get_mut(key) {
                Some(inner) => walk(inner, edit, at + 1),
                None => Err(no_place(edit, at, key, &there)),
            }
        }
        Step::Named(_) | Step::Item(_) => {
            let is = kind(value);
            let items = value.as_array_mut().ok_or_else(|| other_kind(edit, at, is, "a list"))?;
            let found = match step {
                Step::Named(name) => items.iter().position(|item| called(item) == Some(name)),
                Step::Item(number) => Some(*number).filter(|number| *number < items.len()),
                Step::Key(_) | Step::Json => None,
            };
            match (found, &edit.change) {
                (Some(found), _) if !last => walk(&mut items[found], edit, at + 1),
                (Some(found), Change::Set(new) | Change::Put(new)) => {
                    items[found] = new.clone();
                    Ok(())
                }
                (Some(found), Change::Remove) => {
                    items.remove(found);
                    Ok(())
                }
                (None, Change::Put(new)) if last => {
                    items.push(new.clone());
                    Ok(())
                }
                (None, _) => {
                    let names = items.iter().zip(0..);
                    let there: Vec<String> =
                        names.map(|(item, i)| called(item).map_or(format!("[{i}]"), str::to_owned)).collect();
                    let word = shown(std::slice::from_ref(step));
                    Err(no_place(edit, at, word.trim_matches(['[', ']']), &there))
                }
            }
        }
    }
}

fn in_group(group: &mut Map<String, Value>, key: &str, edit: &Edit, at: usize) -> Result<(), EditError> {
    match &edit.change {
        Change::Set(_) | Change::Remove if !group.contains_key(key) => {
            let there: Vec<String> = group.keys().cloned().collect();
            Err(no_place(edit, at, key, &there))
        }
        Change::Set(new) | Change::Put(new) => {
            group.insert(key.into(), new.clone());
            Ok(())
        }
        Change::Remove => {
            group.remove(key);
            Ok(())
        }
    }
}

/// The name by which an item of a list is known: containers, variables and volumes have names, network plugins types.
fn called(item: &Value) -> Option<&str> {
    ["name", "type"].iter().find_map(|key| item.get(key)).and_then(Value::as_str)
}

/// Write the JSON texts on an edit's way as they are written after it, so that a diff shows the edit alone. What is not
/// there is left for the edit to tell.
pub(super) fn align(document: &mut Document, edit: &Edit) {
    let steps = edit.at.steps();
    let Some(last) = steps.iter().rposition(|step| *step == Step::Json) else { return };
    let mut value = Some(&mut document.value);
    for step in &steps[..last] {
        value = match (value, step) {
            (Some(Value::Object(group)), Step::Key(key)) => group.get_mut(key),
            (Some(Value::Array(items)), Step::Named(name)) => items.iter_mut().find(|item| called(item) == Some(name)),
            (Some(Value::Array(items)), Step::Item(number)) => items.get_mut(*number),
            _ => None,
        };
    }
    if let Some(Value::String(text)) = value
        && let Ok(inner) = serde_json::from_str::<Value>(&quoted_placeholders(text))
    {
        *text = written(&inner);
    }
}

/// JSON as it stands in a text, with its placeholders.
fn written(json: &Value) -> String {
    let text = serde_json::to_string_pretty(json).expect("JSON's values are JSON");
    text.replace(&format!("\"{BARE}"), "").replace(&format!("{BARE}\""), "")
}

fn inside_json(value: &mut Value, edit: &Edit, at: usize) -> Result<(), EditError> {
    let is = kind(value);
    let Value::String(text) = value else { return Err(other_kind(edit, at, is, "a text that is JSON")) };
    let not_json = |source| EditError::NotJson { object: edit.object.clone(), step: reached(edit, at), source };
    let mut inner: Value = serde_json::from_str(&quoted_placeholders(text)).map_err(not_json)?;
    walk(&mut inner, edit, at + 1)?;
    *text = written(&inner);
    Ok(())
}

/// Marks a placeholder that stood without quotes, so that it gets none; no text of a manifest has this character.
const BARE: char = '\u{f8ff}';

/// Calico's own templates have placeholders where JSON wants a number (`"mtu": __CNI_MTU__`), which the installer in
/// the pod fills in.
fn quoted_placeholders(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_string = false;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let taken = match c {
            '\\' if in_string => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            '"' => {
                in_string = !in_string;
                1
            }
            '_' if !in_string && rest.starts_with("__") => {
                out.extend(['"', BARE]);
                out.push_str(&rest[..word]);
                out.extend([BARE, '"']);
                rest = &rest[word..];
                continue;
            }
            c => c.len_utf8(),
        };
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a switch",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a group of keys",
    }
}

/// The path as far as `at`, which is not taken any more.
fn reached(edit: &Edit, at: usize) -> String {
    match shown(&edit.at.steps()[..at]) {
        none if none.is_empty() => "the whole of it".into(),
        some => some,
    }
}

fn other_kind(edit: &Edit, at: usize, is: &str, wanted: &str) -> EditError {
    EditError::OtherKind {
        object: edit.object.clone(),
        at: edit.at.to_string(),
        step: reached(edit, at),
        what: format!("{is}, not {wanted}"),
    }
}

fn no_place(edit: &Edit, at: usize, word: &str, there: &[String]) -> EditError {
    EditError::NoPlace {
        object: edit.object.clone(),
        at: edit.at.to_string(),
        step: shown(&edit.at.steps()[..=at]),
        near: near(word, there),
    }
}
