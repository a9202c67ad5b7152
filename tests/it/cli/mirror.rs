//! Mirrors as they are named and shown: in order, with their places, without passwords.

use calicolab::failure::Exit;

use super::{Said, User};

#[test]
fn doctor_shows_mirrors_in_order_and_proxies_by_name_alone() {
    let user = User::new();
    let folder = user.folder.path().join("config/calicolab");
    std::fs::create_dir_all(&folder).expect("made");
    std::fs::write(folder.join("config.yaml"), "mirrors:\n- {prefix: c.example, url: http://three.example}\n")
        .expect("written");
    let mut command = user.command(&["doctor", "--mirror", "*=http://me:secret@one.example"]);
    command.env("CALICOLAB_MIRRORS", "b.example=http://two.example").env("https_proxy", "http://me:secret@p.example");
    // Whether this host is fit is not the question.
    let output = command.output().expect("it starts");
    let shown = String::from_utf8_lossy(&output.stdout);
    let at = |word: &str| shown.find(word).unwrap_or_else(|| panic!("`{word}` is not in\n{shown}"));
    let first = at("mirror *=http://…@one.example/ (--mirror)");
    let second = at("mirror b.example=http://two.example/ (CALICOLAB_MIRRORS)");
    let third = at("config.yaml:2:3");
    assert!(first < second && second < third, "{shown}");
    at("https_proxy");
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn a_mirror_written_wrong_stops_only_what_may_fetch() {
    let user = User::new();
    let folder = user.folder.path().join("config/calicolab");
    std::fs::create_dir_all(&folder).expect("made");
    std::fs::write(folder.join("config.yaml"), "mirrors:\n- {prefix: a.example, ulr: http://b.example}\n")
        .expect("written");
    let said = Said::by(user.command(&["plan"]).env("CALICOLAB_MIRRORS", "nothing"), Exit::Usage.code());
    said.tells(&[
        "config.invalid",
        "CALICOLAB_MIRRORS: `nothing` is no mirror",
        "config.yaml:2:23: unknown key `ulr`; did you mean `url`?",
    ]);
    user.ends(&["down", "--all"], Exit::Done);
    user.ends(&["ls"], Exit::Done);
}
