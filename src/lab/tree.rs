//! YAML as a tree in which every key and value knows its place, and a reader that gathers what is wrong in it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, MergeKeyPolicy, Spanned};

use super::problem::{Place, Problem};

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it begins.
    pub at: Place,
    /// What it is.
    pub value: Value,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing, `null`, `~`.
    Null,
    /// `true`, `false`. Other words for these are text until a reader wants a switch.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// Text from the command line: what it is depends on who reads it.
    Given(String),
    /// A list.
    List(Vec<Node>),
    /// Keys and values as written; a key may stand twice until [`Fields`] finds it.
    Map(Vec<(Key, Node)>),
}

/// A key and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Where it begins.
    pub at: Place,
    /// The word.
    pub word: String,
}

impl Value {
    /// What it is, for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a switch",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) | Self::Given(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a group of keys",
        }
    }
}

/// Read one YAML document. The first thing that is no YAML ends the reading, with its place in `file`.
pub fn parse(text: &str, file: &str) -> Result<Node, Problem> {
    let raw: Spanned<Raw> = serde_saphyr::from_str_with_options(text, options()).map_err(|e| no_yaml(&e, file))?;
    Ok(placed(raw, file))
}

/// The same for any number of documents, without those that hold nothing.
pub fn parse_all(text: &str, file: &str) -> Result<Vec<Node>, Problem> {
    let all: Vec<Spanned<Raw>> =
        serde_saphyr::from_multiple_with_options(text, options()).map_err(|e| no_yaml(&e, file))?;
    Ok(all.into_iter().map(|raw| placed(raw, file)).filter(|node| node.value != Value::Null).collect())
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

fn no_yaml(error: &serde_saphyr::Error, file: &str) -> Problem {
    let at = error.location().unwrap_or(Location::UNKNOWN);
    Problem::new(&place(at, file), format!("no YAML: {}", said(error)))
}

/// The parser's words without the place, which a [`Problem`] tells in its own way.
fn said(error: &serde_saphyr::Error) -> String {
    let all = error.to_string();
    let first = all.lines().next().unwrap_or_default();
    let mut words = first.strip_prefix("error: ").unwrap_or(first);
    if let Some((_, rest)) = words.strip_prefix("line ").and_then(|rest| rest.split_once(": ")) {
        words = rest;
    }
    words.split_once(" at line ").map_or(words, |(before, _)| before).into()
}

fn place(at: Location, file: &str) -> Place {
    // The parser does not know the place of what is not there: that is the beginning then.
    Place::File { file: file.into(), line: at.line().max(1), column: at.column().max(1) }
}

fn placed(raw: Spanned<Raw>, file: &str) -> Node {
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Bool(value) => Value::Bool(value),
        Raw::Int(value) => Value::Int(value),
        Raw::Float(value) => Value::Float(value),
        Raw::Text(value) => Value::Text(value),
        Raw::List(items) => Value::List(items.into_iter().map(|item| placed(item, file)).collect()),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| (Key { at: place(key.referenced, file), word: key.value }, placed(value, file)))
                .collect(),
        ),
    };
    Node { at: place(raw.referenced, file), value }
}

