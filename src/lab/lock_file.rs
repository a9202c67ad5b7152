//! `lock.yaml` -> [`Lock`] and back, with places for problems.

use super::file::artifacts;
use super::pin::{Arch, Digest, LOCK_SCHEMA, Lock, Pin, Trust, Wanted};
use super::problem::{Place, Problem, Problems};
use super::scalar;
use super::tree::{self, Fields, Node};

/// The processors by the words that files call them.
pub(in crate::lab) const ARCHS: [(&str, Arch); 3] =
    [("amd64", Arch::Amd64), ("arm64", Arch::Arm64), ("all", Arch::All)];

/// How far digests can be believed, by the words that files say it with.
pub(in crate::lab) const TRUSTS: [(&str, Trust); 3] =
    [("published", Trust::Published), ("recorded", Trust::Recorded), ("first-use", Trust::FirstUse)];

impl Lock {
    /// The lock of a lab that has none yet.
    pub fn empty() -> Self {
        Self { schema: LOCK_SCHEMA, pins: Vec::new(), missing: Vec::new() }
    }

    /// Read the text of `file`; all problems at once.
    pub fn read(text: &str, file: &str) -> Result<Self, Problems> {
        PlacedLock::read(text, file).map(|placed| placed.lock)
    }
}

/// A lock whose entries know where they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedLock {
    /// The lock.
    pub lock: Lock,
    /// Where the list of pins begins, or the file.
    pub at: Place,
    /// Where each pin stands.
    pub pins: Vec<Place>,
    /// Where each missing one stands.
    pub missing: Vec<Place>,
}

impl PlacedLock {
    /// Read the text of `file`; all problems at once.
    pub fn read(text: &str, file: &str) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let mut top = Fields::of_file(tree::parse(text, file)?, &mut problems)?;
        schema(&mut top, LOCK_SCHEMA)?;
        let at = top.at().clone();
        let (pins, pinned_at) = group_list(&mut top, "pins", pin);
        let (missing, missing_at) = group_list(&mut top, "missing", wanted);
        top.end();
        Problems::none_or(problems)?;
        Ok(Self { lock: Lock { schema: LOCK_SCHEMA, pins, missing }, at, pins: pinned_at, missing: missing_at })
    }
}

/// The file's `schema`, which must be `known`: of any other version nothing more is said, since all could be new.
pub(in crate::lab) fn schema(top: &mut Fields<'_>, known: u32) -> Result<(), Problem> {
    let example = known.to_string();
    let Some(node) = top.required("schema", &example) else { return Ok(()) };
    match scalar::number(known..=known)(&node, "schema") {
        Ok(_) => Ok(()),
        Err(problem) => Err(Problem { remedy: Some(format!("this calicolab reads schema {known}")), ..problem }),
    }
}

