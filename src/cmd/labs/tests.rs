//! Labs listed, shown, begun and checked, those of the binary and those of a folder.

use std::fs;

use super::*;

fn name(text: &str) -> LabName {
    text.parse().expect("a name")
}

#[test]
fn the_list_has_every_lab_and_says_which_are_wrong() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(dir.path().join("labs/broken")).expect("made");
    fs::write(dir.path().join("labs/broken/lab.yaml"), "schema: 1\nnodes: {count: 3}\n").expect("written");
    let library = Library::open(Some(dir.path().into())).expect("a library");
    let table = list_table(&list(&library).expect("listed"));
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("LAB"), "{table}");
    assert!(lines[1].starts_with("broken") && lines[1].ends_with("4 problems: calicolab labs check broken"), "{table}");
    assert!(lines.iter().any(|line| line.starts_with("primer") && line.contains("debian-12")), "{table}");
    assert!(lines.iter().all(|line| !line.ends_with(' ')));
}

#[test]
fn a_lab_is_shown_with_its_readme() {
    let shown = show(&Library::open(None).expect("own"), &name("primer")).expect("there");
    for part in ["labs/primer/lab.yaml", "calico-01, calico-02, calico-03", "512MiB", "# primer"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

#[test]
fn a_new_lab_is_right_and_listed_and_never_overwritten() {
    let dir = tempfile::tempdir().expect("a folder");
    let own = Library::open(None).expect("own");
    let written = new(&own, &name("mine"), dir.path()).expect("an empty folder");
    assert_eq!(written[0], dir.path().join("labs/mine/lab.yaml"));
    let library = Library::open(Some(dir.path().into())).expect("a library");
    assert!(library.labs().expect("listed").contains(&name("mine")));
    check(&library, "mine").expect("right by name");
    for path in [dir.path().join("labs/mine"), written[0].clone()] {
        let checked = check(&own, path.to_str().expect("UTF-8")).expect("right by path");
        assert_eq!((checked.lab.name.as_str(), checked.lab.nodes.names.len()), ("mine", 3));
    }
    fs::write(&written[0], "changed").expect("written");
    assert!(matches!(new(&own, &name("mine"), dir.path()), Err(LabsError::Library(LibraryError::Differ { .. }))));
}

#[test]
fn a_check_tells_the_problems_of_lab_and_lock() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join("mine");
    fs::create_dir_all(&folder).expect("made");
    fs::write(folder.join("lab.yaml"), "schema: 1\nabuot: x\n").expect("written");
    fs::write(folder.join("lock.yaml"), "schema: 1\npinns: []\n").expect("written");
    let own = Library::open(None).expect("own");
    let Err(LabsError::Wrong { source, .. }) = check(&own, folder.to_str().expect("UTF-8")) else {
        panic!("it is wrong");
    };
    let told = source.to_string();
    assert!(told.contains("mine/lab.yaml:2:1: unknown key `abuot`; did you mean `about`?"), "{told}");
    assert!(told.contains("mine/lock.yaml:2:1: unknown key `pinns`; did you mean `pins`?"), "{told}");
    assert!(matches!(check(&own, "./no/such/lab.yaml"), Err(LabsError::NoFile { .. })));
    assert!(matches!(check(&own, "primar"), Err(LabsError::Library(LibraryError::UnknownLab { .. }))));
    assert!(check(&own, "primer").expect("right").to_string().starts_with("labs/primer/lab.yaml is right: 3 nodes"));
}

#[test]
fn the_matrix_has_every_series_its_labs_and_its_reasons() {
    insta::assert_snapshot!(matrix(&Library::open(None).expect("own")).expect("every lab is right"));
    let shown = show(&Library::open(None).expect("own"), &name("calico-3.21-kdd")).expect("there");
    assert!(shown.contains("3.21.2, for Kubernetes 1.16 to 1.24 (tested 1.20 to 1.22)"), "{shown}");
}
