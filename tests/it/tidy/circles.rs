//! Files that use each other one way: whoever reads one needs to have in mind only what lies below it.

use std::collections::{BTreeMap, BTreeSet};

use super::arrows::of_tests;
use super::{File, none, tree};

/// A module's place: `["lab", "plan"]`.
type Path = Vec<String>;

/// The product's modules with what each of them names, and under which names each gives out what lies in others.
struct House {
    uses: BTreeMap<Path, BTreeSet<Path>>,
}

fn place(file: &File) -> Option<Path> {
    let inside = file.path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let mut path: Path = inside.split('/').map(Into::into).collect();
    if ["mod", "lib"].contains(&path.last()?.as_str()) {
        path.pop();
    }
    Some(path)
}

/// Words, `::`, braces, and everything else as it is.
fn tokens(file: &File) -> Vec<String> {
    let code: Vec<&str> = file.code().map(|(_, line)| line).collect();
    let mut tokens: Vec<String> = Vec::new();
    let mut word = String::new();
    for c in code.join("\n").chars().chain([' ']) {
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        if !word.is_empty() {
            tokens.push(std::mem::take(&mut word));
        }
        match (c, tokens.last().map(String::as_str)) {
            (':', Some(":")) => *tokens.last_mut().expect("it has one") = "::".into(),
            (c, _) if c.is_whitespace() => {}
            (c, _) => tokens.push(c.into()),
        }
    }
    tokens
}

fn is_word(token: Option<&String>) -> bool {
    token.is_some_and(|token| token.chars().all(|c| c.is_alphanumeric() || c == '_'))
}

/// The paths that begin at `at`, those of groups in braces each for itself; where they end.
fn paths(tokens: &[String], mut at: usize, before: &[String], found: &mut Vec<Path>) -> usize {
    let mut path = before.to_vec();
    while is_word(tokens.get(at)) {
        path.push(tokens[at].clone());
        at += 1;
        if tokens.get(at).is_none_or(|token| token != "::") {
            break;
        }
        at += 1;
        if tokens.get(at).is_some_and(|token| token == "{") {
            at += 1;
            while tokens.get(at).is_some_and(|token| token != "}") {
                at = if is_word(tokens.get(at)) { paths(tokens, at, &path, found) } else { at + 1 };
            }
            return at + 1;
        }
    }
    found.push(path);
    at
}

/// Every path of a file that leads somewhere, and whether it is given out again.
fn named(tokens: &[String]) -> Vec<(bool, Path)> {
    let mut all = Vec::new();
    for at in 0..tokens.len() {
        let leads = is_word(tokens.get(at)) && tokens.get(at + 1).is_some_and(|token| token == "::");
        let goes_on = match at.checked_sub(1).map(|before| tokens[before].as_str()) {
            Some("::") => true,
            Some("{" | ",") => in_group(tokens, at),
            _ => false,
        };
        if leads && !goes_on {
            let mut found = Vec::new();
            paths(tokens, at, &[], &mut found);
            let given = at > 1 && tokens[at - 1] == "use" && tokens[at - 2] == "pub";
            all.extend(found.into_iter().map(|path| (given, path)));
        }
    }
    all
}

/// Whether the word at `at` goes on with a path that began before a brace.
fn in_group(tokens: &[String], at: usize) -> bool {
    let mut depth = 0;
    for back in (0..at).rev() {
        match tokens[back].as_str() {
            "}" => depth += 1,
            "{" if depth > 0 => depth -= 1,
            "{" => return back > 0 && tokens[back - 1] == "::",
            ";" => return false,
            _ => {}
        }
    }
    false
}

