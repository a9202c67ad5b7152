//! Single values out of a tree: each parser takes a node and its path, and says what it wanted instead.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::Ipv4Net;

use super::problem::{Place, Problem};
use super::tree::{Fields, Node, Value};

/// A value that was written, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::lab) struct Found<T> {
    pub value: T,
    pub at: Place,
}

impl Fields<'_> {
    /// What `parse` makes of `key`'s value; `None` if it is not there or not right, the latter noted as a problem.
    pub(in crate::lab) fn get<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Node, &str) -> Result<T, Problem>,
    ) -> Option<Found<T>> {
        let node = self.optional(key)?;
        self.parsed(&node, key, parse)
    }

    /// The same for a key that must be there; `example` is how it may look.
    pub(in crate::lab) fn need<T>(
        &mut self,
        key: &'static str,
        example: &str,
        parse: impl FnOnce(&Node, &str) -> Result<T, Problem>,
    ) -> Option<Found<T>> {
        let node = self.required(key, example)?;
        self.parsed(&node, key, parse)
    }

    /// Every item of the list under `key` that `parse` accepts, each other one noted as a problem.
    pub(in crate::lab) fn each<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&Node, &str) -> Result<T, Problem>,
    ) -> Option<Found<Vec<Found<T>>>> {
        let items = self.get(key, list)?;
        let path = self.path(key);
        let mut found = Vec::new();
        for item in &items.value {
            match parse(item, &path) {
                Ok(value) => found.push(Found { value, at: item.at.clone() }),
                Err(problem) => self.problem(problem),
            }
        }
        Some(Found { value: found, at: items.at })
    }

    fn parsed<T>(
        &mut self,
        node: &Node,
        key: &str,
        parse: impl FnOnce(&Node, &str) -> Result<T, Problem>,
    ) -> Option<Found<T>> {
        match parse(node, &self.path(key)) {
            Ok(value) => Some(Found { value, at: node.at.clone() }),
            Err(problem) => {
                self.problem(problem);
                None
            }
        }
    }
}

fn instead(node: &Node, path: &str, wanted: &str) -> Problem {
    let said = match &node.value {
        Value::Text(text) | Value::Given(text) => format!("`{text}`"),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        other => other.kind().into(),
    };
    Problem::new(&node.at, format!("{said} where {wanted} is expected for `{path}`"))
}

/// Text that is not empty.
pub(in crate::lab) fn text(node: &Node, path: &str) -> Result<String, Problem> {
    match &node.value {
        Value::Text(text) | Value::Given(text) if text.trim().is_empty() => {
            Err(Problem::new(&node.at, format!("`{path}` is empty")))
        }
        Value::Text(text) | Value::Given(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
            Err(instead(node, path, "text").remedy("put it in quotes if it is meant as text"))
        }
        _ => Err(instead(node, path, "text")),
    }
}

/// Text that parses as `T`, whose error says what is wrong.
pub(in crate::lab) fn parsed<T: FromStr<Err: Display>>(node: &Node, path: &str) -> Result<T, Problem> {
    text(node, path)?.parse().map_err(|error: T::Err| Problem::new(&node.at, error.to_string()))
}

/// A whole number in `range`.
pub(in crate::lab) fn number<T>(range: RangeInclusive<T>) -> impl Fn(&Node, &str) -> Result<T, Problem>
where
    T: Copy + Display + Into<i128> + TryFrom<i128>,
{
    move |node, path| {
        let number = match &node.value {
            Value::Int(number) => *number,
            Value::Given(text) => text.trim().parse().map_err(|_| instead(node, path, "a whole number"))?,
            _ => return Err(instead(node, path, "a whole number")),
        };
        let fits = ((*range.start()).into()..=(*range.end()).into()).contains(&number);
        T::try_from(number).ok().filter(|_| fits).ok_or_else(|| {
            Problem::new(&node.at, format!("`{path}` is {number}")).remedy(format!(
                "{} to {} are possible",
                range.start(),
                range.end()
            ))
        })
    }
}

/// `on` or `off`, in any of YAML's words for them.
pub(in crate::lab) fn switch(node: &Node, path: &str) -> Result<bool, Problem> {
    match &node.value {
        Value::Bool(on) => Ok(*on),
        Value::Text(word) | Value::Given(word) => match word.to_lowercase().as_str() {
            "on" | "yes" | "true" => Ok(true),
            "off" | "no" | "false" => Ok(false),
            _ => {
                Err(Problem::new(&node.at, format!("`{word}` is no switch for `{path}`")).remedy("write `on` or `off`"))
            }
        },
        _ => Err(instead(node, path, "`on` or `off`")),
    }
}

