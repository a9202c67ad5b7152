//! What the binary carries, and the folder that takes its place.

use std::fs;

use super::*;

fn name(text: &str) -> LabName {
    text.parse().expect("a name")
}

fn files(dir: &Path) -> Vec<RecipeFile> {
    let mut found = Vec::new();
    files_below(dir, dir, &mut found).expect("readable");
    found.sort();
    found
}

#[test]
fn what_is_exported_is_what_the_binary_uses() {
    let dir = tempfile::tempdir().expect("a folder");
    let written = Library::export(dir.path(), Existing::Keep).expect("an empty folder");
    assert_eq!(written.len(), files(dir.path()).len(), "no more and no less");
    let (own, over) = (Library::open(None).expect("own"), Library::open(Some(dir.path().into())).expect("exported"));
    assert_eq!(own.labs().expect("listed"), over.labs().expect("listed"));
    assert_eq!(own.images().expect("right"), over.images().expect("right"));
    for lab in own.labs().expect("listed") {
        assert_eq!(own.lab(&lab).expect("there").text, over.lab(&lab).expect("there").text);
        let lock = |library: &Library| library.lock_text(&lab, None).expect("readable").map(|text| text.text);
        assert_eq!(lock(&own), lock(&over));
    }
    for (path, bytes) in carried_files() {
        assert_eq!(over.template(&path).expect("exported").text.as_bytes(), bytes);
    }
    assert_eq!(Library::export(dir.path(), Existing::Keep).expect("nothing differs"), Vec::<PathBuf>::new());
}

#[test]
fn an_export_leaves_what_was_changed_unless_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let lab = dir.path().join("labs/primer/lab.yaml");
    fs::create_dir_all(lab.parent().expect("a folder")).expect("made");
    fs::write(&lab, "mine").expect("written");
    let error = Library::export(dir.path(), Existing::Keep).expect_err("it differs");
    assert!(matches!(&error, LibraryError::Differ { files } if *files == [lab.clone()]), "{error}");
    assert_eq!(files(dir.path()).len(), 1, "nothing was written");
    Library::export(dir.path(), Existing::Replace).expect("told to");
    assert_ne!(fs::read_to_string(&lab).expect("there"), "mine");
    assert!(files(dir.path()).iter().all(|file| !file.path.rsplit('/').next().unwrap_or("").starts_with('.')));
}

#[test]
fn a_lab_is_overridden_as_a_whole_and_a_file_for_itself() {
    let dir = tempfile::tempdir().expect("a folder");
    let put = |path: &str, text: &str| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    };
    put("labs/primer/lab.yaml", "mine");
    put("labs/second/lab.yaml", "other");
    put("labs/images/debian-12/a/b.sh", "recipe");
    put("cloud-config/primer/parts/motd", "hello");
    let library = Library::open(Some(dir.path().into())).expect("a library");
    let labs = library.labs().expect("listed");
    assert_eq!(labs.iter().filter(|lab| [name("primer"), name("second")].contains(lab)).count(), 2);
    assert_eq!(labs.len(), Library::open(None).expect("own").labs().expect("listed").len() + 1);
    let lab = library.lab(&name("primer")).expect("there");
    assert_eq!(lab.text, "mine");
    assert_eq!(lab.shown, dir.path().join("labs/primer/lab.yaml").display().to_string());
    assert_eq!(library.readme(&name("primer")).expect("readable"), None, "the binary's is of another lab");
    assert!(library.images().expect("the binary's").get("debian-12").is_some());
    assert_eq!(library.template("cloud-config/primer/parts/motd").expect("there").text, "hello");
    let recipe = library.image_recipe_files("labs/images/debian-12").expect("there");
    assert_eq!(recipe, [RecipeFile { path: "a/b.sh".into(), bytes: b"recipe".to_vec() }]);
    let lock = dir.path().join("my-lock.yaml");
    assert_eq!(library.lock_text(&name("second"), Some(&lock)).expect("none"), None);
    fs::write(&lock, "schema: 1").expect("written");
    assert_eq!(library.lock_text(&name("second"), Some(&lock)).expect("mine").expect("there").text, "schema: 1");
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    let library = Library::open(None).expect("own");
    let error = library.lab(&name("primar")).expect_err("no such lab");
    let told = error.to_string();
    assert!(told.starts_with("there is no lab `primar`, did you mean `primer`?; there is calico-2.4-etcd, "), "{told}");
    for path in ["cloud-config/../Cargo.toml", "/etc/passwd", "labs//images.yaml", "labs", "x/y", ""] {
        assert!(matches!(library.template(path), Err(LibraryError::NotThere { .. })), "{path}");
        assert!(
            matches!(library.image_recipe_files(path), Err(LibraryError::NotThere { .. })) || path == "labs",
            "{path}"
        );
    }
    let empty = tempfile::tempdir().expect("a folder");
    assert!(matches!(Library::open(Some(empty.path().into())), Err(LibraryError::NotALibrary { .. })));
    fs::create_dir_all(empty.path().join("labs/My Lab")).expect("made");
    fs::write(empty.path().join("labs/My Lab/lab.yaml"), "").expect("written");
    let library = Library::open(Some(empty.path().into())).expect("a library");
    assert!(matches!(library.labs(), Err(LibraryError::FolderName { .. })));
}