impl House {
    fn of(files: &[File]) -> Self {
        let product = files.iter().filter(|file| file.is_rust() && !of_tests(file));
        let code: BTreeMap<Path, Vec<(bool, Path)>> =
            product.filter_map(|file| Some((place(file)?, named(&tokens(file))))).collect();
        let whole = |own: &Path, path: &Path| -> Option<Path> {
            let (mut base, mut rest) = (own.clone(), path.as_slice());
            match rest.first()?.as_str() {
                "crate" => (base, rest) = (Vec::new(), &rest[1..]),
                "self" => rest = &rest[1..],
                "super" => {
                    while rest.first().is_some_and(|word| word == "super") {
                        base.pop();
                        rest = &rest[1..];
                    }
                }
                child => {
                    let child: Path = own.iter().cloned().chain([child.to_owned()]).collect();
                    code.contains_key(&child).then_some(())?;
                }
            }
            base.extend(rest.iter().cloned());
            Some(base)
        };
        // The module that a whole path leads into, and the next word of it.
        let module = |path: &Path| {
            let mut at = path.len();
            while !code.contains_key(&path[..at]) {
                at -= 1;
            }
            (path[..at].to_vec(), path.get(at).cloned())
        };
        let mut given: BTreeMap<(Path, String), Path> = BTreeMap::new();
        for (own, named) in &code {
            for path in named.iter().filter(|(out, _)| *out).filter_map(|(_, path)| whole(own, path)) {
                if let (target, Some(word)) = module(&path)
                    && target != *own
                {
                    given.insert((own.clone(), word), target);
                }
            }
        }
        let mut uses = BTreeMap::new();
        for (own, named) in &code {
            let targets = named.iter().filter_map(|(_, path)| whole(own, path)).map(|path| {
                let (target, word) = module(&path);
                word.and_then(|word| given.get(&(target.clone(), word)).cloned()).unwrap_or(target)
            });
            uses.insert(own.clone(), targets.filter(|target| target != own).collect());
        }
        Self { uses }
    }

    /// The modules in circles, if only these uses count.
    fn circles(&self, counts: impl Fn(&Path, &Path) -> bool) -> Vec<String> {
        let mut left: BTreeMap<&Path, BTreeSet<&Path>> = BTreeMap::new();
        for (own, uses) in &self.uses {
            left.insert(own, uses.iter().filter(|other| counts(own, other)).collect());
        }
        loop {
            let known: BTreeSet<&Path> = left.keys().copied().collect();
            let used: BTreeSet<&Path> = left.values().flatten().copied().collect();
            left.retain(|own, uses| used.contains(own) && uses.iter().any(|other| known.contains(other)));
            if left.len() == known.len() {
                break;
            }
        }
        let known: BTreeSet<&Path> = left.keys().copied().collect();
        let line = |(own, uses): (&Path, BTreeSet<&Path>)| {
            let uses: Vec<String> = uses.intersection(&known).map(|path| path.join("::")).collect();
            format!("{} uses {}", own.join("::"), uses.join(", "))
        };
        left.into_iter().map(line).collect()
    }
}

#[test]
fn files_use_each_other_one_way() {
    let house = House::of(&tree());
    assert!(house.uses.values().map(BTreeSet::len).sum::<usize>() > 500, "the uses were not read");
    // A folder's first file holds what its files share, and puts them together: either of the two is no circle.
    let shares = |own: &Path, other: &Path| !own.starts_with(other);
    let puts_together = |own: &Path, other: &Path| !other.starts_with(own);
    let mut found = house.circles(shares);
    found.extend(house.circles(puts_together));
    none("no file is of use to one that it uses", &found);
}

#[test]
fn circles_are_found_through_groups_children_and_what_is_given_out() {
    let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
    let house = |texts: &[(&str, &str)]| {
        let files: Vec<File> = texts.iter().map(|(path, text)| file(path, text)).collect();
        House::of(&files).circles(|own, other| !own.starts_with(other))
    };
    let lib = ("src/lib.rs", "mod a; mod b;");
    let tied = [lib, ("src/a.rs", "use crate::{b::{self, C}, c};"), ("src/b.rs", "fn f() { super::a::g(); }")];
    assert_eq!(house(&tied), ["a uses b", "b uses a"]);
    let loose = [lib, ("src/a.rs", "use crate::b::C;\n// use crate::c;"), ("src/b.rs", "use std::a::B;")];
    assert!(house(&loose).is_empty());
    let given = [
        lib,
        ("src/a/mod.rs", "mod low; mod high;\npub use low::Low;"),
        ("src/a/low.rs", "struct Low;"),
        ("src/a/high.rs", "use crate::b::B;"),
        ("src/b.rs", "use crate::a::Low;"),
    ];
    assert!(house(&given).is_empty());
    let through = [given[0], given[1], ("src/a/low.rs", "use super::high::High;"), given[3], given[4]];
    assert_eq!(house(&through), ["a::high uses b", "a::low uses a::high", "b uses a::low"]);
}