/// One of some words, each of which stands for a value.
pub(in crate::lab) fn choice<T: Copy>(words: &[(&'static str, T)]) -> impl Fn(&Node, &str) -> Result<T, Problem> {
    move |node, path| {
        let said = text(node, path)?;
        words.iter().find(|(word, _)| *word == said).map(|(_, value)| *value).ok_or_else(|| {
            let right: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            Problem::new(&node.at, format!("unknown `{path}`: `{said}`")).choose(&said, &right)
        })
    }
}

/// A size in MiB, written with its unit, inside `range`.
pub(in crate::lab) fn mebibytes(range: RangeInclusive<u64>) -> impl Fn(&Node, &str) -> Result<u64, Problem> {
    move |node, path| {
        let wrong = |reason: String| Problem::new(&node.at, reason).remedy("write it as `512MiB` or `4GiB`");
        if let Value::Int(bare) = &node.value {
            return Err(wrong(format!("`{path}` is {bare} without a unit")));
        }
        let said = text(node, path)?;
        let scaled = |word: &str, by: u64| said.strip_suffix(word)?.trim().parse::<u64>().ok()?.checked_mul(by);
        let size = scaled("MiB", 1)
            .or_else(|| scaled("GiB", 1024))
            .ok_or_else(|| wrong(format!("`{said}` is no size for `{path}`")))?;
        if range.contains(&size) {
            return Ok(size);
        }
        Err(Problem::new(&node.at, format!("`{path}` is {said}")).remedy(format!(
            "{}MiB to {}GiB are possible",
            range.start(),
            range.end() / 1024
        )))
    }
}

/// A time in whole seconds, written with its unit, inside `range`.
pub(in crate::lab) fn seconds(range: RangeInclusive<u64>) -> impl Fn(&Node, &str) -> Result<u64, Problem> {
    move |node, path| {
        let wrong = |reason: String| Problem::new(&node.at, reason).remedy("write it as `25s` or `3m`");
        if let Value::Int(bare) = &node.value {
            return Err(wrong(format!("`{path}` is {bare} without a unit")));
        }
        let said = text(node, path)?;
        let whole = |span: jiff::SignedDuration| (span.subsec_nanos() == 0).then(|| u64::try_from(span.as_secs()).ok());
        let seconds = said.parse().ok().and_then(whole).flatten();
        let seconds = seconds.ok_or_else(|| wrong(format!("`{said}` is no time in whole seconds for `{path}`")))?;
        if range.contains(&seconds) {
            return Ok(seconds);
        }
        Err(Problem::new(&node.at, format!("`{path}` is {said}")).remedy(format!(
            "{}s to {}s are possible",
            range.start(),
            range.end()
        )))
    }
}

/// A range of IPv4 addresses written as its first address, with a prefix inside `prefixes`.
pub(in crate::lab) fn net(prefixes: RangeInclusive<u8>) -> impl Fn(&Node, &str) -> Result<Ipv4Net, Problem> {
    move |node, path| {
        let said = text(node, path)?;
        let net: Ipv4Net = said.parse().map_err(|_| {
            Problem::new(&node.at, format!("`{said}` is no range of IPv4 addresses for `{path}`"))
                .remedy("write it as `10.244.0.0/16`")
        })?;
        if net.trunc() != net {
            let problem = Problem::new(&node.at, format!("`{path}` begins inside its range: `{net}`"));
            return Err(Problem { nearest: Some(net.trunc().to_string()), ..problem });
        }
        if !prefixes.contains(&net.prefix_len()) {
            return Err(Problem::new(&node.at, format!("`{path}` has prefix /{}", net.prefix_len())).remedy(format!(
                "/{} to /{} are possible",
                prefixes.start(),
                prefixes.end()
            )));
        }
        let reserved = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"]
            .map(|range| range.parse::<Ipv4Net>().expect("a range written here"))
            .into_iter()
            .find(|range| super::addressing::overlap(*range, net));
        match reserved {
            None => Ok(net),
            Some(range) => Err(Problem::new(
                &node.at,
                format!("`{path}` shares addresses with {range}, which no machine may bear"),
            )
            .remedy("take one out of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16")),
        }
    }
}

/// The items of a list; on the command line they stand between commas.
pub(in crate::lab) fn list(node: &Node, path: &str) -> Result<Vec<Node>, Problem> {
    match &node.value {
        Value::List(items) => Ok(items.clone()),
        Value::Given(text) if text.trim().is_empty() => Ok(Vec::new()),
        Value::Given(text) => Ok(text
            .split(',')
            .map(|word| Node { at: node.at.clone(), value: Value::Given(word.trim().into()) })
            .collect()),
        _ => Err(instead(node, path, "a list").remedy("write it as `[one, another]`")),
    }
}
