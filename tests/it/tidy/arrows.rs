//! Who may use whom: nothing points up, nothing in a circle.

use std::collections::{BTreeMap, BTreeSet};

use super::{File, none, tree};

/// Each part of the house and what it may use beside itself, from the ground up. A part uses only what stands above
/// it in this list, so there is no circle.
const HOUSE: &[(&str, &[&str])] = &[
    // The ground: what is wanted, how programs are called, what happens, waiting, whole files.
    ("event", &[]),
    ("command", &[]),
    ("wait", &[]),
    ("durable", &[]),
    ("lab", &["durable"]),
    // A machine as plain data: known to who makes it, who remembers it and who reaches it.
    ("guest", &["lab"]),
    ("node", &["lab", "command"]),
    // Bytes in; what this host remembers; machines; the way to them. None knows of another.
    ("artifact", &["event", "command", "wait", "durable", "lab"]),
    ("cluster", &["event", "command", "wait", "durable", "lab", "guest"]),
    ("machine", &["event", "command", "wait", "durable", "lab", "guest"]),
    ("ssh", &["event", "command", "wait", "durable", "lab", "guest"]),
    // Install writes, proof judges; neither knows of the other.
    ("install", &["event", "command", "wait", "durable", "lab", "guest", "node", "artifact", "ssh"]),
    ("proof", &["event", "command", "wait", "durable", "lab", "guest", "node", "artifact", "ssh"]),
    // A lab as it was, of files that are hashed and machines that were saved.
    ("point", &["durable", "lab", "guest", "artifact", "machine"]),
    // What stands on a proof: what is broken, and how to break it.
    ("explain", &["command", "lab", "node", "proof"]),
    ("fault", &["command", "lab", "node", "proof"]),
    // What the user is told at the end, in the words of what failed.
    ("failure", &["lab", "cluster"]),
    ("record", &["event"]),
    ("report", &["event", "lab", "proof", "explain"]),
    ("cli", &["failure"]),
    // The stories use all that is below, and print nothing.
    (
        "cmd",
        &[
            "event", "command", "wait", "durable", "lab", "guest", "node", "artifact", "cluster", "machine", "ssh",
            "install", "proof", "explain", "fault", "point", "failure", "record",
        ],
    ),
];

/// Where everything is put together.
const ROOFS: &[&str] = &["run", "lib", "main"];

/// `src/lab/plan.rs` is of `lab`.
fn part(path: &str) -> &str {
    let path = path.strip_prefix("src/").unwrap_or(path);
    path.split(['/', '.']).next().unwrap_or(path)
}

/// What is named by `crate::…` (or what `root` is) in the product's code of a file, groups in braces included.
fn uses(file: &File, root: &str) -> BTreeSet<String> {
    let code: Vec<&str> = file.code().map(|(_, line)| line).collect();
    let code = code.join("\n");
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut used = BTreeSet::new();
    for after in code.split(root).skip(1) {
        match after.strip_prefix('{') {
            None => {
                used.insert(word(after));
            }
            Some(group) => {
                let group = group.split("};").next().unwrap_or(group);
                used.extend(group.split(',').map(|one| word(one.trim())).filter(|one| !one.is_empty()));
            }
        }
    }
    used
}

#[test]
fn nothing_points_up() {
    let allowed: BTreeMap<&str, &[&str]> = HOUSE.iter().copied().collect();
    let mut found = Vec::new();
    for file in tree().iter().filter(|file| file.path.starts_with("src/") && file.is_rust() && !of_tests(file)) {
        let own = part(&file.path);
        if ROOFS.contains(&own) {
            continue;
        }
        let Some(may) = allowed.get(own) else {
            found.push(format!("{}: `{own}` has no place in the house", file.path));
            continue;
        };
        for other in uses(file, "crate::") {
            if other != own && !may.contains(&other.as_str()) {
                found.push(format!("{}: uses {other}", file.path));
            }
        }
    }
    none("a part uses only what stands below it", &found);
}

#[test]
fn the_house_stands_in_order() {
    let mut below = BTreeSet::new();
    for (own, may) in HOUSE {
        assert!(may.iter().all(|other| below.contains(other)), "{own} uses what does not stand below it");
        below.insert(*own);
    }
}

/// Folders of one task in many files: each of these may be read with nothing in mind but those below it.
const ONE_WAY: &[&str] = &["src/machine/incus/"];

#[test]
fn files_of_one_task_name_each_other_one_way() {
    let tree = tree();
    for folder in ONE_WAY {
        let own = tree.iter().filter_map(|file| Some((file.path.strip_prefix(folder)?.strip_suffix(".rs")?, file)));
        let own = own.filter(|(name, file)| *name != "mod" && !of_tests(file));
        let mut left: BTreeMap<&str, BTreeSet<String>> =
            own.map(|(name, file)| (name, uses(file, "super::"))).collect();
        assert!(left.len() > 1, "{folder} has no files");
        loop {
            let names: BTreeSet<String> = left.keys().map(|&name| name.to_owned()).collect();
            left.retain(|name, used| used.iter().any(|used| used != name && names.contains(used)));
            if left.len() == names.len() {
                break;
            }
        }
        let circle: Vec<String> = left.iter().map(|(name, used)| format!("{folder}{name}.rs: {used:?}")).collect();
        none("no file is of use to one that it uses", &circle);
    }
}

/// Tests, and what only tests use, may look around.
fn of_tests(file: &File) -> bool {
    let helper = ["/support.rs", "/samples.rs", "/example.rs"].iter().any(|end| file.path.ends_with(end));
    file.of_tests() || helper
}