/// A value as the parser gives it.
enum Raw {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_unit<E>(self) -> Result<Raw, E> {
                Ok(Raw::Null)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
                Ok(Raw::Bool(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
                Ok(Raw::Int(value.into()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
                Ok(Raw::Int(value.into()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
                Ok(Raw::Float(value))
            }
            fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
                Ok(Raw::Text(value.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Raw::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
                let mut map = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    map.push(entry);
                }
                Ok(Raw::Map(map))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Every key of the tree that stands twice in its group.
pub fn repeated_keys(node: &Node) -> Vec<Problem> {
    match &node.value {
        Value::List(items) => items.iter().flat_map(repeated_keys).collect(),
        Value::Map(entries) => {
            let twice = entries.iter().enumerate().filter_map(|(i, (key, _))| {
                let earlier = entries[..i].iter().find(|(earlier, _)| earlier.word == key.word);
                earlier.map(|(earlier, _)| repeated(key, earlier))
            });
            twice.chain(entries.iter().flat_map(|(_, value)| repeated_keys(value))).collect()
        }
        _ => Vec::new(),
    }
}

fn repeated(key: &Key, earlier: &Key) -> Problem {
    Problem::new(&key.at, format!("key `{}` stands twice", key.word)).remedy(format!("the first is at {}", earlier.at))
}

/// The keys of one group, taken out one by one; what nobody asked for is unknown.
///
/// Everything read from it returns `None` after noting a problem, so that the reading goes on.
pub struct Fields<'p> {
    at: Place,
    path: String,
    left: Vec<(Key, Node)>,
    asked: Vec<&'static str>,
    problems: &'p mut Vec<Problem>,
}

impl<'p> Fields<'p> {
    /// The keys of a whole file. One that holds something else is told that alone.
    pub fn of_file(root: Node, problems: &'p mut Vec<Problem>) -> Result<Self, Problem> {
        match root.value {
            Value::Map(_) | Value::Null => Ok(Self::of(root, "", problems)),
            other => Err(Problem::new(&root.at, format!("{} where a group of keys is expected", other.kind()))),
        }
    }

    /// The keys of `node`, which `path` (empty for the whole file) names to people.
    ///
    /// Keys that stand twice and a node that is no group are problems; nothing at all is an empty group.
    pub fn of(node: Node, path: &str, problems: &'p mut Vec<Problem>) -> Self {
        let mut left: Vec<(Key, Node)> = Vec::new();
        match node.value {
            Value::Map(entries) => {
                for (key, value) in entries {
                    match left.iter().find(|(earlier, _)| earlier.word == key.word) {
                        Some((earlier, _)) => problems.push(repeated(&key, earlier)),
                        None => left.push((key, value)),
                    }
                }
            }
            Value::Null => {}
            Value::Given(_) => problems.push(
                Problem::new(&node.at, format!("`{path}` is a group of keys"))
                    .remedy(format!("set one of them, as in `--set {path}.KEY=VALUE`")),
            ),
            other => {
                let message = format!("{} where a group of keys is expected for `{path}`", other.kind());
                problems.push(Problem::new(&node.at, message));
            }
        }
        Self { at: node.at, path: path.into(), left, asked: Vec::new(), problems }
    }

    /// Where the group begins.
    pub fn at(&self) -> &Place {
        &self.at
    }

    /// `key` with the group's own path before it.
    pub fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.into() } else { format!("{}.{key}", self.path) }
    }

    /// The value of `key` if it is there and is not nothing.
    pub fn optional(&mut self, key: &'static str) -> Option<Node> {
        self.asked.push(key);
        let found = self.left.iter().position(|(there, _)| there.word == key)?;
        let (_, node) = self.left.remove(found);
        (node.value != Value::Null).then_some(node)
    }

    /// The value of `key`, which must be there; `example` is how it may look.
    pub fn required(&mut self, key: &'static str, example: &str) -> Option<Node> {
        let found = self.optional(key);
        if found.is_none() {
            let path = self.path(key);
            let problem = Problem::new(&self.at, format!("key `{path}` is missing"));
            self.problems.push(problem.remedy(format!("write for example `{key}: {example}`")));
        }
        found
    }

    /// Note a problem.
    pub fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Where problems are gathered, for a group inside this one.
    pub fn problems(&mut self) -> &mut Vec<Problem> {
        self.problems
    }

    /// Whatever is left was not asked for: note each as unknown. Returns the keys that are known here.
    pub fn end(self) -> Vec<&'static str> {
        let is_there = |key: &str| self.left.iter().any(|(there, _)| there.word == key);
        debug_assert!(!self.asked.iter().any(|key| is_there(key)), "a key asked for was left");
        for (key, _) in &self.left {
            let problem = Problem::new(&key.at, format!("unknown key `{}`", key.word)).choose(&key.word, &self.asked);
            self.problems.push(problem);
        }
        self.asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(node: &Node) -> (u64, u64) {
        match node.at {
            Place::File { line, column, .. } => (line, column),
            Place::Flag { .. } => (0, 0),
        }
    }

    #[test]
    fn keys_and_values_know_their_places() {
        let tree = parse("a: 1\nb:\n  - x\n  - {c: 'on', on: 2.5}\n", "f").expect("YAML");
        let Value::Map(top) = &tree.value else { panic!("{tree:?}") };
        assert_eq!((at(&top[0].1), &top[0].1.value), ((1, 4), &Value::Int(1)));
        let Value::List(items) = &top[1].1.value else { panic!("{tree:?}") };
        assert_eq!((at(&items[0]), &items[0].value), ((3, 5), &Value::Text("x".into())));
        let Value::Map(inner) = &items[1].value else { panic!("{tree:?}") };
        assert_eq!(inner[1].0.word, "on", "a key is a word, whatever old YAML thinks of it");
        assert_eq!(inner[0].1.value, Value::Text("on".into()));
        assert_eq!(inner[1].0.at, Place::File { file: "f".into(), line: 4, column: 15 });
    }

    #[test]
    fn what_is_no_yaml_has_a_place() {
        for text in ["a: [1, 2\n", "a: b: c\n", "a: *nowhere\n", "a: 1\n---\nb: 2\n", "a: !!binary x\n"] {
            let problem = parse(text, "f").expect_err(text).to_string();
            assert!(problem.starts_with("f:"), "{problem}");
            assert!(!problem.contains("line "), "the place stands once: {problem}");
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_told_with_the_first() {
        let mut problems = Vec::new();
        Fields::of(parse("a: 1\na: 2\n", "f").expect("YAML"), "", &mut problems).end();
        assert_eq!(problems[0].to_string(), "f:2:1: key `a` stands twice; the first is at f:1:1");
    }
}
