//! The files a lab brings to its nodes, and where they come from.

use crate::lab::artifact::{Artifact, On, Taken};
use crate::lab::pin::{Digest, Source};
use crate::lab::problem::{Place, Problem};
use crate::lab::scalar::{self, Found};
use crate::lab::tree::{Fields, Node, Value};

pub(super) fn artifacts(top: &mut Fields<'_>) -> Option<Vec<Artifact>> {
    let node = top.required("artifacts", "[]")?;
    if matches!(node.value, Value::Given(_)) {
        top.problem(
            Problem::new(&node.at, "`artifacts` is a list of groups, which no flag can say")
                .remedy("change it in lab.yaml: `calicolab labs export DIR` writes it out"),
        );
        return None;
    }
    let items = match scalar::list(&node, "artifacts") {
        Ok(items) => items,
        Err(problem) => {
            top.problem(problem);
            return None;
        }
    };
    let mut names: Vec<Found<String>> = Vec::new();
    let mut files: Vec<Found<String>> = Vec::new();
    // All of them are read before the first that is wrong ends it.
    let read: Vec<Option<Artifact>> =
        items.into_iter().enumerate().map(|(i, item)| artifact(item, i, top, &mut names, &mut files)).collect();
    for (what, found) in [("artifacts are called", &names), ("artifacts bring", &files)] {
        for (i, one) in found.iter().enumerate() {
            if let Some(earlier) = found[..i].iter().find(|earlier| earlier.value == one.value) {
                top.problem(
                    Problem::new(&one.at, format!("two {what} `{}`", one.value))
                        .remedy(format!("the first is at {}", earlier.at)),
                );
            }
        }
    }
    read.into_iter().collect()
}

fn artifact(
    item: Node,
    index: usize,
    top: &mut Fields<'_>,
    names: &mut Vec<Found<String>>,
    files: &mut Vec<Found<String>>,
) -> Option<Artifact> {
    let mut fields = Fields::of(item, &format!("artifacts[{index}]"), top.problems());
    let name = fields.need("name", "bird", word);
    let version = fields.get("version", scalar::text);
    let source = source(&mut fields);
    if let Some(problem) = version_of(&fields, name.as_ref(), version.as_ref(), source.as_ref()) {
        fields.problem(problem);
    }
    let on = fields.get("on", scalar::choice(&[("all", On::All), ("master", On::Master)]));
    let members = taken(&mut fields);
    if let Some(members) = &members
        && members.value.is_empty()
    {
        let at = members.at.clone();
        fields.problem(
            Problem::new(&at, format!("`{}` names no file", fields.path("files")))
                .remedy("remove the key, or the artifact"),
        );
    }
    if members.is_none() && matches!(source, Some(Source::Apt { .. })) {
        let at = fields.at().clone();
        fields.problem(
            Problem::new(
                &at,
                format!(
                    "artifact `{}` does not say which files of the package are used",
                    name.as_ref().map_or("?", |found| &found.value)
                ),
            )
            .remedy("write for example `files: [usr/sbin/bird]`"),
        );
    }
    fields.end();
    let members = members.map_or_else(Vec::new, |found| found.value);
    names.extend(name.clone());
    files.extend(members.iter().map(|found| Found { value: found.value.to.clone(), at: found.at.clone() }));
    Some(Artifact {
        name: name?.value,
        version: version.map(|found| found.value),
        source: source?,
        on: on.map_or(On::All, |found| found.value),
        files: members.into_iter().map(|found| found.value).collect(),
    })
}

/// Whether a version is there where one is needed, and only there.
fn version_of(
    fields: &Fields<'_>,
    name: Option<&Found<String>>,
    version: Option<&Found<String>>,
    source: Option<&Source>,
) -> Option<Problem> {
    let name = name.map_or("?", |found| &found.value);
    match (version, source?) {
        (Some(version), Source::Apt { .. }) => Some(
            Problem::new(&version.at, format!("artifact `{name}` is a Debian package and names a version"))
                .remedy("remove the key: the lock takes the version that the suite has"),
        ),
        (None, Source::Url { .. } | Source::Oci { .. }) => Some(
            Problem::new(fields.at(), format!("artifact `{name}` does not say its version"))
                .remedy("write for example `version: \"3.32.1\"`"),
        ),
        _ => None,
    }
}

/// What is taken out of an artifact: each a path, or a group of `from`, `to` and `mode`.
fn taken(fields: &mut Fields<'_>) -> Option<Found<Vec<Found<Taken>>>> {
    let list = fields.get("files", scalar::list)?;
    let path = fields.path("files");
    let items = list.value.into_iter().enumerate().filter_map(|(i, item)| {
        let (at, path) = (item.at.clone(), format!("{path}[{i}]"));
        let value = if matches!(item.value, Value::Map(_)) {
            let mut group = Fields::of(item, &path, fields.problems());
            let from = group.get("from", member);
            let to = group.need("to", "usr/local/bin/kubeadm", member);
            let mode = group.get("mode", mode);
            group.end();
            Taken { from: from.map(|found| found.value), to: to?.value, mode: mode.map(|found| found.value) }
        } else {
            match member(&item, &path) {
                Ok(path) => Taken::same(path),
                Err(problem) => {
                    fields.problem(problem);
                    return None;
                }
            }
        };
        Some(Found { value, at })
    });
    let value = items.collect();
    Some(Found { value, at: list.at })
}

