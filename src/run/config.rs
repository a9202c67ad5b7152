//! The user's own configuration: mirrors, from the command line, the environment and `config.yaml`.

use std::path::{Path, PathBuf};

use crate::artifact::mirror::{Mirror, Mirrors};
use crate::failure::{Exit, Failure};
use crate::lab::problem::{Place, Problem, Problems};
use crate::lab::tree::{self, Fields, Node, Value};

/// Mirrors in the environment, with space between them.
const VARIABLE: &str = "CALICOLAB_MIRRORS";

/// The folder of what the user has configured.
pub(super) fn folder() -> PathBuf {
    let below_home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".config"));
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or_else(below_home);
    config.unwrap_or_else(|| PathBuf::from(".")).join("calicolab")
}

/// All mirrors: those of `--mirror` first, then the environment's, then those of `config.yaml`. Whatever is wrong
/// is told at once.
pub(super) fn mirrors(flags: &[String]) -> Result<Mirrors, Failure> {
    let mut problems = Vec::new();
    let mut mirrors = Vec::new();
    let variable = std::env::var(VARIABLE).unwrap_or_default();
    let flags = flags.iter().map(|text| (text.as_str(), "--mirror"));
    for (text, from) in flags.chain(variable.split_whitespace().map(|text| (text, VARIABLE))) {
        let place = Place::Flag { flag: from.into() };
        match Mirror::parse(text, place.clone()) {
            Ok(mirror) => mirrors.push(mirror),
            Err(error) => problems.push(Problem::new(&place, error.to_string())),
        }
    }
    let file = folder().join("config.yaml");
    match std::fs::read_to_string(&file) {
        Ok(text) => mirrors.extend(read(&text, &file.display().to_string(), &mut problems)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(
                Failure::new(Exit::Usage, "config.unreadable", format!("read {}", file.display())).because(&error)
            );
        }
    }
    match problems.into_iter().map(Problems::from).reduce(Problems::and) {
        None => Ok(Mirrors::new(mirrors)),
        Some(problems) => {
            Err(Failure::new(Exit::Usage, "config.invalid", "read which mirrors to use")
                .because_text(problems.to_string()))
        }
    }
}

/// The mirrors that the text of `file` names.
fn read(text: &str, file: &str, problems: &mut Vec<Problem>) -> Vec<Mirror> {
    let tree = match tree::parse(text, file) {
        Ok(tree) => tree,
        Err(problem) => {
            problems.push(problem);
            return Vec::new();
        }
    };
    let mut below = Vec::new();
    let mut items = Vec::new();
    match Fields::of_file(tree, problems) {
        Ok(mut top) => {
            match top.optional("mirrors") {
                None => {}
                Some(Node { value: Value::List(list), .. }) => items = list,
                Some(other) => below.push(
                    Problem::new(&other.at, format!("{} where a list is expected for `mirrors`", other.value.kind()))
                        .remedy("write each as `- {prefix: …, url: …}`"),
                ),
            }
            top.end();
        }
        Err(problem) => below.push(problem),
    }
    problems.append(&mut below);
    items.into_iter().filter_map(|item| one(item, problems)).collect()
}

fn one(item: Node, problems: &mut Vec<Problem>) -> Option<Mirror> {
    let at = item.at.clone();
    let mut wrong = Vec::new();
    let mut text = |node: Option<Node>| match node?.value {
        Value::Text(text) => Some(text),
        other => {
            wrong
                .push(Problem::new(&at, format!("{} where text is expected", other.kind())).remedy("put it in quotes"));
            None
        }
    };
    let mut fields = Fields::of(item, "mirrors", problems);
    let prefix = text(fields.required("prefix", "code.example/project"));
    let url = text(fields.required("url", "http://mirror.example"));
    fields.end();
    problems.append(&mut wrong);
    match Mirror::new(&prefix?, &url?, at.clone()) {
        Ok(mirror) => Some(mirror),
        Err(error) => {
            problems.push(Problem::new(&at, error.to_string()));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_mirrors_in_order() {
        let text =
            "mirrors:\n- {prefix: code.example, url: 'http://one.example'}\n- prefix: '*'\n  url: http://two.example\n";
        let mut problems = Vec::new();
        let mirrors: Vec<_> = read(text, "config.yaml", &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        let shown: Vec<String> = mirrors.iter().map(|mirror| format!("{mirror} at {}", mirror.named())).collect();
        assert_eq!(
            shown,
            ["code.example=http://one.example/ at config.yaml:2:3", "*=http://two.example/ at config.yaml:3:3"]
        );
        assert!(read("", "config.yaml", &mut problems).is_empty() && problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn every_problem_has_its_place() {
        let text = "mirors: 1\nmirrors:\n- {prefix: a, ulr: b}\n- {prefix: 'https://a.example', url: 'http://b.example'}\n- {prefix: 1, url: 'http://b.example'}\n";
        let mut problems = Vec::new();
        assert!(read(text, "config.yaml", &mut problems).is_empty());
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        config.yaml:1:1: unknown key `mirors`; did you mean `mirrors`?
        config.yaml:3:3: key `mirrors.url` is missing; write for example `url: http://mirror.example`
        config.yaml:3:15: unknown key `ulr`; did you mean `url`?
        config.yaml:4:3: `https://a.example` is no beginning of an address: write `code.example/NAME` without a scheme, or `*` for a store
        config.yaml:5:3: a number where text is expected; put it in quotes
        ");
        problems.clear();
        read("mirrors: {a: b}\n", "config.yaml", &mut problems);
        read("- a\n", "config.yaml", &mut problems);
        read("a: [\n", "config.yaml", &mut problems);
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        config.yaml:1:10: a group of keys where a list is expected for `mirrors`; write each as `- {prefix: …, url: …}`
        config.yaml:1:1: a list where a group of keys is expected
        config.yaml:1:4: no YAML: unclosed bracket '['
        ");
    }
}