fn group_list<T>(
    top: &mut Fields<'_>,
    key: &'static str,
    read: impl Fn(&mut Fields<'_>, &[T]) -> Option<T>,
) -> (Vec<T>, Vec<Place>) {
    let (mut found, mut places) = (Vec::new(), Vec::new());
    for (i, item) in top.get(key, scalar::list).map(|list| list.value).unwrap_or_default().into_iter().enumerate() {
        let mut fields = Fields::of(item, &format!("{key}[{i}]"), top.problems());
        let (one, at) = (read(&mut fields, &found), fields.at().clone());
        fields.end();
        if let Some(one) = one {
            found.push(one);
            places.push(at);
        }
    }
    (found, places)
}

fn pin(fields: &mut Fields<'_>, earlier: &[Pin]) -> Option<Pin> {
    let name = fields.need("name", "bird", artifacts::word);
    let version = fields.need("version", "\"1.6.8-2.1\"", scalar::text);
    let arch = fields.need("arch", "amd64", scalar::choice(&ARCHS));
    let source = source(fields);
    let digest = fields.need("digest", "sha256:…", scalar::parsed::<Digest>);
    let bytes = fields.get("bytes", scalar::number(1..=u64::MAX));
    let trust = fields.get("trust", scalar::choice(&TRUSTS));
    let found = fields.need("found", "where the digest was published, and when", scalar::text);
    if let Some((name, arch)) = name.as_ref().zip(arch.as_ref())
        && earlier.iter().any(|pin| pin.name == name.value && pin.arch == arch.value)
    {
        fields.problem(Problem::new(&name.at, format!("`{}` is pinned twice for one processor", name.value)));
    }
    Some(Pin {
        name: name?.value,
        version: version?.value,
        arch: arch?.value,
        source: source?,
        digest: digest?.value,
        bytes: bytes.map(|found| found.value),
        trust: trust.map_or_else(Trust::default, |found| found.value),
        found: found?.value,
    })
}

fn wanted(fields: &mut Fields<'_>, earlier: &[Wanted]) -> Option<Wanted> {
    let name = fields.need("name", "bird", artifacts::word);
    let version = fields.get("version", scalar::text);
    let arch = fields.need("arch", "amd64", scalar::choice(&ARCHS));
    let source = source(fields);
    let why = fields.need("why", "no checksum was published", scalar::text);
    if let Some((name, arch)) = name.as_ref().zip(arch.as_ref())
        && earlier.iter().any(|wanted| wanted.name == name.value && wanted.arch == arch.value)
    {
        fields.problem(Problem::new(&name.at, format!("`{}` is missing twice for one processor", name.value)));
    }
    Some(Wanted {
        name: name?.value,
        version: version.map(|found| found.value),
        arch: arch?.value,
        source: source?,
        why: why?.value,
    })
}

fn source(fields: &mut Fields<'_>) -> Option<super::pin::Source> {
    let node: Node = fields.required("source", "{apt: {package: bird, suite: bookworm}}")?;
    let path = fields.path("source");
    let mut inner = Fields::of(node, &path, fields.problems());
    let source = artifacts::source(&mut inner);
    inner.end();
    source
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(pins: &str) -> String {
        format!("schema: 1\npins:\n{pins}")
    }

    const BIRD: &str = "  - name: bird\n    version: \"1.6.8-2.1\"\n    arch: amd64\n    source: {apt: {package: bird, suite: bookworm}}\n    digest: sha256:DIGITS\n    bytes: 10\n    found: the archive's Packages file, 2026-07-01\n";

    fn bird() -> String {
        BIRD.replace("DIGITS", &"0a".repeat(32))
    }

    #[test]
    fn a_lock_is_read() {
        let lock = Lock::read(&text(&bird()), "lock.yaml").expect("right");
        assert_eq!(lock.pins[0].version, "1.6.8-2.1");
        assert_eq!(lock.pin("bird", Arch::Amd64), Some(&lock.pins[0]));
        let missing = "schema: 1\nmissing:\n  - {name: calicoctl, arch: amd64, source: {url: {urls: ['https://x.example/y']}}, why: none published}\n";
        assert_eq!(Lock::read(missing, "lock.yaml").expect("right").missing[0].name, "calicoctl");
        assert_eq!(Lock::read("schema: 1\npins: []\n", "lock.yaml").expect("right"), Lock::empty());
    }

    #[test]
    fn every_problem_of_a_lock_has_its_place() {
        let cases = [
            ("digest", text(&BIRD.replace("DIGITS", "12"))),
            ("unquoted version, strange arch", text(&bird().replace("\"1.6.8-2.1\"", "1.6").replace("amd64", "amd46"))),
            ("twice", text(&format!("{0}{0}", bird()))),
            ("unknown and missing keys", text(&bird().replace("bytes:", "size:").replace("    found", "    fount"))),
            ("no source", text(&bird().replace("{apt: {package: bird, suite: bookworm}}", "{atp: {}}"))),
            ("other schema", text(&bird()).replace("schema: 1", "schema: 3")),
            ("empty file", String::new()),
        ];
        let told = cases
            .iter()
            .map(|(title, text)| format!("# {title}\n{}\n", Lock::read(text, "lock.yaml").expect_err(title)))
            .collect::<Vec<_>>()
            .join("\n");
        insta::assert_snapshot!(told);
    }
}