/// The one source among the keys of a group: `apt`, `url` or `oci`.
pub(in crate::lab) fn source(fields: &mut Fields<'_>) -> Option<Source> {
    let given = ["apt", "url", "oci"].map(|kind| fields.optional(kind).map(|node| (kind, node)));
    let mut given: Vec<(&str, Node)> = given.into_iter().flatten().collect();
    if given.len() > 1 {
        let (kind, node) = &given[1];
        let message = format!("`{kind}` beside `{}`: a file comes from one source", given[0].0);
        fields.problem(Problem::new(&node.at, message).remedy("keep one of them"));
        return None;
    }
    let Some((kind, node)) = given.pop() else {
        let at = fields.at().clone();
        fields.problem(
            Problem::new(&at, "no source: neither `apt` nor `url` nor `oci`")
                .remedy("write for example `apt: {package: bird, suite: bookworm}`"),
        );
        return None;
    };
    let path = fields.path(kind);
    let mut inner = Fields::of(node, &path, fields.problems());
    let source = match kind {
        "apt" => {
            let package = inner.need("package", "bird", word);
            let suite = inner.need("suite", "bookworm", word);
            package.zip(suite).map(|(package, suite)| Source::Apt { package: package.value, suite: suite.value })
        }
        "url" => {
            let urls = inner.each("urls", url);
            if urls.as_ref().is_none_or(|found| found.value.is_empty()) {
                let at = inner.at().clone();
                inner.problem(
                    Problem::new(&at, format!("`{path}` names no address")).remedy("write `urls: [https://…]`"),
                );
            }
            let sums = inner.get("sums", url);
            urls.map(|found| Source::Url {
                urls: found.value.into_iter().map(|url| url.value).collect(),
                sums: sums.map(|found| found.value),
            })
        }
        _ => inner
            .need("reference", "registry.example/name:{version}", reference)
            .map(|found| Source::Oci { reference: found.value }),
    };
    inner.end();
    source
}

/// A word that can be handed to a program without being taken for a flag or a path.
pub(in crate::lab) fn word(node: &Node, path: &str) -> Result<String, Problem> {
    let said = scalar::text(node, path)?;
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '+' | '-');
    let first = said.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if first && said.chars().all(inside) {
        return Ok(said);
    }
    Err(Problem::new(&node.at, format!("`{said}` is no word for `{path}`"))
        .remedy("use a-z, 0-9, `.`, `+` and `-`, beginning with a letter or a digit"))
}

/// The address of a release file.
pub(in crate::lab) fn url(node: &Node, path: &str) -> Result<String, Problem> {
    let said = scalar::text(node, path)?;
    match reqwest::Url::parse(&said) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(said),
        _ => {
            Err(Problem::new(&node.at, format!("`{said}` is no address for `{path}`"))
                .remedy("write it as `https://…`"))
        }
    }
}

/// A registry's host, a repository, and a tag or a digest; nothing is guessed for what is not said.
pub(in crate::lab) fn reference(node: &Node, path: &str) -> Result<String, Problem> {
    let said = scalar::text(node, path)?;
    let (name, digest) = said.split_once('@').map_or((said.as_str(), None), |(name, digest)| (name, Some(digest)));
    let (host, repository) = name.split_once('/').unwrap_or(("", ""));
    let tagged =
        repository.rsplit('/').next().is_some_and(|last| last.split_once(':').is_some_and(|(_, tag)| !tag.is_empty()));
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:{}".contains(c);
    let right = (host == "localhost" || host.contains(['.', ':']))
        && !repository.is_empty()
        && name.chars().all(plain)
        && digest.map_or(tagged, |digest| digest.parse::<Digest>().is_ok());
    if right {
        return Ok(said);
    }
    Err(Problem::new(&node.at, format!("`{said}` names no container image for `{path}`"))
        .remedy("write it whole, as `registry.example/name:{version}` or `registry.example/name@sha256:…`"))
}

/// A path without a `/` at its beginning, and without ways up.
pub(in crate::lab) fn member(node: &Node, path: &str) -> Result<String, Problem> {
    let said = scalar::text(node, path)?;
    let wrong = |why: &str| Err(problem_with(&node.at, &said, path, why));
    if let Some(relative) = said.strip_prefix('/') {
        return Err(Problem {
            nearest: Some(relative.into()),
            ..problem_with(&node.at, &said, path, "it begins with `/`")
        });
    }
    if said.split('/').any(|part| part == ".." || part == ".") {
        return wrong("it has `.` or `..` in it");
    }
    if said.split('/').any(str::is_empty) {
        return wrong("it has an empty part");
    }
    if said.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return wrong("it has blanks in it");
    }
    Ok(said)
}

/// Permissions as chmod(1) takes them: octal digits without a sign for it.
fn mode(node: &Node, path: &str) -> Result<u32, Problem> {
    match scalar::number(0..=777u16)(node, path)? {
        755 => Ok(0o755),
        644 => Ok(0o644),
        other => Err(Problem::new(&node.at, format!("`{path}` is {other}")).remedy("755 and 644 are possible")),
    }
}

fn problem_with(at: &Place, said: &str, path: &str, why: &str) -> Problem {
    Problem::new(at, format!("`{said}` is no path for `{path}`: {why}"))
}
